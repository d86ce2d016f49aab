#pragma once

#include <stddef.h>

/*
 * Memory of one parse: everything a grammar allocates, gone (and wiped, as there are keys among
 * it) in one call, whichever way the parse ended. Running out of memory ends the program: a
 * configuration is read at start or by a helper process, and half of one is worse than none.
 */
struct arena_block;
struct arena {
	struct arena_block *blocks;
};

void *arena_alloc(struct arena *arena, size_t size); /* zeroed */
char *arena_strndup(struct arena *arena, const char *text, size_t len);
void arena_fini(struct arena *arena);

/* malloc and friends with the same rule. */
void *conf_calloc(size_t n, size_t size);
/* Room for one more element behind the n that *array holds; returns it, zeroed. */
void *conf_grow(void *array_pointer, size_t n, size_t size);
char *conf_strdup(const char *text); /* NULL gives NULL */
