#include "controlplane/iked/number_map.h"

#include <stdlib.h>

void number_map_fini(struct number_map *map)
{
	free(map->runs);
	*map = (struct number_map){0};
}

void number_map_reset(struct number_map *map)
{
	map->n = 0;
	map->last_ring = 0;
}

int number_map_add(struct number_map *map, uint64_t ring, uint64_t engine)
{
	const bool is_own = engine == 0;
	const uint64_t offset = is_own ? 0 : engine - ring;
	struct number_run *last = map->n > 0 ? &map->runs[map->n - 1] : NULL;

	if (last && last->is_own == is_own && last->offset == offset) {
		map->last_ring = ring;
		return 0;
	}
	if (map->n == map->cap) {
		size_t cap = map->cap > 0 ? map->cap * 2 : 16;
		struct number_run *runs = realloc(map->runs, cap * sizeof(*runs));

		if (!runs)
			return -1;
		map->runs = runs;
		map->cap = cap;
	}
	map->runs[map->n++] = (struct number_run){ring, offset, is_own};
	map->last_ring = ring;
	return 0;
}

uint64_t number_map_to_engine(const struct number_map *map, uint64_t ring)
{
	if (ring > map->last_ring)
		return 0;
	/* Recent numbers are asked for most. */
	for (size_t i = map->n; i-- > 0;) {
		const struct number_run *run = &map->runs[i];

		if (ring >= run->first_ring)
			return run->is_own ? 0 : ring + run->offset;
	}
	return 0;
}

uint64_t number_map_to_ring(const struct number_map *map, uint64_t engine)
{
	uint64_t next_first = map->last_ring + 1;

	for (size_t i = map->n; i-- > 0; next_first = map->runs[i].first_ring) {
		const struct number_run *run = &map->runs[i];
		const uint64_t ring = engine - run->offset;

		if (!run->is_own && ring >= run->first_ring && ring < next_first)
			return ring;
	}
	return 0;
}
