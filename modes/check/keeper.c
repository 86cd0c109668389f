#include "keeper.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum { MAX_FOUND = 1024 };	/* processes that one signal is sent to */

/* How long processes may take to end after SIGTERM, and after SIGKILL. */
static const int64_t TERM_WAIT = NET_SECOND;
static const int64_t KILL_WAIT = 10 * NET_SECOND;

/* How often processes that do not end are looked for. */
static const int64_t KILL_INTERVAL = 20 * NET_MS;

/* The signals that end this program, and the command before it. */
static const int ending_signals[] = { SIGINT, SIGTERM, SIGHUP };
enum { ENDING_SIGNALS = sizeof(ending_signals) / sizeof(*ending_signals) };

/* The keeper, as the program sees it. A signal handler reads pid and control. */
static volatile pid_t keeper_pid;	/* 0: there is none */
static int control;			/* our end of its socket */
static bool has_report;
static struct keeper_report report;

/* The command, as the keeper sees it. */
struct kept {
	pid_t pid;
	int control;		/* the keeper's end of the socket */
	int out, err;		/* pipes that the command writes to, or -1 */
	bool shell_ended;
	bool none_left;		/* all processes of the command have ended */
	struct keeper_report report;
};

static int child_pipe[2];	/* becomes readable when a child has ended */

static void
note_child(int sig)
{
	int error = errno;

	(void)sig;
	/* If the pipe is full, it is readable all the same. */
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

/* Keeps the last bytes of those received before and the n new ones. */
static void
append_to_tail(struct keeper_tail *tail, const char *data, size_t n)
{
	size_t keep = n > KEEPER_TAIL / 2 ? KEEPER_TAIL / 2 : n;

	if (tail->size + keep > KEEPER_TAIL) {
		size_t drop = tail->size + keep - KEEPER_TAIL;

		memmove(tail->bytes, tail->bytes + drop, tail->size - drop);
		tail->size -= drop;
	}
	memcpy(tail->bytes + tail->size, data + n - keep, keep);
	tail->size += keep;
}

/* Reads once from a pipe; at its end the pipe is closed and *fd becomes -1. */
static bool
read_server_output(int *fd, struct keeper_tail *tail)
{
	static char buffer[65536];
	ssize_t n;

	if (*fd < 0)
		return false;
	n = read(*fd, buffer, sizeof(buffer));
	if (n > 0)
		append_to_tail(tail, buffer, (size_t)n);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close(*fd);
		*fd = -1;
	}
	return n > 0;
}

/*
 * Reads what a command has printed before its end. The limit is for processes
 * that it has left and that print without end.
 */
static void
read_rest(struct kept *k)
{
	int reads = 64;

	while (reads-- > 0 && read_server_output(&k->err, &k->report.err))
		;
	while (reads-- > 0 && read_server_output(&k->out, &k->report.out))
		;
}

/*
 * Waits for all processes that have ended. The status is that of the shell
 * unless the shell has left processes and ended with 0: of a server that
 * becomes a daemon, the status is that of the last process.
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
		if (pid == k->pid || (k->shell_ended && k->report.status == 0))
			k->report.status = status;
		k->shell_ended |= pid == k->pid;
	}
	k->none_left = pid < 0 && errno == ECHILD;
}

static bool
has_command_ended(const struct kept *k)
{
	return k->none_left || (k->shell_ended && k->report.status != 0);
}

/* Waits for output, for the end of a child or for the end of the socket. */
static bool
is_asked_to_stop(struct kept *k, bool look, int64_t ns)
{
	struct pollfd fds[] = {
		{ look ? k->control : -1, POLLIN, 0 },
		{ child_pipe[0], POLLIN, 0 },
		{ k->out, POLLIN, 0 },
		{ k->err, POLLIN, 0 }
	};

	net_poll(fds, sizeof(fds) / sizeof(*fds), ns);
	if (fds[2].revents != 0)
		read_server_output(&k->out, &k->report.out);
	if (fds[3].revents != 0)
		read_server_output(&k->err, &k->report.err);
	reap_descendants(k);
	return fds[0].revents != 0;
}

/* The parent of a process (proc_pid_stat(5)); 0 if the process has ended. */
static pid_t
parent_of(const char *pid)
{
	char path[300], line[512], *rest;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	rest = fgets(line, sizeof(line), f);
	fclose(f);
	/* The name of the program may contain blanks and parentheses. */
	if (rest == NULL || (rest = strrchr(line, ')')) == NULL ||
	    strlen(rest) < 4)
		return 0;
	return (pid_t)strtol(rest + 4, NULL, 10);
}

/* Adds the children of a process to the n found, and returns how many. */
static int
find_children(pid_t parent, pid_t *found, int n)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	if (dir == NULL)
		return n;
	while (n < MAX_FOUND && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)*entry->d_name) &&
		    parent_of(entry->d_name) == parent)
			found[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
	closedir(dir);
	return n;
}

/*
 * Sends a signal to each process that the command has left. All of them are
 * descendants of the keeper, also those in other groups and sessions
 * (PR_SET_CHILD_SUBREAPER). Without /proc only the group is known.
 */
static void
signal_all(const struct kept *k, int sig)
{
	pid_t found[MAX_FOUND];
	int n = find_children(getpid(), found, 0);

	for (int i = 0; i < n; i++)
		n = find_children(found[i], found, n);
	for (int i = 0; i < n; i++)
		kill(found[i], sig);
	if (n == 0)
		kill(-k->pid, sig);
}

/* Ends all processes of the command, and waits for them. */
static void
end_all(struct kept *k)
{
	int64_t until = net_now() + TERM_WAIT;

	reap_descendants(k);
	if (k->none_left)
		return;
	signal_all(k, SIGTERM);
	while (!k->none_left && net_now() < until)
		is_asked_to_stop(k, false, until - net_now());
	until += KILL_WAIT;
	while (!k->none_left && net_now() < until) {
		signal_all(k, SIGKILL);
		is_asked_to_stop(k, false, KILL_INTERVAL);
	}
}

static void
send_report(struct kept *k)
{
	read_rest(k);
	net_send(k->control, &k->report, sizeof(k->report), false);
}

static void run_shell(const char *, int, int) __attribute__((noreturn));

/* The command's process. SIGKILL ends it if the keeper is killed. */
static void
run_shell(const char *command, int out, int err)
{
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	for (int i = 0; i < ENDING_SIGNALS; i++)
		set_handler(ending_signals[i], SIG_DFL, 0);
	set_handler(SIGPIPE, SIG_DFL, 0);
	set_handler(SIGCHLD, SIG_DFL, 0);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	dprintf(STDERR_FILENO, "/bin/sh: %s\n", strerror(errno));
	_exit(127);
}

/* Starts the command. Returns 0 or -1. */
static int
fork_shell(struct kept *k, const char *command)
{
	int out[2], err[2];

	if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		return -1;
	set_handler(SIGCHLD, note_child, SA_RESTART);
	k->pid = fork();
	if (k->pid == 0)
		run_shell(command, out[1], err[1]);
	if (k->pid < 0)
		return -1;
	setpgid(k->pid, k->pid);
	close(out[1]);
	close(err[1]);
	k->out = out[0];
	k->err = err[0];
	fcntl(k->out, F_SETFL, O_NONBLOCK);
	fcntl(k->err, F_SETFL, O_NONBLOCK);
	return 0;
}

/*
 * Nothing that the user types reaches the keeper, and a command that it has
 * left may print no longer than the program runs.
 */
static void
detach_keeper(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < ENDING_SIGNALS; i++)
		set_handler(ending_signals[i], SIG_IGN, 0);
	set_handler(SIGPIPE, SIG_IGN, 0);
	setpgid(0, 0);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	close(null);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void run_keeper(int, const char *, const sigset_t *)
    __attribute__((noreturn));

/* The keeper's process. */
static void
run_keeper(int socket, const char *command, const sigset_t *mask)
{
	static struct kept k;

	k.control = socket;
	detach_keeper();
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (fork_shell(&k, command) < 0)
		_exit(1);
	while (!has_command_ended(&k) &&
	    !is_asked_to_stop(&k, true, NET_FOREVER))
		;
	if (has_command_ended(&k)) {
		send_report(&k);
		end_all(&k);
	} else {
		end_all(&k);
		send_report(&k);
	}
	_exit(0);
}

static void
wait_for_keeper(void)
{
	while (waitpid(keeper_pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Stops the command and then ends this program by the same signal. */
static void
stop_and_end(int sig)
{
	if (keeper_pid > 0) {
		net_fin(control);
		wait_for_keeper();
	}
	raise(sig);
}

/* The default action is restored before the handler runs (SA_RESETHAND). */
static void
catch_ending_signals(void)
{
	static bool done;
	struct sigaction now;

	if (done)
		return;
	done = true;
	atexit(keeper_stop);
	for (int i = 0; i < ENDING_SIGNALS; i++)
		if (sigaction(ending_signals[i], NULL, &now) == 0 &&
		    now.sa_handler != SIG_IGN)
			set_handler(ending_signals[i], stop_and_end,
			    (int)(SA_RESETHAND | SA_NODEFER));
}

int
keeper_start(const char *command)
{
	sigset_t ending, before;
	int ends[2], error;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	catch_ending_signals();
	has_report = false;
	sigemptyset(&ending);
	for (int i = 0; i < ENDING_SIGNALS; i++)
		sigaddset(&ending, ending_signals[i]);
	sigprocmask(SIG_BLOCK, &ending, &before);
	pid = fork();
	error = errno;
	if (pid == 0) {
		close(ends[0]);
		run_keeper(ends[1], command, &before);
	}
	close(ends[1]);
	control = ends[0];
	keeper_pid = pid > 0 ? pid : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid > 0)
		return 0;
	close(control);
	return -error;
}

/* A keeper that sends no report was killed, and so was the command. */
static void
receive_report(void)
{
	ssize_t n;

	if (has_report)
		return;
	do
		n = recv(control, &report, sizeof(report), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	has_report = true;
	if (n != (ssize_t)sizeof(report))
		report = (struct keeper_report){ .status = SIGKILL };
}

bool
keeper_has_ended(int64_t ns)
{
	int64_t until = net_now() + ns;
	struct pollfd keeper = { control, POLLIN, 0 };

	while (!has_report) {
		int64_t left = until - net_now();

		if (net_poll(&keeper, 1, left > 0 ? left : 0) > 0)
			receive_report();
		else if (left <= 0)
			return false;
	}
	return true;
}

void
keeper_stop(void)
{
	if (keeper_pid == 0)
		return;
	net_fin(control);
	receive_report();
	wait_for_keeper();
	keeper_pid = 0;
	close(control);
}

const struct keeper_report *
keeper_last_report(void)
{
	return &report;
}
