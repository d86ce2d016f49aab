#include "controlplane/conf/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/wipe.h"

struct arena_block {
	struct arena_block *next;
	size_t size;
	max_align_t data[];
};

static void *check(void *p)
{
	if (!p) {
		fprintf(stderr, "out of memory\n");
		abort();
	}
	return p;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_block *b = check(calloc(1, sizeof(*b) + size));

	b->size = size;
	b->next = arena->blocks;
	arena->blocks = b;
	return b->data;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
	char *copy = arena_alloc(arena, len + 1);

	memcpy(copy, text, len);
	return copy;
}

void arena_fini(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *b = arena->blocks;

		arena->blocks = b->next;
		wipe(b->data, b->size);
		free(b);
	}
}

void *conf_calloc(size_t n, size_t size)
{
	return check(calloc(n ? n : 1, size));
}

void *conf_grow(void *array_pointer, size_t n, size_t size)
{
	void **array = array_pointer;

	/* Powers of two: grow only when n is one (or 0). */
	if ((n & (n - 1)) == 0)
		*array = check(reallocarray(*array, n ? 2 * n : 1, size));
	return memset((char *)*array + n * size, 0, size);
}

char *conf_strdup(const char *text)
{
	return text ? check(strdup(text)) : NULL;
}
