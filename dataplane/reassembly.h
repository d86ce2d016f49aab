#pragma once

#include "dataplane/burst.h"
#include "dataplane/worker_ctx.h"

/*
 * Reassembly of IP fragments: of those to us, and of transit ones that need ports for the SPD
 * (RFC 4301 7). One object a worker; all fragments of a datagram must come to the same worker:
 * reassembly_owner says which. Memory is fixed: a table of datagrams, each holding the mbufs of
 * its fragments. A fragment that overlaps another, by one byte or wholly, spoils the datagram
 * (RFC 5722 4, and for IPv4 likewise); an exact double is only dropped (RFC 5722 as amended by
 * RFC 8200 4.5). A source has at most a share of the table.
 */
struct reassembly;

struct reassembly_config {
	uint32_t max_datagrams;  /* incomplete at a time; rounded up to a power of two; 0: 256 */
	uint32_t max_per_source; /* of these, of one source address; 0: 16 */
	uint32_t max_fragments;  /* of one datagram; at most and 0: 64 */
	uint32_t timeout_s;      /* 0: 30 */
	uint64_t hash_seed;      /* random */
	/* For whole datagrams: one segment each, so of the size that may come (64 KiB). */
	struct rte_mempool *big_pool;
};

struct reassembly *reassembly_create(const struct reassembly_config *config)
	__attribute__((warn_unused_result));
/* Frees the fragments that wait. */
void reassembly_destroy(struct reassembly *r);

/* Which of n workers reassembles the datagram of this fragment; ip is the IP header. The same
 * seed must be given by all workers. */
uint16_t reassembly_owner(
	uint64_t seed, const uint8_t *ip, const struct pkt_info *pkt, uint16_t n_workers);

/*
 * Stage. Packets at NEXT_REASM are taken in: their slots become NEXT_NONE, or NEXT_DROP. When
 * one completes a datagram its slot holds the whole: a single segment that begins with the
 * link header of the first fragment, at NEXT_PARSE, to be parsed again. Transit (PKT_REJOIN) and
 * what came out of an SA or from the host is parsed already: it is at NEXT_SPD_IN, from the host
 * at NEXT_SPD_OUT, and keeps the flags of its origin and the last fragment's in_sa.
 */
void reassembly_burst(struct worker_ctx *w, struct reassembly *r, struct burst *b);
/* Gives up what is too old (RFC 791, RFC 8200 4.5). Once a second; counts FRAG_TIMEOUT. */
uint32_t reassembly_expire(struct worker_ctx *w, struct reassembly *r);
/* Datagrams that wait, for tests and statistics. */
uint32_t reassembly_count(const struct reassembly *r);
