#include "children.h"

#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dial.h"
#include "parent.h"

static const int64_t ACCEPT_PAUSE = 500 * NET_MS;	/* after a failure */

enum {
	MAX_CHILDREN = 500,
	KEEPALIVE = 10		/* s until a silent client is probed */
};

static pid_t children[MAX_CHILDREN];
static size_t child_count;

/*
 * The signal handler writes to this pipe, so that a signal ends a wait even if
 * it comes just before it.
 */
static int wake_pipe[2];
static volatile sig_atomic_t stop_signal;

static const int caught_signals[] = { SIGTERM, SIGINT, SIGCHLD };

static void
on_signal(int signal)
{
	int error = errno;

	if (signal != SIGCHLD)
		stop_signal = 1;
	(void)!write(wake_pipe[1], "", 1);
	errno = error;
}

void
children_catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal,
	    .sa_flags = SA_RESTART };
	sigset_t caught;

	if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		err(STATUS_LOCAL, "cannot open a pipe for signals");
	sigemptyset(&caught);
	for (size_t i = 0; i < sizeof(caught_signals) / sizeof(int); i++) {
		sigaction(caught_signals[i], &action, NULL);
		sigaddset(&caught, caught_signals[i]);
	}
	sigprocmask(SIG_UNBLOCK, &caught, NULL);
}

bool
children_wait(int listener, int64_t ns)
{
	struct pollfd fds[] = { { wake_pipe[0], POLLIN, 0 },
	    { listener, POLLIN, 0 } };
	char signals[64];

	net_poll(fds, 2, ns);
	while (read(wake_pipe[0], signals, sizeof(signals)) > 0)
		;
	return fds[1].revents != 0;
}

bool
children_stopped(void)
{
	return stop_signal != 0;
}

int
children_listen(const struct address *address)
{
	char name[NET_NAME_MAX];
	struct addrinfo *found, *a;
	struct dial_error why;
	int fd;

	if (dial_resolve(address, &found, &why) < 0)
		errx((int)why.status, "%s", why.text);
	for (a = found; (fd = (address->is_udp ? net_bind_udp : net_listen)
	    (a->ai_addr, a->ai_addrlen)) < 0; a = a->ai_next)
		if (a->ai_next == NULL || (fd != -EAFNOSUPPORT &&
		    fd != -EADDRNOTAVAIL))
			errx(STATUS_LOCAL, "cannot listen on %s: %s%s",
			    (address->is_udp ? net_udp_name : net_name)(name,
			    a->ai_addr), strerror(-fd),
			    dial_listen_hint(a->ai_family, -fd));
	net_free_addresses(found);
	return fd;
}

static void run_child(const struct children_server *, int fd,
    const char *peer, uint64_t n, pid_t parent) __attribute__((noreturn));

static void
run_child(const struct children_server *s, int fd, const char *peer,
    uint64_t n, pid_t parent)
{
	for (size_t i = 0; i < sizeof(caught_signals) / sizeof(int); i++)
		signal(caught_signals[i], SIG_DFL);
	parent_follow(parent, SIGKILL);
	close(s->listener);
	fcntl(fd, F_SETFL, 0);		/* net_accept() sets O_NONBLOCK */
	net_set_echo_options(fd);
	net_set_keepalive(fd, KEEPALIVE);
	s->serve(s->context, fd, peer, n);
	exit(STATUS_OK);
}

/* Accepts the nth client and starts its child. Returns 0 or -errno. */
static int
start_child(const struct children_server *s, uint64_t n)
{
	union net_address peer;
	pid_t parent = getpid(), child;
	char name[NET_NAME_MAX];
	int fd = net_accept(s->listener, &peer), error;

	if (fd < 0)
		return fd;
	if ((error = parent_prepare()) < 0) {
		close(fd);
		return error;
	}
	child = fork();
	error = errno;
	if (child == 0)
		run_child(s, fd, net_peer_name(name, &peer), n, parent);
	parent_forked();
	close(fd);
	if (child < 0)
		return -error;
	children[child_count++] = child;
	return 0;
}

/*
 * Handles a failure. Errors of a connection that has already ended are ignored.
 * After other errors, such as EMFILE, clients wait in the kernel's queue for a
 * short time.
 */
static void
accept_failed(int error)
{
	static int reported;

	if (error == EAGAIN || error == ECONNABORTED)
		return;
	if (error != reported && net_is_ready(STDERR_FILENO, POLLOUT))
		warnx("cannot accept clients: %s; trying again",
		    strerror(error));
	reported = error;
	children_wait(-1, ACCEPT_PAUSE);
}

/* Forgets the children that have ended. */
static void
reap_children(void)
{
	pid_t ended;

	while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
		for (size_t i = 0; i < child_count; i++)
			if (children[i] == ended)
				children[i] = children[--child_count];
}

static void
end_children(void)
{
	for (size_t i = 0; i < child_count; i++)
		kill(children[i], SIGKILL);
	for (; child_count > 0; child_count--)
		waitpid(children[child_count - 1], NULL, 0);
}

static void
close_listener(struct children_server *s)
{
	if (s->listener >= 0)
		close(s->listener);
	s->listener = -1;
}

void
children_run(struct children_server *s)
{
	uint64_t accepted = 0, count = s->count > 0 ? s->count : UINT64_MAX;

	while (!stop_signal && (accepted < count || child_count > 0)) {
		bool may_accept = accepted < count &&
		    child_count < MAX_CHILDREN;
		bool is_waiting = children_wait(may_accept ? s->listener :
		    -1, NET_FOREVER);
		int error;

		reap_children();
		if (!is_waiting)
			continue;
		if ((error = start_child(s, accepted + 1)) == 0)
			accepted++;
		else
			accept_failed(-error);
		if (accepted == count && !s->is_kept_open)
			close_listener(s);
	}
	end_children();
	close_listener(s);
}
