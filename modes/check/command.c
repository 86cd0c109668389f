#include "command.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum { MAX_RUNNING = 4, STRAY_ROUNDS = 1000 };

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };

/* The process groups that run, for the signal handler. */
static volatile pid_t running_groups[MAX_RUNNING];

static bool
is_running_group(pid_t pid)
{
	for (int i = 0; i < MAX_RUNNING; i++)
		if (running_groups[i] == pid)
			return true;
	return false;
}

static void
replace_group(pid_t old, pid_t new)
{
	for (int i = 0; i < MAX_RUNNING; i++)
		if (running_groups[i] == old) {
			running_groups[i] = new;
			return;
		}
}

/*
 * Kills the children of this process that belong to no running command, and
 * reaps them: processes that have left their group and whose parent has ended.
 * Linux makes them children of this process (PR_SET_CHILD_SUBREAPER). Uses
 * only functions that a signal handler may call. Returns whether there was one.
 */
static bool
kill_strays(void)
{
	char list[1024];
	ssize_t size;
	bool found = false;
	pid_t pid = 0;
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	size = read(fd, list, sizeof(list));
	close(fd);
	for (ssize_t i = 0; i < size; i++) {
		if (list[i] >= '0' && list[i] <= '9') {
			pid = pid * 10 + (list[i] - '0');
			continue;
		}
		if (pid > 0 && !is_running_group(pid)) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			found = true;
		}
		pid = 0;
	}
	return found;
}

/*
 * Ends all that is left of a process group whose leader has been reaped. A
 * process that left the group becomes a child of this process only when its
 * parent has ended, which takes the kernel a moment. Uses only functions that
 * a signal handler may call.
 */
static void
kill_group(pid_t group)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	bool found = true;

	for (int i = 0; i < STRAY_ROUNDS && found; i++) {
		found = kill(-group, SIGKILL) == 0;
		found |= kill_strays();
		if (found)
			nanosleep(&moment, NULL);
	}
}

/* Stops all commands, and then lets the signal end this process. */
static void
on_stop_signal(int number)
{
	for (int i = 0; i < MAX_RUNNING; i++) {
		pid_t group = running_groups[i];

		if (group == 0)
			continue;
		kill(-group, SIGKILL);
		waitpid(group, NULL, 0);
		running_groups[i] = 0;
		kill_group(group);
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* A signal that was ignored when check was started stays ignored. */
static void
catch_stop_signals(void)
{
	struct sigaction action = { .sa_handler = on_stop_signal }, old;

	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(int); i++)
		sigaddset(&action.sa_mask, stop_signals[i]);
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(int); i++) {
		sigaction(stop_signals[i], NULL, &old);
		if (old.sa_handler == SIG_DFL)
			sigaction(stop_signals[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);	/* of a command that does not read */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void exec_command(const char *path, char *const *argv,
    const int fds[COMMAND_FDS]) __attribute__((noreturn));

static void
exec_command(const char *path, char *const *argv, const int fds[COMMAND_FDS])
{
	sigset_t none;

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(int); i++)
		signal(stop_signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < COMMAND_FDS; i++)
		if (dup2(fds[i], i) < 0)
			_exit(126);
	execv(path, argv);
	_exit(127);
}

/*
 * Forks. The stop signals are blocked until the group is known to the handler,
 * so that no signal can come in between.
 */
static pid_t
fork_command(const char *path, char *const *argv, const int fds[COMMAND_FDS])
{
	sigset_t stop, old;
	pid_t pid;

	sigemptyset(&stop);
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(int); i++)
		sigaddset(&stop, stop_signals[i]);
	sigprocmask(SIG_BLOCK, &stop, &old);
	pid = fork();
	if (pid == 0)
		exec_command(path, argv, fds);
	if (pid > 0) {
		setpgid(pid, pid);
		replace_group(0, pid);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
}

static void
close_pair(const int pair[2])
{
	if (pair[0] >= 0)
		close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
}

/* Opens one pipe for each standard stream; only our ends do not block. */
static int
open_pipes(int pipes[COMMAND_FDS][2], bool with_input)
{
	for (int i = 0; i < COMMAND_FDS; i++)
		pipes[i][0] = pipes[i][1] = -1;
	if (!with_input)
		pipes[0][0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if ((with_input ? pipe2(pipes[0], O_CLOEXEC) : pipes[0][0]) < 0 ||
	    pipe2(pipes[1], O_CLOEXEC) < 0 || pipe2(pipes[2], O_CLOEXEC) < 0)
		return -errno;
	if (with_input)
		fcntl(pipes[0][1], F_SETFL, O_NONBLOCK);
	fcntl(pipes[1][0], F_SETFL, O_NONBLOCK);
	fcntl(pipes[2][0], F_SETFL, O_NONBLOCK);
	return 0;
}

static int
start_process(struct command *c, const char *path, char *const *argv,
    const char *input, size_t input_size)
{
	int pipes[COMMAND_FDS][2], error;

	catch_stop_signals();
	memset(c, 0, sizeof(*c));
	error = open_pipes(pipes, input != NULL);
	c->out.data = malloc(COMMAND_HEAD + COMMAND_TAIL);
	c->err.data = malloc(COMMAND_HEAD + COMMAND_TAIL);
	if (error == 0 && (c->out.data == NULL || c->err.data == NULL))
		error = -ENOMEM;
	if (error == 0) {
		int fds[COMMAND_FDS] = { pipes[0][0], pipes[1][1],
		    pipes[2][1] };

		c->pid = fork_command(path, argv, fds);
		error = c->pid < 0 ? -errno : 0;
	}
	if (error < 0) {
		for (int i = 0; i < COMMAND_FDS; i++)
			close_pair(pipes[i]);
		c->pid = 0;
		command_free(c);
		return error;
	}
	close(pipes[0][0]);
	close(pipes[1][1]);
	close(pipes[2][1]);
	c->in = pipes[0][1];
	c->out.fd = pipes[1][0];
	c->err.fd = pipes[2][0];
	c->input = input;
	c->input_size = input_size;
	return 0;
}

int
command_start(struct command *c, const char *line, const char *input,
    size_t input_size)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)line,
	    NULL };

	return start_process(c, "/bin/sh", argv, input, input_size);
}

int
command_start_program(struct command *c, const char *path, char *const *argv)
{
	return start_process(c, path, argv, NULL, 0);
}

void
command_poll_fds(const struct command *c, struct pollfd *fds)
{
	fds[0] = (struct pollfd){ c->in, POLLOUT, 0 };
	fds[1] = (struct pollfd){ c->out.fd, POLLIN, 0 };
	fds[2] = (struct pollfd){ c->err.fd, POLLIN, 0 };
}

/*
 * Adds bytes to the output. When the buffer is full, half of the tail is
 * dropped.
 */
static void
keep_output(struct command_output *o, const char *data, size_t size)
{
	o->total += size;
	while (size > 0) {
		size_t room = COMMAND_HEAD + COMMAND_TAIL - o->size;
		size_t n = size < room ? size : room;

		if (room == 0) {
			memmove(o->data + COMMAND_HEAD,
			    o->data + COMMAND_HEAD + COMMAND_TAIL / 2,
			    COMMAND_TAIL / 2);
			o->size -= COMMAND_TAIL / 2;
			continue;
		}
		memcpy(o->data + o->size, data, n);
		o->size += n;
		data += n;
		size -= n;
	}
}

/*
 * Reads what is there, but at most one megabyte, because a command may write
 * faster than it is read.
 */
static void
read_output(struct command_output *o)
{
	static char chunk[65536];

	for (int i = 0; i < 16 && o->fd >= 0; i++) {
		ssize_t n = read(o->fd, chunk, sizeof(chunk));

		if (n > 0)
			keep_output(o, chunk, (size_t)n);
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		else {
			close(o->fd);
			o->fd = -1;
		}
	}
}

static void
write_input(struct command *c)
{
	ssize_t n;

	if (c->in < 0)
		return;
	n = write(c->in, c->input, c->input_size);
	if (n > 0) {
		c->input += n;
		c->input_size -= (size_t)n;
	}
	if (c->input_size == 0 || (n < 0 && errno != EAGAIN &&
	    errno != EINTR)) {
		close(c->in);
		c->in = -1;
	}
}

void
command_transfer(struct command *c)
{
	write_input(c);
	read_output(&c->out);
	read_output(&c->err);
}

bool
command_has_ended(struct command *c)
{
	if (c->pid == 0)
		return true;
	/* The group stays known until the process is reaped and stopped. */
	return waitpid(c->pid, &c->wait_status, WNOHANG | __WALL) != 0;
}

static void
close_stream(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
command_stop(struct command *c, int64_t grace)
{
	int64_t until = net_now() + grace;
	bool has_ended = command_has_ended(c);

	if (c->pid == 0)
		return;
	if (!has_ended && grace > 0)
		kill(-c->pid, SIGTERM);
	while (!has_ended && net_now() < until) {
		net_poll(NULL, 0, 10 * NET_MS);
		command_transfer(c);
		has_ended = command_has_ended(c);
	}
	if (!has_ended) {
		kill(-c->pid, SIGKILL);
		waitpid(c->pid, &c->wait_status, 0);
	}
	replace_group(c->pid, 0);
	kill_group(c->pid);
	command_transfer(c);
	c->pid = 0;
	close_stream(&c->in);
	close_stream(&c->out.fd);
	close_stream(&c->err.fd);
}

void
command_free(struct command *c)
{
	free(c->out.data);
	free(c->err.data);
	c->out.data = c->err.data = NULL;
}

int
command_status(const struct command *c)
{
	return WIFSIGNALED(c->wait_status) ? 128 + WTERMSIG(c->wait_status) :
	    WEXITSTATUS(c->wait_status);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t
command_last_line(const struct command_output *o, const char **line)
{
	size_t end = o->size, start;

	while (end > 0 && is_blank(o->data[end - 1]))
		end--;
	for (start = end; start > 0 && o->data[start - 1] != '\n'; start--)
		;
	*line = o->data + start;
	return end - start;
}

/* Appends text to out, quoted for the shell. Returns the end. */
static char *
append_quoted(char *out, const char *text)
{
	*out++ = '\'';
	for (; *text != '\0'; text++)
		if (*text == '\'')
			out = stpcpy(out, "'\\''");
		else
			*out++ = *text;
	*out++ = '\'';
	return out;
}

/* The word at the beginning of text, or NULL. */
static const struct command_word *
find_word(const char *text, const struct command_word *words)
{
	for (; words->name != NULL; words++)
		if (strncmp(text, words->name, strlen(words->name)) == 0)
			return words;
	return NULL;
}

char *
command_substitute(const char *command, const struct command_word *words)
{
	const struct command_word *word;
	size_t size = strlen(command) + 1;
	char *line, *out;

	for (const char *p = command; *p != '\0'; p++)
		if ((word = find_word(p, words)) != NULL)
			size += 4 * strlen(word->value) + 2;
	if ((line = out = malloc(size)) == NULL)
		return NULL;
	while (*command != '\0')
		if ((word = find_word(command, words)) != NULL) {
			out = append_quoted(out, word->value);
			command += strlen(word->name);
		} else
			*out++ = *command++;
	*out = '\0';
	return line;
}
