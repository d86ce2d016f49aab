#include "dataplane/stages.h"

#include <string.h>

#include <rte_ether.h>

#include "dataplane/route.h"

#define NEIGH_ASKED_A_SECOND 256 /* packets given to main for want of a neighbour, a worker */

static inline bool mac_equal(const uint8_t *a, const uint8_t *b)
{
	uint32_t a4, b4;
	uint16_t a2, b2;

	memcpy(&a4, a, 4);
	memcpy(&b4, b, 4);
	memcpy(&a2, a + 4, 2);
	memcpy(&b2, b + 4, 2);
	return ((a4 ^ b4) | (uint32_t)(a2 ^ b2)) == 0;
}

static uint16_t type_at(const uint8_t *frame, unsigned int at)
{
	return (uint16_t)(frame[at] << 8 | frame[at + 1]);
}

static bool is_tag(uint16_t type)
{
	return type == RTE_ETHER_TYPE_VLAN || type == RTE_ETHER_TYPE_QINQ;
}

/*
 * Tagged frames are for interfaces of their VLAN: without one they are nobody's here, and what
 * they carry must not be taken for traffic of the untagged network. A tag of VLAN 0 is none
 * (IEEE 802.1Q 9.6). Interfaces with a provider's or a second tag are not known here.
 */
static bool is_of_no_vlan(const struct port *p, const uint8_t *frame, uint16_t len)
{
	uint16_t vlan;

	if (likely(!is_tag(type_at(frame, 12))))
		return false;
	if (len < 18 || type_at(frame, 12) == RTE_ETHER_TYPE_QINQ || is_tag(type_at(frame, 16)))
		return true;
	vlan = type_at(frame, 14) & 0xfff;
	return vlan != 0 && !port_has_vlan(p, vlan);
}

/*
 * A port in promiscuous mode, or a packet socket, hears frames to other stations too. They are
 * not ours to forward: the station meant gets them itself.
 */
void stage_link_input(struct worker *w, struct burst *b)
{
	for (uint64_t left = burst_mask(b, NEXT_PARSE); left; left &= left - 1) {
		const struct rte_ether_hdr *eth;
		unsigned int i = burst_first(left);

		if (rte_pktmbuf_data_len(b->m[i]) < sizeof(*eth)) {
			burst_drop(b, i, DROP_MALFORMED);
			continue;
		}
		eth = rte_pktmbuf_mtod(b->m[i], const struct rte_ether_hdr *);
		if (!(eth->dst_addr.addr_bytes[0] & 1) &&
			!mac_equal(eth->dst_addr.addr_bytes, w->dp->ports[b->port[i]].mac))
			burst_drop(b, i, DROP_OTHER_STATION);
		else if (is_of_no_vlan(&w->dp->ports[b->port[i]], (const uint8_t *)eth,
				 rte_pktmbuf_data_len(b->m[i])))
			burst_drop(b, i, DROP_VLAN);
	}
}

/* The packet waits at main until the kernel has found the neighbour; few do. */
static void neighbour_wanted(struct worker *w, struct burst *b, unsigned int i)
{
	struct nexthop *nh = b->nexthop[i];
	struct pkt_meta *meta = pkt_meta(b->m[i]);

	if (w->neigh_second != w->ctx.now_s) {
		w->neigh_second = w->ctx.now_s;
		w->n_neigh_asked = 0;
	}
	if (w->n_neigh_asked++ >= NEIGH_ASKED_A_SECOND) {
		burst_drop(b, i, DROP_NO_NEIGHBOUR);
		return;
	}
	memset(meta, 0, sizeof(*meta));
	meta->kind = PKT_KIND_NEIGH;
	meta->port = nh->port;
	meta->ifindex = nh->ifindex;
	meta->gateway = atomic_load_explicit(&nh->state, memory_order_relaxed) == NEXTHOP_ON_LINK
				? burst_addr(b->pkt[i].family, burst_dst(b, i))
				: nh->addr;
	rte_pktmbuf_adj(b->m[i], b->pkt[i].l3_off);
	b->pkt[i].l3_off = 0;
	b->next[i] = NEXT_NONE;
	if (!worker_to_main(w, b->m[i]))
		w->ctx.drops[DROP_RING_FULL]++;
}

static void frame_send(struct worker *w, struct burst *b, unsigned int i)
{
	struct nexthop *nh = b->nexthop[i];
	uint64_t mac = atomic_load_explicit(&nh->dst_mac, memory_order_relaxed);
	struct rte_mbuf *m = b->m[i];
	uint8_t *eth;
	unsigned int hdr_len = nh->vlan ? 18 : 14;
	uint16_t type = b->pkt[i].family == 4 ? 0x0800 : 0x86dd;
	int32_t grows = (int32_t)hdr_len - b->pkt[i].l3_off;

	if (grows > m->data_off) {
		burst_drop(b, i, DROP_NO_ROOM);
		return;
	}
	m->data_off = (uint16_t)(m->data_off - grows);
	m->data_len = (uint16_t)(m->data_len + grows);
	m->pkt_len = (uint32_t)((int32_t)m->pkt_len + grows);
	eth = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(eth, &mac, 8); /* its last two bytes are written again below */
	memcpy(eth + 6, nh->src_mac, 6);
	if (nh->vlan) {
		eth[12] = 0x81;
		eth[13] = 0x00;
		eth[14] = (uint8_t)(nh->vlan >> 8);
		eth[15] = (uint8_t)nh->vlan;
	}
	eth[hdr_len - 2] = (uint8_t)(type >> 8);
	eth[hdr_len - 1] = (uint8_t)type;
	b->next[i] = NEXT_NONE;
	worker_tx(w, nh->port, m);
}

/* A next hop's header of untagged IPv4, for the packets of it that follow one another. */
struct tx_run {
	const struct nexthop *nh;
	bool is_plain;
	uint16_t port;
	uint64_t head, tail; /* bytes 0 to 7 and 6 to 13 */
};

static void run_begin(const struct worker *w, struct tx_run *r, const struct nexthop *nh)
{
	const uint16_t type = 0x0008; /* as it lies in the frame */

	r->nh = nh;
	r->is_plain = nh && nh->port < w->dp->n_ports && nh->vlan == 0 &&
		      atomic_load_explicit(&nh->state, memory_order_acquire) == NEXTHOP_VALID;
	if (!r->is_plain)
		return;
	r->port = nh->port;
	r->head = atomic_load_explicit(&nh->dst_mac, memory_order_relaxed);
	memcpy(&r->tail, nh->src_mac, 6);
	memcpy((uint8_t *)&r->tail + 6, &type, 2);
}

/* False: it is not of that kind, and nothing has changed. */
static inline bool frame_plain(
	struct worker *w, struct burst *b, unsigned int i, const struct tx_run *r)
{
	struct rte_mbuf *m = b->m[i];
	uint32_t at = (uint32_t)m->data_off + b->pkt[i].l3_off, n = w->n_tx[r->port];
	uint32_t len = (uint32_t)m->data_len - b->pkt[i].l3_off + RTE_ETHER_HDR_LEN;
	uint8_t *eth;

	if (!r->is_plain || b->pkt[i].family != 4 || at < RTE_ETHER_HDR_LEN)
		return false;
	at -= RTE_ETHER_HDR_LEN;
	m->data_off = (uint16_t)at;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	eth = (uint8_t *)m->buf_addr + at;
	memcpy(eth, &r->head, 8); /* its last two bytes are written again */
	memcpy(eth + 6, &r->tail, 8);
	b->next[i] = NEXT_NONE;
	w->tx[r->port][n] = m;
	w->n_tx[r->port] = (uint16_t)(n + 1);
	if (n + 1 == BURST_MAX)
		worker_tx_flush(w);
	return true;
}

void stage_transmit(struct worker *w, struct burst *b)
{
	struct tx_run run = {0};

	for (uint64_t left = burst_mask(b, NEXT_TX); left; left &= left - 1) {
		unsigned int i = burst_first(left);
		const struct nexthop *nh = b->nexthop[i];

		if (nh != run.nh)
			run_begin(w, &run, nh);
		if (frame_plain(w, b, i, &run))
			continue;
		if (!nh) {
			burst_drop(b, i, DROP_NO_PATH);
			continue;
		}
		if (nh->port >= w->dp->n_ports) {
			/* A route over an interface that is not ours: the kernel sends it. */
			b->next[i] = NEXT_HOST;
			continue;
		}
		switch (atomic_load_explicit(&nh->state, memory_order_acquire)) {
		case NEXTHOP_VALID:
			frame_send(w, b, i);
			break;
		case NEXTHOP_INCOMPLETE:
		case NEXTHOP_ON_LINK:
			neighbour_wanted(w, b, i);
			break;
		default:
			burst_drop(b, i, DROP_NO_ROUTE);
		}
	}
}
