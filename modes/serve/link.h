/*
 * A doubly linked list. Its head is a link, too, which points to itself if the
 * list is empty. A struct that is in a list begins with its link.
 */
#ifndef LINK_H
#define LINK_H

#include <stdint.h>

/*
 * Aligned like the struct that begins with the link, for -Wcast-align on ARM.
 */
struct link {
	_Alignas(int64_t) struct link *next;
	struct link *prev;
};

static inline void
link_init(struct link *head)
{
	head->next = head->prev = head;
}

static inline void
link_append(struct link *head, struct link *link)
{
	link->next = head;
	link->prev = head->prev;
	head->prev->next = link;
	head->prev = link;
}

static inline void
link_remove(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
}

#endif
