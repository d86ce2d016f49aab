#include "dataplane/spd_slab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

/* A chunk is aligned to its size, so that a line finds it; a huge page where there are any. */
#define CHUNK ((size_t)2 << 20)
#define LINES (CHUNK / SPD_LINE)
#define LINES_BEFORE 2 /* what the chunk's head takes */

struct line {
	struct line *next;
};

struct chunk {
	struct spd_slab *slab;
	struct line *free;
	uint32_t n_used;  /* lines that were ever handed out: the rest is untouched */
	uint32_t n_taken; /* lines out now */
	LIST_ENTRY(chunk) with_room;
	LIST_ENTRY(chunk) all;
};
_Static_assert(sizeof(struct chunk) <= LINES_BEFORE * SPD_LINE, "head of a chunk");

LIST_HEAD(chunk_list, chunk);

struct spd_slab {
	struct chunk_list with_room, all;
	uint64_t n_taken;
	uint64_t n_used; /* lines ever handed out of the chunks that are there */
	uint32_t n_chunks;
	bool is_closed;
};

struct spd_slab *spd_slab_create(void)
{
	struct spd_slab *slab = calloc(1, sizeof(*slab));

	if (slab == NULL)
		return NULL;
	LIST_INIT(&slab->with_room);
	LIST_INIT(&slab->all);
	return slab;
}

static void slab_free(struct spd_slab *slab)
{
	struct chunk *c;

	while ((c = LIST_FIRST(&slab->all)) != NULL) {
		LIST_REMOVE(c, all);
		free(c);
	}
	free(slab);
}

void spd_slab_destroy(struct spd_slab *slab)
{
	if (slab == NULL)
		return;
	slab->is_closed = true;
	if (slab->n_taken == 0)
		slab_free(slab);
}

static struct chunk *chunk_create(struct spd_slab *slab)
{
	struct chunk *c = aligned_alloc(CHUNK, CHUNK);

	if (c == NULL)
		return NULL;
#ifdef MADV_HUGEPAGE
	/* The first stays small: most gateways have few flows. */
	if (slab->n_chunks > 0)
		(void)madvise(c, CHUNK, MADV_HUGEPAGE);
#endif
	memset(c, 0, sizeof(*c));
	c->slab = slab;
	c->n_used = LINES_BEFORE;
	LIST_INSERT_HEAD(&slab->with_room, c, with_room);
	LIST_INSERT_HEAD(&slab->all, c, all);
	slab->n_chunks++;
	return c;
}

void *spd_slab_take(struct spd_slab *slab)
{
	struct chunk *c = LIST_FIRST(&slab->with_room);
	void *line;

	if (c == NULL)
		c = chunk_create(slab);
	if (c == NULL)
		return NULL;
	if (c->free != NULL) {
		line = c->free;
		c->free = c->free->next;
	} else {
		line = (uint8_t *)c + (size_t)c->n_used++ * SPD_LINE;
		slab->n_used++;
	}
	c->n_taken++;
	slab->n_taken++;
	if (c->free == NULL && c->n_used == LINES)
		LIST_REMOVE(c, with_room);
	return memset(line, 0, SPD_LINE);
}

static void chunk_release(struct spd_slab *slab, struct chunk *c)
{
	LIST_REMOVE(c, with_room);
	LIST_REMOVE(c, all);
	slab->n_chunks--;
	slab->n_used -= c->n_used - LINES_BEFORE;
	free(c);
}

void spd_slab_give(void *line)
{
	struct chunk *c = (struct chunk *)((uintptr_t)line & ~(uintptr_t)(CHUNK - 1));
	struct spd_slab *slab = c->slab;
	bool was_full = c->free == NULL && c->n_used == LINES;
	struct line *l = line;

	l->next = c->free;
	c->free = l;
	c->n_taken--;
	slab->n_taken--;
	if (was_full)
		LIST_INSERT_HEAD(&slab->with_room, c, with_room);
	if (slab->is_closed && slab->n_taken == 0)
		slab_free(slab);
	else if (c->n_taken == 0 && slab->n_chunks > 1)
		chunk_release(slab, c);
}

uint64_t spd_slab_memory(const struct spd_slab *slab)
{
	return (slab->n_used + (uint64_t)slab->n_chunks * LINES_BEFORE) * SPD_LINE;
}
