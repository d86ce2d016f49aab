#include "dataplane/spd_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The writer's side of one table: nodes, cells, chains of equal keys, and the bound. */

int spd_table_init(struct spd_table *t, uint64_t seed, spd_defer_fn defer, void *defer_ctx)
{
	const size_t node_hash = offsetof(struct spd_node, hash);

	t->seed = seed;
	if (spd_hash_init(&t->src_nodes, node_hash, defer, defer_ctx) != 0 ||
		spd_hash_init(&t->dst_nodes, node_hash, defer, defer_ctx) != 0 ||
		spd_hash_init(&t->cells, offsetof(struct spd_cell, hash), defer, defer_ctx) != 0 ||
		spd_hash_init(&t->rest, offsetof(struct spd_flow, hash), defer, defer_ctx) != 0)
		return -IPC_E_FULL;
	return 0;
}

void spd_table_fini(struct spd_table *t)
{
	spd_hash_fini(&t->src_nodes);
	spd_hash_fini(&t->dst_nodes);
	spd_hash_fini(&t->cells);
	spd_hash_fini(&t->rest);
	for (unsigned i = 0; i < SPD_N_LENS; i++) {
		free(t->tuples[i]);
		free(t->widths[i]);
	}
}

/*
 * A look-up probes each source length and each destination length once at most, at the one node
 * of a source length a cell for each destination length that node has, and in the cells of a
 * pair of lengths each class of keys once.
 */
uint32_t spd_table_bound(const struct spd_table *t)
{
	uint32_t probes = t->n_src_lens + t->n_dst_lens + t->n_cell_probes + t->n_classes;

	return probes == 0 ? 0 : probes * SPD_PROBE_MAX + 1;
}

static void lens_set(struct spd_lens *lens, unsigned len, bool is_set)
{
	uint64_t w = atomic_load_explicit(&lens->w[len / 64], memory_order_relaxed);
	uint64_t bit = 1ULL << (len % 64);

	atomic_store_explicit(
		&lens->w[len / 64], is_set ? w | bit : w & ~bit, memory_order_release);
}

/* Counts of what a look-up may have to probe. step is 1 or -1. */
static void count_node(struct spd_lens *lens, struct spd_len_counts *counts, uint32_t *n_lens,
	unsigned len, int step)
{
	counts->n[len] += step;
	if (step > 0 && counts->n[len] == 1) {
		(*n_lens)++;
		lens_set(lens, len, true);
	} else if (step < 0 && counts->n[len] == 0) {
		(*n_lens)--;
		lens_set(lens, len, false);
	}
}

static struct spd_tuple *tuple_of(struct spd_table *t, unsigned src_len, unsigned dst_len)
{
	if (t->tuples[src_len] == NULL)
		t->tuples[src_len] = calloc(SPD_N_LENS, sizeof(struct spd_tuple));
	if (t->widths[src_len] == NULL)
		t->widths[src_len] = calloc(SPD_N_LENS + 1, sizeof(uint32_t));
	if (t->tuples[src_len] == NULL || t->widths[src_len] == NULL)
		return NULL;
	return &t->tuples[src_len][dst_len];
}

/* A source node has now `width` destination lengths, and had one more or less. */
static void count_width(struct spd_table *t, unsigned src_len, unsigned width, int step)
{
	uint32_t *widths = t->widths[src_len];
	unsigned before = width - step, widest = t->widest[src_len];

	widths[before] -= before > 0;
	widths[width] += width > 0;
	if (width > widest)
		widest = width;
	while (widest > 0 && widths[widest] == 0)
		widest--;
	t->n_cell_probes += widest - t->widest[src_len];
	t->widest[src_len] = widest;
}

static void count_cell(struct spd_table *t, struct spd_tuple *tuple, int step)
{
	tuple->n_cells += step;
	if (step > 0 ? tuple->n_cells == 1 : tuple->n_cells == 0)
		t->n_tuples += step;
}

static void count_key(struct spd_table *t, struct spd_tuple *tuple, unsigned class, int step)
{
	tuple->n_keys[class] += step;
	if (class != 0 && (step > 0 ? tuple->n_keys[class] == 1 : tuple->n_keys[class] == 0))
		t->n_classes += step;
	t->n_keys[class] += step;
	if (step > 0 ? t->n_keys[class] == 1 : t->n_keys[class] == 0)
		atomic_store_explicit(&t->classes,
			atomic_load_explicit(&t->classes, memory_order_relaxed) ^ 1u << class,
			memory_order_release);
}

static struct spd_prefix_key prefix_key_of(const struct ip_prefix *p)
{
	struct spd_prefix_key k = {.len = p->len};
	struct spd_packet packet;
	uint32_t v4;

	if (p->addr.family == 4) {
		memcpy(&v4, p->addr.b, sizeof(v4));
		spd_packet_set_v4(&packet, v4, v4);
	} else {
		spd_packet_set_v6(&packet, p->addr.b, p->addr.b);
	}
	k.addr[0] = packet.src[0] & spd_mask_hi(p->len);
	k.addr[1] = packet.src[1] & spd_mask_lo(p->len);
	return k;
}

static unsigned class_of(const struct ipc_flow *f)
{
	return (f->proto != 0 ? SPD_CLASS_PROTO : 0) | (f->src_port != 0 ? SPD_CLASS_SRC_PORT : 0) |
	       (f->dst_port != 0 ? SPD_CLASS_DST_PORT : 0);
}

static struct spd_node *node_find(
	const struct spd_table *t, const struct spd_hash *h, const struct spd_prefix_key *k)
{
	return spd_hash_find(h, spd_prefix_hash(t, k), k, spd_node_equal, NULL);
}

static struct spd_cell *cell_find(const struct spd_table *t, const struct ipc_flow *f)
{
	struct spd_prefix_key src = prefix_key_of(&f->src), dst = prefix_key_of(&f->dst);
	struct spd_cell_key key = {
		.src = node_find(t, &t->src_nodes, &src), .dst = node_find(t, &t->dst_nodes, &dst)};

	if (key.src == NULL || key.dst == NULL)
		return NULL;
	return spd_hash_find(&t->cells, spd_cell_hash(t, &key), &key, spd_cell_equal, NULL);
}

static struct spd_flow *key_find(
	const struct spd_table *t, const struct spd_cell *cell, const struct ipc_flow *f)
{
	struct spd_rest_key key = {
		.cell = cell, .src_port = f->src_port, .dst_port = f->dst_port, .proto = f->proto};

	if (class_of(f) == 0)
		return atomic_load(&cell->any);
	return spd_hash_find(&t->rest, spd_rest_hash(t, &key), &key, spd_rest_equal, NULL);
}

static void node_free(void *arg)
{
	struct spd_node *node = arg;

	free(node->counts);
	free(node);
}

static void *line_alloc(size_t size)
{
	void *p = aligned_alloc(64, size);

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

/* A node made here has no cells yet; node_release takes it out again. */
static struct spd_node *node_get(struct spd_table *t, bool is_src, const struct spd_prefix_key *k)
{
	struct spd_hash *h = is_src ? &t->src_nodes : &t->dst_nodes;
	struct spd_node *node = node_find(t, h, k);

	if (node != NULL)
		return node;
	node = line_alloc(sizeof(*node));
	if (node == NULL)
		return NULL;
	node->addr[0] = k->addr[0];
	node->addr[1] = k->addr[1];
	node->len = k->len;
	node->hash = spd_prefix_hash(t, k);
	if (spd_hash_add(h, node) != 0) {
		free(node);
		return NULL;
	}
	if (is_src)
		count_node(&t->src_lens, &t->src_counts, &t->n_src_lens, k->len, 1);
	else
		count_node(&t->dst_lens, &t->dst_counts, &t->n_dst_lens, k->len, 1);
	return node;
}

static void node_release(struct spd_table *t, bool is_src, struct spd_node *node)
{
	struct spd_hash *h = is_src ? &t->src_nodes : &t->dst_nodes;

	if (node == NULL || node->n_cells != 0)
		return;
	spd_hash_remove(h, node);
	if (is_src)
		count_node(&t->src_lens, &t->src_counts, &t->n_src_lens, node->len, -1);
	else
		count_node(&t->dst_lens, &t->dst_counts, &t->n_dst_lens, node->len, -1);
	h->defer(h->defer_ctx, node_free, node);
}

/* 0 or -1 (memory). */
static int node_len_add(struct spd_table *t, struct spd_node *src, uint8_t len)
{
	struct spd_len_count *grown;

	for (unsigned i = 0; i < src->n_counts; i++)
		if (src->counts[i].len == len) {
			src->counts[i].n++;
			return 0;
		}
	grown = realloc(src->counts, (src->n_counts + 1u) * sizeof(*grown));
	if (grown == NULL)
		return -1;
	src->counts = grown;
	grown[src->n_counts++] = (struct spd_len_count){.n = 1, .len = len};
	lens_set(&src->dst_lens, len, true);
	count_width(t, src->len, src->n_counts, 1);
	return 0;
}

static void node_len_remove(struct spd_table *t, struct spd_node *src, uint8_t len)
{
	for (unsigned i = 0; i < src->n_counts; i++) {
		if (src->counts[i].len != len)
			continue;
		if (--src->counts[i].n == 0) {
			lens_set(&src->dst_lens, len, false);
			src->counts[i] = src->counts[--src->n_counts];
			count_width(t, src->len, src->n_counts, -1);
		}
		return;
	}
	assert(false);
}

static struct spd_cell *cell_create(struct spd_table *t, struct spd_node *src, struct spd_node *dst)
{
	struct spd_cell_key key = {.src = src, .dst = dst};
	struct spd_cell *cell = line_alloc(sizeof(*cell));

	if (cell == NULL || node_len_add(t, src, dst->len) != 0) {
		free(cell);
		return NULL;
	}
	cell->src = src;
	cell->dst = dst;
	cell->hash = spd_cell_hash(t, &key);
	if (spd_hash_add(&t->cells, cell) != 0) {
		node_len_remove(t, src, dst->len);
		free(cell);
		return NULL;
	}
	src->n_cells++;
	dst->n_cells++;
	count_cell(t, &t->tuples[src->len][dst->len], 1);
	return cell;
}

/* Takes out a cell without flows, and its nodes if they have no other. */
static void cell_release(struct spd_table *t, struct spd_cell *cell)
{
	struct spd_node *src = (struct spd_node *)cell->src, *dst = (struct spd_node *)cell->dst;

	for (unsigned i = 0; i < SPD_N_CLASSES; i++)
		if (cell->n_keys[i] != 0)
			return;
	spd_hash_remove(&t->cells, cell);
	count_cell(t, &t->tuples[src->len][dst->len], -1);
	node_len_remove(t, src, dst->len);
	src->n_cells--;
	dst->n_cells--;
	node_release(t, true, src);
	node_release(t, false, dst);
	t->cells.defer(t->cells.defer_ctx, free, cell);
}

static struct spd_cell *cell_get(struct spd_table *t, const struct ipc_flow *f)
{
	struct spd_prefix_key src_key = prefix_key_of(&f->src), dst_key = prefix_key_of(&f->dst);
	struct spd_cell *cell = cell_find(t, f);
	struct spd_node *src, *dst;

	if (cell != NULL)
		return cell;
	src = node_get(t, true, &src_key);
	dst = node_get(t, false, &dst_key);
	if (src != NULL && dst != NULL)
		cell = cell_create(t, src, dst);
	if (cell == NULL) {
		node_release(t, true, src);
		node_release(t, false, dst);
	}
	return cell;
}

/* How many destination lengths the flow's source node would have with the flow. */
static unsigned width_with(const struct spd_table *t, const struct ipc_flow *f)
{
	struct spd_prefix_key key = prefix_key_of(&f->src);
	const struct spd_node *src = node_find(t, &t->src_nodes, &key);
	uint64_t w;

	if (src == NULL)
		return 1;
	w = atomic_load_explicit(&src->dst_lens.w[f->dst.len / 64], memory_order_relaxed);
	return src->n_counts + (w >> (f->dst.len % 64) & 1 ? 0u : 1u);
}

/* What the bound would be with one more key of this cell's lengths and class. */
static uint32_t bound_with(
	const struct spd_table *t, const struct spd_tuple *tuple, const struct ipc_flow *f)
{
	unsigned class = class_of(f), width = width_with(t, f);
	uint32_t probes = t->n_src_lens + t->n_dst_lens + t->n_cell_probes + t->n_classes;

	probes += t->src_counts.n[f->src.len] == 0;
	probes += t->dst_counts.n[f->dst.len] == 0;
	probes += width > t->widest[f->src.len] ? width - t->widest[f->src.len] : 0;
	probes += class != 0 && tuple->n_keys[class] == 0;
	return probes * SPD_PROBE_MAX + 1;
}

/* ipsec.conf's and our own before the engines'; then the newer. */
static bool comes_before(const struct spd_entry *a, const struct spd_entry *b)
{
	bool a_engine = a->owner >> 16 == IPC_OWNER_ENGINE;
	bool b_engine = b->owner >> 16 == IPC_OWNER_ENGINE;

	if (a_engine != b_engine)
		return b_engine;
	return a->registration >= b->registration;
}

/* Adds to a key that is there already. */
static void chain_insert(struct spd *spd, struct spd_table *t, struct spd_cell *cell,
	struct spd_flow *head, struct spd_entry *e)
{
	struct spd_entry *at = spd->heads[head->id];

	e->flow->hash = head->hash;
	if (comes_before(e, at)) {
		e->next_equal = at;
		if (class_of(&e->spec) == 0)
			atomic_store_explicit(&cell->any, e->flow, memory_order_release);
		else
			spd_hash_replace(&t->rest, head, e->flow);
		return;
	}
	while (at->next_equal != NULL && !comes_before(e, at->next_equal))
		at = at->next_equal;
	e->next_equal = at->next_equal;
	at->next_equal = e;
}

/* A new key. 0 or -1 (memory). */
static int key_insert(struct spd_table *t, struct spd_cell *cell, struct spd_entry *e)
{
	const unsigned class = class_of(&e->spec);
	struct spd_rest_key key = {.cell = cell,
		.src_port = e->spec.src_port,
		.dst_port = e->spec.dst_port,
		.proto = e->spec.proto};

	e->next_equal = NULL;
	e->flow->hash = spd_rest_hash(t, &key);
	if (class == 0)
		atomic_store_explicit(&cell->any, e->flow, memory_order_release);
	else if (spd_hash_add(&t->rest, e->flow) != 0)
		return -1;
	cell->n_keys[class]++;
	count_key(t, &t->tuples[cell->src->len][cell->dst->len], class, 1);
	atomic_store_explicit(&cell->classes,
		atomic_load_explicit(&cell->classes, memory_order_relaxed) | 1u << class,
		memory_order_release);
	return 0;
}

int spd_table_link(struct spd *spd, struct spd_table *t, struct spd_entry *e)
{
	struct spd_tuple *tuple = tuple_of(t, e->spec.src.len, e->spec.dst.len);
	struct spd_cell *cell = cell_find(t, &e->spec);
	struct spd_flow *head = cell == NULL ? NULL : key_find(t, cell, &e->spec);

	if (tuple == NULL)
		return -IPC_E_FULL;
	if (head == NULL && bound_with(t, tuple, &e->spec) > spd->config.max_bound)
		return -IPC_E_BOUND;
	cell = cell_get(t, &e->spec);
	if (cell == NULL)
		return -IPC_E_FULL;
	e->flow->cell = cell;
	if (head != NULL) {
		chain_insert(spd, t, cell, head, e);
		return 0;
	}
	if (key_insert(t, cell, e) != 0) {
		cell_release(t, cell);
		return -IPC_E_FULL;
	}
	return 0;
}

static void key_remove(struct spd_table *t, struct spd_cell *cell, struct spd_entry *e)
{
	const unsigned class = class_of(&e->spec);

	if (--cell->n_keys[class] == 0)
		atomic_store_explicit(&cell->classes,
			atomic_load_explicit(&cell->classes, memory_order_relaxed) & ~(1u << class),
			memory_order_release);
	if (class == 0)
		atomic_store_explicit(&cell->any, NULL, memory_order_release);
	else
		spd_hash_remove(&t->rest, e->flow);
	count_key(t, &t->tuples[cell->src->len][cell->dst->len], class, -1);
	cell_release(t, cell);
}

void spd_table_unlink(struct spd *spd, struct spd_table *t, struct spd_entry *e)
{
	struct spd_cell *cell = e->flow->cell;
	struct spd_flow *head = key_find(t, cell, &e->spec);
	struct spd_entry *at;

	assert(head != NULL);
	at = spd->heads[head->id];
	if (at != e) {
		while (at->next_equal != e)
			at = at->next_equal;
		at->next_equal = e->next_equal;
	} else if (e->next_equal == NULL) {
		key_remove(t, cell, e);
	} else if (class_of(&e->spec) == 0) {
		atomic_store_explicit(&cell->any, e->next_equal->flow, memory_order_release);
	} else {
		spd_hash_replace(&t->rest, head, e->next_equal->flow);
	}
}

bool spd_table_is_shadowed(
	const struct spd *spd, const struct spd_table *t, const struct spd_entry *e)
{
	return spd->heads[key_find(t, e->flow->cell, &e->spec)->id] != e;
}
