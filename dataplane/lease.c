#include "dataplane/lease.h"

#include <stdlib.h>

struct lease {
	uint32_t owner;     /* 0: free */
	uint32_t free_at_s; /* when a free one has rested */
};

struct lease_table {
	uint32_t n;
	uint32_t cursor; /* next index to look at: freed ones are used again as late as can be */
	struct lease leases[];
};

struct lease_table *lease_table_create(unsigned int index_bits)
{
	uint32_t n = 1u << index_bits;
	struct lease_table *t = calloc(1, sizeof(*t) + n * sizeof(t->leases[0]));

	if (t)
		t->n = n;
	return t;
}

void lease_table_destroy(struct lease_table *t)
{
	free(t);
}

static bool is_free(const struct lease *l, uint32_t now_s)
{
	return l->owner == 0 && l->free_at_s <= now_s;
}

uint32_t lease_take(
	struct lease_table *t, uint32_t owner, uint32_t wanted, uint32_t now_s, uint32_t *first)
{
	uint32_t looked = 0, got = 0;

	while (looked < t->n && !is_free(&t->leases[t->cursor], now_s)) {
		t->cursor = (t->cursor + 1) % t->n;
		looked++;
	}
	if (looked == t->n || owner == 0)
		return 0;
	*first = t->cursor;
	while (got < wanted && *first + got < t->n && is_free(&t->leases[*first + got], now_s))
		t->leases[*first + got++].owner = owner;
	t->cursor = (*first + got) % t->n;
	return got;
}

bool lease_is_of(const struct lease_table *t, uint32_t index, uint32_t owner)
{
	return index < t->n && t->leases[index].owner == owner;
}

bool lease_adopt(struct lease_table *t, uint32_t index, uint32_t owner)
{
	if (index >= t->n || (t->leases[index].owner != 0 && t->leases[index].owner != owner))
		return false;
	t->leases[index].owner = owner;
	return true;
}

void lease_move(struct lease_table *t, uint32_t index, uint32_t from, uint32_t to)
{
	if (lease_is_of(t, index, from))
		t->leases[index].owner = to;
}

void lease_return(struct lease_table *t, uint32_t index, uint32_t owner, uint32_t now_s)
{
	if (!lease_is_of(t, index, owner))
		return;
	t->leases[index] = (struct lease){.free_at_s = now_s + LEASE_REST_S};
}

void lease_return_all(struct lease_table *t, uint32_t owner, uint32_t now_s,
	bool (*keep)(void *ctx, uint32_t index), void *ctx)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (t->leases[i].owner == owner && !(keep && keep(ctx, i)))
			lease_return(t, i, owner, now_s);
	}
}

void lease_rest(struct lease_table *t, uint32_t index, uint32_t until_s)
{
	if (index < t->n && t->leases[index].owner == 0)
		t->leases[index].free_at_s = until_s;
}

void lease_rest_end(struct lease_table *t, uint32_t now_s)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (t->leases[i].owner == 0 && t->leases[i].free_at_s == UINT32_MAX)
			t->leases[i].free_at_s = now_s + LEASE_REST_S;
	}
}
