#include "dataplane/forward.h"

/* 1. TTL before the SPD; 2. route; 3. MTU of the next hop. */

#define ROUTE_MTU_MIN 68 /* RFC 791 3.2 */

bool forward_ttl_lower(uint8_t *ip, uint8_t family)
{
	if (family == 4)
		return forward_ttl_lower4(ip);
	if (ip[7] <= 1)
		return false;
	ip[7]--;
	return true;
}

void forward_ttl(struct burst *b)
{
	for (uint64_t left = burst_mask(b, NEXT_SPD_OUT); left; left &= left - 1) {
		unsigned i = burst_first(left);
		struct pkt_info *pkt = &b->pkt[i];

		if (pkt->flags & PKT_FROM_HOST)
			continue;
		if (forward_ttl_lower(burst_l3(b, i), pkt->family)) {
			pkt->ttl--;
			continue;
		}
		b->next[i] = NEXT_ICMP;
		b->icmp[i] = ICMP_ABOUT_TTL;
		b->drop[i] = DROP_TTL_EXCEEDED;
	}
}

static void about(struct burst *b, unsigned i, uint8_t icmp, enum drop_reason why)
{
	b->next[i] = NEXT_ICMP;
	b->icmp[i] = icmp;
	b->drop[i] = why;
}

static void send_by(struct burst *b, unsigned i, struct nexthop *nh)
{
	uint8_t state = nh == NULL ? NEXTHOP_UNREACHABLE
				   : atomic_load_explicit(&nh->state, memory_order_acquire);
	uint16_t mtu;

	if (state == NEXTHOP_BLACKHOLE) {
		burst_drop(b, i, DROP_NO_ROUTE);
		return;
	}
	if (state == NEXTHOP_UNREACHABLE) {
		about(b, i, ICMP_ABOUT_NO_ROUTE, DROP_NO_ROUTE);
		return;
	}
	b->nexthop[i] = nh;
	mtu = atomic_load_explicit(&nh->mtu, memory_order_relaxed);
	if (mtu < ROUTE_MTU_MIN || b->pkt[i].len <= mtu) {
		b->next[i] = NEXT_TX;
		return;
	}
	b->mtu[i] = mtu;
	if (b->pkt[i].flags & PKT_DF)
		about(b, i, ICMP_ABOUT_MTU, DROP_MTU);
	else
		b->next[i] = NEXT_FRAGMENT;
}

void forward_route(struct worker_ctx *w, const struct router *router, struct burst *b)
{
	const uint64_t mask = burst_mask(b, NEXT_ROUTE);

	(void)w;
	for (unsigned f = 4; mask && f <= 6; f += 2) {
		const uint8_t *addrs[BURST_MAX];
		struct nexthop *found[BURST_MAX];
		uint8_t at[BURST_MAX];
		unsigned n = 0;

		for (uint64_t left = mask; left; left &= left - 1) {
			unsigned i = burst_first(left);

			if (b->pkt[i].family != f)
				continue;
			addrs[n] = burst_dst(b, i);
			at[n++] = i;
		}
		if (n == 0)
			continue;
		route_lookup_burst(router, f, addrs, n, found);
		for (unsigned k = 0; k < n; k++)
			send_by(b, at[k], found[k]);
	}
}
