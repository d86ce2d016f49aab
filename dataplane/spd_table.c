#include "dataplane/spd_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The writer's side of one table: nodes, cells, chains of equal keys, and the bound. */

int spd_table_init(struct spd_table *t, const uint64_t seed[2], struct spd_slab *slab,
	spd_defer_fn defer, void *defer_ctx)
{
	t->seed[0] = seed[0];
	t->seed[1] = seed[1];
	t->slab = slab;
	if (spd_hash_init(&t->src_nodes, offsetof(struct spd_node, hash), defer, defer_ctx) != 0 ||
		spd_hash_init(&t->cells, offsetof(struct spd_cell, hash), defer, defer_ctx) != 0 ||
		spd_hash_init(&t->rest, offsetof(struct spd_flow, hash), defer, defer_ctx) != 0)
		return -IPC_E_FULL;
	return 0;
}

void spd_table_fini(struct spd_table *t)
{
	spd_plan_release(t, atomic_load(&t->plan));
	spd_hash_fini(&t->src_nodes);
	spd_hash_fini(&t->cells);
	spd_hash_fini(&t->rest);
	for (unsigned i = 0; i < SPD_N_LENS; i++) {
		free(t->tuples[i]);
		free(t->widths[i]);
	}
}

uint64_t spd_table_memory(const struct spd_table *t)
{
	uint64_t bytes = spd_hash_memory(&t->src_nodes) + spd_hash_memory(&t->cells) +
			 spd_hash_memory(&t->rest);

	for (unsigned i = 0; i < SPD_N_LENS; i++)
		if (t->tuples[i] != NULL)
			bytes += SPD_N_LENS * sizeof(struct spd_tuple) +
				 (SPD_N_LENS + 1) * sizeof(uint32_t);
	return bytes;
}

/*
 * A look-up probes each pair of lengths once at most, or each source length once and, at the one
 * node of a source length, a cell for each destination length that node has; in the cells of a
 * pair of lengths each class of keys once.
 */
uint32_t spd_table_bound(const struct spd_table *t)
{
	uint32_t probes = spd_plan_probes(t->n_tuples, t->n_src_lens, t->n_cell_probes);

	return probes == 0 ? 0 : (probes + t->n_classes) * SPD_PROBE_MAX + 1;
}

static void lens_set(struct spd_lens *lens, unsigned len, bool is_set)
{
	uint64_t w = atomic_load_explicit(&lens->w[len / 64], memory_order_relaxed);
	uint64_t bit = 1ULL << (len % 64);

	atomic_store_explicit(
		&lens->w[len / 64], is_set ? w | bit : w & ~bit, memory_order_release);
}

/* Counts of what a look-up may have to probe. step is 1 or -1. */
static void count_node(struct spd_table *t, unsigned len, int step)
{
	t->src_counts.n[len] += step;
	if (step > 0 ? t->src_counts.n[len] == 1 : t->src_counts.n[len] == 0) {
		t->n_src_lens += step;
		lens_set(&t->src_lens, len, step > 0);
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

/* 0, or -1 when there is no memory for the plan with a new pair of lengths. */
static int count_cell(struct spd_table *t, struct spd_tuple *tuple, int step)
{
	tuple->n_cells += step;
	if (step > 0 ? tuple->n_cells > 1 : tuple->n_cells > 0)
		return 0;
	t->n_tuples += step;
	return spd_plan_update(t);
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

static unsigned class_of(const struct spd_spec *f)
{
	return (f->proto != 0 ? SPD_CLASS_PROTO : 0) | (f->src_port != 0 ? SPD_CLASS_SRC_PORT : 0) |
	       (f->dst_port != 0 ? SPD_CLASS_DST_PORT : 0);
}

static struct spd_node *node_find(const struct spd_table *t, const struct spd_prefix_key *k)
{
	return spd_hash_find(&t->src_nodes, spd_prefix_hash(t, k), k, spd_node_equal, NULL);
}

static struct spd_cell_key cell_key_of(const struct spd_spec *f)
{
	struct spd_prefix_key src = prefix_key_of(&f->src), dst = prefix_key_of(&f->dst);

	return (struct spd_cell_key){.src = {src.addr[0], src.addr[1]},
		.dst = {dst.addr[0], dst.addr[1]},
		.lens = (uint64_t)f->src.len << 8 | f->dst.len};
}

static uint32_t cell_hash_of(const struct spd_table *t, const struct spd_spec *f)
{
	struct spd_cell_key key = cell_key_of(f);

	return spd_cell_hash(t, &key, f->src.addr.family == 4);
}

static struct spd_cell *cell_find(const struct spd_table *t, const struct spd_spec *f)
{
	struct spd_cell_key key = cell_key_of(f);

	return spd_hash_find(&t->cells, cell_hash_of(t, f), &key, spd_cell_equal, NULL);
}

static struct spd_flow *key_find(
	const struct spd_table *t, const struct spd_cell *cell, const struct spd_spec *f)
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
	spd_slab_give(node);
}

static void cell_free(void *arg)
{
	struct spd_cell *cell = arg;

	free(cell->n_keys);
	spd_slab_give(cell);
}

/* A node made here has no cells yet; node_release takes it out again. */
static struct spd_node *node_get(struct spd_table *t, const struct spd_prefix_key *k)
{
	struct spd_node *node = node_find(t, k);

	if (node != NULL)
		return node;
	node = spd_slab_take(t->slab);
	if (node == NULL)
		return NULL;
	node->addr[0] = k->addr[0];
	node->addr[1] = k->addr[1];
	node->len = k->len;
	node->hash = spd_prefix_hash(t, k);
	if (spd_hash_add(&t->src_nodes, node) != 0) {
		node_free(node);
		return NULL;
	}
	count_node(t, k->len, 1);
	return node;
}

static void node_release(struct spd_table *t, struct spd_node *node)
{
	if (node->n_cells != 0)
		return;
	spd_hash_remove(&t->src_nodes, node);
	count_node(t, node->len, -1);
	t->src_nodes.defer(t->src_nodes.defer_ctx, node_free, node);
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

static struct spd_cell *cell_make(
	struct spd_table *t, struct spd_node *node, const struct spd_spec *f)
{
	struct spd_cell *cell = spd_slab_take(t->slab);
	struct spd_cell_key key = cell_key_of(f);

	if (cell == NULL)
		return NULL;
	memcpy(cell->src, key.src, sizeof(cell->src));
	memcpy(cell->dst, key.dst, sizeof(cell->dst));
	cell->src_len = f->src.len;
	cell->dst_len = f->dst.len;
	cell->node = node;
	cell->hash = cell_hash_of(t, f);
	return cell;
}

/* Takes a cell out again that readers may have seen, or not. */
static void cell_uncount(struct spd_table *t, struct spd_cell *cell)
{
	/* Without memory the old plan goes on: it probes what is not there any more. */
	(void)count_cell(t, &t->tuples[cell->src_len][cell->dst_len], -1);
	node_len_remove(t, cell->node, cell->dst_len);
}

static struct spd_cell *cell_create(
	struct spd_table *t, struct spd_node *node, const struct spd_spec *f)
{
	struct spd_cell *cell = cell_make(t, node, f);

	if (cell == NULL)
		return NULL;
	if (node_len_add(t, node, cell->dst_len) != 0) {
		spd_slab_give(cell);
		return NULL;
	}
	if (count_cell(t, &t->tuples[cell->src_len][cell->dst_len], 1) != 0 ||
		spd_hash_add(&t->cells, cell) != 0) {
		cell_uncount(t, cell);
		spd_slab_give(cell);
		return NULL;
	}
	node->n_cells++;
	return cell;
}

/* Takes out a cell without flows, and its source node if that has no other. */
static void cell_release(struct spd_table *t, struct spd_cell *cell)
{
	if (cell->has_any)
		return;
	for (unsigned i = 0; cell->n_keys != NULL && i < SPD_N_CLASSES; i++)
		if (cell->n_keys[i] != 0)
			return;
	spd_hash_remove(&t->cells, cell);
	cell_uncount(t, cell);
	cell->node->n_cells--;
	node_release(t, cell->node);
	t->cells.defer(t->cells.defer_ctx, cell_free, cell);
}

static struct spd_cell *cell_get(struct spd_table *t, const struct spd_spec *f)
{
	struct spd_prefix_key src = prefix_key_of(&f->src);
	struct spd_cell *cell = cell_find(t, f);
	struct spd_node *node;

	if (cell != NULL)
		return cell;
	node = node_get(t, &src);
	if (node == NULL)
		return NULL;
	cell = cell_create(t, node, f);
	if (cell == NULL)
		node_release(t, node);
	return cell;
}

/* How many destination lengths the flow's source node would have with the flow. */
static unsigned width_with(const struct spd_table *t, const struct spd_spec *f)
{
	struct spd_prefix_key key = prefix_key_of(&f->src);
	const struct spd_node *src = node_find(t, &key);
	uint64_t w;

	if (src == NULL)
		return 1;
	w = atomic_load_explicit(&src->dst_lens.w[f->dst.len / 64], memory_order_relaxed);
	return src->n_counts + (w >> (f->dst.len % 64) & 1 ? 0u : 1u);
}

/* What the bound would be with one more key of this cell's lengths and class. */
static uint32_t bound_with(
	const struct spd_table *t, const struct spd_tuple *tuple, const struct spd_spec *f)
{
	unsigned class = class_of(f), width = width_with(t, f), widest = t->widest[f->src.len];
	uint32_t probes = spd_plan_probes(t->n_tuples + (tuple->n_cells == 0),
		t->n_src_lens + (t->src_counts.n[f->src.len] == 0),
		t->n_cell_probes + (width > widest ? width - widest : 0));
	uint32_t n_classes = t->n_classes + (class != 0 && tuple->n_keys[class] == 0);

	return (probes + n_classes) * SPD_PROBE_MAX + 1;
}

/* The SA that serves the flow: NULL, there is no usable one. */
static const struct spd_binding *best_of(const struct spd_entry *e)
{
	const struct spd_binding *b = LIST_FIRST(&e->bindings);

	return b != NULL && b->rank > SPD_SA_UNUSABLE ? b : NULL;
}

/* ipsec.conf's and our own before the engines'; of these the best SA; then the newer. */
static bool comes_before(const struct spd_entry *a, const struct spd_entry *b)
{
	bool a_engine = a->owner >> 16 == IPC_OWNER_ENGINE;
	bool b_engine = b->owner >> 16 == IPC_OWNER_ENGINE;

	if (a_engine != b_engine)
		return b_engine;
	if (a_engine) {
		const struct spd_binding *sa_a = best_of(a), *sa_b = best_of(b);

		if ((sa_a != NULL) != (sa_b != NULL))
			return sa_a != NULL;
		if (sa_a != NULL && sa_a->rank != sa_b->rank)
			return sa_a->rank > sa_b->rank;
		if (sa_a != NULL && sa_a->serial != sa_b->serial)
			return sa_a->serial > sa_b->serial;
	}
	return a->registration >= b->registration;
}

static void head_replace(struct spd_table *t, struct spd_cell *cell, struct spd_flow *head,
	const struct spd_entry *by)
{
	if (class_of(&by->spec) == 0)
		atomic_store_explicit(&cell->any, by->flow, memory_order_release);
	else
		spd_hash_replace(&t->rest, head, by->flow);
}

/* Adds to a key that is there already. */
static void chain_insert(struct spd *spd, struct spd_table *t, struct spd_cell *cell,
	struct spd_flow *head, struct spd_entry *e)
{
	struct spd_entry *at = spd->heads[head->id];

	e->flow->hash = head->hash;
	if (comes_before(e, at)) {
		e->next_equal = at;
		head_replace(t, cell, head, e);
		return;
	}
	while (at->next_equal != NULL && !comes_before(e, at->next_equal))
		at = at->next_equal;
	e->next_equal = at->next_equal;
	at->next_equal = e;
}

static void cell_class_set(struct spd_cell *cell, unsigned class, bool is_set)
{
	uint8_t bits = atomic_load_explicit(&cell->classes, memory_order_relaxed);

	bits = is_set ? bits | 1u << class : bits & ~(1u << class);
	atomic_store_explicit(&cell->classes, bits, memory_order_release);
}

/* 0 or -1 (memory). */
static int class_insert(
	struct spd_table *t, struct spd_cell *cell, struct spd_entry *e, unsigned class)
{
	if (class == 0) {
		atomic_store_explicit(&cell->any, e->flow, memory_order_release);
		cell->has_any = true;
		return 0;
	}
	if (cell->n_keys == NULL)
		cell->n_keys = calloc(SPD_N_CLASSES, sizeof(*cell->n_keys));
	if (cell->n_keys == NULL || spd_hash_add(&t->rest, e->flow) != 0)
		return -1;
	cell->n_keys[class]++;
	return 0;
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
	if (class_insert(t, cell, e, class) != 0)
		return -1;
	count_key(t, &t->tuples[cell->src_len][cell->dst_len], class, 1);
	cell_class_set(cell, class, true);
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

	if (class == 0) {
		cell_class_set(cell, class, false);
		cell->has_any = false;
		atomic_store_explicit(&cell->any, NULL, memory_order_release);
	} else {
		if (--cell->n_keys[class] == 0)
			cell_class_set(cell, class, false);
		spd_hash_remove(&t->rest, e->flow);
	}
	count_key(t, &t->tuples[cell->src_len][cell->dst_len], class, -1);
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
	} else {
		head_replace(t, cell, head, e->next_equal);
	}
}

void spd_table_reorder(struct spd *spd, struct spd_table *t, struct spd_entry *e)
{
	struct spd_cell *cell = e->flow->cell;
	struct spd_flow *head = key_find(t, cell, &e->spec);
	struct spd_entry *first, *last;

	assert(head != NULL);
	first = spd->heads[head->id];
	if (first == e && (e->next_equal == NULL || comes_before(e, e->next_equal)))
		return;
	spd_changed(spd, first);
	/* Another flow of the key is found at every moment: it goes out and in again. */
	spd_table_unlink(spd, t, e);
	head = key_find(t, cell, &e->spec);
	chain_insert(spd, t, cell, head, e);
	last = spd->heads[key_find(t, cell, &e->spec)->id];
	spd_changed(spd, last);
}

bool spd_table_is_shadowed(
	const struct spd *spd, const struct spd_table *t, const struct spd_entry *e)
{
	return spd->heads[key_find(t, e->flow->cell, &e->spec)->id] != e;
}
