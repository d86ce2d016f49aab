#include "dataplane/spd_walk.h"

/* Look-ups of many packets together; what they find is what spd_lookup finds. */

#define BURST_MAX 64
#define FINDS_MAX 6

/* A burst of one table: the packets at[0 .. n - 1]. */
struct batch {
	const struct spd_table *t;
	const struct spd_packet *const *packets;
	const struct spd_flow **flows;
	uint32_t n;
	uint8_t at[BURST_MAX];
};

/* In the order of the search; the cells are on their way. False: look it up in the plain way. */
static inline __attribute__((always_inline)) bool batch_resolve(const struct batch *b,
	const struct spd_plan *plan, uint32_t k, struct spd_cell *const cells[][BURST_MAX],
	bool is_v4, const struct spd_cell **with_ports)
{
	const struct spd_packet *p = b->packets[b->at[k]];
	const struct spd_flow *flow = NULL;

	for (uint32_t i = 0; i < plan->n_steps; i++) {
		const struct spd_cell *cell = cells[i][k];
		struct spd_cell_key key;

		if (cell == NULL)
			continue;
		key = spd_step_key(&plan->steps[i], p, is_v4);
		if (!spd_cell_equal(cell, &key))
			return false;
		if (atomic_load_explicit(&cell->classes, memory_order_acquire) & ~1u) {
			*with_ports = cell;
			return true;
		}
		flow = atomic_load_explicit(&cell->any, memory_order_acquire);
		if (flow != NULL)
			break;
	}
	__builtin_prefetch(flow);
	b->flows[b->at[k]] = flow;
	return true;
}

/* The key of a cell's first class: where the search in it begins. */
static inline void ports_prefetch(
	const struct spd_table *t, const struct spd_cell *cell, const struct spd_packet *p)
{
	uint32_t classes = atomic_load_explicit(&cell->classes, memory_order_acquire);
	unsigned class = 31 - __builtin_clz(classes | 1);
	struct spd_rest_key key = {
		.cell = cell,
		.proto = class & SPD_CLASS_PROTO ? p->proto : 0,
		.src_port = class & SPD_CLASS_SRC_PORT ? p->src_port : 0,
		.dst_port = class & SPD_CLASS_DST_PORT ? p->dst_port : 0,
	};

	spd_hash_prefetch(&t->rest, spd_rest_hash(t, &key));
}

/*
 * By the plan, in passes, so that the memory accesses of all packets are under way together:
 * buckets, cells, flows; then what has ports, and last what a tag misled.
 */
static inline __attribute__((always_inline)) void batch_by_plan(
	const struct batch *b, const struct spd_plan *plan, bool is_v4)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&b->t->cells);
	uint32_t hashes[SPD_PLAN_MAX][BURST_MAX];
	struct spd_cell *cells[SPD_PLAN_MAX][BURST_MAX];
	const struct spd_cell *with_ports[BURST_MAX];
	uint64_t plain = 0, ports = 0;

	for (uint32_t i = 0; i < plan->n_steps; i++)
		for (uint32_t k = 0; k < b->n; k++) {
			struct spd_cell_key key = spd_step_key(
				&plan->steps[i], b->packets[b->at[k]], is_v4);

			hashes[i][k] = spd_cell_hash(b->t, &key, is_v4);
			__builtin_prefetch(spd_bucket_at(buckets, hashes[i][k]));
		}
	for (uint32_t i = 0; i < plan->n_steps; i++)
		for (uint32_t k = 0; k < b->n; k++) {
			bool is_unsure;

			cells[i][k] = spd_hash_candidate(buckets, hashes[i][k], &is_unsure);
			__builtin_prefetch(cells[i][k]);
			plain |= (uint64_t)is_unsure << k;
		}
	for (uint32_t k = 0; k < b->n; k++) {
		with_ports[k] = NULL;
		if ((plain >> k & 1) == 0 &&
			!batch_resolve(b, plan, k, cells, is_v4, &with_ports[k]))
			plain |= 1ULL << k;
		if (with_ports[k] != NULL) {
			ports_prefetch(b->t, with_ports[k], b->packets[b->at[k]]);
			ports |= 1ULL << k;
		}
	}
	for (; ports != 0; ports &= ports - 1) {
		unsigned k = (unsigned)__builtin_ctzll(ports), i = b->at[k];

		b->flows[i] = spd_cell_match(b->t, with_ports[k], b->packets[i], NULL);
		if (b->flows[i] == NULL) /* another cell, perhaps */
			plain |= 1ULL << k;
	}
	for (; plain != 0; plain &= plain - 1) {
		unsigned i = b->at[__builtin_ctzll(plain)];

		b->flows[i] = spd_table_lookup(b->t, b->packets[i], NULL);
	}
}

/* What one packet's search by nodes has found so far. */
struct finds {
	uint32_t n; /* source prefixes that may be there, the longest first */
	struct {
		uint32_t hash;
		uint8_t len;
		const struct spd_node *node; /* one with that tag, or NULL */
	} src[FINDS_MAX];
	uint32_t cell_hash; /* of the first cell that may be there */
	struct spd_cell_key cell_key;
	const struct spd_cell *cell; /* one with that tag, or NULL */
	bool is_plain;               /* not simple: to be looked up in the plain way */
};

static inline __attribute__((always_inline)) void finds_sources(
	const struct spd_table *t, const struct spd_packet *p, struct finds *f, bool is_v4)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&t->src_nodes);
	struct spd_len_walk lens = spd_len_walk_of(&t->src_lens, is_v4);

	f->n = 0;
	f->is_plain = false;
	for (int len; (len = spd_len_next(&lens, is_v4)) >= 0;) {
		struct spd_prefix_key key = spd_prefix_key(p->src, (unsigned)len, is_v4);
		uint32_t hash = spd_prefix_hash(t, &key);

		if (!spd_hash_maybe(buckets, hash))
			continue;
		if (f->n == FINDS_MAX) {
			f->is_plain = true;
			return;
		}
		__builtin_prefetch(spd_bucket_at(buckets, hash));
		f->src[f->n].hash = hash;
		f->src[f->n++].len = (uint8_t)len;
	}
}

static inline void finds_nodes(const struct spd_table *t, struct finds *f)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&t->src_nodes);

	for (uint32_t i = 0; i < f->n; i++) {
		bool is_unsure;

		f->src[i].node = spd_hash_candidate(buckets, f->src[i].hash, &is_unsure);
		__builtin_prefetch(f->src[i].node);
		f->is_plain |= is_unsure;
	}
}

/* True: the node has a cell that may be the packet's. */
static inline __attribute__((always_inline)) bool finds_cell_of(const struct spd_table *t,
	const struct spd_node *node, const struct spd_packet *p, struct finds *f, bool is_v4)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&t->cells);
	struct spd_len_walk lens = spd_len_walk_of(&node->dst_lens, is_v4);

	for (int len; (len = spd_len_next(&lens, is_v4)) >= 0;) {
		struct spd_cell_key key = spd_node_key(node, p, (unsigned)len, is_v4);
		uint32_t hash = spd_cell_hash(t, &key, is_v4);

		if (!spd_hash_maybe(buckets, hash))
			continue;
		__builtin_prefetch(spd_bucket_at(buckets, hash));
		f->cell_hash = hash;
		f->cell_key = key;
		return true;
	}
	return false;
}

/* False: no flow is the packet's. */
static inline __attribute__((always_inline)) bool finds_cell(
	const struct spd_table *t, const struct spd_packet *p, struct finds *f, bool is_v4)
{
	for (uint32_t i = 0; i < f->n && !f->is_plain; i++) {
		struct spd_prefix_key key = spd_prefix_key(p->src, f->src[i].len, is_v4);
		const struct spd_node *node = f->src[i].node;

		if (node != NULL && !spd_node_equal(node, &key))
			f->is_plain = true;
		else if (node != NULL && finds_cell_of(t, node, p, f, is_v4))
			return true;
	}
	return f->is_plain;
}

/* A packet whose one cell is on its way. False: another cell must be looked for. */
static inline bool finds_resolve(const struct batch *b, struct finds *f, uint32_t k)
{
	const struct spd_packet *p = b->packets[b->at[k]];
	const struct spd_flow *flow;

	if (f->cell == NULL || !spd_cell_equal(f->cell, &f->cell_key))
		return false;
	flow = spd_cell_match(b->t, f->cell, p, NULL);
	__builtin_prefetch(flow);
	b->flows[b->at[k]] = flow;
	return flow != NULL;
}

/*
 * By source nodes, in passes as above: buckets of source prefixes, nodes, the bucket of the first
 * cell that may be there, that cell. Filters say where a probe is in vain.
 */
static inline __attribute__((always_inline)) void batch_by_nodes(const struct batch *b, bool is_v4)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&b->t->cells);
	struct finds finds[BURST_MAX];
	uint64_t left = 0;

	for (uint32_t k = 0; k < b->n; k++)
		finds_sources(b->t, b->packets[b->at[k]], &finds[k], is_v4);
	for (uint32_t k = 0; k < b->n; k++)
		finds_nodes(b->t, &finds[k]);
	for (uint32_t k = 0; k < b->n; k++) {
		finds[k].cell_hash = 0;
		b->flows[b->at[k]] = NULL;
		if (finds_cell(b->t, b->packets[b->at[k]], &finds[k], is_v4))
			left |= 1ULL << k;
	}
	for (uint64_t w = left; w != 0; w &= w - 1) {
		struct finds *f = &finds[__builtin_ctzll(w)];
		bool is_unsure;

		if (f->is_plain)
			continue;
		f->cell = spd_hash_candidate(buckets, f->cell_hash, &is_unsure);
		__builtin_prefetch(f->cell);
	}
	for (uint64_t w = left; w != 0; w &= w - 1) {
		unsigned k = (unsigned)__builtin_ctzll(w), i = b->at[k];

		if (finds[k].is_plain || !finds_resolve(b, &finds[k], k))
			b->flows[i] = spd_table_lookup(b->t, b->packets[i], NULL);
	}
}

static void batch_lookup(const struct batch *b, uint8_t family)
{
	const struct spd_plan *plan = spd_plan_of(b->t);

	if (plan == NULL)
		for (uint32_t k = 0; k < b->n; k++)
			b->flows[b->at[k]] = NULL;
	else if (plan->n_steps == 0 && family == 4)
		batch_by_nodes(b, true);
	else if (plan->n_steps == 0)
		batch_by_nodes(b, false);
	else if (family == 4)
		batch_by_plan(b, plan, true);
	else
		batch_by_plan(b, plan, false);
}

void spd_lookup_burst(const struct spd *spd, uint8_t direction,
	const struct spd_packet *const packets[], uint32_t n, const struct spd_flow *flows[])
{
	struct batch b = {.packets = packets, .flows = flows};

	if (n > BURST_MAX)
		n = BURST_MAX;
	for (uint8_t family = 4; family <= 6; family += 2) {
		b.t = spd_table_of(spd, direction, family);
		b.n = 0;
		for (uint32_t i = 0; i < n; i++) {
			b.at[b.n] = i;
			b.n += packets[i]->family == family;
		}
		if (b.t != NULL && b.n > 0)
			batch_lookup(&b, family);
		if (b.n == n && b.t != NULL)
			return;
	}
	for (uint32_t i = 0; i < n; i++)
		if (spd_table_of(spd, direction, packets[i]->family) == NULL)
			flows[i] = NULL;
}
