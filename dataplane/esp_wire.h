#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_ip.h>

#include "dataplane/sad.h"

/* Small pieces that esp_in.c and esp_out.c share. */

#define ESP_HDR_LEN 8
#define UDP_HDR_LEN 8

enum {
	PROTO_ICMP = 1,
	PROTO_IPV4 = 4,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_IPV6 = 41,
	PROTO_ESP = 50,
	PROTO_ICMPV6 = 58,
	PROTO_NONE = 59,
};

static inline uint16_t get_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get_u32(const uint8_t *at)
{
	uint32_t v;
	memcpy(&v, at, 4);
	return __builtin_bswap32(v);
}

static inline void put_u16(uint8_t *at, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(at, &v, 2);
}

static inline void put_u32(uint8_t *at, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(at, &v, 4);
}

/* As it lies in the register: little endian here. */
static inline void esp_store32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, 4);
}

static inline void put_u64(uint8_t *at, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(at, &v, 8);
}

/* Of an IPv4 header of len bytes (a multiple of 4) whose checksum field is 0. */
static inline uint16_t ip4_checksum(const uint8_t *ip, uint32_t len)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < len; i += 4) {
		uint32_t v;
		memcpy(&v, ip + i, 4);
		sum += v;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return __builtin_bswap16((uint16_t)~sum);
}

/* Of TCP or UDP with the pseudo header of ip; the field is 0. Never 0: that means "none". */
static inline uint16_t l4_checksum(
	const uint8_t *ip, uint8_t family, uint8_t proto, const uint8_t *l4, uint32_t len)
{
	uint32_t addrs = family == 4 ? 8 : 32;
	uint32_t sum = rte_raw_cksum(ip + (family == 4 ? 12 : 8), addrs);
	sum += __builtin_bswap16((uint16_t)(len >> 16)) + __builtin_bswap16((uint16_t)len);
	sum += __builtin_bswap16(proto);
	sum += rte_raw_cksum(l4, len);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	uint16_t result = __builtin_bswap16((uint16_t)~sum);
	return result ? result : 0xffff;
}

#define ESP_PADDING_FIRST 0x0807060504030201ULL /* 1, 2, 3 ... in memory */
#define ESP_PADDING_ONES 0x0101010101010101ULL

/*
 * RFC 4303 2.4: 1, 2, 3 ... len of them, at most 255. Whole words: it writes up to 8 bytes past the
 * end, which are the trailer's and the ICV's, made later.
 */
static inline void esp_padding_put(uint8_t *pad, uint32_t len)
{
	uint64_t v = ESP_PADDING_FIRST;
	uint32_t j = 0;
	do {
		memcpy(pad + j, &v, 8);
		v += 8 * ESP_PADDING_ONES;
		j += 8;
	} while (j < len);
}

/* Is it that? Reads up to 7 bytes past the end, where trailer and ICV are. */
static inline bool esp_padding_is_right(const uint8_t *pad, uint32_t len)
{
	uint64_t v = ESP_PADDING_FIRST, got, wrong = 0;
	for (uint32_t j = 0; j < len; j += 8, v += 8 * ESP_PADDING_ONES) {
		uint64_t mask = len - j >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * (len - j)) - 1;
		memcpy(&got, pad + j, 8);
		wrong |= (got ^ v) & mask;
	}
	return wrong == 0;
}

/* sa_selectors_match, in line for the selector that most SAs have. */
static inline bool esp_selectors_match(
	const struct sa_hot *sa, const struct burst *b, unsigned int i)
{
	const struct sa_plain_selector *s = &sa->plain;
	const struct pkt_info *p = &b->pkt[i];
	if (!(sa->flags & SA_F_PLAIN_SELECTOR))
		return sa_selectors_match(sa, b, i);
	const uint8_t *ip = burst_l3(b, i);
	return p->family == 4 && (s->proto == 0 || s->proto == p->proto) &&
	       get_u32(ip + 12) - s->src_lo <= s->src_span &&
	       get_u32(ip + 16) - s->dst_lo <= s->dst_span;
}

/* Soft and hard byte limits (RFC 4301 4.4.2.1), after sa->bytes has grown. */
static inline void sa_check_bytes(struct worker_ctx *w, struct sa_hot *sa)
{
	if (sa->bytes < atomic_load_explicit(&sa->soft_bytes, memory_order_relaxed))
		return;
	sa_event_raise(w, sa, SA_EV_SOFT);
	if (sa->bytes < atomic_load_explicit(&sa->hard_bytes, memory_order_relaxed))
		return;
	sa_set_state(sa, SA_DEAD);
	sa_event_raise(w, sa, SA_EV_HARD);
}
