/*
 * How a client reaches a server: its options, name resolution, connecting, and
 * the text that explains why there is no connection or no listener.
 */
#ifndef DIAL_H
#define DIAL_H

#include "args.h"
#include "modes/mode.h"
#include "net.h"
#include "options.h"

/* The address of a server. */
struct dial_server {
	struct net_peer peer;
	char name[NET_NAME_MAX];	/* "127.0.0.1:10000" */
};

/* Why a name was not resolved or a server not reached. */
struct dial_error {
	enum status status;
	int error;		/* errno of the connection, or 0 */
	char text[512];		/* "cannot connect to 127.0.0.1:10000: ..." */
};

/* The options that all clients have: -a, -p, -t, -v and -q; some have -u. */
struct dial_options {
	char *address;
	uint16_t port;
	bool is_udp;
	int64_t timeout;	/* ns; 0: no limit */
	int verbosity;		/* 1 with -v, -1 with -q */
};

/* The rows of these options: the first three, and the last two. */
#define DIAL_OPTIONS(address_text, timeout_text) \
	{ 'a', "address", "ADDRESS", NULL, address_text, 0, NULL }, \
	{ 'p', "port", "PORT", ARGS_DEFAULT_PORT, \
	    "port if ADDRESS has none", 0, NULL }, \
	{ 't', "timeout", "DURATION", "5s", timeout_text, 0, NULL }
#define DIAL_UDP(text) { 'u', "udp", NULL, NULL, text, 0, NULL }
#define DIAL_VERBOSITY(verbose_text, quiet_text) \
	{ 'v', "verbose", NULL, NULL, verbose_text, 0, NULL }, \
	{ 'q', "quiet", NULL, NULL, quiet_text, 0, NULL }

/* The forms of an address, for --help. */
#define DIAL_ADDRESS_FORMS "HOST, HOST:PORT, [V6]:PORT, :PORT, unix:/PATH " \
    "or unix:@NAME (default " ARGS_DEFAULT_HOST ")"

/*
 * Sets the option with that key. A timeout below min ns is a usage error.
 * Returns false if the option is not one of these.
 */
bool dial_set_option(struct dial_options *, int key, char *value,
    int64_t min);

/*
 * Parses value, which was given for the option `what` ("--address"); NULL is
 * the default host. Does the same as args_address(), but * and port 0 are usage
 * errors, because a client cannot connect to them.
 */
struct address dial_address(const char *what, char *value, uint16_t port,
    bool is_udp);

/*
 * Resolves the address, for UDP if its is_udp is set, or else for TCP; host
 * NULL is every interface. Returns 0 and a list for net_free_addresses(), or -1
 * and the reason.
 */
int dial_resolve(const struct address *, struct addrinfo **,
    struct dial_error *);

/*
 * Connects to that server within timeout ns (0: no limit). Returns a socket
 * for close(2), or -errno; -ETIMEDOUT after the timeout.
 */
int dial_connect(const struct dial_server *, int64_t timeout);

/*
 * Resolves the address and connects to the first of its addresses that accepts
 * a connection, each within timeout ns (0: no limit). Returns a socket for
 * close(2), or -1 and the reason why the last address failed. In both cases
 * *server is the address that was tried last; its name is the host if the host
 * cannot be resolved. After ECONNRESET, no further address is tried, because
 * the server had accepted the connection. With UDP, connecting succeeds for
 * each address to which there is a route.
 */
int dial_any(const struct address *, int64_t timeout, struct dial_server *,
    struct dial_error *);

/* Describes why dial_connect() returned -error. */
void dial_explain(struct dial_error *, const struct dial_server *, int error);

/*
 * Returns advice for a server that cannot listen at an address of that family,
 * because of that errno: "" or a text that begins with a space.
 */
const char *dial_listen_hint(int family, int error);

/* The exit status of a client whose connection failed with that errno. */
enum status dial_status(int error);

#endif
