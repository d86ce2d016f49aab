#include "dataplane/icmp_input.h"

#include <string.h>

#include "dataplane/burst.h"
#include "dataplane/pmtu.h"

#define ICMP_LEN 8
#define PROTO_UDP 17
#define PROTO_ESP 50

static uint16_t be16(const uint8_t *b)
{
	return b[0] << 8 | b[1];
}

static uint32_t be32(const uint8_t *b)
{
	return (uint32_t)be16(b) << 16 | be16(b + 2);
}

static bool checksum_is_good(
	const uint8_t *ip, const struct pkt_info *pkt, const uint8_t *icmp, uint32_t len)
{
	uint32_t sum = 0;

	if (pkt->family == 6) {
		for (unsigned i = 8; i < 40; i += 2)
			sum += be16(ip + i);
		sum += len + 58;
	}
	for (uint32_t i = 0; i + 1 < len; i += 2)
		sum += be16(icmp + i);
	if (len & 1)
		sum += icmp[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Plain ESP, or ESP in UDP from or to the NAT-T port; the SPI is the quote's least need. */
static bool quote_spi(const uint8_t *l4, uint32_t len, uint8_t proto, struct icmp_pmtu *out)
{
	if (proto == PROTO_ESP && len >= 4) {
		out->spi = be32(l4);
	} else if (proto == PROTO_UDP && len >= 12) {
		out->is_udp = true;
		out->src_port = be16(l4);
		out->dst_port = be16(l4 + 2);
		out->spi = be32(l4 + 8);
	} else {
		return false;
	}
	return out->spi > 255; /* RFC 4303 2.1: 0 to 255 are reserved */
}

static bool quote_v4(const uint8_t *q, uint32_t len, struct icmp_pmtu *out)
{
	uint32_t hdr_len;

	if (len < 20 || q[0] >> 4 != 4)
		return false;
	hdr_len = (q[0] & 15) * 4u;
	if (hdr_len < 20 || hdr_len > len || (be16(q + 6) & 0x1fff) != 0)
		return false;
	out->src.family = out->dst.family = 4;
	memcpy(out->src.b, q + 12, 4);
	memcpy(out->dst.b, q + 16, 4);
	return quote_spi(q + hdr_len, len - hdr_len, q[9], out);
}

/* Our outer headers have no extension headers, but ESP that we fragmented has one. */
static bool quote_v6(const uint8_t *q, uint32_t len, struct icmp_pmtu *out)
{
	uint32_t at = 40;
	uint8_t next;

	if (len < 40 || q[0] >> 4 != 6)
		return false;
	next = q[6];
	if (next == 44) {
		if (len < 48 || (be16(q + 42) & 0xfff8) != 0)
			return false;
		next = q[40];
		at = 48;
	}
	out->src.family = out->dst.family = 6;
	memcpy(out->src.b, q + 8, 16);
	memcpy(out->dst.b, q + 24, 16);
	return quote_spi(q + at, len - at, next, out);
}

bool icmp_input_pmtu(const uint8_t *ip, const struct pkt_info *pkt, struct icmp_pmtu *out)
{
	const uint8_t *icmp = ip + pkt->l4_off - pkt->l3_off;
	uint32_t len = pkt->len - (pkt->l4_off - pkt->l3_off), mtu;

	memset(out, 0, sizeof(*out));
	if (pkt->flags & PKT_FRAG || len < ICMP_LEN)
		return false;
	if (pkt->family == 4 ? pkt->proto != 1 || icmp[0] != 3 || icmp[1] != 4
			     : pkt->proto != 58 || icmp[0] != 2)
		return false;
	if (!checksum_is_good(ip, pkt, icmp, len))
		return false;
	if (pkt->family == 4) {
		mtu = be16(icmp + 6);
		/* RFC 1191 5: an old router tells none; then the floor is the safe guess. */
		if (mtu < PMTU_FLOOR4)
			mtu = PMTU_FLOOR4;
		if (!quote_v4(icmp + ICMP_LEN, len - ICMP_LEN, out))
			return false;
	} else {
		mtu = be32(icmp + 4);
		if (mtu < PMTU_FLOOR6) /* RFC 8201 4 */
			mtu = PMTU_FLOOR6;
		if (!quote_v6(icmp + ICMP_LEN, len - ICMP_LEN, out))
			return false;
	}
	out->mtu = mtu > UINT16_MAX ? UINT16_MAX : mtu;
	return true;
}
