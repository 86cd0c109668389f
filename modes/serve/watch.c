#include "watch.h"

#include <stddef.h>
#include <unistd.h>

static const struct poller *poller;

void
watch_use(const struct poller *used)
{
	poller = used;
}

int
watch_set(struct watch *watch, unsigned events)
{
	int error = 0;

	if (events == watch->events)
		return 0;
	if (poller != NULL)
		error = poller->set(watch, events);
	if (error == 0)
		watch->events = (uint8_t)events;
	return error;
}

void
watch_close(struct watch *watch)
{
	if (poller != NULL && poller->close != NULL)
		poller->close(watch->fd);
	else
		close(watch->fd);
	watch->fd = -1;
}
