#include "keeper.h"

#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "descendants.h"
#include "modes/lib/net.h"
#include "modes/lib/parent.h"

/* How long processes may take to end after SIGKILL. */
static const int64_t KILL_WAIT = 10 * NET_SECOND;

/* The interval between two searches for processes that have not ended. */
static const int64_t KILL_INTERVAL = 20 * NET_MS;

const int keeper_signals[KEEPER_SIGNALS] = { SIGINT, SIGTERM, SIGHUP };

/* The command. */
struct kept {
	const struct keeper_plan *plan;
	struct keeper_record *record;
	pid_t pid;
	int control;		/* the keeper's end of the socket */
	int in, out, err;	/* pipes of the command, or -1 */
	const char *input;	/* not yet written to in */
	size_t input_size;
	bool has_ended;		/* the command's own process */
	bool none_left;		/* all processes of the command have ended */
};

static int child_pipe[2];	/* becomes readable when a child has ended */

static void
note_child(int sig)
{
	int error = errno;

	(void)sig;
	/* If the pipe is full, it is already readable. */
	(void)!write(child_pipe[1], "", 1);
	errno = error;
}

static void
set_handler(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	sigaction(sig, &action, NULL);
}

/*
 * Adds bytes to the output. When the buffer is full, half of the tail is
 * dropped.
 */
static void
keep_output(struct keeper_output *o, const char *data, size_t size)
{
	o->total += size;
	while (size > 0) {
		size_t room = KEEPER_HEAD + KEEPER_TAIL - o->size;
		size_t n = size < room ? size : room;

		if (room == 0) {
			o->size = KEEPER_HEAD + KEEPER_TAIL / 2;
			memmove(o->data + KEEPER_HEAD,
			    o->data + KEEPER_HEAD + KEEPER_TAIL / 2,
			    KEEPER_TAIL / 2);
			continue;
		}
		memcpy(o->data + o->size, data, n);
		o->size += n;
		data += n;
		size -= n;
	}
}

static void
close_pipe(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Reads once from a pipe. Returns whether there may be more. */
static bool
read_output(int *fd, struct keeper_output *output)
{
	static char buffer[65536];
	ssize_t n;

	if (*fd < 0)
		return false;
	n = read(*fd, buffer, sizeof(buffer));
	if (n > 0)
		keep_output(output, buffer, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_pipe(fd);
	return n > 0;
}

/* Writes as much as fits into the pipe; closes it after the last byte. */
static void
write_input(struct kept *k)
{
	ssize_t n = write(k->in, k->input, k->input_size);

	if (n > 0) {
		k->input += n;
		k->input_size -= (size_t)n;
	}
	if (k->input_size == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_pipe(&k->in);
}

/*
 * Reads the output of the command before its end. The limit is necessary
 * because other processes of the command may print without end.
 */
static void
read_rest(struct kept *k)
{
	for (int i = 0; i < 64 && read_output(&k->err, &k->record->err); i++)
		;
	for (int i = 0; i < 64 && read_output(&k->out, &k->record->out); i++)
		;
}

/* Whether the status of an ended child counts: see struct keeper_plan. */
static bool
is_status_of(const struct kept *k, pid_t pid)
{
	return pid == k->pid || (k->has_ended && k->plan->may_detach &&
	    k->record->wait_status == 0);
}

/*
 * Waits for all processes that have ended. The status of a server that becomes
 * a daemon is that of its last process.
 */
static void
reap_descendants(struct kept *k)
{
	char bytes[64];
	int status;
	pid_t pid;

	while (read(child_pipe[0], bytes, sizeof(bytes)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (is_status_of(k, pid))
			k->record->wait_status = status;
		k->has_ended |= pid == k->pid;
	}
	k->none_left = pid < 0 && errno == ECHILD &&
	    !descendants_remain(k->pid);
}

/* Whether the command has ended, as its plan says. */
static bool
is_over(const struct kept *k)
{
	return k->none_left || (k->has_ended &&
	    (!k->plan->may_detach || k->record->wait_status != 0));
}

/*
 * Waits for input, output, the end of a child or the end of the socket. Returns
 * whether the socket has ended.
 */
static bool
keeper_wait(struct kept *k, bool look, int64_t ns)
{
	struct pollfd fds[] = {
		{ look ? k->control : -1, POLLIN, 0 },
		{ child_pipe[0], POLLIN, 0 },
		{ k->in, POLLOUT, 0 },
		{ k->out, POLLIN, 0 },
		{ k->err, POLLIN, 0 }
	};

	net_poll(fds, sizeof(fds) / sizeof(*fds), ns);
	if (fds[2].revents != 0)
		write_input(k);
	if (fds[3].revents != 0)
		read_output(&k->out, &k->record->out);
	if (fds[4].revents != 0)
		read_output(&k->err, &k->record->err);
	reap_descendants(k);
	return fds[0].revents != 0;
}

/* Ends all processes of the command, and waits for them. */
static void
end_all(struct kept *k)
{
	int64_t until = net_now() + k->plan->grace;

	reap_descendants(k);
	if (!k->none_left && k->plan->grace > 0)
		descendants_signal(k->pid, SIGTERM);
	while (!k->none_left && net_now() < until)
		keeper_wait(k, false, until - net_now());
	until += KILL_WAIT;
	while (!k->none_left && net_now() < until) {
		descendants_signal(k->pid, SIGKILL);
		keeper_wait(k, false, KILL_INTERVAL);
	}
}

/*
 * Completes the record, so that the other process may read it: the remaining
 * processes of the command cannot print any more.
 */
static void
report_end(struct kept *k)
{
	read_rest(k);
	close_pipe(&k->out);
	close_pipe(&k->err);
	net_send(k->control, "", 1, false);
}

/*
 * The pipes of the three standard streams, as arrays of two descriptors. Only
 * the ends of the keeper do not block. Returns 0 or -1.
 */
static int
open_pipes(int pipes[3][2], bool has_input)
{
	pipes[0][1] = -1;
	if (!has_input)
		pipes[0][0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if ((has_input ? pipe2(pipes[0], O_CLOEXEC) : pipes[0][0]) < 0 ||
	    pipe2(pipes[1], O_CLOEXEC) < 0 || pipe2(pipes[2], O_CLOEXEC) < 0)
		return -1;
	if (has_input)
		fcntl(pipes[0][1], F_SETFL, O_NONBLOCK);
	fcntl(pipes[1][0], F_SETFL, O_NONBLOCK);
	fcntl(pipes[2][0], F_SETFL, O_NONBLOCK);
	return 0;
}

static void exec_command(const struct keeper_plan *, int pipes[3][2],
    pid_t keeper) __attribute__((noreturn));

/*
 * Runs in the command's process. If the keeper is killed, SIGKILL ends this
 * process, on systems where this setting remains after execve(2).
 */
static void
exec_command(const struct keeper_plan *plan, int pipes[3][2], pid_t keeper)
{
	parent_follow(keeper, SIGKILL);
	setpgid(0, 0);
	for (int i = 0; i < KEEPER_SIGNALS; i++)
		set_handler(keeper_signals[i], SIG_DFL, 0);
	set_handler(SIGPIPE, SIG_DFL, 0);
	set_handler(SIGCHLD, SIG_DFL, 0);
	dup2(pipes[0][0], STDIN_FILENO);
	dup2(pipes[1][1], STDOUT_FILENO);
	dup2(pipes[2][1], STDERR_FILENO);
	if (plan->line == NULL)
		execv(plan->program, plan->argv);
	else
		execl("/bin/sh", "sh", "-c", plan->line, (char *)NULL);
	dprintf(STDERR_FILENO, "%s: %s\n", plan->line == NULL ?
	    plan->program : "/bin/sh", strerror(errno));
	_exit(127);
}

/* Starts the command. Returns 0 or -1. */
static int
fork_command(struct kept *k)
{
	pid_t keeper = getpid();
	int pipes[3][2];

	if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    open_pipes(pipes, k->plan->input != NULL) < 0)
		return -1;
	set_handler(SIGCHLD, note_child, SA_RESTART);
	k->pid = fork();
	if (k->pid == 0)
		exec_command(k->plan, pipes, keeper);
	if (k->pid < 0)
		return -1;
	setpgid(k->pid, k->pid);
	close(pipes[0][0]);
	close(pipes[1][1]);
	close(pipes[2][1]);
	k->in = pipes[0][1];
	k->out = pipes[1][0];
	k->err = pipes[2][0];
	k->input = k->plan->input;
	k->input_size = k->plan->input_size;
	return 0;
}

/*
 * Detaches the keeper from the terminal, so that no signal of a key reaches it,
 * and closes all other descriptors of this program. So a remaining process of
 * the command can print only while this program runs.
 */
static void
detach_keeper(int socket)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < KEEPER_SIGNALS; i++)
		set_handler(keeper_signals[i], SIG_IGN, 0);
	set_handler(SIGPIPE, SIG_IGN, 0);
	setpgid(0, 0);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	close(null);
	/* Older descriptors have lower numbers. */
	for (int fd = STDERR_FILENO + 1; fd < socket; fd++)
		close(fd);
	descendants_adopt();
}

void
keeper_run(int socket, const struct keeper_plan *plan,
    struct keeper_record *record, const sigset_t *mask)
{
	struct kept k = { .plan = plan, .record = record, .control = socket };

	detach_keeper(socket);
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (fork_command(&k) < 0)
		_exit(1);
	while (!is_over(&k) && !keeper_wait(&k, true, NET_FOREVER))
		;
	if (is_over(&k)) {
		report_end(&k);
		end_all(&k);
	} else {
		end_all(&k);
		report_end(&k);
	}
	_exit(0);
}
