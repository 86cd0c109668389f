/*
 * The bytes are first examined (MSG_PEEK), and then read up to the end of the
 * header. So the bytes of the client stay in the socket, where the engine
 * expects them. This costs one more system call for each connection, and none
 * for a message.
 */
#include "header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "modes/lib/net.h"
#include "modes/lib/text.h"
#include "proxy.h"

enum { PIECE = 1024 };		/* bytes that are examined together */

_Static_assert(sizeof(struct proxy) + sizeof(struct header) <= 536,
    "what a client may cost while its header is incomplete");

/*
 * Reads a piece of the header. The examined bytes are parsed with a copy of the
 * parser, because the following read may return fewer bytes. Returns the same
 * value as recv(2).
 */
static ssize_t
read_piece(struct proxy *parser, int fd)
{
	struct proxy copy = *parser;
	unsigned char data[PIECE];
	ssize_t n = net_peek(fd, data, sizeof(data));

	if (n <= 0)
		return n;
	n = net_recv(fd, data, proxy_parse(&copy, data, (size_t)n));
	if (n > 0)
		proxy_parse(parser, data, (size_t)n);
	return n;
}

/* Returns the client's name for free(3), or NULL if there is no memory. */
static char *
client_name(const struct proxy *parser)
{
	char name[NET_NAME_MAX], safe[NET_NAME_MAX];
	const char *path = parser->client.path.sun_path;

	net_name(name, &parser->client.any);
	if (parser->client.any.sa_family == AF_UNIX && path[0] == '\0' &&
	    path[1] == '\0')
		strcpy(name, NET_UNIX);		/* a socket without a name */
	return strdup(text_safe_line(safe, name, strlen(name)));
}

int
header_read(struct header *h, int fd)
{
	if (h->parser == NULL &&
	    (h->parser = calloc(1, sizeof(*h->parser))) == NULL)
		return -ENOMEM;
	while (h->parser->state == PROXY_INCOMPLETE) {
		ssize_t n = read_piece(h->parser, fd);

		if (n <= 0)
			return (int)n;
	}
	if (h->parser->state == PROXY_WRONG)
		return -EPROTO;
	if (h->parser->client.any.sa_family != AF_UNSPEC &&
	    (h->client = client_name(h->parser)) == NULL)
		return -ENOMEM;
	h->is_local = h->parser->is_local;
	free(h->parser);
	h->parser = NULL;
	return 1;
}

void
header_log_missing(const struct header *h, const union net_address *address,
    int64_t ns, const char *reason, bool is_late)
{
	const struct log_peer peer = { .address = address };
	uint32_t size = h->parser == NULL ? 0 : h->parser->read;
	char name[NET_NAME_MAX];

	net_peer_name(name, address);
	if (h->parser != NULL && h->parser->state == PROXY_WRONG)
		log_warning("%s: wrong PROXY header: %s", name,
		    h->parser->error);
	else if (size > 0 || is_late)
		log_warning("%s: incomplete PROXY header of %" PRIu32
		    " byte%s: %s", name, size, PLURAL(size), reason);
	else if (log_has(LOG_READS)) {
		log_connected(&peer);
		log_closed(&peer, 0, 0, ns, reason);
	}
}

void
header_free(struct header *h)
{
	free(h->parser);
	free(h->client);
}
