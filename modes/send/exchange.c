#include "exchange.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/lib/text.h"

ssize_t
exchange_read_input(const struct exchange *x, void *buf, size_t size)
{
	ssize_t n = read(x->input, buf, size);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		err(STATUS_LOCAL, "cannot read standard input");
	return n;
}

void
exchange_print(struct exchange *x, const void *data, size_t size)
{
	const char *rest = data;

	while (size > 0) {
		ssize_t n = write(STDOUT_FILENO, rest, size);
		struct pollfd out = { STDOUT_FILENO, POLLOUT, 0 };

		if (n < 0 && errno == EAGAIN)
			net_poll(&out, 1, NET_FOREVER);
		else if (n < 0 && errno != EINTR)
			err(STATUS_LOCAL, "cannot write to standard output");
		else if (n > 0) {
			rest += n;
			size -= (size_t)n;
			x->printed += (uint64_t)n;
		}
	}
}

static void
print_json(const struct exchange *x)
{
	char server[TEXT_JSON(NET_NAME_MAX)], why[TEXT_JSON(EXCHANGE_WHY)];
	char time[TEXT_TIME];

	text_json(server, x->server.name, strlen(x->server.name),
	    NET_NAME_MAX);
	text_json(why, x->why, strlen(x->why), EXCHANGE_WHY);
	fprintf(stderr, "{\"server\":%s,\"sent\":%" PRIu64 ",\"returned\":%"
	    PRIu64 ",\"identical\":%s,\"duration_ms\":%s,\"status\":%d,"
	    "\"reason\":%s}\n", server, x->sent, x->returned,
	    x->status == STATUS_OK ? "true" : "false",
	    text_milliseconds(time, x->progress - x->started), (int)x->status,
	    *x->why == '\0' ? "null" : why);
}

static void
print_success(const struct exchange *x)
{
	char time[TEXT_TIME], datagrams[64] = "", repeated[64] = "";

	if (x->datagrams > 1)
		snprintf(datagrams, sizeof(datagrams), " in %" PRIu64
		    " datagrams", x->datagrams);
	if (x->repeated > 0)
		snprintf(repeated, sizeof(repeated), " (%" PRIu64
		    " sent again)", x->repeated);
	fprintf(stderr, "%s returned %" PRIu64 " byte%s%s, identical, in "
	    "%s%s\n", x->server.name, x->returned, PLURAL(x->returned),
	    datagrams, text_time(time, x->progress - x->started), repeated);
}

void
exchange_report(const struct exchange *x, bool json, int verbosity)
{
	if (json)
		print_json(x);
	else if (x->status != STATUS_OK)
		warnx("%s %s", x->server.name, x->why);
	else if (verbosity >= 0)
		print_success(x);
}
