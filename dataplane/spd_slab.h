#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Memory of the SPD's small objects: cache lines out of large chunks, so that a million of them
 * cost a million lines, not twice that, and few TLB entries. One thread takes and gives back.
 */
#define SPD_LINE 64

struct spd_slab;

struct spd_slab *spd_slab_create(void); /* NULL: no memory */
/* Its memory goes when the last line has been given back. */
void spd_slab_destroy(struct spd_slab *slab);
/* A zeroed line, or NULL. */
void *spd_slab_take(struct spd_slab *slab);
/* Of the type that deferred freeing wants. */
void spd_slab_give(void *line);
uint64_t spd_slab_memory(const struct spd_slab *slab);
