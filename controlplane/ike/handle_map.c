#include "controlplane/ike/handle_map.h"

#include <stdlib.h>

static size_t slot_of(const struct handle_map *map, uint64_t key)
{
	key ^= key >> 32;
	key *= 0x9e3779b97f4a7c15ull;
	return (size_t)(key >> 20) & (map->cap - 1);
}

static void insert(struct handle_map *map, uint64_t key, void *value)
{
	size_t i = slot_of(map, key);

	while (map->slots[i].key)
		i = (i + 1) & (map->cap - 1);
	map->slots[i] = (struct handle_slot){key, value};
}

static int grow(struct handle_map *map)
{
	struct handle_map bigger = {.cap = map->cap ? map->cap * 2 : 16, .n = map->n};

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -1;
	for (size_t i = 0; i < map->cap; i++)
		if (map->slots[i].key)
			insert(&bigger, map->slots[i].key, map->slots[i].value);
	free(map->slots);
	*map = bigger;
	return 0;
}

void handle_map_fini(struct handle_map *map)
{
	free(map->slots);
	*map = (struct handle_map){0};
}

int handle_map_put(struct handle_map *map, uint64_t key, void *value)
{
	if ((map->n + 1) * 4 > map->cap * 3 && grow(map) < 0)
		return -1;
	insert(map, key, value);
	map->n++;
	return 0;
}

static struct handle_slot *find(const struct handle_map *map, uint64_t key)
{
	if (!map->cap || !key)
		return NULL;
	for (size_t i = slot_of(map, key); map->slots[i].key; i = (i + 1) & (map->cap - 1))
		if (map->slots[i].key == key)
			return &map->slots[i];
	return NULL;
}

void *handle_map_find(const struct handle_map *map, uint64_t key)
{
	const struct handle_slot *slot = find(map, key);

	return slot ? slot->value : NULL;
}

void handle_map_remove(struct handle_map *map, uint64_t key)
{
	struct handle_slot *slot = find(map, key);

	if (!slot)
		return;
	size_t hole = (size_t)(slot - map->slots);

	/* Close the gap: move back what would not be found any more. */
	for (size_t i = (hole + 1) & (map->cap - 1); map->slots[i].key;
		i = (i + 1) & (map->cap - 1)) {
		size_t home = slot_of(map, map->slots[i].key);

		if (((i - home) & (map->cap - 1)) >= ((i - hole) & (map->cap - 1))) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole] = (struct handle_slot){0};
	map->n--;
}
