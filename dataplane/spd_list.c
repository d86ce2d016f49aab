#include "dataplane/spd_internal.h"

#include <string.h>

/* What a table tells about itself. */

/* flow: room for what view->flow points to. */
static void view_fill(const struct spd *spd, const struct spd_entry *e, struct ipc_flow *flow,
	struct spd_flow_view *view)
{
	const struct spd_table *t =
		&spd->tables[e->spec.direction - 1][e->spec.src.addr.family == 6];

	spd_spec_tell(&e->spec, flow);
	*view = (struct spd_flow_view){
		.owner = e->owner,
		.place = e->id,
		.flow = flow,
		.sas = atomic_load(&e->flow->sas),
		.registration = e->registration,
		.is_shadowed = spd_table_is_shadowed(spd, t, e),
	};
	for (uint32_t w = 0; w < spd->config.n_workers; w++) {
		struct spd_counter *c = spd_counter_of(spd, w, e->id);

		view->packets += atomic_load_explicit(&c->packets, memory_order_relaxed);
		view->bytes += atomic_load_explicit(&c->bytes, memory_order_relaxed);
	}
}

void spd_each(
	const struct spd *spd, void (*fn)(void *ctx, const struct spd_flow_view *view), void *ctx)
{
	const struct spd_entry *e;
	struct spd_flow_view view;
	struct ipc_flow flow;

	TAILQ_FOREACH(e, &spd->all, all)
	{
		view_fill(spd, e, &flow, &view);
		fn(ctx, &view);
	}
}

void spd_changed(struct spd *spd, const struct spd_entry *e)
{
	atomic_fetch_add_explicit(&spd->version, 1, memory_order_release);
	if (spd->is_changed[e->id])
		return;
	spd->is_changed[e->id] = true;
	spd->changed[spd->n_changed++] = e->id;
}

void spd_changes_each(struct spd *spd,
	void (*fn)(void *ctx, uint32_t place, const struct spd_flow_view *view), void *ctx)
{
	for (uint32_t i = 0; i < spd->n_changed; i++) {
		uint32_t id = spd->changed[i];
		struct spd_flow_view view;
		struct ipc_flow flow;

		spd->is_changed[id] = false;
		if (spd->heads[id] != NULL)
			view_fill(spd, spd->heads[id], &flow, &view);
		fn(ctx, id, spd->heads[id] != NULL ? &view : NULL);
	}
	spd->n_changed = 0;
}

void spd_owner_note(struct spd *spd, spd_owner_t owner, int step)
{
	unsigned i = 0;

	while (i < spd->n_counts && spd->counts[i].owner != owner)
		i++;
	if (i == SPD_OWNERS_MAX)
		return;
	if (i == spd->n_counts)
		spd->counts[spd->n_counts++].owner = owner;
	spd->counts[i].n += step;
}

uint32_t spd_owner_count(const struct spd *spd, spd_owner_t owner)
{
	for (unsigned i = 0; i < spd->n_counts; i++)
		if (spd->counts[i].owner == owner)
			return spd->counts[i].n;
	return 0;
}

uint32_t spd_count(const struct spd *spd)
{
	return spd->n_flows;
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
			out->n_cells += t->cells.n;
			out->memory_bytes += spd_table_memory(t);
			out->table[d][f].n_src_lens = t->n_src_lens;
			out->table[d][f].n_tuples = t->n_tuples;
			out->table[d][f].bound = spd_table_bound(t);
		}
	}
	out->memory_bytes += spd_slab_memory(spd->slab) + spd_hash_memory(&spd->texts) +
			     (uint64_t)out->n_src_nodes * sizeof(struct spd_len_count) +
			     (uint64_t)spd->n_flows * sizeof(struct spd_entry) +
			     (uint64_t)spd->n_bindings * sizeof(struct spd_binding) +
			     (uint64_t)spd->n_ids *
				     (2 * sizeof(uint32_t) + sizeof(bool) + sizeof(void *) +
					     spd->config.n_workers * sizeof(struct spd_counter)) +
			     ((uint64_t)spd->handle_mask + 1) * sizeof(void *) +
			     ((uint64_t)spd->sa_mask + 1) * sizeof(void *);
}
