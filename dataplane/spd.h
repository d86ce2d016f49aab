#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/messages.h"

/*
 * The security policy database (RFC 4301 4.4.1): flows, looked up by packet.
 *
 * Order: the longer source prefix wins, then the longer destination prefix, then a flow with a
 * protocol, then one with a source port, then one with a destination port. Of flows with equal
 * keys ipsec.conf's wins, then the one with the newest usable SA (engines of iked share a policy:
 * one has its flow, another the SA), then the newest. No flow: NULL, never an entry "zero" (a
 * policy miss).
 *
 * One thread (main) changes the table; any number of readers look up without a lock. What is
 * taken out is handed to `defer`, which frees it when every reader has passed a quiescent
 * state; a reader may use a returned flow until then and no longer.
 *
 * Structure: the flows of one pair of prefixes are in a cell, which is found by one probe of a
 * hash table with the pair of lengths and both masked addresses as its key. A table with few
 * pairs of lengths probes each of them; one with many looks for source prefixes first, one probe
 * a length, and a bit map in each says which destination lengths have cells with it: there is no
 * backtracking. Ports and protocols are probes of one more table. A probe is a 64-byte bucket
 * and a 64-byte object, so updates cost the same at any size, and the number of memory touches
 * has an upper limit that is known: spd_bound().
 */

struct spd; /* opaque */

/*
 * Memory touches a look-up. Enough for all pairs of 25 nested IPv4 lengths (3251) or of a dozen
 * IPv6 lengths (781); usual sets need less than 100.
 */
#define SPD_BOUND_DEFAULT 4096
#define SPD_FLOWS_DEFAULT 1048576
#define SPD_WORKERS_MAX 64

/* Who registered: kind is an ipc_owner_kind, number tells engines apart. */
typedef uint32_t spd_owner_t;
static inline spd_owner_t spd_owner(enum ipc_owner_kind kind, uint16_t number)
{
	return (uint32_t)kind << 16 | number;
}

/*
 * What a look-up sees of a packet. Addresses are big-endian words turned to host order: IPv4 in
 * the upper 32 bits of the first word, the rest zero (spd_packet_set_v4/v6). Ports are 0 where
 * the packet has none or they are not known (ICMP, fragments): such a packet matches only flows
 * without ports.
 */
struct spd_packet {
	uint64_t src[2], dst[2];
	uint16_t src_port, dst_port; /* host order */
	uint8_t proto;
	uint8_t family; /* 4 or 6; anything else matches nothing */
	uint8_t reserved[2];
};

void spd_packet_set_v4(struct spd_packet *p, uint32_t src_be, uint32_t dst_be);
void spd_packet_set_v6(struct spd_packet *p, const uint8_t src[16], const uint8_t dst[16]);

/* An SA that serves a flow. `sa` is opaque here: the SAD's index and generation. */
struct spd_sa_ref {
	uint32_t index, generation;
};

/* Published whole; entry 0 is what a worker uses. Usable ones first, newest first. */
/* Of the SAs bound to a flow the best rank serves it, the newest of several. */
enum spd_sa_rank {
	SPD_SA_UNUSABLE = 0, /* held back, or its hard limit is reached */
	SPD_SA_LAST_RESORT,  /* dying: only while no usable one is there */
	SPD_SA_USABLE,
};

struct spd_sa_list {
	uint32_t n;        /* all bound */
	uint32_t n_usable; /* the first n_usable may be used */
	struct spd_sa_ref sas[];
};

/* What a packet touches of a flow: one cache line. Read-only for workers. */
struct spd_flow {
	_Atomic(struct spd_sa_list *) sas; /* NULL: none bound */
	uint64_t handle, policy;
	uint32_t id; /* index of its hit counters */
	spd_owner_t owner;
	uint32_t generation;
	uint16_t src_port, dst_port; /* 0 any */
	uint8_t proto;               /* 0 any */
	uint8_t type;                /* enum ipc_flow_type */
	uint8_t direction, family;
	uint8_t src_len, dst_len;
	uint8_t is_strict_in; /* IPC_FLOW_F_STRICT_IN */
	uint8_t reserved;
	uint32_t hash;
	void *cell; /* of the SPD's own use */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct spd_flow) == 64, "a flow's hot part is one cache line");

/* The newest usable SA of a flow. False: none; `out` is untouched. */
static inline bool spd_flow_sa(const struct spd_flow *flow, struct spd_sa_ref *out)
{
	const struct spd_sa_list *list = atomic_load_explicit(&flow->sas, memory_order_acquire);

	if (list == NULL || list->n_usable == 0)
		return false;
	*out = list->sas[0];
	return true;
}

struct spd_config {
	uint32_t max_flows; /* 0: SPD_FLOWS_DEFAULT */
	uint32_t max_bound; /* touches; 0: SPD_BOUND_DEFAULT */
	uint32_t n_workers; /* hit counters kept; at most SPD_WORKERS_MAX */
	uint64_t seed;      /* of the hashes: random */
	/* Frees arg by fn after a grace period. NULL: at once (no readers, tests). */
	void (*defer)(void *ctx, void (*fn)(void *), void *arg);
	void *defer_ctx;
};

/* NULL when memory ran out. */
struct spd *spd_create(const struct spd_config *config) __attribute__((warn_unused_result));
/* No reader may be left, and what was deferred must have been freed or be freed later. */
void spd_destroy(struct spd *spd);

/* Readers. direction is an ipc_direction. */
const struct spd_flow *spd_lookup(
	const struct spd *spd, uint8_t direction, const struct spd_packet *packet);
/* For n packets of one direction (n <= 64), with the memory accesses of all overlapped. */
void spd_lookup_burst(const struct spd *spd, uint8_t direction,
	const struct spd_packet *const packets[], uint32_t n, const struct spd_flow *flows[]);
/* The same as spd_lookup, and counts the cache lines that it read (tests, `show spd`). */
const struct spd_flow *spd_lookup_counted(const struct spd *spd, uint8_t direction,
	const struct spd_packet *packet, uint32_t *touches);
/*
 * RFC 4301 7: can the packet's ports decide which flow it matches? True if, before the search
 * comes to a flow that matches without ports, there is one with ports and the same addresses.
 * The ports in packet are not looked at. proto 0: not known; a flow with a protocol counts too.
 * Costs two loads when no flow of that direction and family has ports.
 */
bool spd_pair_has_ports(const struct spd *spd, uint8_t direction, const struct spd_packet *packet);
/* Asks for what spd_flow_sa reads, and for what spd_flow_hit writes. */
static inline void spd_flow_prefetch_sas(const struct spd_flow *flow)
{
	__builtin_prefetch(atomic_load_explicit(&flow->sas, memory_order_relaxed));
}
void spd_flow_hit_prefetch(const struct spd *spd, const struct spd_flow *flow, uint32_t worker);
/* A worker counts packets that used the flow. */
void spd_flow_hits(const struct spd *spd, const struct spd_flow *flow, uint32_t worker,
	uint32_t packets, uint32_t bytes);
static inline void spd_flow_hit(
	const struct spd *spd, const struct spd_flow *flow, uint32_t worker, uint32_t bytes)
{
	spd_flow_hits(spd, flow, worker, 1, bytes);
}
/*
 * Rises with each change of a flow or of its SAs: after the change can be seen, and before what
 * was taken out is handed to `defer`. What a look-up returned is still right while it stands.
 */
uint64_t spd_version(const struct spd *spd);

/*
 * Writer. All return 0 or a negative ipc_error: -IPC_E_INVALID, -IPC_E_NO_SUCH, -IPC_E_STALE,
 * -IPC_E_FULL, -IPC_E_BOUND. After an error nothing has changed.
 */

/*
 * Adds a flow, or replaces the owner's flow of that handle: at no moment does a packet find
 * neither. A replacement of the same generation keeps rank and SAs, of a newer one neither.
 */
int spd_flow_add(struct spd *spd, spd_owner_t owner, const struct ipc_flow *flow)
	__attribute__((warn_unused_result));
int spd_flow_delete(struct spd *spd, spd_owner_t owner, const struct ipc_ref *ref);
/* sa_handle is the owner's handle of that SA, by which it is changed and unbound later. */
int spd_flow_bind(struct spd *spd, spd_owner_t owner, const struct ipc_ref *flow,
	uint64_t sa_handle, struct spd_sa_ref sa, enum spd_sa_rank rank)
	__attribute__((warn_unused_result));
int spd_flow_unbind(
	struct spd *spd, spd_owner_t owner, const struct ipc_ref *flow, uint64_t sa_handle);
/* HOLD_OUT ended, or the SA is dying: for all flows that it serves. Returns how many. */
uint32_t spd_sa_set_rank(
	struct spd *spd, spd_owner_t owner, uint64_t sa_handle, enum spd_sa_rank rank);
/* The SA is being deleted. Returns how many flows it served. */
uint32_t spd_sa_unbind(struct spd *spd, spd_owner_t owner, uint64_t sa_handle);
/*
 * Autobind (ipsec.conf with manual SAs): calls fn for each outbound flow with
 * IPC_FLOW_F_AUTOBIND of the owner whose peer is given; main binds the SA in fn.
 */
void spd_autobind_each(struct spd *spd, spd_owner_t owner, const struct ip_addr *peer,
	void (*fn)(void *ctx, const struct ipc_flow *flow), void *ctx);

/* Resync: mark all of the owner, add again, sweep what was not added. Returns how many went. */
void spd_owner_mark(struct spd *spd, spd_owner_t owner);
uint32_t spd_owner_sweep(struct spd *spd, spd_owner_t owner);
/* Deletes all flows of the owner. */
uint32_t spd_owner_flush(struct spd *spd, spd_owner_t owner);
/* All flows of an owner and their bindings become another's, but for those whose handle it has. */
void spd_owner_move(struct spd *spd, spd_owner_t from, spd_owner_t to);

/* Listing, in no order (shared/flow_order.h sorts). fn must not change the table. */
struct spd_flow_view {
	spd_owner_t owner;
	uint32_t place;                /* see spd_changes_each */
	const struct ipc_flow *flow;   /* valid during the call */
	const struct spd_sa_list *sas; /* may be NULL */
	uint64_t registration;         /* ascending in time */
	uint64_t packets, bytes;       /* summed over workers */
	bool is_shadowed;              /* another flow with an equal key comes before it */
};
void spd_each(
	const struct spd *spd, void (*fn)(void *ctx, const struct spd_flow_view *view), void *ctx);
/*
 * For a listing kept elsewhere: what has changed since the last call, but for counters. A flow
 * keeps its place, at most the configured max_flows, while it is there; view is NULL where no flow
 * is now.
 */
void spd_changes_each(struct spd *spd,
	void (*fn)(void *ctx, uint32_t place, const struct spd_flow_view *view), void *ctx);
uint32_t spd_owner_count(const struct spd *spd, spd_owner_t owner);
uint32_t spd_count(const struct spd *spd);
/* False: there is none. */
bool spd_flow_get(const struct spd *spd, spd_owner_t owner, uint64_t handle, struct ipc_flow *out);

struct spd_stats {
	uint32_t n_flows, n_src_nodes, n_cells;
	uint64_t memory_bytes; /* without malloc's own overhead */
	uint32_t bound;        /* worst case of memory touches, over all four tables */
	uint32_t max_bound;    /* configured */
	struct {
		uint32_t n_src_lens; /* source prefix lengths in use */
		uint32_t n_tuples;   /* pairs of lengths in use */
		uint32_t bound;
	} table[2][2]; /* [direction - 1][IPv6] */
};
void spd_stats_get(const struct spd *spd, struct spd_stats *out);
/* Upper limit of the cache lines one look-up reads with the flows that are there now. */
uint32_t spd_bound(const struct spd *spd);
