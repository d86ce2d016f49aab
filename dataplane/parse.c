#include "dataplane/parse.h"

#include <rte_byteorder.h>
#include <rte_ether.h>

/*
 * Received frames: link header, one segment, IP header, and whose it is.
 *
 *   Ethernet, up to two VLAN tags -> IPv4 / IPv6 -> parse_ip -> to us? ESP, IKE : the host's
 *                                 -> all else: the host's          not to us -> SPD in
 */

#define PROTO_UDP 17
#define PROTO_ESP 50
#define PROTO_ICMPV6 58
#define UDP_LEN 8

static uint16_t be16(const uint8_t *b)
{
	return b[0] << 8 | b[1];
}

/* One segment, or false. Chains come from jumbo frames on small buffers. */
static bool make_linear(struct rte_mbuf *m)
{
	return rte_pktmbuf_is_contiguous(m) || rte_pktmbuf_linearize(m) == 0;
}

/* The type after up to two tags; *l3_off is where its packet begins. 0: too short. */
static uint16_t link_type(const uint8_t *frame, uint32_t len, uint16_t *l3_off)
{
	uint32_t at = RTE_ETHER_HDR_LEN - 2;

	if (len >= RTE_ETHER_HDR_LEN && be16(frame + at) == RTE_ETHER_TYPE_IPV4) {
		*l3_off = RTE_ETHER_HDR_LEN;
		return RTE_ETHER_TYPE_IPV4;
	}
	for (unsigned tags = 0; at + 2 <= len; tags++) {
		uint16_t type = be16(frame + at);

		if ((type != RTE_ETHER_TYPE_VLAN && type != RTE_ETHER_TYPE_QINQ) || tags == 2) {
			*l3_off = at + 2;
			return type;
		}
		at += 4;
	}
	return 0;
}

/* Cuts Ethernet padding off, so that the buffer ends with the packet. */
static void trim(struct rte_mbuf *m, const struct pkt_info *pkt)
{
	uint32_t want = pkt->l3_off + pkt->len;

	if (m->data_len > want)
		rte_pktmbuf_trim(m, m->data_len - want);
}

/* The registration that covers the packet's destination, or NULL. */
static const bool *punt_find(
	const struct punt_set *punts, const struct pkt_info *pkt, const uint8_t *dst)
{
	if (punts == NULL)
		return NULL;
	for (uint32_t i = 0; i < punts->n && i < PARSE_PUNTS_MAX; i++) {
		const struct endpoint *e = &punts->entries[i].local;

		if (e->port != pkt->dport)
			continue;
		if (e->addr.family != 0 &&
			(e->addr.family != pkt->family ||
				memcmp(e->addr.b, dst, addr_len(pkt->family)) != 0))
			continue;
		return &punts->entries[i].is_nat_t;
	}
	return NULL;
}

/*
 * A datagram on a registered port. With NAT-T (RFC 3948 2.1 to 2.3): one byte 0xff is a
 * keepalive, four zero bytes are the marker before IKE, anything else begins with an SPI.
 */
static void classify_registered(struct burst *b, unsigned i, const uint8_t *udp, bool is_nat_t)
{
	uint32_t len = be16(udp + 4) - UDP_LEN;
	const uint8_t *payload = udp + UDP_LEN;

	if (!is_nat_t) {
		/* No marker and no keepalives on port 500; too short for IKE is its reader's. */
		if (len == 0)
			burst_drop(b, i, DROP_MALFORMED);
		else
			b->next[i] = NEXT_PUNT;
		return;
	}
	if (len == 1 && payload[0] == 0xff) {
		burst_drop(b, i, DROP_KEEPALIVE);
	} else if (len < 4) {
		burst_drop(b, i, DROP_MALFORMED);
	} else if ((payload[0] | payload[1] | payload[2] | payload[3]) == 0) {
		b->next[i] = NEXT_PUNT;
	} else if (len < 8) {
		burst_drop(b, i, DROP_BAD_ESP);
	} else {
		b->pkt[i].flags |= PKT_UDP_ENCAP;
		b->next[i] = NEXT_ESP_IN;
	}
}

static void classify_ours(
	const struct parse_ctx *ctx, struct burst *b, unsigned i, const uint8_t *ip)
{
	struct pkt_info *pkt = &b->pkt[i];

	if (pkt->flags & PKT_FRAG) {
		b->next[i] = NEXT_REASM;
		return;
	}
	if (pkt->proto == PROTO_ESP) {
		b->next[i] = NEXT_ESP_IN;
		return;
	}
	b->next[i] = NEXT_LOCAL;
	if (pkt->proto == PROTO_UDP) {
		const bool *is_nat_t = punt_find(
			ctx->punts, pkt, ip + (pkt->family == 4 ? 16 : 24));

		if (is_nat_t != NULL)
			classify_registered(b, i, ip + pkt->l4_off - pkt->l3_off, *is_nat_t);
	}
}

/* 0.0.0.0 or :: as source: only what an address is got with (RFC 1812 5.3.7, RFC 4291 2.5.2). */
static bool is_source_unspecified(const uint8_t *ip, const struct pkt_info *pkt)
{
	const uint8_t *src = ip + (pkt->family == 4 ? 12 : 8);
	uint8_t any = 0;
	uint32_t v4;

	memcpy(&v4, src, sizeof(v4));
	if (pkt->family == 4)
		return v4 == 0;
	for (unsigned n = 0; n < 16; n++)
		any |= src[n];
	return any == 0;
}

/* False: parse_is_exempt would say no. */
static inline bool may_be_exempt(const struct pkt_info *pkt, enum local_class class)
{
	if (class == LOCAL_LINK || pkt->proto == PROTO_ICMPV6)
		return true;
	return pkt->proto == PROTO_UDP &&
	       (pkt->dport == 67 || pkt->dport == 68 || pkt->dport == 546 || pkt->dport == 547);
}

/* What is never protected and never denied; false: it is not such a packet. */
static bool classify_exempt(struct burst *b, unsigned i, const uint8_t *ip, enum local_class class)
{
	const struct pkt_info *pkt = &b->pkt[i];
	struct pkt_info rel = *pkt; /* offsets from ip, as parse_is_exempt has them */

	rel.l4_off -= pkt->l3_off;
	if (!parse_is_exempt(ip, &rel))
		return false;
	/* A DHCP packet that a relay forwards through us is not our client's. */
	b->next[i] = class == LOCAL_NO ? NEXT_SPD_IN : NEXT_HOST;
	if (class == LOCAL_NO && is_source_unspecified(ip, pkt))
		burst_drop(b, i, DROP_BAD_SOURCE);
	return true;
}

static void classify(const struct parse_ctx *ctx, struct burst *b, unsigned i)
{
	const uint8_t *ip = burst_l3(b, i);
	const struct pkt_info *pkt = &b->pkt[i];
	enum local_class class = local_addrs_class(ctx->local, pkt->family, burst_dst(b, i));

	if (may_be_exempt(pkt, class) && classify_exempt(b, i, ip, class))
		return;
	if (is_source_unspecified(ip, pkt)) {
		burst_drop(b, i, DROP_BAD_SOURCE);
		return;
	}
	if (class == LOCAL_OURS)
		classify_ours(ctx, b, i, ip);
	else
		b->next[i] = class == LOCAL_NO ? NEXT_SPD_IN : NEXT_LOCAL;
}

static void parse_one(const struct parse_ctx *ctx, struct burst *b, unsigned i)
{
	struct rte_mbuf *m = b->m[i];
	struct pkt_info *pkt = &b->pkt[i];
	enum drop_reason why;
	uint16_t type, l3_off = 0;

	if (!make_linear(m)) {
		burst_drop(b, i, DROP_CHAINED);
		return;
	}
	type = link_type(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &l3_off);
	if (type == 0) {
		burst_drop(b, i, DROP_MALFORMED);
		return;
	}
	pkt->l3_off = l3_off;
	if (type != RTE_ETHER_TYPE_IPV4 && type != RTE_ETHER_TYPE_IPV6) {
		*pkt = (struct pkt_info){.l3_off = l3_off};
		b->next[i] = NEXT_HOST;
		return;
	}
	why = parse_ip(burst_l3(b, i), m->data_len - l3_off, pkt);
	if (why == DROP_NONE && pkt->family != (type == RTE_ETHER_TYPE_IPV4 ? 4 : 6))
		why = DROP_MALFORMED;
	if (why != DROP_NONE) {
		burst_drop(b, i, why);
		return;
	}
	pkt->l4_off += l3_off;
	pkt->nh_off += l3_off;
	trim(m, pkt);
	classify(ctx, b, i);
}

void parse_burst(struct worker_ctx *w, const struct parse_ctx *ctx, struct burst *b)
{
	(void)w; /* the packets' first lines were asked for when the burst was received */
	for (uint64_t left = burst_mask(b, NEXT_PARSE); left; left &= left - 1)
		parse_one(ctx, b, burst_first(left));
}
