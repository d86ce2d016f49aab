#include "dataplane/espd.h"

#include <string.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "dataplane/fragment_out.h"
#include "dataplane/path.h"
#include "dataplane/pktmeta.h"
#include "dataplane/route.h"
#include "dataplane/spd.h"
#include "ipc/server.h"
#include "ipc/steer.h"

/*
 * IKE datagrams between the ports and the engines. Outbound ones are made into IP packets here
 * and go out by the routes; the SPD does not apply to them.
 */
#define MARKER_LEN 4
#define STRANGERS_A_SECOND 2000 /* until an engine says its budget */
#define OUTER_TTL 64

/* Datagrams without a known SPI are taken at a limited rate, each engine's its own. */
static bool stranger_may(struct espd *e, uint32_t engine)
{
	uint64_t second = loop_now_ms() / 1000;
	uint32_t budget = e->steer.stranger_budget ? e->steer.stranger_budget : STRANGERS_A_SECOND;

	if (second != e->stranger_second) {
		e->stranger_second = second;
		memset(e->n_strangers, 0, sizeof(e->n_strangers));
	}
	if (e->n_strangers[engine]++ < budget)
		return true;
	e->n.punt_strangers_over++;
	return false;
}

/* The engine whose the datagram is. While it is away strangers go to the next one that is there. */
static struct session *session_for(
	struct espd *e, const struct ip_addr *src, const uint8_t *data, size_t len, bool *is_known)
{
	uint32_t engine = ipc_steer_engine(&e->steer, data, len, src, is_known);
	struct session *s = NULL;

	for (uint32_t i = 0; !s && i < (*is_known ? 1 : e->steer.n_engines); i++)
		s = owners_session(e,
			spd_owner(IPC_OWNER_ENGINE, (uint16_t)((engine + i) % e->steer.n_engines)));
	if (s && !*is_known && !stranger_may(e, s->owner & 0xffff))
		return NULL;
	return s;
}

void punt_rx(struct espd *e, struct rte_mbuf *m)
{
	const struct pkt_info *p = &pkt_meta(m)->pkt;
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, p->l3_off);
	const uint8_t *data = rte_pktmbuf_mtod_offset(m, const uint8_t *, p->l4_off) + 8;
	size_t head = (size_t)(p->l4_off - p->l3_off) + 8, len;
	struct ipc_punt_header h;
	struct session *s;
	bool is_nat_t, is_known;
	uint32_t owner;

	if (p->len < head)
		return;
	len = p->len - head;
	memset(&h, 0, sizeof(h));
	h.local.addr = burst_addr(p->family, ip + (p->family == 4 ? 16 : 24));
	h.remote.addr = burst_addr(p->family, ip + (p->family == 4 ? 12 : 8));
	h.local.port = p->dport;
	h.remote.port = p->sport;
	h.ifindex = e->dp.ports[pkt_meta(m)->port].tap.ifindex;
	if (!control_punt_find(e->control, &h.local.addr, h.local.port, &owner, &is_nat_t)) {
		e->n.punt_unclaimed++;
		return;
	}
	/* RFC 3948 2.2: four zero bytes tell IKE from ESP on port 4500. */
	if (is_nat_t) {
		if (len < MARKER_LEN)
			return;
		data += MARKER_LEN;
		len -= MARKER_LEN;
		h.flags |= IPC_PUNT_MARKER;
	}
	if (!e->has_steer)
		return;
	s = session_for(e, &h.remote.addr, data, len, &is_known);
	if (!s)
		return;
	if (is_known)
		h.flags |= IPC_PUNT_KNOWN;
	(void)ipc_server_punt_rx(s->server, is_known, &h, data, len);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put_ipv4(struct espd *e, uint8_t *ip, const struct endpoint *local,
	const struct endpoint *remote, size_t total)
{
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)ip;

	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)total);
	put16(ip + 4, e->punt_ip_id++);
	ip[8] = OUTER_TTL;
	ip[9] = 17;
	memcpy(ip + 12, local->addr.b, 4);
	memcpy(ip + 16, remote->addr.b, 4);
	h->hdr_checksum = rte_ipv4_cksum(h);
}

static void put_ipv6(
	uint8_t *ip, const struct endpoint *local, const struct endpoint *remote, size_t payload)
{
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, (uint16_t)payload);
	ip[6] = 17;
	ip[7] = OUTER_TTL;
	memcpy(ip + 8, local->addr.b, 16);
	memcpy(ip + 24, remote->addr.b, 16);
}

/* An IP/UDP packet with the data, in a buffer of the pool that has room for it. NULL: no room. */
static struct rte_mbuf *datagram_make(struct espd *e, const struct endpoint *local,
	const struct endpoint *remote, bool has_marker, const uint8_t *data, size_t len)
{
	size_t ip_len = local->addr.family == 4 ? 20 : 40;
	size_t udp_len = 8 + (has_marker ? MARKER_LEN : 0) + len, total = ip_len + udp_len;
	struct rte_mbuf *m;
	uint8_t *ip, *udp;
	uint16_t sum;

	if (total > UINT16_MAX)
		return NULL;
	m = rte_pktmbuf_alloc(e->dp.pool);
	if (m && rte_pktmbuf_tailroom(m) < total) {
		rte_pktmbuf_free(m);
		m = rte_pktmbuf_alloc(e->dp.big_pool);
	}
	if (!m)
		return NULL;
	ip = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)total);
	if (!ip) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	if (ip_len == 20)
		put_ipv4(e, ip, local, remote, total);
	else
		put_ipv6(ip, local, remote, udp_len);
	udp = ip + ip_len;
	put16(udp, local->port);
	put16(udp + 2, remote->port);
	put16(udp + 4, (uint16_t)udp_len);
	put16(udp + 6, 0);
	if (has_marker)
		memset(udp + 8, 0, MARKER_LEN);
	memcpy(udp + udp_len - len, data, len);
	sum = ip_len == 20 ? rte_ipv4_udptcp_cksum((struct rte_ipv4_hdr *)ip, udp)
			   : rte_ipv6_udptcp_cksum((struct rte_ipv6_hdr *)ip, udp);
	memcpy(udp + 6, &sum, 2);
	return m;
}

/* Longer than the next hop takes: IP fragments (the peer reassembles; RFC 7383 avoids it). */
static void route_cut(struct espd *e, struct rte_mbuf *m, const struct ip_addr *to)
{
	struct nexthop *nh = route_lookup(e->dp.router, to->family, to->b);
	uint16_t mtu = nh ? atomic_load(&nh->mtu) : 0;
	struct rte_mbuf *piece[FRAGMENT_OUT_MAX];
	uint32_t n;

	if (mtu < 576 || rte_pktmbuf_data_len(m) <= mtu) {
		host_route(e, m);
		return;
	}
	if (to->family == 4)
		n = fragment_out_v4(m, 0, mtu, e->dp.pool, piece, FRAGMENT_OUT_MAX);
	else
		n = fragment_out_v6(
			m, 0, 40, 6, e->punt_ip_id++, mtu, e->dp.pool, piece, FRAGMENT_OUT_MAX);
	if (n == 0) {
		rte_pktmbuf_free(m);
		e->n.punt_tx_bad++;
	}
	for (uint32_t i = 0; i < n; i++)
		host_route(e, piece[i]);
}

void punt_tx(struct espd *e, uint32_t owner, const struct ipc_punt_header *h, const uint8_t *data)
{
	struct rte_mbuf *m;

	/* An engine speaks for ports that it registered, to a peer of the same family. */
	if (addr_len(h->local.addr.family) == 0 || h->local.addr.family != h->remote.addr.family ||
		h->remote.port == 0 ||
		!control_punt_is_of(e->control, &h->local.addr, h->local.port, owner)) {
		e->n.punt_tx_bad++;
		return;
	}
	m = datagram_make(
		e, &h->local, &h->remote, (h->flags & IPC_PUNT_MARKER) != 0, data, h->total_len);
	if (m)
		route_cut(e, m, &h->remote.addr);
	else
		e->n.punt_tx_bad++;
}

void punt_keepalive(struct espd *e, const struct path *p)
{
	static const uint8_t keepalive = 0xff;
	struct rte_mbuf *m = datagram_make(e, &p->local, &p->remote, false, &keepalive, 1);

	if (m)
		host_route(e, m);
}
