#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/drop.h"

struct crypto_mb;
struct profile;
struct rte_mempool;
struct rte_ring;
struct sad;
struct spd;

/* What espd.conf and main decide for all workers; a reload stores into the atomic members. */
struct dp_config {
	_Atomic bool is_default_deny;   /* no flow matches: drop (else OpenBSD's: pass) */
	_Atomic bool is_strict_inbound; /* else IPC_FLOW_F_STRICT_IN means nothing */
	/* TCP MSS of SYNs into and out of an SA: 0: left alone; else what the SA's inner MTU
	 * leaves, and at most this. */
	_Atomic uint16_t mss_max;
	bool copy_dscp;           /* RFC 4301 5.1.2: copy the inner DSCP out; else 0 */
	bool fragment_before_esp; /* DF clear and too big: cut before encryption (RFC 4301 7) */
	uint8_t df_policy;        /* enum dp_df: DF of an IPv4 tunnel header */
	uint8_t outer_ttl;        /* TTL or hop limit of new outer headers; 64 */
	uint16_t pmtu_floor4, pmtu_floor6; /* 576, 1280 */
};

enum dp_df { DP_DF_COPY = 0, DP_DF_SET, DP_DF_CLEAR };

/*
 * All that a stage needs besides the burst. One a worker, written by it alone; main reads the
 * counters. There is no global state in the data plane: what is not here, a stage cannot reach.
 */
struct worker_ctx {
	uint16_t id, n_workers;
	uint16_t ip_id;           /* next IPv4 identification, stepped by n_workers from id */
	bool is_ready;            /* fail closed: forwarding may go on */
	uint64_t now_tsc, tsc_hz; /* taken once a burst */
	uint32_t now_s;           /* monotonic seconds, for last-use times */
	uint32_t tick;            /* counts bursts */
	struct crypto_mb *crypto;
	struct sad *sad;
	struct spd *spd;
	const struct dp_config *config;
	struct rte_mempool *pool; /* for packets that the worker makes (fragments, ICMP) */
	/*
	 * SAs on which an event flag was just raised, as sa_ref() values. A full ring loses no
	 * event: the flag is on the SA, sa_events_lost makes main look at all of them.
	 */
	struct rte_ring *sa_events; /* may be NULL (tests) */
	_Atomic uint32_t sa_events_lost;
	struct profile *profile; /* NULL: nobody measures (profile.h) */
	uint64_t rng[4]; /* xoshiro state: sampling and jitter only, never for keys or IVs */
	uint64_t drops[DROP_N] __attribute__((aligned(64)));
	uint64_t esp_in_packets, esp_in_bytes, esp_out_packets, esp_out_bytes;
};
