#include "dataplane/espd.h"

#include <string.h>
#include <sys/epoll.h>

#include <rte_ether.h>
#include <rte_ring.h>

#include "dataplane/debug.h"
#include "dataplane/pktmeta.h"

#define FROM_WORKER_A_TURN 256
#define TAP_READS_A_TURN 64
#define NEIGH_WAIT_MS 3000
#define NEIGH_WAIT_EACH 3 /* RFC 1122 2.3.2.2: at least one; few are enough */

static bool to_worker(struct espd *e, struct rte_mbuf *m)
{
	/* One worker for all, so that packets of the host stay in order. */
	if (worker_from_main(e->dp.workers[0], m))
		return true;
	rte_pktmbuf_free(m);
	e->n.from_host_full++;
	return false;
}

bool host_route(struct espd *e, struct rte_mbuf *m)
{
	struct pkt_meta *meta = pkt_meta(m);

	memset(meta, 0, sizeof(*meta));
	meta->kind = PKT_KIND_ROUTE;
	return to_worker(e, m);
}

static void tap_readable(void *ctx, int fd, uint32_t events)
{
	struct espd *e = ctx;
	struct port *p = NULL;

	(void)events;
	for (uint16_t i = 0; i < e->dp.n_ports; i++) {
		if (e->dp.ports[i].tap.fd == fd)
			p = &e->dp.ports[i];
	}
	for (int k = 0; p && k < TAP_READS_A_TURN; k++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(e->dp.pool);
		struct pkt_meta *meta;
		int len;

		if (!m)
			return;
		len = tap_read(&p->tap, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m));
		if (len <= 0) {
			rte_pktmbuf_free(m);
			return;
		}
		rte_pktmbuf_append(m, (uint16_t)len);
		meta = pkt_meta(m);
		memset(meta, 0, sizeof(*meta));
		meta->kind = PKT_KIND_FROM_HOST;
		meta->port = p->number;
		to_worker(e, m);
	}
}

int host_start(struct espd *e)
{
	for (uint16_t i = 0; i < e->dp.n_ports; i++) {
		int rc = loop_fd_add(e->loop, e->dp.ports[i].tap.fd, EPOLLIN, tap_readable, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Out of a tunnel there is no link header: to the port's own MAC, from a made-up one. */
static void ip_to_tap(struct port *p, struct rte_mbuf *m)
{
	static const uint8_t from[6] = {0x02, 0x50, 0x4e, 0x53, 0x54, 0x00};
	uint8_t version = *rte_pktmbuf_mtod(m, uint8_t *) >> 4;
	uint8_t *eth = (uint8_t *)rte_pktmbuf_prepend(m, RTE_ETHER_HDR_LEN);

	if (!eth)
		return;
	memcpy(eth, p->mac, 6);
	memcpy(eth + 6, from, 6);
	eth[12] = version == 4 ? 0x08 : 0x86;
	eth[13] = version == 4 ? 0x00 : 0xdd;
	(void)tap_write(&p->tap, eth, rte_pktmbuf_data_len(m));
}

/* Waits until the kernel has found the link address; the oldest of a crowd is not favoured. */
static void neigh_wait(struct espd *e, struct rte_mbuf *m)
{
	const struct pkt_meta *meta = pkt_meta(m);
	unsigned int same = 0;

	for (unsigned int i = 0; i < e->n_waiting; i++)
		same += e->waiting[i].ifindex == meta->ifindex &&
			addr_equal(&e->waiting[i].addr, &meta->gateway);
	net_helper_probe(&e->net, meta->ifindex, &meta->gateway);
	if (same >= NEIGH_WAIT_EACH || e->n_waiting == NEIGH_WAITING_MAX) {
		rte_pktmbuf_free(m);
		e->n.neigh_full++;
		return;
	}
	e->waiting[e->n_waiting++] = (struct neigh_waiting){
		.m = m,
		.ifindex = meta->ifindex,
		.addr = meta->gateway,
		.until_ms = loop_now_ms() + NEIGH_WAIT_MS,
	};
}

static void waiting_remove(struct espd *e, unsigned int i)
{
	/* The order is kept: packets of one flow may be among them. */
	memmove(&e->waiting[i], &e->waiting[i + 1], (--e->n_waiting - i) * sizeof(e->waiting[0]));
}

void host_neigh(struct espd *e, uint32_t ifindex, const struct ip_addr *a, bool is_known)
{
	for (unsigned int i = 0; i < e->n_waiting;) {
		struct neigh_waiting *w = &e->waiting[i];
		struct rte_mbuf *m = w->m;

		if (w->ifindex != ifindex || !addr_equal(&w->addr, a)) {
			i++;
			continue;
		}
		waiting_remove(e, i);
		if (is_known) {
			host_route(e, m);
		} else {
			rte_pktmbuf_free(m);
			e->n.neigh_failed++;
		}
	}
}

void host_second(struct espd *e, uint64_t now_ms)
{
	for (unsigned int i = 0; i < e->n_waiting;) {
		if (e->waiting[i].until_ms > now_ms) {
			i++;
			continue;
		}
		rte_pktmbuf_free(e->waiting[i].m);
		e->n.neigh_failed++;
		waiting_remove(e, i);
	}
}

/* RFC 4301 4.4.1.2: the packet's own selectors go with the wish for an SA. */
static void acquire_tell(struct espd *e, const struct pkt_meta *meta)
{
	struct ipc_acquire a;
	struct traffic_selector *s = &a.packet.src, *d = &a.packet.dst;

	memset(&a, 0, sizeof(a));
	a.flow = meta->flow;
	a.policy = meta->policy;
	s->range.lo = s->range.hi = meta->src;
	d->range.lo = d->range.hi = meta->gateway;
	s->proto = d->proto = meta->pkt.proto;
	s->port_lo = s->port_hi = meta->pkt.sport;
	d->port_lo = d->port_hi = meta->pkt.dport;
	if (!(meta->pkt.flags & PKT_PORTS)) {
		s->port_lo = d->port_lo = 0;
		s->port_hi = d->port_hi = UINT16_MAX;
	}
	(void)e->ops.event(e, meta->owner, IPC_EVENT_ACQUIRE, &a);
}

static void from_worker(struct espd *e, struct rte_mbuf *m)
{
	struct pkt_meta *meta = pkt_meta(m);

	switch (meta->kind) {
	case PKT_KIND_HOST:
		(void)tap_write(&e->dp.ports[meta->port].tap, rte_pktmbuf_mtod(m, void *),
			rte_pktmbuf_data_len(m));
		break;
	case PKT_KIND_HOST_IP:
		ip_to_tap(&e->dp.ports[meta->port], m);
		break;
	case PKT_KIND_PUNT:
		punt_rx(e, m);
		break;
	case PKT_KIND_NEIGH:
		neigh_wait(e, m);
		return;
	case PKT_KIND_ACQUIRE:
		acquire_tell(e, meta);
		break;
	case PKT_KIND_PMTU:
		control_pmtu(e->control, meta->spi, &meta->gateway, meta->mtu, loop_now_ms());
		break;
	case PKT_KIND_TRACE:
	case PKT_KIND_CAPTURE:
		debug_packet(e->debug, m);
		break;
	default:
		break;
	}
	rte_pktmbuf_free(m);
}

bool host_poll(struct espd *e)
{
	bool any = false;

	for (uint16_t i = 0; i < e->dp.n_workers; i++) {
		struct rte_mbuf *m[64];
		unsigned int n, total = 0;

		while (total < FROM_WORKER_A_TURN &&
			(n = rte_ring_sc_dequeue_burst(
				 e->dp.workers[i]->to_main, (void **)m, 64, NULL)) > 0) {
			for (unsigned int k = 0; k < n; k++)
				from_worker(e, m[k]);
			total += n;
		}
		any |= total > 0;
	}
	return any;
}
