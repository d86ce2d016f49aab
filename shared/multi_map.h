#pragma once

#include "shared/handle_map.h"

/*
 * Objects by a key that several may share (an address, an identity, a policy): each has a link
 * of its own in its struct, those of one key are a ring, oldest first. A zeroed map is empty,
 * a zeroed link is in no map. Keys that come from outside are keyed hashes: the caller compares
 * what it finds. 0 is not a key.
 */
struct multi_link {
	struct multi_link *next, *prev; /* NULL: in no map */
	uint64_t key;
};

struct multi_map {
	struct handle_map first;
};

/* The object that a link is part of. */
#define multi_object(link, type, member) \
	((link) ? (type *)((char *)(link)-offsetof(type, member)) : (type *)NULL)

void multi_map_fini(struct multi_map *m); /* the links are not touched */
/* The link must be in no map. 0, or -1 without memory. */
int multi_map_add(struct multi_map *m, uint64_t key, struct multi_link *link)
	__attribute__((warn_unused_result));
void multi_map_remove(struct multi_map *m, struct multi_link *link); /* may be in none */
/* All of a key, from the oldest to the newest, or back; NULL: none, no more. Before one is
 * removed ask for the next of it. */
struct multi_link *multi_map_first(const struct multi_map *m, uint64_t key);
struct multi_link *multi_map_next(const struct multi_map *m, const struct multi_link *link);
struct multi_link *multi_map_last(const struct multi_map *m, uint64_t key);
struct multi_link *multi_map_prev(const struct multi_map *m, const struct multi_link *link);
