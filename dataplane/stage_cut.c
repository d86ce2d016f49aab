#include "dataplane/stages.h"

#include <string.h>

#include "dataplane/fragment_out.h"
#include "dataplane/icmp_error.h"
#include "dataplane/parse.h"
#include "dataplane/pipeline.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"

#define ICMP_A_SECOND 1000
#define ICMP_AT_ONCE 50

/* The pieces of packet i go on where it was: to encryption, or out by its next hop. */
static void pieces_send(
	struct worker *w, struct burst *b, unsigned int i, struct rte_mbuf **piece, uint32_t n)
{
	struct burst *aside = &w->aside;
	bool is_clear = b->sa[i] && !b->nexthop[i];

	aside->n = (uint16_t)n;
	for (uint32_t k = 0; k < n; k++) {
		uint16_t l3 = b->pkt[i].l3_off;
		enum drop_reason why;

		aside->m[k] = piece[k];
		aside->port[k] = b->port[i];
		aside->sa[k] = is_clear ? b->sa[i] : NULL;
		aside->in_sa[k] = b->in_sa[i];
		aside->flow[k] = b->flow[i];
		aside->nexthop[k] = b->nexthop[i];
		aside->next[k] = is_clear ? NEXT_ESP_OUT : NEXT_TX;
		aside->mtu[k] = 0;
		aside->pkt[k].flags = 0;
		why = parse_ip(rte_pktmbuf_mtod_offset(piece[k], uint8_t *, l3),
			rte_pktmbuf_data_len(piece[k]) - l3, &aside->pkt[k]);
		aside->pkt[k].l3_off = l3;
		aside->pkt[k].l4_off += l3;
		aside->pkt[k].nh_off += l3;
		aside->pkt[k].flags |= b->pkt[i].flags & (PKT_FROM_SA | PKT_FROM_HOST);
		if (why != DROP_NONE)
			burst_drop(aside, k, why);
	}
	w->fragmented++;
	pipeline_outbound(w, aside);
}

static uint16_t cut_mtu(const struct burst *b, unsigned int i)
{
	if (b->mtu[i])
		return b->mtu[i];
	return b->nexthop[i] ? atomic_load_explicit(&b->nexthop[i]->mtu, memory_order_relaxed) : 0;
}

void stage_fragment(struct worker *w, struct burst *b)
{
	for (uint64_t left = burst_mask(b, NEXT_FRAGMENT); left; left &= left - 1) {
		struct rte_mbuf *piece[FRAGMENT_OUT_MAX];
		unsigned int i = burst_first(left);
		uint32_t n;

		if (b->pkt[i].family == 4)
			n = fragment_out_v4(b->m[i], b->pkt[i].l3_off, cut_mtu(b, i), w->dp->pool,
				piece, FRAGMENT_OUT_MAX);
		else
			n = fragment_out_v6(b->m[i], b->pkt[i].l3_off, 40, 6,
				(uint32_t)(w->ctx.tick * 64 + i) * w->dp->n_workers + w->id,
				cut_mtu(b, i), w->dp->pool, piece, FRAGMENT_OUT_MAX);
		if (n == 0) {
			burst_drop(b, i, DROP_MTU);
			continue;
		}
		b->next[i] = NEXT_NONE; /* the packet was freed with the cut */
		pieces_send(w, b, i, piece, n);
	}
}

static int wide_compare(const uint64_t a[2], const uint64_t b[2])
{
	if (a[0] != b[0])
		return a[0] < b[0] ? -1 : 1;
	return a[1] < b[1] ? -1 : a[1] > b[1];
}

/* Is the address one of those behind the inbound SA's destination selectors? */
static bool is_inside(const struct sa_hot *sa, const struct ip_addr *a)
{
	struct sa_selector_pair p = {.src.range = {*a, *a},
		.src.port_hi = UINT16_MAX,
		.dst.range = {*a, *a},
		.dst.port_hi = UINT16_MAX};
	struct sa_selector me;

	if (sa->n_selectors == 0)
		return true;
	if (sa_selector_compile(&p, &me) < 0)
		return false;
	for (uint16_t i = 0; i < sa->n_selectors; i++) {
		const struct sa_selector *s = &sa->selectors[i];

		if (s->family == me.family && wide_compare(s->dst_lo, me.dst_lo) <= 0 &&
			wide_compare(s->dst_hi, me.dst_lo) >= 0)
			return true;
	}
	return false;
}

/* The VLAN of a frame as it came in, 0 without a tag. */
static uint16_t vlan_of(const struct burst *b, unsigned int i)
{
	const uint8_t *frame = rte_pktmbuf_mtod(b->m[i], const uint8_t *);

	return b->pkt[i].l3_off < 18 ? 0 : (uint16_t)((frame[14] << 8 | frame[15]) & 0xfff);
}

/*
 * The source of an error. RFC 4301 6: for a packet that an SA protects it must lie inside the
 * selectors, or the error would be dropped at the peer; else the address of the port that it
 * came in by, else any of ours. To this host it comes as if from the packet's destination: the
 * kernel takes nothing from a port that claims to be sent by itself (RFC 1812 5.3.7).
 */
static const uint8_t *error_source(const struct worker *w, const struct burst *b, unsigned int i)
{
	const struct dp_addresses *a = atomic_load_explicit(
		&w->dp->addresses, memory_order_acquire);
	const uint8_t *any = NULL;

	if (b->pkt[i].flags & PKT_FROM_HOST)
		return burst_dst(b, i);
	for (uint16_t k = 0; k < a->n_icmp_sources; k++) {
		const struct ip_addr *addr = &a->icmp_sources[k].addr;

		if (addr->family != b->pkt[i].family)
			continue;
		if (b->in_sa[i]) {
			if (is_inside(b->in_sa[i], addr))
				return addr->b;
		} else if (a->icmp_sources[k].port == b->port[i] &&
			   a->icmp_sources[k].vlan == vlan_of(b, i)) {
			return addr->b;
		}
		if (!any)
			any = addr->b;
	}
	return any;
}

static enum icmp_error_kind error_kind(uint8_t about)
{
	switch (about) {
	case ICMP_ABOUT_TTL:
		return ICMP_ERROR_TTL;
	case ICMP_ABOUT_MTU:
		return ICMP_ERROR_MTU;
	case ICMP_ABOUT_ADMIN:
		return ICMP_ERROR_ADMIN;
	default:
		return ICMP_ERROR_NO_ROUTE;
	}
}

static enum drop_reason error_drop_reason(uint8_t about)
{
	switch (about) {
	case ICMP_ABOUT_TTL:
		return DROP_TTL_EXCEEDED;
	case ICMP_ABOUT_MTU:
		return DROP_MTU;
	case ICMP_ABOUT_ADMIN:
		return DROP_DENY;
	default:
		return DROP_NO_ROUTE;
	}
}

/* An error about packet i as a new packet, or NULL. */
static struct rte_mbuf *error_make(struct worker *w, const struct burst *b, unsigned int i)
{
	struct icmp_error error = {
		.kind = error_kind(b->icmp[i]),
		.mtu = b->mtu[i],
		.src = error_source(w, b, i),
	};
	struct rte_mbuf *m;
	size_t len;

	if (!error.src || !icmp_limit_take(&w->icmp_limit, w->ctx.now_tsc, w->ctx.tsc_hz,
				  ICMP_A_SECOND, ICMP_AT_ONCE))
		return NULL;
	m = rte_pktmbuf_alloc(w->dp->pool);
	if (!m)
		return NULL;
	error.ip_id = w->ctx.ip_id;
	w->ctx.ip_id += w->dp->n_workers;
	len = icmp_error_build(burst_l3(b, i), &b->pkt[i], &error, rte_pktmbuf_mtod(m, uint8_t *),
		rte_pktmbuf_tailroom(m));
	if (len == 0) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	rte_pktmbuf_append(m, (uint16_t)len);
	return m;
}

/*
 * The error goes back as a packet of this host does: through the SPD, so that one about a packet
 * out of a tunnel goes back into the tunnel. About a packet of this host it goes to the TAP.
 */
static void error_place(
	struct worker *w, struct burst *b, unsigned int i, struct burst *out, struct rte_mbuf *m)
{
	uint16_t k = out->n;

	if (parse_ip(rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_data_len(m), &out->pkt[k]) !=
		DROP_NONE) {
		rte_pktmbuf_free(m);
		return;
	}
	out->n++;
	out->m[k] = m;
	out->port[k] = b->port[i];
	out->sa[k] = out->in_sa[k] = NULL;
	out->flow[k] = NULL;
	out->nexthop[k] = NULL;
	out->mtu[k] = 0;
	out->pkt[k].l3_off = 0;
	if (b->pkt[i].flags & PKT_FROM_HOST) {
		out->pkt[k].flags |= PKT_FROM_SA; /* no link header, as from an SA */
		out->next[k] = NEXT_HOST;
	} else {
		out->pkt[k].flags |= PKT_FROM_HOST; /* ours: the TTL is as it shall be */
		out->next[k] = NEXT_SPD_OUT;
	}
	w->icmp_sent++;
}

void stage_icmp(struct worker *w, struct burst *b)
{
	struct burst *aside = &w->aside;
	uint64_t left = burst_mask(b, NEXT_ICMP);

	if (b == aside) { /* no error about what is itself aside: pieces and errors */
		for (; left; left &= left - 1) {
			unsigned int i = burst_first(left);

			burst_drop(b, i, error_drop_reason(b->icmp[i]));
		}
		return;
	}
	if (!left)
		return;
	aside->n = 0;
	for (; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		struct rte_mbuf *m;

		m = error_make(w, b, i);
		if (m)
			error_place(w, b, i, aside, m);
		burst_drop(b, i, error_drop_reason(b->icmp[i]));
	}
	if (aside->n)
		pipeline_outbound(w, aside);
}
