#include "dataplane/icmp_error.h"

#include <string.h>

#include "dataplane/burst.h"
#include "dataplane/local_addr.h"

/*
 * An error is a new IP packet: header, 8 bytes of ICMP, then as much of the packet it is about
 * as fits in 576 bytes (RFC 1812 4.3.2.3) or 1280 (RFC 4443 2.4 c).
 */

#define V4_MAX 576
#define V6_MAX 1280
#define ICMP_LEN 8
#define TTL 64
#define TOS_INTERNETWORK_CONTROL 0xc0 /* RFC 1812 4.3.2.5 */

static void put16(uint8_t *b, uint16_t v)
{
	b[0] = v >> 8;
	b[1] = v & 0xff;
}

static uint32_t sum_add(uint32_t sum, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += b[i] << 8 | b[i + 1];
	if (len & 1)
		sum += b[len - 1] << 8;
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* Errors are types 3, 4, 5, 11, 12; unknown types are not answered either. */
static bool is_icmp4_query(uint8_t type)
{
	return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static bool source_is_host(const uint8_t *ip, uint8_t family)
{
	static const uint8_t zero[16];
	const uint8_t *src = ip + (family == 4 ? 12 : 8);

	if (memcmp(src, zero, family == 4 ? 4 : 16) == 0)
		return false;
	if (family == 4)
		return src[0] != 0 && src[0] != 127 && src[0] < 224;
	return src[0] != 0xff;
}

bool icmp_error_is_allowed(const uint8_t *ip, const struct pkt_info *pkt, enum icmp_error_kind kind)
{
	const uint8_t *dst = ip + (pkt->family == 4 ? 16 : 24);
	uint8_t type = pkt->sport >> 8;

	if ((pkt->family != 4 && pkt->family != 6) || pkt->flags & PKT_FRAG_LATER)
		return false;
	if (!source_is_host(ip, pkt->family))
		return false;
	if (pkt->proto == 1 && pkt->family == 4 && !is_icmp4_query(type))
		return false;
	/* RFC 4443 2.4 e: not about errors (types below 128) or redirects. */
	if (pkt->proto == 58 && pkt->family == 6 && (type < 128 || type == 137))
		return false;
	/* RFC 4443 2.4 e.3: packet too big is sent about multicast too. */
	if (kind == ICMP_ERROR_MTU && pkt->family == 6)
		return true;
	return local_addrs_class(NULL, pkt->family, dst) == LOCAL_NO;
}

static void type_code(uint8_t family, enum icmp_error_kind kind, uint8_t out[2])
{
	static const uint8_t v4[][2] = {[ICMP_ERROR_TTL] = {11, 0},
		[ICMP_ERROR_MTU] = {3, 4},
		[ICMP_ERROR_NO_ROUTE] = {3, 0},
		[ICMP_ERROR_ADMIN] = {3, 13}};
	static const uint8_t v6[][2] = {[ICMP_ERROR_TTL] = {3, 0},
		[ICMP_ERROR_MTU] = {2, 0},
		[ICMP_ERROR_NO_ROUTE] = {1, 0},
		[ICMP_ERROR_ADMIN] = {1, 1}};

	memcpy(out, family == 4 ? v4[kind] : v6[kind], 2);
}

static void header_v4(const uint8_t *ip, const struct icmp_error *error, uint16_t len, uint8_t *out)
{
	memset(out, 0, 20);
	out[0] = 0x45;
	out[1] = TOS_INTERNETWORK_CONTROL;
	put16(out + 2, len);
	put16(out + 4, error->ip_id);
	out[8] = TTL;
	out[9] = 1;
	memcpy(out + 12, error->src, 4);
	memcpy(out + 16, ip + 12, 4);
	put16(out + 10, sum_end(sum_add(0, out, 20)));
}

static void header_v6(const uint8_t *ip, const struct icmp_error *error, uint16_t len, uint8_t *out)
{
	memset(out, 0, 40);
	out[0] = 0x60;
	put16(out + 4, len - 40);
	out[6] = 58;
	out[7] = TTL;
	memcpy(out + 8, error->src, 16);
	memcpy(out + 24, ip + 8, 16);
}

size_t icmp_error_build(const uint8_t *ip, const struct pkt_info *pkt,
	const struct icmp_error *error, uint8_t *out, size_t cap)
{
	const size_t hdr_len = pkt->family == 4 ? 20 : 40;
	const size_t max = pkt->family == 4 ? V4_MAX : V6_MAX;
	size_t quote = pkt->len, len;
	uint32_t sum = 0;
	uint8_t *icmp = out + hdr_len;

	if (!icmp_error_is_allowed(ip, pkt, error->kind))
		return 0;
	if (quote > max - hdr_len - ICMP_LEN)
		quote = max - hdr_len - ICMP_LEN;
	len = hdr_len + ICMP_LEN + quote;
	if (len > cap)
		return 0;
	memset(icmp, 0, ICMP_LEN);
	type_code(pkt->family, error->kind, icmp);
	/* RFC 1191 4: the low half of the second word; RFC 4443 3.2: all of it. */
	if (error->kind == ICMP_ERROR_MTU)
		put16(icmp + 6, error->mtu);
	memcpy(icmp + ICMP_LEN, ip, quote);
	if (pkt->family == 4) {
		header_v4(ip, error, len, out);
	} else {
		header_v6(ip, error, len, out);
		sum = sum_add(0, out + 8, 32) + (uint32_t)(ICMP_LEN + quote) + 58;
	}
	put16(icmp + 2, sum_end(sum_add(sum, icmp, ICMP_LEN + quote)));
	return len;
}

bool icmp_limit_take(
	struct icmp_limit *l, uint64_t now_tsc, uint64_t tsc_hz, uint32_t rate, uint32_t burst)
{
	uint64_t full = (uint64_t)burst * 1000, gain_ms;

	if (!l->is_started || tsc_hz < 1000) {
		l->is_started = true;
		l->last_tsc = now_tsc;
		l->millitokens = full > UINT32_MAX ? UINT32_MAX : full;
	}
	gain_ms = tsc_hz < 1000 ? 0 : (now_tsc - l->last_tsc) / (tsc_hz / 1000);
	if (gain_ms > 0) {
		uint64_t have = l->millitokens + (gain_ms > 60000 ? 60000 : gain_ms) * rate;

		l->last_tsc = now_tsc;
		l->millitokens = have > full ? full : have;
	}
	if (l->millitokens < 1000)
		return false;
	l->millitokens -= 1000;
	return true;
}
