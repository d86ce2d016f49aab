#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * From a 64-bit number (handle, SPI) to a pointer: open addressing, grows by doubling. The
 * numbers are chosen by ourselves, so a peer cannot make them collide. Key 0 is not allowed.
 */
struct handle_map {
	struct handle_slot {
		uint64_t key;
		void *value;
	} * slots;
	size_t cap, n; /* cap: power of two, or 0 */
};

void handle_map_fini(struct handle_map *map);
/* 0, -1 without memory. The key must not be there yet. */
int handle_map_put(struct handle_map *map, uint64_t key, void *value)
	__attribute__((warn_unused_result));
void *handle_map_find(const struct handle_map *map, uint64_t key); /* NULL if not there */
void handle_map_remove(struct handle_map *map, uint64_t key);
