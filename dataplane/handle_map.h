#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Objects by (owner, handle), main's only. Order of a walk is none. */
struct handle_map;

struct handle_map *handle_map_create(void);    /* NULL: no memory */
void handle_map_destroy(struct handle_map *m); /* the objects are the caller's */
void *handle_map_find(const struct handle_map *m, uint32_t owner, uint64_t handle);
/* 0, or -1 without memory. The pair must not be there. */
int handle_map_insert(struct handle_map *m, uint32_t owner, uint64_t handle, void *object)
	__attribute__((warn_unused_result));
void handle_map_remove(struct handle_map *m, uint32_t owner, uint64_t handle);
size_t handle_map_count(const struct handle_map *m);
/* Walk: *cursor starts at 0; NULL at the end. Removing the object just returned is allowed. */
void *handle_map_next(const struct handle_map *m, size_t *cursor);
