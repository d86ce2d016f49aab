#include "dataplane/fragment_out.h"

#include <string.h>

#include <rte_mbuf.h>

#define V4_OFFSET_MASK 0x1fff
#define V4_MORE 0x2000
#define V4_DF 0x4000
#define V6_FRAG_LEN 8

static uint16_t be16(const uint8_t *b)
{
	return b[0] << 8 | b[1];
}

static void put16(uint8_t *b, uint16_t v)
{
	b[0] = v >> 8;
	b[1] = v & 0xff;
}

static void header_checksum(uint8_t *ip, uint32_t len)
{
	uint32_t sum = 0;

	put16(ip + 10, 0);
	for (uint32_t i = 0; i < len; i += 2)
		sum += be16(ip + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~sum & 0xffff);
}

/* RFC 791 3.1: later fragments carry the options with the copied flag alone. */
static uint32_t later_header(const uint8_t *ip, uint32_t hdr_len, uint8_t out[60])
{
	uint32_t at = 20, to = 20;

	memcpy(out, ip, 20);
	while (at < hdr_len && ip[at] != 0) {
		uint32_t len = ip[at] == 1 ? 1 : at + 1 < hdr_len ? ip[at + 1] : 0;

		if (len == 0 || len > hdr_len - at || (ip[at] != 1 && len < 2))
			break;
		if (ip[at] & 0x80) {
			memcpy(out + to, ip + at, len);
			to += len;
		}
		at += len;
	}
	while (to % 4 != 0)
		out[to++] = 0;
	out[0] = 0x40 | to / 4;
	return to;
}

/* A buffer with the link header, room for hdr_len bytes (*hdr) and then the payload. */
static struct rte_mbuf *piece(struct rte_mempool *pool, const struct rte_mbuf *m, uint16_t l3_off,
	uint32_t hdr_len, const uint8_t *payload, uint32_t len, uint8_t **hdr)
{
	struct rte_mbuf *f = rte_pktmbuf_alloc(pool);
	uint8_t *at;

	if (f == NULL)
		return NULL;
	at = (uint8_t *)rte_pktmbuf_append(f, l3_off + hdr_len + len);
	if (at == NULL) {
		rte_pktmbuf_free(f);
		return NULL;
	}
	memcpy(at, rte_pktmbuf_mtod(m, const uint8_t *), l3_off);
	memcpy(at + l3_off + hdr_len, payload, len);
	f->port = m->port;
	*hdr = at + l3_off;
	return f;
}

uint32_t fragment_out_v4(struct rte_mbuf *m, uint16_t l3_off, uint16_t mtu,
	struct rte_mempool *pool, struct rte_mbuf *out[], uint32_t cap)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, l3_off);
	uint32_t hdr_len = (ip[0] & 15) * 4u, total = be16(ip + 2), n = 0, at = hdr_len;
	uint16_t field = be16(ip + 6);
	uint8_t later[60];
	uint32_t later_len = later_header(ip, hdr_len, later);

	if (field & V4_DF || mtu < hdr_len + 8 || hdr_len < 20 || total < hdr_len ||
		total > (uint32_t)m->data_len - l3_off)
		return 0;
	for (bool is_last = false; !is_last; n++) {
		const uint32_t this_hdr = n == 0 ? hdr_len : later_len;
		uint32_t len = total - at;
		uint8_t *hdr;

		is_last = this_hdr + len <= mtu;
		if (!is_last)
			len = (mtu - this_hdr) / 8 * 8;
		if (n == cap)
			goto fail;
		out[n] = piece(pool, m, l3_off, this_hdr, ip + at, len, &hdr);
		if (out[n] == NULL)
			goto fail;
		memcpy(hdr, n == 0 ? ip : later, this_hdr);
		put16(hdr + 2, this_hdr + len);
		put16(hdr + 6, ((field & V4_OFFSET_MASK) + (at - hdr_len) / 8) |
				       (is_last ? field & V4_MORE : V4_MORE));
		header_checksum(hdr, this_hdr);
		at += len;
	}
	rte_pktmbuf_free(m);
	return n;
fail:
	while (n > 0)
		rte_pktmbuf_free(out[--n]);
	return 0;
}

uint32_t fragment_out_v6(struct rte_mbuf *m, uint16_t l3_off, uint16_t per_fragment_len,
	uint16_t next_header_off, uint32_t id, uint16_t mtu, struct rte_mempool *pool,
	struct rte_mbuf *out[], uint32_t cap)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, l3_off);
	const uint32_t hdr_len = per_fragment_len + V6_FRAG_LEN;
	uint32_t total = 40u + be16(ip + 4), room, n = 0, at = per_fragment_len;

	if (total > (uint32_t)m->data_len - l3_off || per_fragment_len < 40 ||
		per_fragment_len >= total || next_header_off >= per_fragment_len ||
		mtu < hdr_len + 8)
		return 0;
	room = (mtu - hdr_len) / 8 * 8;
	for (; at < total; n++) {
		uint32_t left = total - at, len = left > room ? room : left;
		uint8_t *hdr, *frag;

		if (n == cap)
			goto fail;
		out[n] = piece(pool, m, l3_off, hdr_len, ip + at, len, &hdr);
		if (out[n] == NULL)
			goto fail;
		memcpy(hdr, ip, per_fragment_len);
		put16(hdr + 4, hdr_len - 40 + len);
		frag = hdr + per_fragment_len;
		frag[0] = hdr[next_header_off];
		hdr[next_header_off] = 44;
		frag[1] = 0;
		put16(frag + 2, (at - per_fragment_len) | (left > len));
		put16(frag + 4, id >> 16);
		put16(frag + 6, id & 0xffff);
		at += len;
	}
	rte_pktmbuf_free(m);
	return n;
fail:
	while (n > 0)
		rte_pktmbuf_free(out[--n]);
	return 0;
}
