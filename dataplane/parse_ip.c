#include "dataplane/parse.h"

#include <string.h>

#include "dataplane/parse_plain.h"

/* IP headers: what RFC 1812 5.2 and RFC 8200 demand before a packet is looked at further. */

#define PROTO_ICMP 1
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132
#define PROTO_UDPLITE 136

#define EXT_MAX 8         /* extension headers that are walked */
#define EXT_BYTES_MAX 512 /* and bytes of them */

bool parse_proto_has_ports(uint8_t proto)
{
	return proto == PARSE_TCP || proto == PARSE_UDP || proto == PROTO_SCTP ||
	       proto == PROTO_UDPLITE;
}

static uint32_t transport_len_min(uint8_t proto)
{
	switch (proto) {
	case PARSE_TCP:
		return 20;
	case PROTO_SCTP:
		return 12;
	case PROTO_ICMPV6:
		return 4;
	case PARSE_UDP:
	case PROTO_UDPLITE:
	case PROTO_ICMP:
	case PARSE_ESP:
		return 8;
	default:
		return 0;
	}
}

/*
 * Ports. A first fragment too short for them is dropped: what follows could overwrite them
 * (RFC 1858 3). A whole packet too short for its protocol's header is malformed.
 */
static enum drop_reason parse_transport(const uint8_t *ip, struct pkt_info *out)
{
	const uint8_t *l4 = ip + out->l4_off;
	uint32_t left = out->len - out->l4_off;

	if (out->flags & PKT_FRAG_LATER)
		return DROP_NONE;
	if (left < transport_len_min(out->proto))
		return out->flags & PKT_FRAG ? DROP_FRAG_BAD : DROP_MALFORMED;
	if (parse_proto_has_ports(out->proto)) {
		out->sport = parse_be16(l4);
		out->dport = parse_be16(l4 + 2);
		out->flags |= PKT_PORTS;
	} else if (out->proto == PROTO_ICMP || out->proto == PROTO_ICMPV6) {
		out->sport = parse_be16(l4); /* RFC 4301 4.4.1.1: type and code */
	}
	if (out->proto == PARSE_TCP && (l4[12] >> 4) * 4u < 20)
		return DROP_MALFORMED;
	if (out->proto == PARSE_TCP && (l4[12] >> 4) * 4u > left)
		return out->flags & PKT_FRAG ? DROP_FRAG_BAD : DROP_MALFORMED;
	if (out->proto == PARSE_UDP && (out->flags & PKT_FRAG) == 0) {
		uint32_t udp_len = parse_be16(l4 + 4);

		if (udp_len < 8 || udp_len > left)
			return DROP_MALFORMED;
	}
	out->flags |= PKT_L4_OK;
	return DROP_NONE;
}

static uint16_t header_sum(const uint8_t *b, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < len; i += 2)
		sum += parse_be16(b + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Well-formed options; no source route, strict or loose (RFC 7126 4.3, 4.4). */
static enum drop_reason parse_options(const uint8_t *opt, uint32_t len)
{
	for (uint32_t at = 0; at < len;) {
		uint8_t type = opt[at];

		if (type == 0)
			break;
		if (type == 1) {
			at++;
			continue;
		}
		if (at + 1 >= len || opt[at + 1] < 2 || opt[at + 1] > len - at)
			return DROP_MALFORMED;
		if (type == 131 || type == 137)
			return DROP_MALFORMED;
		at += opt[at + 1];
	}
	return DROP_NONE;
}

/* RFC 1812 5.3.7, 4.2.2.11: no group, broadcast, loopback or network zero as source; the
 * unspecified address is for DHCP alone and is looked at by the caller. */
static enum drop_reason check_addresses_v4(const uint8_t *ip)
{
	const uint8_t *src = ip + 12, *dst = ip + 16;

	if (src[0] >= 224 || src[0] == 127 || dst[0] == 127)
		return DROP_BAD_SOURCE;
	if (src[0] == 0 && (src[1] | src[2] | src[3]) != 0)
		return DROP_BAD_SOURCE;
	return DROP_NONE;
}

/* Offsets that run past 65535 bytes, or a fragment but the last not of whole 8 bytes. */
static enum drop_reason check_fragment(const struct pkt_info *p, uint32_t payload_len)
{
	if ((p->flags & PKT_FRAG) == 0)
		return DROP_NONE;
	if (payload_len == 0 || p->frag_off + payload_len > 65535)
		return DROP_FRAG_BAD;
	if (p->flags & PKT_FRAG_MORE && payload_len % 8 != 0)
		return DROP_FRAG_BAD;
	return DROP_NONE;
}

static void set_fragment(struct pkt_info *out, uint16_t offset, bool more)
{
	out->frag_off = offset;
	if (offset != 0 || more)
		out->flags |= PKT_FRAG;
	if (more)
		out->flags |= PKT_FRAG_MORE;
	if (offset != 0)
		out->flags |= PKT_FRAG_LATER;
}

static enum drop_reason parse_v4(const uint8_t *ip, uint32_t avail, struct pkt_info *out)
{
	enum drop_reason why;
	uint32_t hdr_len = (ip[0] & 15) * 4u;
	uint16_t frag;

	if (avail < 20 || hdr_len < 20 || hdr_len > avail)
		return DROP_MALFORMED;
	out->len = parse_be16(ip + 2);
	if (out->len < hdr_len || out->len > avail)
		return DROP_MALFORMED;
	if (header_sum(ip, hdr_len) != 0xffff)
		return DROP_BAD_CHECKSUM;
	out->family = 4;
	out->tos = ip[1];
	out->ttl = ip[8];
	out->proto = ip[9];
	out->nh_off = 9;
	out->ip_hdr_len = hdr_len;
	out->l4_off = hdr_len;
	frag = parse_be16(ip + 6);
	if (frag & 0x4000)
		out->flags |= PKT_DF;
	set_fragment(out, (frag & 0x1fff) * 8, (frag & 0x2000) != 0);
	if (hdr_len > 20) {
		out->flags |= PKT_OPTIONS;
		why = parse_options(ip + 20, hdr_len - 20);
		if (why != DROP_NONE)
			return why;
	}
	why = check_addresses_v4(ip);
	if (why == DROP_NONE)
		why = check_fragment(out, out->len - hdr_len);
	return why;
}

/* RFC 4291 2.5.3, 2.7; RFC 8200: no group and no loopback address as source. */
static enum drop_reason check_addresses_v6(const uint8_t *ip)
{
	static const uint8_t loopback[16] = {[15] = 1};
	const uint8_t *src = ip + 8, *dst = ip + 24;

	if (src[0] == 0xff || memcmp(src, loopback, 16) == 0 || memcmp(dst, loopback, 16) == 0)
		return DROP_BAD_SOURCE;
	return DROP_NONE;
}

static bool is_extension(uint8_t next)
{
	return next == 0 || next == 43 || next == 44 || next == 51 || next == 60 || next == 135 ||
	       next == 139 || next == 140;
}

/*
 * RFC 8200 4: hop-by-hop only first; routing headers with segments left are not ours to follow
 * and type 0 is dropped (RFC 5095 3); one Fragment header; the number and bytes are bounded.
 */
static enum drop_reason walk_extensions(const uint8_t *ip, struct pkt_info *out)
{
	uint32_t at = 40;
	uint8_t next = ip[6];

	out->nh_off = 6;
	for (unsigned n = 0; is_extension(next); n++) {
		uint32_t len;

		if (n == EXT_MAX || at > 40 + EXT_BYTES_MAX || at + 8u > out->len)
			return DROP_MALFORMED;
		if (next == 0 && n != 0)
			return DROP_MALFORMED;
		len = next == 44 ? 8u : next == 51 ? (ip[at + 1] + 2u) * 4 : (ip[at + 1] + 1u) * 8;
		if (at + len > out->len)
			return DROP_MALFORMED;
		if (next == 43 && ip[at + 2] == 0 && ip[at + 3] != 0)
			return DROP_MALFORMED;
		out->flags |= PKT_OPTIONS;
		if (next == 44) {
			uint16_t frag = parse_be16(ip + at + 2);

			if (out->flags & PKT_FRAG)
				return DROP_FRAG_BAD;
			set_fragment(out, frag & 0xfff8, (frag & 1) != 0);
		}
		out->nh_off = at;
		next = ip[at];
		at += len;
		if (out->flags & PKT_FRAG_LATER)
			break;
	}
	out->proto = next;
	out->l4_off = at;
	return DROP_NONE;
}

static enum drop_reason parse_v6(const uint8_t *ip, uint32_t avail, struct pkt_info *out)
{
	enum drop_reason why;
	uint32_t len;

	if (avail < 40)
		return DROP_MALFORMED;
	len = 40u + parse_be16(ip + 4);
	if (len > avail || len > UINT16_MAX)
		return DROP_MALFORMED;
	out->len = len;
	out->family = 6;
	out->flags |= PKT_DF;
	out->tos = (ip[0] << 4 | ip[1] >> 4) & 0xff;
	out->ttl = ip[7];
	out->ip_hdr_len = 40;
	why = check_addresses_v6(ip);
	if (why == DROP_NONE)
		why = walk_extensions(ip, out);
	if (why == DROP_NONE)
		why = check_fragment(out, out->len - out->l4_off);
	return why;
}

enum drop_reason parse_ip(const uint8_t *ip, uint32_t avail, struct pkt_info *out)
{
	const uint16_t l3_off = out->l3_off;
	enum drop_reason why;

	if (avail >= 28 && parse_v4_plain(ip, avail, out)) {
		out->l3_off = l3_off;
		return DROP_NONE;
	}
	memset(out, 0, sizeof(*out));
	out->l3_off = l3_off;
	if (avail < 20)
		return DROP_MALFORMED;
	if (ip[0] >> 4 == 4)
		why = parse_v4(ip, avail, out);
	else if (ip[0] >> 4 == 6)
		why = parse_v6(ip, avail, out);
	else
		return DROP_MALFORMED;
	return why != DROP_NONE ? why : parse_transport(ip, out);
}

uint32_t parse_fragment_header(const uint8_t *ip, uint32_t end, uint32_t *named_at)
{
	uint32_t at = 40;
	uint8_t next = ip[6];

	*named_at = 6;
	while (at + 8 <= end) {
		if (next == 44)
			return at;
		*named_at = at;
		at += next == 51 ? (ip[at + 1] + 2u) * 4 : (ip[at + 1] + 1u) * 8;
		next = ip[*named_at];
	}
	return 0;
}

uint8_t parse_fragment_proto(const uint8_t *ip, const struct pkt_info *pkt)
{
	uint32_t named_at, at;
	uint8_t proto = pkt->proto;

	if (pkt->family == 6) {
		at = parse_fragment_header(ip, pkt->len, &named_at);
		proto = at == 0 ? pkt->proto : ip[at];
		if (is_extension(proto))
			return 0;
	}
	return proto;
}

/* RFC 4861 4, 7.1: router and neighbour solicitations and the rest, only with hop limit 255:
 * then they come from this link. RFC 2710 3, RFC 3810 5: MLD with hop limit 1. */
static bool is_link_icmpv6(const struct pkt_info *pkt)
{
	uint8_t type = pkt->sport >> 8;

	if (pkt->proto != PROTO_ICMPV6 || pkt->flags & PKT_FRAG)
		return false;
	if (type >= 133 && type <= 137)
		return pkt->ttl == 255;
	return ((type >= 130 && type <= 132) || type == 143) && pkt->ttl == 1;
}

bool parse_is_exempt(const uint8_t *ip, const struct pkt_info *pkt)
{
	const uint8_t *dst = ip + (pkt->family == 4 ? 16 : 24);

	if (pkt->family == 6 && is_link_icmpv6(pkt))
		return true;
	if (local_addrs_class(NULL, pkt->family, dst) == LOCAL_LINK)
		return true;
	if (pkt->proto != PARSE_UDP || (pkt->flags & PKT_PORTS) == 0 || pkt->flags & PKT_FRAG)
		return false;
	/* The client's own, in both directions: a relay or server talks from and to 67. */
	if (pkt->family == 4)
		return (pkt->sport == 68 && pkt->dport == 67) ||
		       (pkt->sport == 67 && pkt->dport == 68);
	return (pkt->sport == 546 && pkt->dport == 547) || (pkt->dport == 546 && pkt->sport == 547);
}

void parse_spd_packet(const uint8_t *ip, const struct pkt_info *pkt, struct spd_packet *out)
{
	uint32_t src, dst;

	memset(out, 0, sizeof(*out));
	if (pkt->family == 4) {
		memcpy(&src, ip + 12, 4);
		memcpy(&dst, ip + 16, 4);
		spd_packet_set_v4(out, src, dst);
	} else if (pkt->family == 6) {
		spd_packet_set_v6(out, ip + 8, ip + 24);
	}
	out->proto = pkt->proto;
	if (pkt->flags & PKT_PORTS) {
		out->src_port = pkt->sport;
		out->dst_port = pkt->dport;
	}
}
