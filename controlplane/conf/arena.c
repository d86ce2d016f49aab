#include "controlplane/conf/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "shared/wipe.h"

struct arena_block {
	struct arena_block *next;
	size_t size;
	max_align_t data[];
};

int arena_run(struct arena *arena, void (*fn)(void *arg), void *arg)
{
	jmp_buf escape;

	assert(!arena->escape);
	arena->escape = &escape;
	if (setjmp(escape) != 0) {
		arena->escape = NULL;
		return -1;
	}
	fn(arg);
	arena->escape = NULL;
	return 0;
}

static void *check(struct arena *arena, void *p)
{
	assert(arena->escape);
	if (!p)
		longjmp(*arena->escape, 1);
	return p;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_block *b = check(arena, calloc(1, sizeof(*b) + size));

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

void *conf_calloc(struct arena *arena, size_t n, size_t size)
{
	return check(arena, calloc(n ? n : 1, size));
}

void *conf_grow(struct arena *arena, void *array_pointer, size_t *n, size_t size)
{
	void **array = array_pointer;

	/* Powers of two: grow only when n is one (or 0). */
	if ((*n & (*n - 1)) == 0)
		*array = check(arena, reallocarray(*array, *n ? 2 * *n : 1, size));
	return memset((char *)*array + (*n)++ * size, 0, size);
}

char *conf_strdup(struct arena *arena, const char *text)
{
	return text ? check(arena, strdup(text)) : NULL;
}
