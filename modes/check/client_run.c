#include "client_run.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/program.h"

/* An interpreter on a busy machine may need this long to connect. */
static const int64_t START_TIMEOUT = 10 * NET_SECOND;
/* The interval at which check looks for the end of the command. */
static const int64_t TICK = 10 * NET_MS;
/* Ticks to wait for the log line of a client that has already ended. */
enum { LOG_TICKS = 200 };
/* An incomplete message is answered after this silence. */
static const int64_t INCOMPLETE_GAP = 300 * NET_MS;

/* The server's side of a run. */
struct session {
	struct client_run *run;
	struct client_target *target;
	int listener, fd;	/* -1: not open */
	bool has_eof;		/* from the client */
	size_t echoed;		/* bytes of arrived that were sent back */
	size_t pieces;		/* sent so far */
	int64_t started, progress, next_send;	/* as from net_now() */
};

static void
close_socket(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The port in "listening on ADDRESS:PORT"; 0: the line is not complete. */
static int
listening_port(const struct keeper_output *output)
{
	size_t size = output->size;

	return memchr(output->data, '\n', size) == NULL ? 0 :
	    atoi((char *)memrchr(output->data, ':', size) + 1);
}

/* Starts the wrong server. Returns its port, or -errno. */
static int
start_faulty(struct command *faulty, const struct client_plan *plan,
    const struct client_target *target)
{
	char address[NET_NAME_MAX];
	char *argv[] = { (char[]){ "echo" }, (char[]){ "faulty" },
	    strdup(plan->fault), (char[]){ "--address" }, address, NULL };
	const struct keeper_plan run = { .program = program_path(),
	    .argv = argv, .grace = NET_SECOND };
	int64_t until = net_now() + START_TIMEOUT;
	int error, port = 0;

	net_name(address, &target->listen.address.any);
	error = command_start(faulty, &run);
	free(argv[2]);
	while (error == 0 && port == 0 && net_now() < until &&
	    !command_has_ended(faulty, TICK))
		port = listening_port(&faulty->record->out);
	return error < 0 ? error : port > 0 ? port : -EADDRNOTAVAIL;
}

/* Opens the server's side. Returns its port, or -errno. */
static int
open_server(struct session *s, struct command *faulty)
{
	const struct client_target *target = s->target;

	if (s->run->plan->fault != NULL)
		return start_faulty(faulty, s->run->plan, target);
	s->listener = net_listen(&target->listen.address.any,
	    target->listen.size);
	return s->listener < 0 ? s->listener : net_port(s->listener);
}

static int
start_client(struct session *s, int port)
{
	const struct client_plan *plan = s->run->plan;
	struct client_target *target = s->target;
	struct net_peer peer = target->listen;
	char number[12], *line, *message;
	struct command_word words[] = { { "{host}", target->host },
	    { "{port}", number }, { target->has_message ? "{message}" : NULL,
	    NULL }, { NULL, NULL } };
	struct keeper_plan run = { .grace = 0 };
	int error;

	net_set_port(&peer.address.any, (uint16_t)port);
	net_name(target->name, &peer.address.any);
	snprintf(number, sizeof(number), "%d", port);
	if ((message = strndup(plan->message, plan->size)) == NULL)
		return -ENOMEM;
	words[2].value = message;
	run.line = line = command_substitute(target->command, words);
	free(message);
	if (line == NULL)
		return -ENOMEM;
	if (!target->has_message) {
		run.input = plan->message;
		run.input_size = plan->size;
	}
	error = command_start(&s->run->command, &run);
	free(line);
	return error;
}

static void
accept_from_client(struct session *s)
{
	union net_address peer;

	if (s->listener < 0 || s->fd >= 0 || s->run->is_connected)
		return;
	if ((s->fd = net_accept(s->listener, &peer)) < 0)
		return;
	net_set_echo_options(s->fd);
	s->run->is_connected = true;
	s->progress = net_now();
	s->run->connected = s->progress - s->started;
}

static void
receive_message(struct session *s)
{
	struct client_run *run = s->run;
	char surplus[4096], *end = run->arrived + run->arrived_size;
	size_t room = run->plan->size + CLIENT_RUN_SURPLUS - run->arrived_size;
	ssize_t n = room > 0 ? net_recv(s->fd, end, room) :
	    net_recv(s->fd, surplus, sizeof(surplus));

	if (n == -EAGAIN)
		return;
	if (n > 0 && room > 0) {	/* a client may send without end */
		run->sends_in_parts |= s->echoed > 0 &&
		    s->echoed == run->arrived_size &&
		    run->arrived_size < run->plan->size;
		run->arrived_size += (size_t)n;
		s->progress = net_now();
	} else if (n == 0)
		s->has_eof = true;
	else if (n < 0)
		close_socket(&s->fd);	/* a RST */
}

/* The number of bytes that the server may send now. */
static size_t
bytes_due(const struct session *s)
{
	const struct client_run *run = s->run;
	const struct client_plan *plan = run->plan;
	size_t left = run->arrived_size - s->echoed;
	size_t piece = s->pieces == 0 ? plan->first : plan->piece;
	bool is_paced = plan->first > 0 || plan->delay > 0;

	if (is_paced && !s->has_eof && run->arrived_size < plan->size &&
	    net_now() - s->progress < INCOMPLETE_GAP)
		return 0;
	return piece > 0 && piece < left ? piece : left;
}

static void
send_reply(struct session *s)
{
	struct client_run *run = s->run;
	const struct client_plan *plan = run->plan;
	const char *from = plan->reply != NULL &&
	    run->arrived_size <= plan->size ? plan->reply : run->arrived;
	size_t due = bytes_due(s);
	int64_t now = net_now();
	ssize_t n;

	if (s->pieces == 0 && plan->delay > 0 && due > 0 &&
	    s->next_send == 0)
		s->next_send = now + plan->delay;
	if (due == 0 || now < s->next_send)
		return;
	n = net_send(s->fd, from + s->echoed, due, false);
	if (n < 0 && n != -EAGAIN)
		close_socket(&s->fd);
	if (n <= 0)
		return;
	s->echoed += (size_t)n;
	run->replied = s->echoed;
	s->progress = now;
	s->next_send = now + (s->pieces++ == 0 ? plan->first_pause :
	    plan->pause);
}

/* Closes as the server of the homework: after its echo and some silence. */
static void
close_when_silent(struct session *s)
{
	struct client_run *run = s->run;
	int64_t gap = run->plan->gap > 0 ? run->plan->gap : CLIENT_RUN_GAP;

	if (run->server_closed || run->arrived_size == 0 ||
	    s->echoed < run->arrived_size || s->has_eof ||
	    net_now() - s->progress < gap)
		return;
	/* Only a FIN: what the client still sends must not cause a RST. */
	net_fin(s->fd);
	run->server_closed = true;
	s->progress = net_now();
}

static void
serve_session(struct session *s)
{
	accept_from_client(s);
	if (s->fd >= 0 && !s->has_eof)
		receive_message(s);
	if (s->fd >= 0 && !s->run->server_closed)
		send_reply(s);
	if (s->fd >= 0)
		close_when_silent(s);
	if (s->fd >= 0 && s->has_eof &&
	    (s->run->server_closed || s->echoed == s->run->arrived_size))
		close_socket(&s->fd);
}

/* Returns the ns until work is due, even if no descriptor is ready. */
static int64_t
time_to_wait(const struct session *s)
{
	int64_t left = s->next_send - net_now();

	return left > 0 && left < TICK ? left : TICK;
}

/* The wrong server logs each client. */
static void
look_for_connection(struct session *s, struct command *faulty)
{
	const struct keeper_output *log = &faulty->record->err;

	if (!s->run->is_connected && memmem(log->data, log->size,
	    " connected", 10) != NULL) {
		s->run->is_connected = true;
		s->progress = net_now();
		s->run->connected = s->progress - s->started;
	}
}

static void
wait_session(struct session *s, struct command *faulty)
{
	struct pollfd fds[] = {
		{ s->run->is_connected ? -1 : s->listener, POLLIN, 0 },
		{ s->has_eof ? -1 : s->fd, POLLIN, 0 },
		{ s->run->command.control, POLLIN, 0 }
	};

	net_poll(fds, sizeof(fds) / sizeof(*fds), time_to_wait(s));
	if (faulty->keeper > 0)
		look_for_connection(s, faulty);
}

/* Whether the client has used all the time that it may take. */
static bool
is_late(const struct session *s)
{
	int64_t now = net_now(), start = s->target->timeout > START_TIMEOUT ?
	    s->target->timeout : START_TIMEOUT;

	return s->run->is_connected ? now - s->progress > s->target->timeout :
	    now - s->started > start;
}

static void
run_client(struct session *s, struct command *faulty)
{
	struct client_run *run = s->run;

	s->started = s->progress = net_now();
	while (!command_has_ended(&run->command, 0) && !is_late(s)) {
		wait_session(s, faulty);
		serve_session(s);
	}
	run->has_timed_out = !command_has_ended(&run->command, 0);
	run->took = net_now() - s->started;
	/* The last bytes may have come just before the client ended. */
	serve_session(s);
	/* The wrong server may log a client after that client has ended. */
	for (int i = 0; i < LOG_TICKS && faulty->keeper > 0 &&
	    !run->is_connected; i++) {
		net_poll(NULL, 0, TICK);
		look_for_connection(s, faulty);
	}
}

static int
try_plan(struct client_run *run, const struct client_plan *plan,
    struct client_target *target)
{
	struct session s = { .run = run, .target = target, .listener = -1,
	    .fd = -1 };
	struct command faulty = { .keeper = 0 };
	int port, error;

	memset(run, 0, sizeof(*run));
	run->plan = plan;
	run->arrived = malloc(plan->size + CLIENT_RUN_SURPLUS);
	if (run->arrived == NULL)
		return -ENOMEM;
	port = open_server(&s, &faulty);
	error = port < 0 ? port : start_client(&s, port);
	if (error == 0) {
		run_client(&s, &faulty);
		command_stop(&run->command);
		run->status = command_status(&run->command);
		if (run->connected > target->slowest_start)
			target->slowest_start = run->connected;
	}
	close_socket(&s.fd);
	close_socket(&s.listener);
	command_stop(&faulty);
	command_free(&faulty);
	return error;
}

void
client_run_bail_out(const char *what, const char *why, enum status status)
{
	printf("Bail out! %s: %s\n", what, why);
	args_flush();
	errx((int)status, "%s: %s", what, why);
}

void
client_run_plan(struct client_run *run, const struct client_plan *plan,
    struct client_target *target)
{
	int error = try_plan(run, plan, target);
	char name[NET_NAME_MAX], what[NET_NAME_MAX + 32];

	if (error == 0)
		return;
	snprintf(what, sizeof(what), "cannot listen on %s",
	    net_name(name, &target->listen.address.any));
	client_run_bail_out(error == -EADDRINUSE || error == -EADDRNOTAVAIL ||
	    error == -EACCES ? what : "cannot run a command",
	    strerror(-error), STATUS_LOCAL);
}

void
client_run_free(struct client_run *run)
{
	free(run->arrived);
	run->arrived = NULL;
	command_free(&run->command);
}
