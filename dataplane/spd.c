#include "dataplane/spd_internal.h"

#include <stdlib.h>
#include <string.h>

/* Owners, handles, registration, hit counters; SAs are in spd_bind.c. */

#define N_BUCKETS_FIRST 256

static void free_now(void *ctx, void (*fn)(void *), void *arg)
{
	(void)ctx;
	fn(arg);
}

static int counters_init(struct spd *spd)
{
	spd->n_counter_chunks = (spd->config.max_flows + SPD_COUNTER_CHUNK - 1) / SPD_COUNTER_CHUNK;
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		spd->counters[w] = calloc(spd->n_counter_chunks, sizeof(*spd->counters[w]));
		if (spd->counters[w] == NULL)
			return -1;
	}
	return 0;
}

static int tables_init(struct spd *spd)
{
	for (unsigned d = 0; d < 2; d++)
		for (unsigned f = 0; f < 2; f++)
			if (spd_table_init(&spd->tables[d][f], spd->seed, spd->slab,
				    spd->config.defer, spd->config.defer_ctx) != 0)
				return -1;
	return 0;
}

struct spd *spd_create(const struct spd_config *config)
{
	struct spd *spd = calloc(1, sizeof(*spd));

	if (spd == NULL)
		return NULL;
	spd->config = *config;
	if (spd->config.max_flows == 0)
		spd->config.max_flows = SPD_FLOWS_DEFAULT;
	if (spd->config.max_bound == 0)
		spd->config.max_bound = SPD_BOUND_DEFAULT;
	if (spd->config.n_workers > SPD_WORKERS_MAX)
		spd->config.n_workers = SPD_WORKERS_MAX;
	if (spd->config.defer == NULL)
		spd->config.defer = free_now;
	/* The second multiplies in hashes: odd, so that it loses no bit. */
	spd->seed[0] = spd->config.seed ^ 0x9e3779b97f4a7c15ULL;
	spd->seed[1] = ((spd->config.seed + 0xe7037ed1a0b428dbULL) * 0xa0761d6478bd642fULL) | 1;
	spd->slab = spd_slab_create();
	TAILQ_INIT(&spd->all);
	LIST_INIT(&spd->autobind);
	spd->by_handle = calloc(N_BUCKETS_FIRST, sizeof(*spd->by_handle));
	spd->by_sa = calloc(N_BUCKETS_FIRST, sizeof(*spd->by_sa));
	spd->handle_mask = spd->sa_mask = N_BUCKETS_FIRST - 1;
	if (spd->by_handle == NULL || spd->by_sa == NULL || spd->slab == NULL ||
		spd_texts_init(spd) != 0 || counters_init(spd) != 0 || tables_init(spd) != 0) {
		spd_destroy(spd);
		return NULL;
	}
	return spd;
}

static void flow_free(void *arg)
{
	struct spd_flow *flow = arg;

	spd_sa_list_free(atomic_load(&flow->sas));
	spd_slab_give(flow);
}

struct spd_table *spd_table_for(struct spd *spd, const struct spd_spec *f)
{
	return &spd->tables[f->direction - 1][f->src.addr.family == 6];
}

void spd_destroy(struct spd *spd)
{
	struct spd_entry *e;

	if (spd == NULL)
		return;
	while ((e = TAILQ_FIRST(&spd->all)) != NULL)
		spd_entry_remove(spd, e);
	for (unsigned d = 0; d < 2; d++)
		for (unsigned f = 0; f < 2; f++)
			spd_table_fini(&spd->tables[d][f]);
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		for (uint32_t i = 0; spd->counters[w] != NULL && i < spd->n_counter_chunks; i++)
			free(atomic_load(&spd->counters[w][i]));
		free(spd->counters[w]);
	}
	spd_hash_fini(&spd->texts);
	spd_slab_destroy(spd->slab);
	free(spd->free_ids);
	free(spd->heads);
	free(spd->changed);
	free(spd->is_changed);
	free(spd->by_handle);
	free(spd->by_sa);
	free(spd);
}

static bool flow_is_valid(const struct ipc_flow *f)
{
	uint8_t family = f->src.addr.family;

	return (f->direction == IPC_DIR_IN || f->direction == IPC_DIR_OUT) &&
	       (family == 4 || family == 6) && f->dst.addr.family == family &&
	       f->src.len <= addr_bits(family) && f->dst.len <= addr_bits(family) &&
	       f->type >= IPC_FLOW_USE && f->type <= IPC_FLOW_DONTACQ && f->flow.handle != 0 &&
	       memchr(f->srcid, 0, sizeof(f->srcid)) != NULL &&
	       memchr(f->dstid, 0, sizeof(f->dstid)) != NULL;
}

static uint32_t handle_bucket(const struct spd *spd, spd_owner_t owner, uint64_t handle)
{
	return spd_hash_mix(handle, owner, spd->seed) & spd->handle_mask;
}

struct spd_entry *spd_entry_find(const struct spd *spd, spd_owner_t owner, uint64_t handle)
{
	struct spd_entry *e;

	LIST_FOREACH(e, &spd->by_handle[handle_bucket(spd, owner, handle)], by_handle)
	if (e->owner == owner && e->spec.flow.handle == handle)
		return e;
	return NULL;
}

bool spd_flow_get(const struct spd *spd, spd_owner_t owner, uint64_t handle, struct ipc_flow *out)
{
	struct spd_entry *e = spd_entry_find(spd, owner, handle);

	if (e == NULL)
		return false;
	spd_spec_tell(&e->spec, out);
	return true;
}

/* More buckets when there are more flows than buckets; without memory it goes on as it is. */
static void handles_grow(struct spd *spd)
{
	struct spd_entry_list *grown;
	struct spd_entry *e;

	if (spd->n_flows <= spd->handle_mask)
		return;
	grown = calloc((size_t)(spd->handle_mask + 1) * 4, sizeof(*grown));
	if (grown == NULL)
		return;
	free(spd->by_handle);
	spd->by_handle = grown;
	spd->handle_mask = (spd->handle_mask + 1) * 4 - 1;
	TAILQ_FOREACH(e, &spd->all, all)
	LIST_INSERT_HEAD(&grown[handle_bucket(spd, e->owner, e->spec.flow.handle)], e, by_handle);
}

/* *array gets room for n of size each. 0 or -1. */
static int array_grow(void *array, uint32_t n, size_t size)
{
	void *grown = realloc(*(void **)array, n * size);

	if (grown == NULL)
		return -1;
	*(void **)array = grown;
	return 0;
}

/* Room for ids up to n_ids. 0 or -1. */
static int ids_grow(struct spd *spd)
{
	uint32_t n = spd->n_ids + SPD_COUNTER_CHUNK, chunk = spd->n_ids / SPD_COUNTER_CHUNK;

	if (array_grow(&spd->free_ids, n, sizeof(*spd->free_ids)) != 0 ||
		array_grow(&spd->heads, n, sizeof(*spd->heads)) != 0 ||
		array_grow(&spd->changed, n, sizeof(*spd->changed)) != 0 ||
		array_grow(&spd->is_changed, n, sizeof(*spd->is_changed)) != 0)
		return -1;
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		struct spd_counter *c;

		if (atomic_load(&spd->counters[w][chunk]) != NULL)
			continue;
		c = calloc(SPD_COUNTER_CHUNK, sizeof(*c));
		if (c == NULL)
			return -1;
		atomic_store_explicit(&spd->counters[w][chunk], c, memory_order_release);
	}
	for (uint32_t id = n; id-- > spd->n_ids;) {
		spd->free_ids[spd->n_free_ids++] = id;
		spd->heads[id] = NULL;
		spd->is_changed[id] = false;
	}
	spd->n_ids = n;
	return 0;
}

struct spd_counter *spd_counter_of(const struct spd *spd, uint32_t worker, uint32_t id)
{
	struct spd_counter *chunk = atomic_load_explicit(
		&spd->counters[worker][id / SPD_COUNTER_CHUNK], memory_order_acquire);

	return &chunk[id % SPD_COUNTER_CHUNK];
}

static int id_take(struct spd *spd, uint32_t *id)
{
	if (spd->n_free_ids == 0 && (spd->n_ids >= spd->config.max_flows || ids_grow(spd) != 0))
		return -1;
	*id = spd->free_ids[--spd->n_free_ids];
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		struct spd_counter *c = spd_counter_of(spd, w, *id);

		atomic_store_explicit(&c->packets, 0, memory_order_relaxed);
		atomic_store_explicit(&c->bytes, 0, memory_order_relaxed);
	}
	return 0;
}

static void flow_fill(struct spd_flow *flow, const struct spd_entry *e)
{
	const struct spd_spec *f = &e->spec;

	flow->handle = f->flow.handle;
	flow->generation = f->flow.generation;
	flow->policy = f->policy;
	flow->id = e->id;
	flow->owner = e->owner;
	flow->src_port = f->src_port;
	flow->dst_port = f->dst_port;
	flow->proto = f->proto;
	flow->type = f->type;
	flow->direction = f->direction;
	flow->family = f->src.addr.family;
	flow->src_len = f->src.len;
	flow->dst_len = f->dst.len;
	flow->is_strict_in = (f->flags & IPC_FLOW_F_STRICT_IN) != 0;
}

/* An entry with its flow and id, not linked anywhere. */
static struct spd_entry *entry_create(
	struct spd *spd, spd_owner_t owner, const struct ipc_flow *spec)
{
	struct spd_entry *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	if (spd_spec_init(spd, &e->spec, spec) != 0)
		goto no_spec;
	e->flow = spd_slab_take(spd->slab);
	if (e->flow == NULL || id_take(spd, &e->id) != 0)
		goto no_id;
	e->owner = owner;
	e->is_autobind = (spec->flags & IPC_FLOW_F_AUTOBIND) != 0;
	LIST_INIT(&e->bindings);
	spd->heads[e->id] = e;
	flow_fill(e->flow, e);
	return e;
no_id:
	if (e->flow != NULL)
		spd_slab_give(e->flow);
	spd_spec_fini(spd, &e->spec);
no_spec:
	free(e);
	return NULL;
}

static void entry_register(struct spd *spd, struct spd_entry *e)
{
	e->is_linked = true;
	TAILQ_INSERT_TAIL(&spd->all, e, all);
	LIST_INSERT_HEAD(
		&spd->by_handle[handle_bucket(spd, e->owner, e->spec.flow.handle)], e, by_handle);
	if (e->is_autobind)
		LIST_INSERT_HEAD(&spd->autobind, e, by_peer);
	spd->n_flows++;
	spd_owner_note(spd, e->owner, 1);
	spd_changed(spd, e);
	handles_grow(spd);
}

/*
 * The id is free at once: a worker that still holds the old flow may count one last packet for
 * the new one, which harms nobody.
 */
static void id_give(struct spd *spd, uint32_t id)
{
	spd->heads[id] = NULL;
	spd->free_ids[spd->n_free_ids++] = id;
}

void spd_entry_remove(struct spd *spd, struct spd_entry *e)
{
	e->is_linked = false;
	spd_table_unlink(spd, spd_table_for(spd, &e->spec), e);
	TAILQ_REMOVE(&spd->all, e, all);
	LIST_REMOVE(e, by_handle);
	if (e->is_autobind)
		LIST_REMOVE(e, by_peer);
	spd->n_flows--;
	spd_owner_note(spd, e->owner, -1);
	spd_changed(spd, e);
	id_give(spd, e->id);
	spd->config.defer(spd->config.defer_ctx, flow_free, e->flow);
	spd_entry_unbind_all(spd, e);
	spd_spec_fini(spd, &e->spec);
	free(e);
}

/* What the new entry takes over from the one of the same generation that it replaces. */
static int entry_inherit(struct spd *spd, struct spd_entry *e, struct spd_entry *before)
{
	e->registration = before->registration;
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		struct spd_counter *to = spd_counter_of(spd, w, e->id);
		struct spd_counter *from = spd_counter_of(spd, w, before->id);

		atomic_store(&to->packets, atomic_load(&from->packets));
		atomic_store(&to->bytes, atomic_load(&from->bytes));
	}
	return spd_entry_bindings_copy(spd, e, before);
}

int spd_flow_add(struct spd *spd, spd_owner_t owner, const struct ipc_flow *flow)
{
	struct spd_entry *e, *before;
	int rc = -IPC_E_FULL;

	if (!flow_is_valid(flow))
		return -IPC_E_INVALID;
	before = spd_entry_find(spd, owner, flow->flow.handle);
	if (before != NULL && before->spec.flow.generation > flow->flow.generation)
		return -IPC_E_STALE;
	if (before == NULL && spd->n_flows >= spd->config.max_flows)
		return -IPC_E_FULL;
	e = entry_create(spd, owner, flow);
	if (e == NULL)
		return -IPC_E_FULL;
	e->registration = spd->next_registration++;
	if (before != NULL && before->spec.flow.generation == flow->flow.generation &&
		entry_inherit(spd, e, before) != 0)
		goto fail;
	rc = spd_table_link(spd, spd_table_for(spd, &e->spec), e);
	if (rc != 0)
		goto fail;
	if (before != NULL)
		spd_entry_remove(spd, before);
	entry_register(spd, e);
	return 0;
fail:
	id_give(spd, e->id);
	spd_entry_unbind_all(spd, e);
	spd_spec_fini(spd, &e->spec);
	flow_free(e->flow);
	free(e);
	return rc;
}

int spd_flow_delete(struct spd *spd, spd_owner_t owner, const struct ipc_ref *ref)
{
	struct spd_entry *e = spd_entry_find(spd, owner, ref->handle);

	if (e == NULL)
		return -IPC_E_NO_SUCH;
	if (e->spec.flow.generation != ref->generation)
		return -IPC_E_STALE;
	spd_entry_remove(spd, e);
	return 0;
}

void spd_owner_mark(struct spd *spd, spd_owner_t owner)
{
	struct spd_entry *e;

	TAILQ_FOREACH(e, &spd->all, all)
	if (e->owner == owner)
		e->is_marked = true;
}

static uint32_t owner_remove(struct spd *spd, spd_owner_t owner, bool only_marked)
{
	struct spd_entry *e = TAILQ_FIRST(&spd->all), *next;
	uint32_t n = 0;

	for (; e != NULL; e = next) {
		next = TAILQ_NEXT(e, all);
		if (e->owner != owner || (only_marked && !e->is_marked))
			continue;
		spd_entry_remove(spd, e);
		n++;
	}
	return n;
}

uint32_t spd_owner_sweep(struct spd *spd, spd_owner_t owner)
{
	return owner_remove(spd, owner, true);
}

uint32_t spd_owner_flush(struct spd *spd, spd_owner_t owner)
{
	return owner_remove(spd, owner, false);
}

void spd_owner_move(struct spd *spd, spd_owner_t from, spd_owner_t to)
{
	struct spd_entry *e;

	TAILQ_FOREACH(e, &spd->all, all)
	{
		if (e->owner != from || spd_entry_find(spd, to, e->spec.flow.handle) != NULL)
			continue;
		spd_entry_bindings_move(spd, e, to);
		LIST_REMOVE(e, by_handle);
		spd_owner_note(spd, from, -1);
		e->owner = to;
		/* A worker that reads it just now tells of an acquire whom it was to tell. */
		__atomic_store_n(&e->flow->owner, to, __ATOMIC_RELAXED);
		spd_owner_note(spd, to, 1);
		LIST_INSERT_HEAD(
			&spd->by_handle[handle_bucket(spd, to, e->spec.flow.handle)], e, by_handle);
		spd_changed(spd, e);
	}
}
