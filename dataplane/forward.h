#pragma once

#include <string.h>

#include "dataplane/burst.h"
#include "dataplane/route.h"
#include "dataplane/worker_ctx.h"

/*
 * Stage. Packets at NEXT_SPD_OUT not from the host: TTL or hop limit goes down by one, with the
 * IPv4 checksum mended (RFC 1624); at its end NEXT_ICMP with ICMP_ABOUT_TTL. Call before the
 * SPD look-up, so that a tunnel carries the lowered TTL (RFC 4301 5.1.2.1).
 */
void forward_ttl(struct burst *b);

/*
 * Stage. Packets at NEXT_ROUTE: route look-up, MTU of the next hop. Leaves NEXT_TX with
 * nexthop[i] (also INCOMPLETE ones, whose neighbour must be asked for), NEXT_FRAGMENT (IPv4
 * without DF, too big), NEXT_ICMP with ICMP_ABOUT_MTU or ICMP_ABOUT_NO_ROUTE, or NEXT_DROP.
 */
void forward_route(struct worker_ctx *w, const struct router *router, struct burst *b);

/* Lowers the TTL at ip by one. False: it was 1 or 0, nothing changed. */
bool forward_ttl_lower(uint8_t *ip, uint8_t family);

static inline bool forward_ttl_lower4(uint8_t *ip)
{
	uint32_t word, sum;

	memcpy(&word, ip + 8, sizeof(word)); /* TTL, protocol, checksum; as it lies there */
	if ((word & 0xff) <= 1)
		return false;
	/* RFC 1624 3: HC' = ~(~HC + ~m + m'). The word of the TTL goes down by 0x0100, so HC goes
	 * up by it, which is 1 in this byte order; 0xffff does not occur. */
	sum = (word >> 16) + 1;
	sum += sum >= 0xffff;
	word = (word & 0xffff) - 1;
	word |= sum << 16;
	memcpy(ip + 8, &word, sizeof(word));
	return true;
}
