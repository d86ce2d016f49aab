#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "dataplane/burst.h"
#include "dataplane/crypto_mb.h"
#include "dataplane/sad.h"
#include "dataplane/worker_ctx.h"

/*
 * What a test of ESP stands on: EAL without hugepages, one worker context, a SAD, a pool, and
 * packets made from bytes.
 */
struct bench {
	struct worker_ctx w;
	struct dp_config config;
	struct rte_mempool *pool;
	struct nexthop *hop; /* any pointer: the next hop is not looked into */
};

/* Once a process. */
int bench_eal_init(const char *prefix);
/* arch_name as in crypto_arch_parse. 0, or -1 if the CPU does not have it. */
int bench_init(struct bench *t, const char *arch_name);
void bench_fini(struct bench *t);

/* An mbuf with these bytes at mtod; headroom is DPDK's. */
struct rte_mbuf *bench_mbuf(struct bench *t, const void *data, size_t len);
/* Makes element i of the burst from an IP packet for NEXT_ESP_OUT with this SA. */
void bench_set_out(struct bench *t, struct burst *b, struct sa_hot *sa, const void *ip, size_t len);
/* Makes the next element from an outer IP packet for NEXT_ESP_IN, parsed as a port's packet. */
void bench_set_in(struct bench *t, struct burst *b, const void *ip, size_t len);
/* Frees all mbufs of the burst and empties it. */
void bench_clear(struct burst *b);

/* Parameters of a pair of SAs with keys made from a seed byte. */
struct bench_sa {
	const struct suite *suite;
	bool is_transport, has_esn, is_udp;
	uint8_t outer_family;
	uint32_t spi, window, tfc_pad;
	uint64_t seq_first;
	uint64_t soft_bytes, hard_bytes;
	uint32_t path_flags;
	uint16_t mtu; /* 0: 1500 */
	uint8_t key_seed;
};
/* Outbound from 192.0.2.1 / 2001:db8::1 to 192.0.2.2 / 2001:db8::2, inbound the same packets. */
struct sa_hot *bench_sa_out(struct bench *t, const struct bench_sa *p);
struct sa_hot *bench_sa_in(struct bench *t, const struct bench_sa *p);
void bench_sa_remove(struct bench *t, struct sa_hot *sa);

/*
 * A UDP packet of exactly len bytes (at least 28 or 48) between the addresses of bench_sa_out's
 * path, so that it fits both modes; ports 5001 and 5002.
 */
size_t bench_inner(uint8_t *out, uint8_t family, size_t len, uint8_t tos);
