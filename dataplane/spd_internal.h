#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "dataplane/spd.h"
#include "dataplane/spd_hash.h"
#include "dataplane/spd_slab.h"

/*
 * Shared by spd.c (owners, handles), spd_bind.c (SAs), spd_table.c and spd_plan.c (structure,
 * writer's side) and spd_lookup.c (readers).
 */

#define SPD_LEN_WORDS 3 /* bits for prefix lengths 0 to 128 */
#define SPD_N_LENS 129

/* Which fields a flow's key has beyond its prefixes; the larger number is looked at first. */
enum { SPD_CLASS_DST_PORT = 1, SPD_CLASS_SRC_PORT = 2, SPD_CLASS_PROTO = 4, SPD_N_CLASSES = 8 };

/* Set of prefix lengths; readers may see it change bit by bit. */
struct spd_lens {
	_Atomic uint64_t w[SPD_LEN_WORDS];
};

/* How many users each length has: the set above is kept from it. */
struct spd_len_counts {
	uint32_t n[SPD_N_LENS];
};

/* The same for the few lengths of one node. */
struct spd_len_count {
	uint32_t n;
	uint8_t len;
};

/* A source prefix that has cells. */
struct spd_node {
	uint64_t addr[2];         /* masked, as in spd_packet */
	struct spd_lens dst_lens; /* destination lengths of its cells */
	uint32_t hash;
	uint32_t n_cells;
	uint8_t len;
	uint8_t n_counts;
	struct spd_len_count *counts; /* the writer's */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct spd_node) == 64, "a node is one cache line");

/* The flows of one pair of prefixes. */
struct spd_cell {
	uint64_t src[2], dst[2];        /* masked */
	_Atomic(struct spd_flow *) any; /* class 0: neither protocol nor ports */
	struct spd_node *node;          /* of the source; the writer's */
	uint32_t *n_keys;               /* by class, NULL: class 0 alone; the writer's */
	uint32_t hash;
	_Atomic uint8_t classes; /* bit c: there are flows of class c */
	uint8_t src_len, dst_len;
	uint8_t has_any; /* the writer's */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct spd_cell) == 64, "a cell is one cache line");

/*
 * How readers go about a table. Few pairs of lengths: they are probed in the order of the search.
 * More: by source nodes, whose bit maps say which destination lengths are worth a probe.
 */
#define SPD_PLAN_MAX 4

struct spd_step {
	uint64_t src_mask[2], dst_mask[2];
	uint64_t lens; /* source length << 8 | destination length */
};

struct spd_plan {
	uint32_t n_steps; /* 0: by source nodes */
	struct spd_step steps[SPD_PLAN_MAX];
};

/* Cells with the same pair of lengths, and of these the keys a class. */
struct spd_tuple {
	uint32_t n_cells;
	uint32_t n_keys[SPD_N_CLASSES];
};

/* One direction and family. */
struct spd_table {
	/* Readers look at these. */
	_Atomic(struct spd_plan *) plan; /* NULL: no flows */
	uint64_t seed[2];
	struct spd_hash cells, src_nodes, rest;
	struct spd_lens src_lens;
	_Atomic uint32_t classes; /* bit c: n_keys[c] is not zero */

	/* The writer's. */
	struct spd_slab *slab;
	struct spd_len_counts src_counts;
	struct spd_tuple *tuples[SPD_N_LENS]; /* rows by source length, made when needed */
	/*
	 * By source length: how many of its nodes have cells with w destination lengths, and the
	 * largest w. A packet meets one node a length, so the sum of these limits its cell probes.
	 */
	uint32_t *widths[SPD_N_LENS];
	uint8_t widest[SPD_N_LENS];
	uint32_t n_cell_probes; /* sum of widest */
	uint32_t n_src_lens, n_tuples, n_classes;
	uint32_t n_keys[SPD_N_CLASSES];
};

struct spd_binding {
	uint64_t sa_handle;
	struct spd_sa_ref sa;
	uint64_t serial; /* newer is larger */
	enum spd_sa_rank rank;
	struct spd_entry *entry;
	LIST_ENTRY(spd_binding) of_entry;
	LIST_ENTRY(spd_binding) of_sa; /* bucket of spd.by_sa */
};

struct spd_text;

/* What an ipc_flow says; members as there. */
struct spd_spec {
	struct ipc_ref flow;
	uint64_t policy;
	struct spd_text *srcid, *dstid;
	uint32_t flags;
	uint16_t src_port, dst_port;
	struct ip_prefix src, dst; /* masked */
	struct ip_addr peer, local;
	uint8_t proto, direction, type;
};

/* The writer's part of a flow. */
struct spd_entry {
	struct spd_flow *flow;
	struct spd_spec spec;
	uint64_t registration;
	spd_owner_t owner;
	uint32_t id;
	bool is_marked, is_autobind, is_linked;
	struct spd_entry *next_equal; /* same key, lower rank */
	LIST_HEAD(, spd_binding) bindings;
	LIST_ENTRY(spd_entry) by_handle; /* bucket of spd.by_handle */
	LIST_ENTRY(spd_entry) by_peer;   /* autobind flows */
	TAILQ_ENTRY(spd_entry) all;
};

LIST_HEAD(spd_entry_list, spd_entry);
LIST_HEAD(spd_binding_list, spd_binding);

struct spd_counter {
	_Atomic uint64_t packets, bytes; /* one writer each: relaxed loads and stores */
};

#define SPD_COUNTER_CHUNK 4096
#define SPD_OWNERS_MAX 68 /* more are not counted */

struct spd {
	struct spd_config config;
	uint64_t seed[2];
	struct spd_slab *slab; /* of flows, cells and nodes */
	struct spd_hash texts;
	struct spd_table tables[2][2]; /* [direction - 1][IPv6] */
	/* counters[worker][id / CHUNK][id % CHUNK] */
	_Atomic(struct spd_counter *) *counters[SPD_WORKERS_MAX];
	uint32_t n_counter_chunks;
	uint32_t *free_ids; /* a stack */
	uint32_t n_free_ids, n_ids;
	struct spd_entry **heads; /* by flow id: the entry of a flow, or NULL */
	/* Ids whose flow has changed since spd_changes_each, each once. */
	uint32_t *changed;
	bool *is_changed; /* by id */
	uint32_t n_changed;
	struct {
		spd_owner_t owner;
		uint32_t n;
	} counts[SPD_OWNERS_MAX];
	unsigned n_counts;
	struct spd_entry_list *by_handle;
	struct spd_binding_list *by_sa;
	uint32_t handle_mask, sa_mask;
	struct spd_entry_list autobind;
	TAILQ_HEAD(, spd_entry) all;
	uint32_t n_flows, n_bindings;
	uint64_t next_registration, next_serial;
	/* Apart from what main writes more often: workers read it at each burst. */
	uint8_t before[64];
	_Atomic uint64_t version;
	uint8_t behind[56];
};

static inline uint64_t spd_mask_hi(unsigned len)
{
	return len == 0 ? 0 : len >= 64 ? UINT64_MAX : UINT64_MAX << (64 - len);
}

static inline uint64_t spd_mask_lo(unsigned len)
{
	return len <= 64 ? 0 : len >= 128 ? UINT64_MAX : UINT64_MAX << (128 - len);
}

struct spd_prefix_key {
	uint64_t addr[2];
	uint8_t len;
};

struct spd_cell_key {
	uint64_t src[2], dst[2];
	uint64_t lens; /* source length << 8 | destination length */
};

struct spd_rest_key {
	const struct spd_cell *cell;
	uint16_t src_port, dst_port;
	uint8_t proto;
};

static inline uint32_t spd_prefix_hash(const struct spd_table *t, const struct spd_prefix_key *k)
{
	return spd_hash_mix(k->addr[0], k->addr[1] + k->len * 0xd6e8feb86659fd93ULL, t->seed);
}

/* IPv4 has addresses in the first words alone. */
static inline uint32_t spd_cell_hash(
	const struct spd_table *t, const struct spd_cell_key *k, bool is_v4)
{
	if (is_v4)
		return spd_hash_mix(k->src[0] | k->dst[0] >> 32, k->lens << 1, t->seed);
	return spd_hash_mix(spd_hash_mix64(k->src[0], k->src[1], t->seed) + k->lens,
		spd_hash_mix64(k->dst[0], k->dst[1], t->seed), t->seed);
}

static inline uint32_t spd_rest_hash(const struct spd_table *t, const struct spd_rest_key *k)
{
	return spd_hash_mix((uintptr_t)k->cell,
		(uint64_t)k->proto << 32 | (uint32_t)k->src_port << 16 | k->dst_port, t->seed);
}

static inline bool spd_node_equal(const void *object, const void *key)
{
	const struct spd_node *n = object;
	const struct spd_prefix_key *k = key;

	return n->addr[0] == k->addr[0] && n->addr[1] == k->addr[1] && n->len == k->len;
}

static inline bool spd_cell_equal(const void *object, const void *key)
{
	const struct spd_cell *c = object;
	const struct spd_cell_key *k = key;

	return c->src[0] == k->src[0] && c->src[1] == k->src[1] && c->dst[0] == k->dst[0] &&
	       c->dst[1] == k->dst[1] && ((uint64_t)c->src_len << 8 | c->dst_len) == k->lens;
}

static inline bool spd_rest_equal(const void *object, const void *key)
{
	const struct spd_flow *f = object;
	const struct spd_rest_key *k = key;

	return f->cell == k->cell && f->proto == k->proto && f->src_port == k->src_port &&
	       f->dst_port == k->dst_port;
}

/* spd_table.c */
int spd_table_init(struct spd_table *t, const uint64_t seed[2], struct spd_slab *slab,
	spd_defer_fn defer, void *defer_ctx);
void spd_table_fini(struct spd_table *t);
/*
 * Links an entry into the chain of its key; 0, -IPC_E_FULL or -IPC_E_BOUND (nothing changed).
 * Of equal rank the entry that is linked later comes first.
 */
int spd_table_link(struct spd *spd, struct spd_table *t, struct spd_entry *e);
void spd_table_unlink(struct spd *spd, struct spd_table *t, struct spd_entry *e);
/* The entry's SAs have changed: so may its rank among those of the same key. */
void spd_table_reorder(struct spd *spd, struct spd_table *t, struct spd_entry *e);
uint32_t spd_table_bound(const struct spd_table *t);
uint64_t spd_table_memory(const struct spd_table *t); /* but its lines of the slab */
/* True if another entry of the same key is found instead of this one. */
bool spd_table_is_shadowed(
	const struct spd *spd, const struct spd_table *t, const struct spd_entry *e);

/* spd_plan.c */
/* The pairs of lengths have changed. 0 or -1 (memory: the plan is as it was, and serves). */
int spd_plan_update(struct spd_table *t);
void spd_plan_release(struct spd_table *t, struct spd_plan *plan);
/* The most probes for nodes and cells that a look-up makes. */
uint32_t spd_plan_probes(uint32_t n_tuples, uint32_t n_src_lens, uint32_t n_cell_probes);

/* spd.c */
struct spd_entry *spd_entry_find(const struct spd *spd, spd_owner_t owner, uint64_t handle);
void spd_entry_remove(struct spd *spd, struct spd_entry *e);
struct spd_table *spd_table_for(struct spd *spd, const struct spd_spec *f);
struct spd_counter *spd_counter_of(const struct spd *spd, uint32_t worker, uint32_t id);

/* spd_spec.c: 0 or -1 (memory). */
int spd_texts_init(struct spd *spd);
int spd_spec_init(struct spd *spd, struct spd_spec *out, const struct ipc_flow *f);
void spd_spec_fini(struct spd *spd, struct spd_spec *s);
void spd_spec_tell(const struct spd_spec *s, struct ipc_flow *out);

/* spd_list.c */
void spd_changed(struct spd *spd, const struct spd_entry *e);
void spd_owner_note(struct spd *spd, spd_owner_t owner, int step);

/* spd_bind.c */
void spd_sa_list_free(void *list); /* struct spd_sa_list or NULL; no reader may have it */
void spd_entry_unbind_all(struct spd *spd, struct spd_entry *e);
/* The entry becomes another owner's: of_sa follows. */
void spd_entry_bindings_move(struct spd *spd, struct spd_entry *e, spd_owner_t to);
/* 0 or -1 (memory); the list is published in the new entry's flow. */
int spd_entry_bindings_copy(struct spd *spd, struct spd_entry *to, const struct spd_entry *from);
