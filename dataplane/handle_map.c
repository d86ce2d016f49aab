#include "dataplane/handle_map.h"

#include <stdlib.h>

#define SLOTS_FIRST 256

/* Open addressing; a removed entry leaves a tombstone, so that a walk's cursor stays right. */
struct entry {
	uint64_t handle; /* 0: never used */
	uint32_t owner;
	void *object; /* NULL: tombstone */
};

struct handle_map {
	struct entry *slots;
	size_t n_slots, n_live, n_used; /* used: live and tombstones */
};

static size_t hash(uint32_t owner, uint64_t handle)
{
	uint64_t x = (handle ^ ((uint64_t)owner << 40)) * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(x ^ (x >> 29));
}

struct handle_map *handle_map_create(void)
{
	struct handle_map *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->n_slots = SLOTS_FIRST;
	m->slots = calloc(m->n_slots, sizeof(*m->slots));
	if (!m->slots) {
		free(m);
		return NULL;
	}
	return m;
}

void handle_map_destroy(struct handle_map *m)
{
	if (!m)
		return;
	free(m->slots);
	free(m);
}

static struct entry *entry_find(const struct handle_map *m, uint32_t owner, uint64_t handle)
{
	size_t i = hash(owner, handle) & (m->n_slots - 1);

	for (;; i = (i + 1) & (m->n_slots - 1)) {
		struct entry *e = &m->slots[i];

		if (e->handle == 0)
			return NULL;
		if (e->object && e->handle == handle && e->owner == owner)
			return e;
	}
}

void *handle_map_find(const struct handle_map *m, uint32_t owner, uint64_t handle)
{
	struct entry *e = handle ? entry_find(m, owner, handle) : NULL;

	return e ? e->object : NULL;
}

static void place(struct handle_map *m, uint32_t owner, uint64_t handle, void *object)
{
	size_t i = hash(owner, handle) & (m->n_slots - 1);

	while (m->slots[i].handle != 0)
		i = (i + 1) & (m->n_slots - 1);
	m->slots[i] = (struct entry){.handle = handle, .owner = owner, .object = object};
	m->n_used++;
}

/* Makes room: doubles if mostly live, else only drops the tombstones. */
static int rehash(struct handle_map *m)
{
	struct entry *old = m->slots;
	size_t n_old = m->n_slots, n = m->n_live * 2 > n_old / 2 ? n_old * 2 : n_old;

	m->slots = calloc(n, sizeof(*m->slots));
	if (!m->slots) {
		m->slots = old;
		return -1;
	}
	m->n_slots = n;
	m->n_used = 0;
	for (size_t i = 0; i < n_old; i++) {
		if (old[i].object)
			place(m, old[i].owner, old[i].handle, old[i].object);
	}
	free(old);
	return 0;
}

int handle_map_insert(struct handle_map *m, uint32_t owner, uint64_t handle, void *object)
{
	if (handle == 0 || ((m->n_used + 1) * 4 > m->n_slots * 3 && rehash(m) < 0))
		return -1;
	place(m, owner, handle, object);
	m->n_live++;
	return 0;
}

void handle_map_remove(struct handle_map *m, uint32_t owner, uint64_t handle)
{
	struct entry *e = handle ? entry_find(m, owner, handle) : NULL;

	if (!e)
		return;
	e->object = NULL;
	m->n_live--;
}

size_t handle_map_count(const struct handle_map *m)
{
	return m->n_live;
}

void *handle_map_next(const struct handle_map *m, size_t *cursor)
{
	while (*cursor < m->n_slots) {
		struct entry *e = &m->slots[(*cursor)++];

		if (e->object)
			return e->object;
	}
	return NULL;
}
