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
			if (spd_table_init(&spd->tables[d][f],
				    spd->config.seed ^ (d * 2 + f) * 0xa0761d6478bd642fULL,
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
	TAILQ_INIT(&spd->all);
	LIST_INIT(&spd->autobind);
	spd->by_handle = calloc(N_BUCKETS_FIRST, sizeof(*spd->by_handle));
	spd->by_sa = calloc(N_BUCKETS_FIRST, sizeof(*spd->by_sa));
	spd->handle_mask = spd->sa_mask = N_BUCKETS_FIRST - 1;
	if (spd->by_handle == NULL || spd->by_sa == NULL || counters_init(spd) != 0 ||
		tables_init(spd) != 0) {
		spd_destroy(spd);
		return NULL;
	}
	return spd;
}

static void flow_free(void *arg)
{
	struct spd_flow *flow = arg;

	free(atomic_load(&flow->sas));
	free(flow);
}

static struct spd_table *table_for(struct spd *spd, const struct ipc_flow *f)
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
	free(spd->free_ids);
	free(spd->heads);
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
	return spd_hash_mix(handle, owner, spd->config.seed) & spd->handle_mask;
}

struct spd_entry *spd_entry_find(const struct spd *spd, spd_owner_t owner, uint64_t handle)
{
	struct spd_entry *e;

	LIST_FOREACH(e, &spd->by_handle[handle_bucket(spd, owner, handle)], by_handle)
	if (e->owner == owner && e->spec.flow.handle == handle)
		return e;
	return NULL;
}

const struct ipc_flow *spd_flow_find(const struct spd *spd, spd_owner_t owner, uint64_t handle)
{
	struct spd_entry *e = spd_entry_find(spd, owner, handle);

	return e == NULL ? NULL : &e->spec;
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

/* Room for ids up to n_ids. 0 or -1. */
static int ids_grow(struct spd *spd)
{
	uint32_t n = spd->n_ids + SPD_COUNTER_CHUNK, chunk = spd->n_ids / SPD_COUNTER_CHUNK;
	void *ids = realloc(spd->free_ids, n * sizeof(*spd->free_ids)), *heads;

	if (ids == NULL)
		return -1;
	spd->free_ids = ids;
	heads = realloc(spd->heads, n * sizeof(*spd->heads));
	if (heads == NULL)
		return -1;
	spd->heads = heads;
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		struct spd_counter *c;

		if (atomic_load(&spd->counters[w][chunk]) != NULL)
			continue;
		c = calloc(SPD_COUNTER_CHUNK, sizeof(*c));
		if (c == NULL)
			return -1;
		atomic_store_explicit(&spd->counters[w][chunk], c, memory_order_release);
	}
	for (uint32_t id = n; id-- > spd->n_ids;)
		spd->free_ids[spd->n_free_ids++] = id;
	spd->n_ids = n;
	return 0;
}

static struct spd_counter *counter_of(const struct spd *spd, uint32_t worker, uint32_t id)
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
		struct spd_counter *c = counter_of(spd, w, *id);

		atomic_store_explicit(&c->packets, 0, memory_order_relaxed);
		atomic_store_explicit(&c->bytes, 0, memory_order_relaxed);
	}
	return 0;
}

static void flow_fill(struct spd_flow *flow, const struct spd_entry *e)
{
	const struct ipc_flow *f = &e->spec;

	memset(flow, 0, sizeof(*flow));
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
	struct spd_flow *flow = aligned_alloc(64, sizeof(*flow));

	if (e == NULL || flow == NULL || id_take(spd, &e->id) != 0) {
		free(e);
		free(flow);
		return NULL;
	}
	e->owner = owner;
	e->spec = *spec;
	prefix_mask(&e->spec.src);
	prefix_mask(&e->spec.dst);
	e->is_autobind = (spec->flags & IPC_FLOW_F_AUTOBIND) != 0;
	e->flow = flow;
	LIST_INIT(&e->bindings);
	spd->heads[e->id] = e;
	flow_fill(flow, e);
	return e;
}

static void entry_register(struct spd *spd, struct spd_entry *e)
{
	TAILQ_INSERT_TAIL(&spd->all, e, all);
	LIST_INSERT_HEAD(
		&spd->by_handle[handle_bucket(spd, e->owner, e->spec.flow.handle)], e, by_handle);
	if (e->is_autobind)
		LIST_INSERT_HEAD(&spd->autobind, e, by_peer);
	spd->n_flows++;
	handles_grow(spd);
}

/*
 * The id is free at once: a worker that still holds the old flow may count one last packet for
 * the new one, which harms nobody.
 */
static void id_give(struct spd *spd, uint32_t id)
{
	spd->free_ids[spd->n_free_ids++] = id;
}

void spd_entry_remove(struct spd *spd, struct spd_entry *e)
{
	spd_table_unlink(spd, table_for(spd, &e->spec), e);
	TAILQ_REMOVE(&spd->all, e, all);
	LIST_REMOVE(e, by_handle);
	if (e->is_autobind)
		LIST_REMOVE(e, by_peer);
	spd->n_flows--;
	id_give(spd, e->id);
	spd->config.defer(spd->config.defer_ctx, flow_free, e->flow);
	spd_entry_unbind_all(spd, e);
	free(e);
}

/* What the new entry takes over from the one of the same generation that it replaces. */
static int entry_inherit(struct spd *spd, struct spd_entry *e, struct spd_entry *before)
{
	e->registration = before->registration;
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		struct spd_counter *to = counter_of(spd, w, e->id);
		struct spd_counter *from = counter_of(spd, w, before->id);

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
	rc = spd_table_link(spd, table_for(spd, &e->spec), e);
	if (rc != 0)
		goto fail;
	if (before != NULL)
		spd_entry_remove(spd, before);
	entry_register(spd, e);
	return 0;
fail:
	id_give(spd, e->id);
	spd_entry_unbind_all(spd, e);
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

void spd_each(
	const struct spd *spd, void (*fn)(void *ctx, const struct spd_flow_view *view), void *ctx)
{
	const struct spd_entry *e;

	TAILQ_FOREACH(e, &spd->all, all)
	{
		const struct spd_table *t =
			&spd->tables[e->spec.direction - 1][e->spec.src.addr.family == 6];
		struct spd_flow_view view = {
			.owner = e->owner,
			.flow = &e->spec,
			.sas = atomic_load(&e->flow->sas),
			.registration = e->registration,
			.is_shadowed = spd_table_is_shadowed(spd, t, e),
		};

		for (uint32_t w = 0; w < spd->config.n_workers; w++) {
			struct spd_counter *c = counter_of(spd, w, e->id);

			view.packets += atomic_load_explicit(&c->packets, memory_order_relaxed);
			view.bytes += atomic_load_explicit(&c->bytes, memory_order_relaxed);
		}
		fn(ctx, &view);
	}
}

uint32_t spd_bound(const struct spd *spd)
{
	uint32_t bound = 0;

	for (unsigned d = 0; d < 2; d++)
		for (unsigned f = 0; f < 2; f++)
			if (spd_table_bound(&spd->tables[d][f]) > bound)
				bound = spd_table_bound(&spd->tables[d][f]);
	return bound;
}

void spd_stats_get(const struct spd *spd, struct spd_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->n_flows = spd->n_flows;
	out->bound = spd_bound(spd);
	out->max_bound = spd->config.max_bound;
	for (unsigned d = 0; d < 2; d++) {
		for (unsigned f = 0; f < 2; f++) {
			const struct spd_table *t = &spd->tables[d][f];

			out->n_src_nodes += t->src_nodes.n;
			out->n_dst_nodes += t->dst_nodes.n;
			out->n_cells += t->cells.n;
			out->memory_bytes += spd_hash_memory(&t->src_nodes) +
					     spd_hash_memory(&t->dst_nodes) +
					     spd_hash_memory(&t->cells) + spd_hash_memory(&t->rest);
			for (unsigned i = 0; i < SPD_N_LENS; i++)
				if (t->tuples[i] != NULL)
					out->memory_bytes += SPD_N_LENS * sizeof(struct spd_tuple) +
							     (SPD_N_LENS + 1) * sizeof(uint32_t);
			out->table[d][f].n_src_lens = t->n_src_lens;
			out->table[d][f].n_dst_lens = t->n_dst_lens;
			out->table[d][f].n_tuples = t->n_tuples;
			out->table[d][f].bound = spd_table_bound(t);
		}
	}
	out->memory_bytes +=
		(uint64_t)out->n_src_nodes * (sizeof(struct spd_node) + 8) +
		(uint64_t)out->n_dst_nodes * sizeof(struct spd_node) +
		(uint64_t)out->n_cells * sizeof(struct spd_cell) +
		(uint64_t)spd->n_flows * (sizeof(struct spd_flow) + sizeof(struct spd_entry)) +
		(uint64_t)spd->n_bindings * sizeof(struct spd_binding) +
		(uint64_t)spd->n_ids * (sizeof(uint32_t) + sizeof(void *) +
					       spd->config.n_workers * sizeof(struct spd_counter)) +
		((uint64_t)spd->handle_mask + 1) * sizeof(void *) +
		((uint64_t)spd->sa_mask + 1) * sizeof(void *);
}
