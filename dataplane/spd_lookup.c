#include "dataplane/spd_internal.h"

#include <arpa/inet.h>
#include <string.h>

/*
 * The readers' side. For a packet, longest source prefix first:
 *   1. source node: one probe a source length in use;
 *   2. destination lengths that have cells with that node: one probe for each node (kept for the
 *      next source node), one for the cell of the pair;
 *   3. in the cell: one probe a class of keys (protocol, ports), the most specific first.
 * The first flow that is found is the answer.
 */

#define BURST_MAX 64

void spd_packet_set_v4(struct spd_packet *p, uint32_t src_be, uint32_t dst_be)
{
	p->family = 4;
	p->src[0] = (uint64_t)ntohl(src_be) << 32;
	p->dst[0] = (uint64_t)ntohl(dst_be) << 32;
	p->src[1] = p->dst[1] = 0;
}

static uint64_t load_be64(const uint8_t *b)
{
	uint64_t v;

	memcpy(&v, b, sizeof(v));
	return __builtin_bswap64(v);
}

void spd_packet_set_v6(struct spd_packet *p, const uint8_t src[16], const uint8_t dst[16])
{
	p->family = 6;
	p->src[0] = load_be64(src);
	p->src[1] = load_be64(src + 8);
	p->dst[0] = load_be64(dst);
	p->dst[1] = load_be64(dst + 8);
}

static inline const struct spd_table *table_of(
	const struct spd *spd, uint8_t direction, uint8_t family)
{
	if (direction - 1u > 1 || (family != 4 && family != 6))
		return NULL;
	return &spd->tables[direction - 1][family == 6];
}

static inline struct spd_prefix_key prefix_key(const uint64_t addr[2], unsigned len)
{
	return (struct spd_prefix_key){
		.addr = {addr[0] & spd_mask_hi(len), addr[1] & spd_mask_lo(len)}, .len = len};
}

/* Steps through a set of lengths, the longest first: returns -1 at the end. */
struct len_walk {
	uint64_t w[SPD_LEN_WORDS];
};

static inline int len_next(struct len_walk *walk)
{
	for (int i = SPD_LEN_WORDS - 1; i >= 0; i--) {
		int bit;

		if (walk->w[i] == 0)
			continue;
		bit = 63 - __builtin_clzll(walk->w[i]);
		walk->w[i] &= ~(1ULL << bit);
		return i * 64 + bit;
	}
	return -1;
}

static inline struct len_walk len_walk_of(const struct spd_lens *lens)
{
	struct len_walk walk;

	for (unsigned i = 0; i < SPD_LEN_WORDS; i++)
		walk.w[i] = atomic_load_explicit(&lens->w[i], memory_order_acquire);
	return walk;
}

/* The most specific flow of a cell that the packet's protocol and ports match. */
static inline __attribute__((always_inline)) struct spd_flow *cell_match(const struct spd_table *t,
	const struct spd_cell *cell, const struct spd_packet *p, uint32_t *touches)
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

/* Destination nodes that were looked for, kept while the source nodes are gone through. */
struct dst_cache {
	struct len_walk known;
	const struct spd_node *nodes[SPD_N_LENS]; /* valid where known */
};

static inline __attribute__((always_inline)) const struct spd_node *dst_find(
	const struct spd_table *t, struct dst_cache *cache, const struct spd_packet *p,
	unsigned len, uint32_t *touches)
{
	struct spd_prefix_key key;

	if (cache->known.w[len / 64] >> (len % 64) & 1)
		return cache->nodes[len];
	key = prefix_key(p->dst, len);
	cache->nodes[len] = spd_hash_find(
		&t->dst_nodes, spd_prefix_hash(t, &key), &key, spd_node_equal, touches);
	cache->known.w[len / 64] |= 1ULL << (len % 64);
	return cache->nodes[len];
}

static inline __attribute__((always_inline)) struct spd_flow *source_match(
	const struct spd_table *t, const struct spd_node *src, const struct spd_packet *p,
	struct dst_cache *cache, uint32_t *touches)
{
	struct len_walk lens = len_walk_of(&src->dst_lens);

	for (int len; (len = len_next(&lens)) >= 0;) {
		struct spd_cell_key key = {.src = src};
		const struct spd_cell *cell;
		struct spd_flow *flow;

		key.dst = dst_find(t, cache, p, len, touches);
		if (key.dst == NULL)
			continue;
		cell = spd_hash_find(
			&t->cells, spd_cell_hash(t, &key), &key, spd_cell_equal, touches);
		if (cell == NULL)
			continue;
		flow = cell_match(t, cell, p, touches);
		if (flow != NULL)
			return flow;
	}
	return NULL;
}

static inline __attribute__((always_inline)) const struct spd_flow *table_lookup(
	const struct spd_table *t, const struct spd_packet *p, uint32_t *touches)
{
	struct len_walk src_lens = len_walk_of(&t->src_lens);
	struct dst_cache cache;

	memset(&cache.known, 0, sizeof(cache.known));
	for (int len; (len = len_next(&src_lens)) >= 0;) {
		struct spd_prefix_key key = prefix_key(p->src, len);
		const struct spd_node *src = spd_hash_find(
			&t->src_nodes, spd_prefix_hash(t, &key), &key, spd_node_equal, touches);
		const struct spd_flow *flow;

		if (src == NULL)
			continue;
		flow = source_match(t, src, p, &cache, touches);
		if (flow == NULL)
			continue;
		if (touches != NULL)
			(*touches)++;
		return flow;
	}
	return NULL;
}

const struct spd_flow *spd_lookup(
	const struct spd *spd, uint8_t direction, const struct spd_packet *packet)
{
	const struct spd_table *t = table_of(spd, direction, packet->family);

	return t == NULL ? NULL : table_lookup(t, packet, NULL);
}

const struct spd_flow *spd_lookup_counted(const struct spd *spd, uint8_t direction,
	const struct spd_packet *packet, uint32_t *touches)
{
	const struct spd_table *t = table_of(spd, direction, packet->family);

	*touches = 0;
	return t == NULL ? NULL : table_lookup(t, packet, touches);
}

enum pair_verdict { PAIR_GO_ON, PAIR_NEEDS_PORTS, PAIR_DECIDED };

/* The classes of a cell in the order of the search, without the packet's ports. */
static enum pair_verdict cell_needs_ports(
	const struct spd_table *t, const struct spd_cell *cell, const struct spd_packet *p)
{
	uint32_t classes = atomic_load_explicit(&cell->classes, memory_order_acquire);

	for (uint32_t left = classes & ~1u; left != 0;) {
		unsigned class = 31 - __builtin_clz(left);
		struct spd_rest_key key = {.cell = cell, .proto = p->proto};

		left &= ~(1u << class);
		if (class != SPD_CLASS_PROTO || p->proto == 0)
			return PAIR_NEEDS_PORTS;
		if (spd_hash_find(&t->rest, spd_rest_hash(t, &key), &key, spd_rest_equal, NULL) !=
			NULL)
			return PAIR_DECIDED;
	}
	return classes & 1 ? PAIR_DECIDED : PAIR_GO_ON;
}

static enum pair_verdict source_needs_ports(const struct spd_table *t, const struct spd_node *src,
	const struct spd_packet *p, struct dst_cache *cache)
{
	struct len_walk lens = len_walk_of(&src->dst_lens);
	enum pair_verdict verdict = PAIR_GO_ON;

	for (int len; verdict == PAIR_GO_ON && (len = len_next(&lens)) >= 0;) {
		struct spd_cell_key key = {.src = src};
		const struct spd_cell *cell;

		key.dst = dst_find(t, cache, p, len, NULL);
		if (key.dst == NULL)
			continue;
		cell = spd_hash_find(&t->cells, spd_cell_hash(t, &key), &key, spd_cell_equal, NULL);
		if (cell != NULL)
			verdict = cell_needs_ports(t, cell, p);
	}
	return verdict;
}

bool spd_pair_has_ports(const struct spd *spd, uint8_t direction, const struct spd_packet *packet)
{
	const struct spd_table *t = table_of(spd, direction, packet->family);
	const uint32_t no_ports = packet->proto == 0 ? 1u : 1u | 1u << SPD_CLASS_PROTO;
	enum pair_verdict verdict = PAIR_GO_ON;
	struct len_walk src_lens;
	struct dst_cache cache;

	if (t == NULL || (atomic_load_explicit(&t->classes, memory_order_acquire) & ~no_ports) == 0)
		return false;
	memset(&cache.known, 0, sizeof(cache.known));
	src_lens = len_walk_of(&t->src_lens);
	for (int len; verdict == PAIR_GO_ON && (len = len_next(&src_lens)) >= 0;) {
		struct spd_prefix_key key = prefix_key(packet->src, len);
		const struct spd_node *src = spd_hash_find(
			&t->src_nodes, spd_prefix_hash(t, &key), &key, spd_node_equal, NULL);

		if (src != NULL)
			verdict = source_needs_ports(t, src, packet, &cache);
	}
	return verdict == PAIR_NEEDS_PORTS;
}

/* Buckets of the longest few lengths of both sides: what nearly every look-up needs. */
static inline void prefetch_buckets(const struct spd_table *t, const struct spd_packet *p)
{
	struct len_walk lens = len_walk_of(&t->src_lens);
	int len;

	for (unsigned i = 0; i < 4 && (len = len_next(&lens)) >= 0; i++) {
		struct spd_prefix_key key = prefix_key(p->src, len);

		spd_hash_prefetch(&t->src_nodes, spd_prefix_hash(t, &key));
	}
	lens = len_walk_of(&t->dst_lens);
	for (unsigned i = 0; i < 4 && (len = len_next(&lens)) >= 0; i++) {
		struct spd_prefix_key key = prefix_key(p->dst, len);

		spd_hash_prefetch(&t->dst_nodes, spd_prefix_hash(t, &key));
	}
}

static inline void prefetch_object(const struct spd_hash *h, uint32_t hash)
{
	const struct spd_bucket *b = spd_hash_bucket(h, hash);
	const uint16_t tag = hash >> 16;

	for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++) {
		uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);

		if (slot != 0 && SPD_SLOT_TAG(slot) == tag)
			__builtin_prefetch(SPD_SLOT_PTR(slot));
	}
}

static inline void prefetch_nodes(const struct spd_table *t, const struct spd_packet *p)
{
	struct len_walk lens = len_walk_of(&t->src_lens);
	int len;

	for (unsigned i = 0; i < 4 && (len = len_next(&lens)) >= 0; i++) {
		struct spd_prefix_key key = prefix_key(p->src, len);

		prefetch_object(&t->src_nodes, spd_prefix_hash(t, &key));
	}
	lens = len_walk_of(&t->dst_lens);
	for (unsigned i = 0; i < 4 && (len = len_next(&lens)) >= 0; i++) {
		struct spd_prefix_key key = prefix_key(p->dst, len);

		prefetch_object(&t->dst_nodes, spd_prefix_hash(t, &key));
	}
}

void spd_lookup_burst(const struct spd *spd, uint8_t direction,
	const struct spd_packet *const packets[], uint32_t n, const struct spd_flow *flows[])
{
	const struct spd_table *tables[BURST_MAX];

	if (n > BURST_MAX)
		n = BURST_MAX;
	for (uint32_t i = 0; i < n; i++) {
		tables[i] = table_of(spd, direction, packets[i]->family);
		if (tables[i] != NULL)
			prefetch_buckets(tables[i], packets[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		if (tables[i] != NULL)
			prefetch_nodes(tables[i], packets[i]);
	for (uint32_t i = 0; i < n; i++)
		flows[i] = tables[i] == NULL ? NULL : table_lookup(tables[i], packets[i], NULL);
}

void spd_flow_hit(
	const struct spd *spd, const struct spd_flow *flow, uint32_t worker, uint32_t bytes)
{
	struct spd_counter *chunk, *c;

	if (worker >= spd->config.n_workers)
		return;
	chunk = atomic_load_explicit(
		&spd->counters[worker][flow->id / SPD_COUNTER_CHUNK], memory_order_acquire);
	c = &chunk[flow->id % SPD_COUNTER_CHUNK];
	atomic_store_explicit(&c->packets,
		atomic_load_explicit(&c->packets, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(&c->bytes,
		atomic_load_explicit(&c->bytes, memory_order_relaxed) + bytes,
		memory_order_relaxed);
}
