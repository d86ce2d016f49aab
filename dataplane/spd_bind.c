#include "dataplane/spd_internal.h"

#include <stdlib.h>
#include <string.h>

/* Which SAs serve which flows. A worker sees a list that is made anew at each change. */

static uint32_t sa_bucket(const struct spd *spd, spd_owner_t owner, uint64_t sa_handle)
{
	return spd_hash_mix(sa_handle, owner, spd->seed) & spd->sa_mask;
}

/* Before: the better rank, then those bound later. */
static bool binding_before(const struct spd_binding *a, const struct spd_binding *b)
{
	if (a->rank != b->rank)
		return a->rank > b->rank;
	return a->serial > b->serial;
}

static void bindings_sort_in(struct spd_entry *e, struct spd_binding *b)
{
	struct spd_binding *at, *last = NULL;

	LIST_FOREACH(at, &e->bindings, of_entry)
	{
		if (binding_before(b, at)) {
			LIST_INSERT_BEFORE(at, b, of_entry);
			return;
		}
		last = at;
	}
	if (last == NULL)
		LIST_INSERT_HEAD(&e->bindings, b, of_entry);
	else
		LIST_INSERT_AFTER(last, b, of_entry);
}

/* A flow with few SAs, as nearly all are, has its list in the slab: packets read it. */
static bool is_in_slab(uint32_t n)
{
	return sizeof(struct spd_sa_list) + n * sizeof(struct spd_sa_ref) <= SPD_LINE;
}

static struct spd_sa_list *list_create(struct spd *spd, uint32_t n)
{
	return is_in_slab(n)
		       ? spd_slab_take(spd->slab)
		       : calloc(1, sizeof(struct spd_sa_list) + n * sizeof(struct spd_sa_ref));
}

void spd_sa_list_free(void *list)
{
	struct spd_sa_list *l = list;

	if (l != NULL && is_in_slab(l->n))
		spd_slab_give(l);
	else
		free(l);
}

/* After the readers that may have it. */
static void list_retire(struct spd *spd, struct spd_sa_list *list)
{
	spd->config.defer(spd->config.defer_ctx, spd_sa_list_free, list);
}

/* 0 or -1 (memory; the old list stands). */
static int list_publish(struct spd *spd, struct spd_entry *e)
{
	struct spd_sa_list *list = NULL, *old = atomic_load(&e->flow->sas);
	const struct spd_binding *b;
	uint32_t n = 0;

	LIST_FOREACH(b, &e->bindings, of_entry)
	n++;
	if (n > 0) {
		list = list_create(spd, n);
		if (list == NULL)
			return -1;
	}
	LIST_FOREACH(b, &e->bindings, of_entry)
	{
		list->n_usable += b->rank > SPD_SA_UNUSABLE;
		list->sas[list->n++] = b->sa;
	}
	atomic_store_explicit(&e->flow->sas, list, memory_order_release);
	if (e->is_linked)
		spd_table_reorder(spd, spd_table_for(spd, &e->spec), e);
	spd_changed(spd, e);
	if (old != NULL)
		list_retire(spd, old);
	return 0;
}

static void sa_buckets_grow(struct spd *spd)
{
	struct spd_binding_list *grown;
	struct spd_binding *b;
	uint32_t old_n = spd->sa_mask + 1;

	if (spd->n_bindings < old_n)
		return;
	grown = calloc((size_t)old_n * 4, sizeof(*grown));
	if (grown == NULL)
		return;
	spd->sa_mask = old_n * 4 - 1;
	for (uint32_t i = 0; i < old_n; i++) {
		while ((b = LIST_FIRST(&spd->by_sa[i])) != NULL) {
			LIST_REMOVE(b, of_sa);
			LIST_INSERT_HEAD(
				&grown[sa_bucket(spd, b->entry->owner, b->sa_handle)], b, of_sa);
		}
	}
	free(spd->by_sa);
	spd->by_sa = grown;
}

static struct spd_binding *binding_add(struct spd *spd, struct spd_entry *e, uint64_t sa_handle,
	struct spd_sa_ref sa, enum spd_sa_rank rank, uint64_t serial)
{
	struct spd_binding *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->sa_handle = sa_handle;
	b->sa = sa;
	b->rank = rank;
	b->serial = serial;
	b->entry = e;
	bindings_sort_in(e, b);
	LIST_INSERT_HEAD(&spd->by_sa[sa_bucket(spd, e->owner, sa_handle)], b, of_sa);
	spd->n_bindings++;
	sa_buckets_grow(spd);
	return b;
}

static void binding_remove(struct spd *spd, struct spd_binding *b)
{
	LIST_REMOVE(b, of_entry);
	LIST_REMOVE(b, of_sa);
	spd->n_bindings--;
	free(b);
}

/*
 * An SA that is going away must leave the list even without memory for a new one: then the flow
 * has no SA at all, so nothing passes in clear and the next binding repairs it.
 */
static void list_shrink(struct spd *spd, struct spd_entry *e)
{
	struct spd_sa_list *old = atomic_load(&e->flow->sas);

	if (list_publish(spd, e) == 0)
		return;
	atomic_store_explicit(&e->flow->sas, NULL, memory_order_release);
	spd_table_reorder(spd, spd_table_for(spd, &e->spec), e);
	spd_changed(spd, e);
	list_retire(spd, old);
}

static struct spd_binding *binding_find(struct spd_entry *e, uint64_t sa_handle)
{
	struct spd_binding *b;

	LIST_FOREACH(b, &e->bindings, of_entry)
	if (b->sa_handle == sa_handle)
		return b;
	return NULL;
}

int spd_flow_bind(struct spd *spd, spd_owner_t owner, const struct ipc_ref *flow,
	uint64_t sa_handle, struct spd_sa_ref sa, enum spd_sa_rank rank)
{
	struct spd_entry *e = spd_entry_find(spd, owner, flow->handle);
	struct spd_binding *b;

	if (e == NULL)
		return -IPC_E_NO_SUCH;
	if (e->spec.flow.generation != flow->generation)
		return -IPC_E_STALE;
	b = binding_find(e, sa_handle);
	if (b != NULL) { /* pushed again: a resync */
		b->sa = sa;
		b->rank = rank;
		LIST_REMOVE(b, of_entry);
		bindings_sort_in(e, b);
		list_shrink(spd, e);
		return 0;
	}
	b = binding_add(spd, e, sa_handle, sa, rank, spd->next_serial++);
	if (b == NULL)
		return -IPC_E_FULL;
	if (list_publish(spd, e) != 0) {
		binding_remove(spd, b);
		return -IPC_E_FULL;
	}
	return 0;
}

int spd_flow_unbind(
	struct spd *spd, spd_owner_t owner, const struct ipc_ref *flow, uint64_t sa_handle)
{
	struct spd_entry *e = spd_entry_find(spd, owner, flow->handle);
	struct spd_binding *b;

	if (e == NULL)
		return -IPC_E_NO_SUCH;
	if (e->spec.flow.generation != flow->generation)
		return -IPC_E_STALE;
	b = binding_find(e, sa_handle);
	if (b == NULL)
		return -IPC_E_NO_SUCH;
	binding_remove(spd, b);
	list_shrink(spd, e);
	return 0;
}

uint32_t spd_sa_set_rank(
	struct spd *spd, spd_owner_t owner, uint64_t sa_handle, enum spd_sa_rank rank)
{
	struct spd_binding *b;
	uint32_t n = 0;

	LIST_FOREACH(b, &spd->by_sa[sa_bucket(spd, owner, sa_handle)], of_sa)
	{
		if (b->entry->owner != owner || b->sa_handle != sa_handle)
			continue;
		n++;
		if (b->rank == rank)
			continue;
		b->rank = rank;
		LIST_REMOVE(b, of_entry);
		bindings_sort_in(b->entry, b);
		list_shrink(spd, b->entry);
	}
	return n;
}

uint32_t spd_sa_unbind(struct spd *spd, spd_owner_t owner, uint64_t sa_handle)
{
	struct spd_binding *b = LIST_FIRST(&spd->by_sa[sa_bucket(spd, owner, sa_handle)]), *next;
	uint32_t n = 0;

	for (; b != NULL; b = next) {
		struct spd_entry *e = b->entry;

		next = LIST_NEXT(b, of_sa);
		if (e->owner != owner || b->sa_handle != sa_handle)
			continue;
		binding_remove(spd, b);
		list_shrink(spd, e);
		n++;
	}
	return n;
}

void spd_entry_unbind_all(struct spd *spd, struct spd_entry *e)
{
	struct spd_binding *b;

	while ((b = LIST_FIRST(&e->bindings)) != NULL)
		binding_remove(spd, b);
}

void spd_entry_bindings_move(struct spd *spd, struct spd_entry *e, spd_owner_t to)
{
	struct spd_binding *b;

	LIST_FOREACH(b, &e->bindings, of_entry)
	{
		LIST_REMOVE(b, of_sa);
		LIST_INSERT_HEAD(&spd->by_sa[sa_bucket(spd, to, b->sa_handle)], b, of_sa);
	}
}

int spd_entry_bindings_copy(struct spd *spd, struct spd_entry *to, const struct spd_entry *from)
{
	const struct spd_binding *b;

	LIST_FOREACH(b, &from->bindings, of_entry)
	if (binding_add(spd, to, b->sa_handle, b->sa, b->rank, b->serial) == NULL)
		return -1;
	return list_publish(spd, to);
}

void spd_autobind_each(struct spd *spd, spd_owner_t owner, const struct ip_addr *peer,
	void (*fn)(void *ctx, const struct ipc_flow *flow), void *ctx)
{
	struct ipc_flow flow;
	struct spd_entry *e;

	LIST_FOREACH(e, &spd->autobind, by_peer)
	{
		if (e->owner != owner || e->spec.direction != IPC_DIR_OUT ||
			!addr_equal(&e->spec.peer, peer))
			continue;
		spd_spec_tell(&e->spec, &flow);
		fn(ctx, &flow);
	}
}
