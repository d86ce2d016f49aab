#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/burst.h"
#include "dataplane/path.h"
#include "dataplane/replay.h"
#include "dataplane/seqno.h"
#include "dataplane/suite.h"
#include "dataplane/worker_ctx.h"
#include "shared/addr.h"

/*
 * The Security Association Database. Inbound SAs are found by their SPI, whose low bits are the
 * index into a table of pointers (ipc/spi.h); SPIs that somebody else chose (manual SAs) are in
 * a hash by (SPI, destination, encapsulated). Outbound SAs have an index of their own and
 * are found by the SPD.
 *
 * main makes SAs, publishes and unpublishes them (one store each), waits for the workers'
 * quiescence and frees. The one owner worker of an SA writes its counters, numbers and window.
 */

enum sa_state {        /* main writes, except LIVE -> DEAD at the hard limit (owner worker) */
	SA_LARVAL = 0, /* not usable yet */
	SA_LIVE,
	SA_DYING, /* outbound: not chosen while another one is there; inbound: as LIVE */
	SA_DEAD,  /* refuses all packets */
};

enum { /* sa_hot.flags */
	SA_F_OUT = 1 << 0,
	SA_F_TUNNEL = 1 << 1, /* else transport mode */
	SA_F_ESN = 1 << 2,
	SA_F_MANUAL = 1 << 3, /* in the hash; destination and encapsulation compared strictly */
	SA_F_ONE_SELECTOR = 1 << 4,
	SA_F_ANY_SELECTOR = 1 << 5,   /* no selectors: all packets fit */
	SA_F_HOLD_OUT = 1 << 6,       /* LARVAL until the first packet on its partner */
	SA_F_PLAIN_SELECTOR = 1 << 7, /* its one selector is in sa_hot.plain */
};

enum { /* sa_hot.events: raised by the owner worker, taken by main with sa_events_take */
	SA_EV_FIRST = 1 << 0,   /* first valid packet */
	SA_EV_SOFT = 1 << 1,    /* soft byte or packet limit */
	SA_EV_HARD = 1 << 2,    /* hard limit: the SA is DEAD now */
	SA_EV_WRAP = 1 << 3,    /* numbers run out soon */
	SA_EV_RESERVE = 1 << 4, /* wants the next block of numbers */
	SA_EV_NAT = 1 << 5,     /* cold->nat_seen holds a new source */
};

/* A compiled selector: addresses as two 64-bit halves in host order, IPv4 in the low 32 bits. */
struct sa_selector {
	uint64_t src_lo[2], src_hi[2], dst_lo[2], dst_hi[2];
	uint16_t sport_lo, sport_hi, dport_lo, dport_hi;
	uint8_t family, proto;                 /* proto 0: any */
	bool is_sport_any, is_dport_any;       /* 0-65535: packets without ports fit too */
	bool is_sport_opaque, is_dport_opaque; /* only packets without ports (RFC 4301 4.4.1.1) */
};

struct sa_cold;

/* A selector as most SAs have one: IPv4, any ports. Host order; span: highest less lowest. */
struct sa_plain_selector {
	uint32_t src_lo, src_span, dst_lo, dst_span;
	uint8_t proto; /* 0: any */
};

struct sa_hot {
	/* Line 0: main writes before publishing; workers read. */
	uint32_t spi;        /* host order */
	uint32_t id;         /* index; SA_ID_OUT set for outbound */
	uint32_t generation; /* of this use of the index, ascending; see sa_ref */
	uint16_t flags;
	_Atomic uint8_t state;
	uint8_t bucket; /* low 8 bits of the index: its owner is sad->owner[bucket] */
	const struct suite *suite;
	struct sa_keys *keys; /* same allocation */
	struct path *_Atomic path;
	struct sa_cold *cold;
	const struct sa_selector *selectors;
	uint16_t n_selectors;
	uint16_t tfc_pad; /* outbound: pad inner packets up to this; 0 none */
	/* Inbound: the expected destination and encapsulation, folded; sa_set_path writes. */
	_Atomic uint32_t dst_tag;

	/* Line 1: the owner worker writes; main reads. */
	uint64_t packets __attribute__((aligned(64)));
	uint64_t bytes; /* of inner packets */
	/* UINT64_MAX: none; main writes */
	_Atomic uint64_t soft_bytes, hard_bytes;
	uint64_t reserved;
	_Atomic uint32_t events;
	uint32_t last_use_s;     /* worker_ctx.now_s; 0: never */
	uint32_t n_dropped;      /* replay, ICV, padding, selectors... (cold->drops has each) */
	_Atomic uint32_t raised; /* events that are told once only, and were */
	struct sa_hot *_Atomic partner; /* main writes; NULL if none */

	/* Line 2: numbers, by direction; the owner worker writes. */
	union {
		struct replay replay;
		struct seqno seqno;
	} __attribute__((aligned(64)));

	/* Line 3: like line 0. */
	struct sa_plain_selector plain __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct sa_hot) == 256, "four cache lines");

/* The lines above, and none behind: keys follow (suite_keys_prefetch). */
static inline void sa_prefetch(const struct sa_hot *sa)
{
	for (unsigned int at = 0; at < sizeof(*sa); at += 64)
		__builtin_prefetch((const char *)sa + at);
}

/* What no packet touches in the normal case. */
struct sa_cold {
	uint64_t handle, partner, ike; /* the owner's handles */
	uint32_t owner, owner_generation;
	uint32_t manual_position; /* in the hash of manual SAs */
	struct ip_addr tunnel_src, tunnel_dst;
	uint32_t added_s;
	struct endpoint nat_seen; /* valid while SA_EV_NAT is raised */
	uint32_t nat_reported_s;  /* owner worker: last report, they are at least 1 s apart */
	uint32_t drops[DROP_N];   /* owner worker */
	char *srcid, *dstid;      /* owned by the SA; printed identities or NULL */
	void *user;               /* main's */
	struct sa_selector selectors[];
};

#define SA_ID_OUT 0x80000000u

/* What names an SA without pointing to it: parked packets and event rings hold this. */
static inline uint64_t sa_ref(const struct sa_hot *sa)
{
	return (uint64_t)sa->generation << 32 | sa->id;
}

struct sa_selector_pair {
	struct traffic_selector src, dst; /* in the direction of the SA's packets */
};

struct sa_params {
	uint32_t spi;
	bool is_outbound, is_tunnel, has_esn, is_manual, is_held; /* is_held: HOLD_OUT */
	const struct suite *suite;
	const uint8_t *enc_key, *integ_key;
	size_t enc_key_len, integ_key_len;
	uint32_t window;                 /* inbound; 0: no replay check */
	uint64_t soft_bytes, hard_bytes; /* 0: none */
	uint32_t tfc_pad;
	struct path *path;
	const struct sa_selector_pair *selectors;
	uint16_t n_selectors; /* 0: any packet */
	/* Restored state (design: "Either side may die"); zeros for a new SA. */
	uint64_t seq_first;    /* outbound: first number to use; 0 means 1 */
	uint64_t reserved_end; /* outbound: already stored as reserved */
	uint64_t replay_floor; /* inbound */
	uint64_t *stored_top;  /* inbound: mapped counter or NULL */
	uint64_t handle, partner, ike;
	uint32_t owner, owner_generation;
	struct ip_addr tunnel_src, tunnel_dst;
	const char *srcid, *dstid;
};

enum sad_error {
	SAD_OK = 0,
	SAD_E_NOMEM = -1,
	SAD_E_KEY = -2,    /* key lengths do not fit the suite */
	SAD_E_EXISTS = -3, /* SPI or index in use */
	SAD_E_FULL = -4,
	SAD_E_INVALID = -5, /* SPI below 256, selectors of two families, no path */
};

/* Makes an SA in state LARVAL that nobody sees. mb: main's manager, for key expansion. */
int sa_create(const struct sa_params *p, IMB_MGR *mb, struct sa_hot **out)
	__attribute__((warn_unused_result));
/* Wipes and frees; only unpublished SAs, after a grace period. NULL is allowed. */
void sa_destroy(struct sa_hot *sa);
/* Main: moves the SA to another path; the old one is freed after a grace period. */
void sa_set_path(struct sa_hot *sa, struct path *p);
/* Main: new byte limits, 0 none; they count from now. Soft and hard may be told again. */
void sa_set_life(struct sa_hot *sa, uint64_t soft_bytes, uint64_t hard_bytes);
static inline void sa_set_state(struct sa_hot *sa, enum sa_state s)
{
	atomic_store_explicit(&sa->state, (uint8_t)s, memory_order_release);
}
static inline enum sa_state sa_state(const struct sa_hot *sa)
{
	return (enum sa_state)atomic_load_explicit(&sa->state, memory_order_acquire);
}
/* Main: ties the two directions together (NULL: unties); sad_unpublish unties too. */
void sa_set_partner(struct sa_hot *sa, struct sa_hot *partner);
/* Main: the events raised since the last call, cleared. cold->nat_seen is read before. */
uint32_t sa_events_take(struct sa_hot *sa);
/* Owner worker: raises an event once until it is taken, and tells main. */
void sa_event_raise(struct worker_ctx *w, struct sa_hot *sa, uint32_t event);
void sa_count_drop(struct sa_hot *sa, enum drop_reason why);

#define SAD_BUCKETS 256

struct sad; /* the table; workers read it without locks */

/* 2^index_bits inbound and as many outbound SAs (8 to 22); manual_max in the hash. */
struct sad *sad_create(const char *name, unsigned int index_bits, uint32_t manual_max);
void sad_destroy(struct sad *s); /* SAs still in it are destroyed too */
unsigned int sad_index_bits(const struct sad *s);

/* Main. Makes the SA visible and, unless is_held, LIVE. Outbound: chooses its index. */
int sad_publish(struct sad *s, struct sa_hot *sa) __attribute__((warn_unused_result));
/* Main. No worker finds it any more; after a grace period: sad_free. */
void sad_unpublish(struct sad *s, struct sa_hot *sa);
/* Main, after the grace period: wipes and frees; an outbound index becomes free. */
void sad_free(struct sad *s, struct sa_hot *sa);

/* Owner workers of the buckets: main writes, workers read. */
uint8_t sad_owner(const struct sad *s, const struct sa_hot *sa);
void sad_owner_set(struct sad *s, unsigned int bucket, uint8_t worker);

/*
 * Rises when an SA was taken out or bucket owners changed, before the grace period begins. A
 * pointer to a published SA, and what sad_owner said, are still right while it stands.
 */
uint64_t sad_version(const struct sad *s);

/* By (index, generation); NULL if it is gone. */
struct sa_hot *sad_by_ref(const struct sad *s, uint64_t ref);
/* The same for n of them (at most BURST_MAX), memory accesses overlapped; ref 0: NULL. */
void sad_by_refs(const struct sad *s, const uint64_t refs[], unsigned int n, struct sa_hot *out[]);
/* Inbound. NULL if there is none. */
struct sa_hot *sad_find_in(
	const struct sad *s, uint32_t spi, const struct ip_addr *dst, bool is_udp);
/* PMTU: the live outbound SA with this SPI to this remote address, or NULL. Main; a scan. */
struct sa_hot *sad_find_out(const struct sad *s, uint32_t spi, const struct ip_addr *remote);
/* The published SA at *cursor (0 at first) or behind it, and moves the cursor past it; or NULL. */
struct sa_hot *sad_next(const struct sad *s, uint32_t *cursor);
/* Walks all published SAs (main): inbound, then outbound. cb returns false to end. */
void sad_walk(const struct sad *s, bool (*cb)(struct sa_hot *sa, void *arg), void *arg);

/*
 * Stage. Packets at NEXT_ESP_IN: sets sa[i], or drops (malformed, no-sa, sa-state). A packet
 * of an SA that another worker owns goes to NEXT_HANDOFF. RFC 4301 5.2 step 3a.
 */
void sad_lookup(struct worker_ctx *w, struct burst *b);

/* RFC 4301 5.2 step 4 and 4.4.1: is the packet inside the SA's selectors? */
bool sa_selectors_match(const struct sa_hot *sa, const struct burst *b, unsigned int i);
/* Do compiled selectors cover this exact packet description? (why-policy, ICMP source choice) */
int sa_selector_compile(const struct sa_selector_pair *p, struct sa_selector *out)
	__attribute__((warn_unused_result));
