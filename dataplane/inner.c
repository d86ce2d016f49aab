#include "dataplane/esp_in.h"
#include "dataplane/esp_wire.h"

/*
 * Inner packets are parsed here rather than by the outer parser: they are not looked at for
 * ESP, IKE or our addresses, and the rule for lengths differs (padding may follow).
 */

static int parse_v4(const uint8_t *ip, uint32_t room, struct pkt_info *p)
{
	uint32_t hdr_len = (uint32_t)(ip[0] & 15) * 4;
	uint32_t len = room < 20 ? 0 : get_u16(ip + 2);
	if (hdr_len < 20 || len < hdr_len || len > room)
		return -1;
	uint16_t frag = get_u16(ip + 6);
	p->family = 4;
	p->len = (uint16_t)len;
	p->ip_hdr_len = (uint8_t)hdr_len;
	p->l4_off = (uint16_t)hdr_len;
	p->nh_off = 9;
	p->tos = ip[1];
	p->ttl = ip[8];
	p->proto = ip[9];
	p->frag_off = (uint16_t)((frag & 0x1fff) * 8);
	p->flags = (uint16_t)((frag & 0x4000 ? PKT_DF : 0) |
			      (frag & 0x2000 ? PKT_FRAG | PKT_FRAG_MORE : 0) |
			      (p->frag_off ? PKT_FRAG | PKT_FRAG_LATER : 0) |
			      (hdr_len > 20 ? PKT_OPTIONS : 0));
	return 0;
}

static bool is_extension(uint8_t next_header)
{
	/* hop-by-hop, routing, fragment, AH (RFC 8200 4, RFC 4302), destination, mobility */
	return next_header == 0 || next_header == 43 || next_header == 44 || next_header == 51 ||
	       next_header == 60 || next_header == 135;
}

static int parse_v6(const uint8_t *ip, uint32_t room, struct pkt_info *p)
{
	uint32_t len = room < 40 ? 0 : 40u + get_u16(ip + 4);
	if (len == 0 || len > room || len > UINT16_MAX)
		return -1;
	p->family = 6;
	p->len = (uint16_t)len;
	p->ip_hdr_len = 40;
	p->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
	p->ttl = ip[7];
	p->flags = PKT_DF;
	uint32_t at = 40, nh_at = 6;
	/* A chain of headers takes at least 8 bytes each, so this ends. */
	while (is_extension(ip[nh_at]) && !(p->flags & PKT_FRAG_LATER)) {
		uint8_t type = ip[nh_at];
		if (at + 8 > len)
			return -1;
		uint32_t hdr_len = (uint32_t)(ip[at + 1] + 1) * 8;
		if (type == 51)
			hdr_len = (uint32_t)(ip[at + 1] + 2) * 4;
		if (type == 44) {
			uint16_t frag = get_u16(ip + at + 2);
			hdr_len = 8;
			p->frag_off = frag & 0xfff8;
			if (frag & 0xfff9)
				p->flags |= PKT_FRAG;
			p->flags |= (uint16_t)((frag & 1 ? PKT_FRAG_MORE : 0) |
					       (p->frag_off ? PKT_FRAG_LATER : 0));
		}
		if (at + hdr_len > len)
			return -1;
		p->flags |= PKT_OPTIONS;
		nh_at = at;
		at += hdr_len;
	}
	p->proto = ip[nh_at];
	p->nh_off = (uint16_t)nh_at;
	p->l4_off = (uint16_t)at;
	return 0;
}

/* RFC 4301 4.4.1.1: ports, or ICMP's type and code. */
static void parse_ports(const uint8_t *ip, struct pkt_info *p)
{
	const uint8_t *l4 = ip + p->l4_off;
	uint32_t room = (uint32_t)p->len - p->l4_off;
	if (p->flags & PKT_FRAG_LATER)
		return;
	switch (p->proto) {
	case PROTO_TCP:
		p->flags |= room >= 20 ? PKT_L4_OK : 0;
		break;
	case PROTO_UDP:
	case 136: /* UDP-Lite */
	case 132: /* SCTP */
	case 33:  /* DCCP */
		p->flags |= room >= 8 ? PKT_L4_OK : 0;
		break;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		if (room < 4)
			return;
		p->flags |= PKT_L4_OK | PKT_PORTS;
		p->sport = (uint16_t)(l4[0] << 8 | l4[1]);
		return;
	default:
		return;
	}
	if (room < 4)
		return;
	p->flags |= PKT_PORTS;
	p->sport = get_u16(l4);
	p->dport = get_u16(l4 + 2);
}

int esp_inner_parse(const struct rte_mbuf *m, struct pkt_info *pkt)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t room = m->data_len;
	struct pkt_info p = {0};
	int err = -1;
	if (room >= 20 && ip[0] >> 4 == 4)
		err = parse_v4(ip, room, &p);
	else if (room >= 40 && ip[0] >> 4 == 6)
		err = parse_v6(ip, room, &p);
	if (err != 0)
		return -1;
	parse_ports(ip, &p);
	*pkt = p;
	return 0;
}
