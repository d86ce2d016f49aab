#pragma once

#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* Cuts IP packets to an MTU: before or after ESP (RFC 4301 7, 8.1). */

#define FRAGMENT_OUT_MAX 64

/*
 * m: mtod + l3_off is an IPv4 header with DF clear. Makes fragments of at most mtu bytes (IP
 * header included), each with a copy of the l3_off bytes before it. Options that are not to be
 * copied are in the first only (RFC 791 3.1). A packet that is itself a fragment may be cut.
 * Returns how many are in out, and m is freed; or 0: m is untouched (DF, no buffers, mtu too
 * small, more than cap).
 */
uint32_t fragment_out_v4(struct rte_mbuf *m, uint16_t l3_off, uint16_t mtu,
	struct rte_mempool *pool, struct rte_mbuf *out[], uint32_t cap);

/*
 * The same for an IPv6 packet that we made ourselves (ESP in a tunnel): a Fragment header is
 * put after the first per_fragment_len bytes of the IP packet (RFC 8200 4.5). next_header_off:
 * the byte there that names what follows; it becomes 44.
 */
uint32_t fragment_out_v6(struct rte_mbuf *m, uint16_t l3_off, uint16_t per_fragment_len,
	uint16_t next_header_off, uint32_t id, uint16_t mtu, struct rte_mempool *pool,
	struct rte_mbuf *out[], uint32_t cap);
