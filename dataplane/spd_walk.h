#pragma once

#include "dataplane/spd_internal.h"

/*
 * The readers' side. The cells that match a packet's addresses are gone through, longer source
 * prefixes first, then longer destination prefixes:
 *   few pairs of lengths (spd_plan): one probe each;
 *   else: one probe a source length in use for the source node, then one probe for each
 *   destination length that has cells with that node.
 * In a cell there is one probe a class of keys (protocol, ports), the most specific first. The
 * first flow that is found is the answer.
 */

static inline const struct spd_table *spd_table_of(
	const struct spd *spd, uint8_t direction, uint8_t family)
{
	if (direction - 1u > 1 || (family != 4 && family != 6))
		return NULL;
	return &spd->tables[direction - 1][family == 6];
}

/* The mask of the first word alone: IPv4 addresses are in its upper half. */
static inline uint64_t spd_mask_v4(unsigned len)
{
	return ~(0xffffffff00000000ULL >> len) & 0xffffffff00000000ULL;
}

static inline struct spd_prefix_key spd_prefix_key(const uint64_t addr[2], unsigned len, bool is_v4)
{
	if (is_v4)
		return (struct spd_prefix_key){.addr = {addr[0] & spd_mask_v4(len)}, .len = len};
	return (struct spd_prefix_key){
		.addr = {addr[0] & spd_mask_hi(len), addr[1] & spd_mask_lo(len)}, .len = len};
}

/* Steps through a set of lengths, the longest first: returns -1 at the end. */
struct spd_len_walk {
	uint64_t w[SPD_LEN_WORDS];
};

static inline int spd_len_next(struct spd_len_walk *walk, bool is_v4)
{
	for (int i = is_v4 ? 0 : SPD_LEN_WORDS - 1; i >= 0; i--) {
		int bit;

		if (walk->w[i] == 0)
			continue;
		bit = 63 - __builtin_clzll(walk->w[i]);
		walk->w[i] ^= 1ULL << bit;
		return i * 64 + bit;
	}
	return -1;
}

static inline struct spd_len_walk spd_len_walk_of(const struct spd_lens *lens, bool is_v4)
{
	struct spd_len_walk walk;

	for (unsigned i = 0; i < (is_v4 ? 1 : SPD_LEN_WORDS); i++)
		walk.w[i] = atomic_load_explicit(&lens->w[i], memory_order_acquire);
	return walk;
}

/* The most specific flow of a cell that the packet's protocol and ports match. */
static inline __attribute__((always_inline)) struct spd_flow *spd_cell_match(
	const struct spd_table *t, const struct spd_cell *cell, const struct spd_packet *p,
	uint32_t *touches)
{
	uint32_t classes = atomic_load_explicit(&cell->classes, memory_order_acquire);

	for (uint32_t left = classes & ~1u; left != 0;) {
		unsigned class = 31 - __builtin_clz(left);
		struct spd_rest_key key = {
			.cell = cell,
			.proto = class & SPD_CLASS_PROTO ? p->proto : 0,
			.src_port = class & SPD_CLASS_SRC_PORT ? p->src_port : 0,
			.dst_port = class & SPD_CLASS_DST_PORT ? p->dst_port : 0,
		};
		struct spd_flow *flow;

		left &= ~(1u << class);
		/* A packet without a port cannot match one; the key would be another class's. */
		if ((class & SPD_CLASS_PROTO && key.proto == 0) ||
			(class & SPD_CLASS_SRC_PORT && key.src_port == 0) ||
			(class & SPD_CLASS_DST_PORT && key.dst_port == 0))
			continue;
		flow = spd_hash_find(
			&t->rest, spd_rest_hash(t, &key), &key, spd_rest_equal, touches);
		if (flow != NULL)
			return flow;
	}
	if ((classes & 1) == 0)
		return NULL;
	return atomic_load_explicit(&cell->any, memory_order_acquire);
}

static inline struct spd_cell_key spd_step_key(
	const struct spd_step *s, const struct spd_packet *p, bool is_v4)
{
	struct spd_cell_key key = {.src = {p->src[0] & s->src_mask[0]},
		.dst = {p->dst[0] & s->dst_mask[0]},
		.lens = s->lens};

	if (!is_v4) {
		key.src[1] = p->src[1] & s->src_mask[1];
		key.dst[1] = p->dst[1] & s->dst_mask[1];
	}
	return key;
}

/* True: that was enough. */
typedef bool (*spd_cell_fn)(const struct spd_table *t, const struct spd_cell *cell,
	const struct spd_packet *p, void *arg);

/* The key of the cell of a source node and a destination prefix. */
static inline struct spd_cell_key spd_node_key(
	const struct spd_node *node, const struct spd_packet *p, unsigned len, bool is_v4)
{
	struct spd_cell_key key = {.src = {node->addr[0]}, .lens = (uint64_t)node->len << 8 | len};

	key.dst[0] = p->dst[0] & (is_v4 ? spd_mask_v4(len) : spd_mask_hi(len));
	if (!is_v4) {
		key.src[1] = node->addr[1];
		key.dst[1] = p->dst[1] & spd_mask_lo(len);
	}
	return key;
}

/* The cells of a source node that match the packet. */
static inline __attribute__((always_inline)) bool spd_node_walk(const struct spd_table *t,
	const struct spd_node *node, const struct spd_packet *p, bool is_v4, spd_cell_fn fn,
	void *arg, uint32_t *touches)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&t->cells);
	struct spd_len_walk lens = spd_len_walk_of(&node->dst_lens, is_v4);

	for (int len; (len = spd_len_next(&lens, is_v4)) >= 0;) {
		struct spd_cell_key key = spd_node_key(node, p, (unsigned)len, is_v4);
		uint32_t hash = spd_cell_hash(t, &key, is_v4);
		const struct spd_cell *cell;

		if (touches != NULL)
			(*touches)++;
		if (!spd_hash_maybe(buckets, hash))
			continue;
		cell = spd_hash_find(&t->cells, hash, &key, spd_cell_equal, touches);
		if (cell != NULL && fn(t, cell, p, arg))
			return true;
	}
	return false;
}

static inline __attribute__((always_inline)) void spd_nodes_walk(const struct spd_table *t,
	const struct spd_packet *p, bool is_v4, spd_cell_fn fn, void *arg, uint32_t *touches)
{
	const struct spd_buckets *buckets = spd_hash_buckets(&t->src_nodes);
	struct spd_len_walk lens = spd_len_walk_of(&t->src_lens, is_v4);

	for (int len; (len = spd_len_next(&lens, is_v4)) >= 0;) {
		struct spd_prefix_key key = spd_prefix_key(p->src, (unsigned)len, is_v4);
		uint32_t hash = spd_prefix_hash(t, &key);
		const struct spd_node *node;

		if (touches != NULL)
			(*touches)++;
		if (!spd_hash_maybe(buckets, hash))
			continue;
		node = spd_hash_find(&t->src_nodes, hash, &key, spd_node_equal, touches);
		if (node != NULL && spd_node_walk(t, node, p, is_v4, fn, arg, touches))
			return;
	}
}

/* All cells that match the packet's addresses, in the order of the search. */
static inline __attribute__((always_inline)) void spd_cells_walk(const struct spd_table *t,
	const struct spd_plan *plan, const struct spd_packet *p, bool is_v4, spd_cell_fn fn,
	void *arg, uint32_t *touches)
{
	for (uint32_t i = 0; i < plan->n_steps; i++) {
		struct spd_cell_key key = spd_step_key(&plan->steps[i], p, is_v4);
		const struct spd_cell *cell = spd_hash_find(
			&t->cells, spd_cell_hash(t, &key, is_v4), &key, spd_cell_equal, touches);

		if (cell != NULL && fn(t, cell, p, arg))
			return;
	}
	if (plan->n_steps == 0)
		spd_nodes_walk(t, p, is_v4, fn, arg, touches);
}

struct spd_search {
	const struct spd_flow *flow;
	uint32_t *touches;
};

static inline __attribute__((always_inline)) bool search_cell(const struct spd_table *t,
	const struct spd_cell *cell, const struct spd_packet *p, void *arg)
{
	struct spd_search *s = arg;

	s->flow = spd_cell_match(t, cell, p, s->touches);
	return s->flow != NULL;
}

static inline const struct spd_plan *spd_plan_of(const struct spd_table *t)
{
	return atomic_load_explicit(&t->plan, memory_order_acquire);
}

static inline __attribute__((always_inline)) const struct spd_flow *spd_table_lookup(
	const struct spd_table *t, const struct spd_packet *p, uint32_t *touches)
{
	const struct spd_plan *plan = spd_plan_of(t);
	struct spd_search s = {.touches = touches};

	if (plan == NULL)
		return NULL;
	if (p->family == 4)
		spd_cells_walk(t, plan, p, true, search_cell, &s, touches);
	else
		spd_cells_walk(t, plan, p, false, search_cell, &s, touches);
	if (touches != NULL && s.flow != NULL)
		(*touches)++;
	return s.flow;
}
