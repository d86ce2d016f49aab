#include "dataplane/spd_internal.h"

#include <stdlib.h>

/* How readers go about a table, and what that costs at most. */

static const struct spd_plan by_nodes = {.n_steps = 0};

static void step_add(struct spd_plan *plan, unsigned src_len, unsigned dst_len)
{
	plan->steps[plan->n_steps++] = (struct spd_step){
		.src_mask = {spd_mask_hi(src_len), spd_mask_lo(src_len)},
		.dst_mask = {spd_mask_hi(dst_len), spd_mask_lo(dst_len)},
		.lens = (uint64_t)src_len << 8 | dst_len,
	};
}

/* All pairs of lengths, longer sources first, then longer destinations. */
static struct spd_plan *plan_create(const struct spd_table *t)
{
	struct spd_plan *plan = calloc(1, sizeof(*plan));

	for (int s = SPD_N_LENS - 1; plan != NULL && s >= 0; s--) {
		if (t->tuples[s] == NULL)
			continue;
		for (int d = SPD_N_LENS - 1; d >= 0; d--)
			if (t->tuples[s][d].n_cells != 0)
				step_add(plan, (unsigned)s, (unsigned)d);
	}
	return plan;
}

int spd_plan_update(struct spd_table *t)
{
	struct spd_plan *old = atomic_load(&t->plan), *fresh = NULL;

	if (t->n_tuples > SPD_PLAN_MAX)
		fresh = (struct spd_plan *)&by_nodes;
	else if (t->n_tuples > 0 && (fresh = plan_create(t)) == NULL)
		return -1;
	if (fresh == old)
		return 0;
	atomic_store_explicit(&t->plan, fresh, memory_order_release);
	spd_plan_release(t, old);
	return 0;
}

void spd_plan_release(struct spd_table *t, struct spd_plan *plan)
{
	if (plan != NULL && plan != &by_nodes)
		t->cells.defer(t->cells.defer_ctx, free, plan);
}

uint32_t spd_plan_probes(uint32_t n_tuples, uint32_t n_src_lens, uint32_t n_cell_probes)
{
	return n_tuples <= SPD_PLAN_MAX ? n_tuples : n_src_lens + n_cell_probes;
}
