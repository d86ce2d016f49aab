#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/burst.h"

/* The packets that nearly all are, in line: parse_ip.c has the rules for all. */

enum { PARSE_TCP = 6, PARSE_UDP = 17, PARSE_ESP = 50 };

static inline uint16_t parse_be16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t parse_load32(const uint8_t *b)
{
	uint32_t v;

	memcpy(&v, b, sizeof(v));
	return v;
}

/* The transport header of parse_v4_plain's packet, `left` bytes of it. 0: not good, or not
 * known here; else its flags. */
static inline uint16_t parse_plain_transport(const uint8_t *l4, uint8_t proto, uint32_t left)
{
	uint32_t len;

	switch (proto) {
	case PARSE_UDP:
		len = parse_be16(l4 + 4);
		return len >= 8 && len <= left ? PKT_PORTS | PKT_L4_OK : 0;
	case PARSE_TCP:
		len = left < 20 ? 0 : (l4[12] >> 4) * 4u;
		return len >= 20 && len <= left ? PKT_PORTS | PKT_L4_OK : 0;
	case PARSE_ESP:
		return PKT_L4_OK;
	default:
		return 0;
	}
}

/*
 * IPv4 as nearly all of it is: UDP, TCP or ESP, whole, without options. The rules are those of
 * parse_v4 and parse_transport, over words. False: they have to look, also at what is wrong.
 */
static inline bool parse_v4_plain(const uint8_t *ip, uint32_t avail, struct pkt_info *out)
{
	const uint32_t w0 = parse_load32(ip), w1 = parse_load32(ip + 4), w2 = parse_load32(ip + 8);
	const uint32_t src = parse_load32(ip + 12), dst = parse_load32(ip + 16);
	const uint8_t src_net = src & 0xff, proto = w2 >> 8 & 0xff;
	uint64_t sum = (uint64_t)w0 + w1 + w2 + src + dst;
	uint32_t len = parse_be16(ip + 2);
	uint16_t flags;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	/* Version and header length; fragment bits and offset; length; addresses. */
	if ((w0 & 0xff) != 0x45 || sum != 0xffff || w1 & 0xff3f0000 || len < 28 || len > avail ||
		src_net == 0 || src_net >= 224 || src_net == 127 || (dst & 0xff) == 127)
		return false;
	flags = parse_plain_transport(ip + 20, proto, len - 20);
	if (flags == 0)
		return false;
	*out = (struct pkt_info){
		.l4_off = 20,
		.len = (uint16_t)len,
		.nh_off = 9,
		.flags = flags | (w1 & 0x00400000 ? PKT_DF : 0),
		.sport = flags & PKT_PORTS ? parse_be16(ip + 20) : 0,
		.dport = flags & PKT_PORTS ? parse_be16(ip + 22) : 0,
		.family = 4,
		.proto = proto,
		.tos = (uint8_t)(w0 >> 8),
		.ttl = (uint8_t)w2,
		.ip_hdr_len = 20,
	};
	return true;
}
