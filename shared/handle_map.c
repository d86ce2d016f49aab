#include "shared/handle_map.h"

#include <stdlib.h>

#define SLOTS_FIRST 16

/* A removed entry leaves a tombstone, so that a walk's cursor stays right. */
struct handle_slot {
	uint64_t handle; /* 0: never used */
	void *object;    /* NULL: tombstone */
	uint32_t space;
};

/* Each bit of both counts in the low bits: handles count up, hashes differ anywhere. */
static size_t hash(uint32_t space, uint64_t handle)
{
	uint64_t x = handle ^ ((uint64_t)space << 40);

	x ^= x >> 32;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 29;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return (size_t)(x ^ (x >> 32));
}

struct handle_map *handle_map_create(void)
{
	return calloc(1, sizeof(struct handle_map));
}

void handle_map_fini(struct handle_map *m)
{
	free(m->slots);
	*m = (struct handle_map){0};
}

void handle_map_destroy(struct handle_map *m)
{
	if (!m)
		return;
	handle_map_fini(m);
	free(m);
}

static struct handle_slot *slot_find(const struct handle_map *m, uint32_t space, uint64_t handle)
{
	if (handle == 0 || m->n_slots == 0)
		return NULL;
	size_t i = hash(space, handle) & (m->n_slots - 1);

	for (;; i = (i + 1) & (m->n_slots - 1)) {
		struct handle_slot *s = &m->slots[i];

		if (s->handle == 0)
			return NULL;
		if (s->handle == handle && s->object && s->space == space)
			return s;
	}
}

void *handle_map_find(const struct handle_map *m, uint32_t space, uint64_t handle)
{
	const struct handle_slot *s = slot_find(m, space, handle);

	return s ? s->object : NULL;
}

static void place(struct handle_map *m, uint32_t space, uint64_t handle, void *object)
{
	size_t i = hash(space, handle) & (m->n_slots - 1);

	while (m->slots[i].handle != 0)
		i = (i + 1) & (m->n_slots - 1);
	m->slots[i] = (struct handle_slot){.handle = handle, .space = space, .object = object};
	m->n_used++;
}

/* Makes room: doubles if mostly live, else only drops the tombstones. */
static int rehash(struct handle_map *m)
{
	struct handle_slot *old = m->slots;
	size_t n_old = m->n_slots, n = m->n_live * 2 > n_old / 2 ? n_old * 2 : n_old;

	if (n < SLOTS_FIRST)
		n = SLOTS_FIRST;
	m->slots = calloc(n, sizeof(*m->slots));
	if (!m->slots) {
		m->slots = old;
		return -1;
	}
	m->n_slots = n;
	m->n_used = 0;
	for (size_t i = 0; i < n_old; i++) {
		if (old[i].object)
			place(m, old[i].space, old[i].handle, old[i].object);
	}
	free(old);
	return 0;
}

int handle_map_insert(struct handle_map *m, uint32_t space, uint64_t handle, void *object)
{
	if (handle == 0 || ((m->n_used + 1) * 4 > m->n_slots * 3 && rehash(m) < 0))
		return -1;
	place(m, space, handle, object);
	m->n_live++;
	return 0;
}

void handle_map_replace(struct handle_map *m, uint32_t space, uint64_t handle, void *object)
{
	struct handle_slot *s = slot_find(m, space, handle);

	if (s)
		s->object = object;
}

void handle_map_remove(struct handle_map *m, uint32_t space, uint64_t handle)
{
	struct handle_slot *s = slot_find(m, space, handle);

	if (!s)
		return;
	s->object = NULL;
	m->n_live--;
}

size_t handle_map_count(const struct handle_map *m)
{
	return m->n_live;
}

void *handle_map_next(const struct handle_map *m, size_t *cursor)
{
	while (*cursor < m->n_slots) {
		const struct handle_slot *s = &m->slots[(*cursor)++];

		if (s->object)
			return s->object;
	}
	return NULL;
}
