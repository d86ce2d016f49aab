#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * From a 64-bit number (handle, SPI, hash) of a space (owner, kind) to an object: open
 * addressing, grows by doubling. A zeroed one is empty. The numbers are our own or come from a
 * keyed hash, so that nobody outside can make them collide. 0 is never a handle. One thread.
 */
struct handle_map {
	struct handle_slot *slots;
	size_t n_slots; /* power of two, or 0 */
	size_t n_live, n_used;
};

struct handle_map *handle_map_create(void);    /* NULL: no memory */
void handle_map_destroy(struct handle_map *m); /* the objects are the caller's */
void handle_map_fini(struct handle_map *m);    /* of one that is part of a struct; empty after */
void *handle_map_find(const struct handle_map *m, uint32_t space, uint64_t handle);
/* 0, or -1 without memory (or for handle 0). The pair must not be there; object is not NULL. */
int handle_map_insert(struct handle_map *m, uint32_t space, uint64_t handle, void *object)
	__attribute__((warn_unused_result));
/* Another object under a handle that is there: cannot fail. */
void handle_map_replace(struct handle_map *m, uint32_t space, uint64_t handle, void *object);
void handle_map_remove(struct handle_map *m, uint32_t space, uint64_t handle);
size_t handle_map_count(const struct handle_map *m);
/* Walk, in no order: *cursor starts at 0; NULL at the end. Removing objects is allowed, the one
 * just returned or others; inserting is not. */
void *handle_map_next(const struct handle_map *m, size_t *cursor);
