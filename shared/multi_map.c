#include "shared/multi_map.h"

enum { SPACE = 0 };

void multi_map_fini(struct multi_map *m)
{
	handle_map_fini(&m->first);
}

struct multi_link *multi_map_first(const struct multi_map *m, uint64_t key)
{
	return handle_map_find(&m->first, SPACE, key);
}

struct multi_link *multi_map_next(const struct multi_map *m, const struct multi_link *link)
{
	return link->next == multi_map_first(m, link->key) ? NULL : link->next;
}

struct multi_link *multi_map_last(const struct multi_map *m, uint64_t key)
{
	const struct multi_link *first = multi_map_first(m, key);

	return first ? first->prev : NULL;
}

struct multi_link *multi_map_prev(const struct multi_map *m, const struct multi_link *link)
{
	return link == multi_map_first(m, link->key) ? NULL : link->prev;
}

int multi_map_add(struct multi_map *m, uint64_t key, struct multi_link *link)
{
	struct multi_link *first = multi_map_first(m, key);

	if (!first) {
		if (handle_map_insert(&m->first, SPACE, key, link) < 0)
			return -1;
		first = link->next = link->prev = link;
	}
	link->key = key;
	link->next = first;
	link->prev = first->prev;
	first->prev->next = link;
	first->prev = link;
	return 0;
}

void multi_map_remove(struct multi_map *m, struct multi_link *link)
{
	if (!link->next)
		return;
	if (link->next == link)
		handle_map_remove(&m->first, SPACE, link->key);
	else if (multi_map_first(m, link->key) == link)
		handle_map_replace(&m->first, SPACE, link->key, link->next);
	link->prev->next = link->next;
	link->next->prev = link->prev;
	*link = (struct multi_link){0};
}
