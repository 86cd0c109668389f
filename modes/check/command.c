#include "command.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum { MAX_RUNNING = 4 };

/* The commands that run, for the signal handler; keeper 0: a free entry. */
static struct { volatile pid_t keeper; volatile int control; }
    running[MAX_RUNNING];

static void
replace_running(pid_t old, pid_t keeper, int control)
{
	for (int i = 0; i < MAX_RUNNING; i++)
		if (running[i].keeper == old) {
			running[i].control = control;
			running[i].keeper = keeper;
			return;
		}
}

static void
wait_for_keeper(pid_t keeper)
{
	while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Stops all commands; calls only functions that a signal handler may call. */
static void
stop_running(void)
{
	for (int i = 0; i < MAX_RUNNING; i++)
		if (running[i].keeper > 0)
			net_fin(running[i].control);
	for (int i = 0; i < MAX_RUNNING; i++)
		if (running[i].keeper > 0)
			wait_for_keeper(running[i].keeper);
}

/* Stops all commands and then ends this program by the same signal. */
static void
stop_and_end(int sig)
{
	stop_running();
	raise(sig);
}

/*
 * The default action is restored before the handler runs (SA_RESETHAND). A
 * signal that was ignored when check was started stays ignored.
 */
static void
catch_ending_signals(void)
{
	struct sigaction now, end = { .sa_handler = stop_and_end,
	    .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
	static bool done;

	if (done)
		return;
	done = true;
	atexit(stop_running);
	sigemptyset(&end.sa_mask);
	for (int i = 0; i < KEEPER_SIGNALS; i++)
		if (sigaction(keeper_signals[i], NULL, &now) == 0 &&
		    now.sa_handler != SIG_IGN)
			sigaction(keeper_signals[i], &end, NULL);
}

/*
 * Forks the keeper. The ending signals are blocked until the keeper is in the
 * list of their handler. Returns 0 or -errno.
 */
static int
fork_keeper(struct command *c, const struct keeper_plan *plan)
{
	sigset_t ending, before;
	int ends[2], error;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	sigemptyset(&ending);
	for (int i = 0; i < KEEPER_SIGNALS; i++)
		sigaddset(&ending, keeper_signals[i]);
	sigprocmask(SIG_BLOCK, &ending, &before);
	c->keeper = fork();
	error = errno;
	if (c->keeper == 0)
		keeper_run(ends[1], plan, c->record, &before);
	close(ends[1]);
	c->control = ends[0];
	if (c->keeper > 0)
		replace_running(0, c->keeper, c->control);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (c->keeper > 0)
		return 0;
	c->keeper = 0;
	close(c->control);
	return -error;
}

int
command_start(struct command *c, const struct keeper_plan *plan)
{
	int error;

	c->record = mmap(NULL, sizeof(*c->record), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c->record == MAP_FAILED) {
		c->record = NULL;
		return -errno;
	}
	catch_ending_signals();
	if ((error = fork_keeper(c, plan)) < 0)
		command_free(c);
	return error;
}

/* If the keeper sends no byte, the keeper and the command were killed. */
static void
receive_end(struct command *c)
{
	ssize_t n;
	char byte;

	do
		n = recv(c->control, &byte, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		c->record->wait_status = SIGKILL;
	c->has_ended = true;
}

bool
command_has_ended(struct command *c, int64_t ns)
{
	struct pollfd keeper = { c->control, POLLIN, 0 };
	int64_t until = net_now() + ns;

	if (c->keeper == 0)
		return true;
	while (!c->has_ended) {
		int64_t left = until - net_now();

		if (net_poll(&keeper, 1, left > 0 ? left : 0) > 0)
			receive_end(c);
		else if (left <= 0)
			return false;
	}
	return true;
}

void
command_stop(struct command *c)
{
	if (c->keeper == 0)
		return;
	net_fin(c->control);
	if (!c->has_ended)
		receive_end(c);
	wait_for_keeper(c->keeper);
	replace_running(c->keeper, 0, -1);
	close(c->control);
	c->keeper = 0;
}

void
command_free(struct command *c)
{
	if (c->record != NULL)
		munmap(c->record, sizeof(*c->record));
	*c = (struct command){ .record = NULL };
}

int
command_status(const struct command *c)
{
	int status = c->record->wait_status;

	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
	    WEXITSTATUS(status);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t
command_last_line(const struct keeper_output *o, const char **line)
{
	size_t end = o->size, start;

	while (end > 0 && is_blank(o->data[end - 1]))
		end--;
	for (start = end; start > 0 && o->data[start - 1] != '\n'; start--)
		;
	*line = o->data + start;
	return end - start;
}

/* Whether the shell takes the text as one word, without changes. */
static bool
is_plain_word(const char *text)
{
	const char *p = text;

	while (isalnum((unsigned char)*p) || (*p != '\0' &&
	    strchr("._:/@%+-", *p) != NULL))
		p++;
	return *p == '\0' && p > text;
}

/* Appends text to out, quoted for the shell if needed. Returns the end. */
static char *
append_quoted(char *out, const char *text)
{
	if (is_plain_word(text))
		return stpcpy(out, text);
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
