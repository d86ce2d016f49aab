#pragma once

#include <stdbool.h>
#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>

#include "dataplane/drop.h"
#include "shared/addr.h"

/*
 * A burst of packets on its way through the stages, as a struct of arrays: element i of each
 * array is about packet i. A stage looks at the packets whose next[] is its own, and leaves in
 * next[] where each goes on. Nothing here is kept between bursts.
 *
 * Every packet is one segment; rte_pktmbuf_mtod() is the Ethernet header on receipt, or the IP
 * header where l3_off is 0 (TAP, decrypted packets). All offsets count from rte_pktmbuf_mtod().
 */
#define BURST_MAX 64

/* Where a packet goes next. A stage leaves all but its own untouched. */
enum burst_next {
	NEXT_NONE = 0, /* slot is empty: the mbuf was given away */
	NEXT_DROP,     /* freed and counted under drop[i] */
	NEXT_PARSE,    /* received frame, not parsed yet */
	NEXT_LOCAL,    /* to us and not for IPsec or IKE: SPD in, then host */
	NEXT_ESP_IN,   /* ESP for us, plain or in UDP: SAD look-up and decryption */
	NEXT_PUNT,     /* IKE: to the punt ring */
	NEXT_REASM,    /* a fragment that must be reassembled */
	NEXT_SPD_IN,   /* clear packet from outside, or just decrypted: may it pass? */
	NEXT_SPD_OUT,  /* clear packet to be forwarded or sent by the host */
	NEXT_ESP_OUT,  /* sa[i] protects it */
	NEXT_HANDOFF,  /* to the worker that owns sa[i] */
	NEXT_HOST,     /* to the TAP of the port */
	NEXT_ROUTE,    /* clear packet: route look-up */
	NEXT_FRAGMENT, /* clear, or ESP after encryption: to be cut to the MTU, then NEXT_ROUTE */
	NEXT_ICMP,     /* an ICMP error about it goes back; icmp[i] says which; packet dropped */
	NEXT_TX,       /* has a next hop: nexthop[i] */
};

enum {                     /* pkt_info.flags */
	PKT_DF = 1 << 0,   /* IPv4 Don't Fragment; always set for IPv6 */
	PKT_FRAG = 1 << 1, /* a fragment, first or later */
	PKT_FRAG_MORE = 1 << 2,
	PKT_FRAG_LATER = 1 << 3, /* offset > 0: no ports */
	PKT_PORTS = 1 << 4,      /* sport and dport are set */
	PKT_OPTIONS = 1 << 5,    /* IPv4 options or IPv6 extension headers */
	PKT_UDP_ENCAP = 1 << 6,  /* ESP in UDP: l4_off is the UDP header, ESP is 8 bytes on */
	PKT_FROM_SA = 1 << 7,    /* decrypted here: in_sa[i] is its SA */
	PKT_FROM_HOST = 1 << 8,  /* came from a TAP */
	PKT_TUNNELLED = 1 << 9,  /* with FROM_SA: the SA is in tunnel mode */
	PKT_L4_OK = 1 << 10,     /* l4_off is a complete transport header of proto */
	/*
	 * With FRAG: transit, to be put together because a flow needs its ports. Without: it was;
	 * DF is then clear, for IPv6 too, as what came in pieces may go on in pieces.
	 */
	PKT_REJOIN = 1 << 11,
	PKT_KNOWN = 1 << 12, /* at ESP_OUT: owner and selectors of sa[i] are right (known.h) */
};

/*
 * One parsed IP packet. After decryption this describes the inner packet; the outer one is gone.
 * ICMP and ICMPv6: sport is type << 8 | code, as RFC 4301 4.4.1.1 has it, dport is 0.
 */
struct pkt_info {
	uint16_t l3_off;       /* IP header */
	uint16_t l4_off;       /* transport header, after options and extension headers */
	uint16_t len;          /* bytes of the IP packet by its own header, from l3_off */
	uint16_t nh_off;       /* the byte that names the transport protocol (proto) */
	uint16_t flags;        /* PKT_* */
	uint16_t sport, dport; /* host order; 0 without PKT_PORTS */
	uint16_t frag_off;     /* bytes */
	uint8_t family;        /* 4 or 6 */
	uint8_t proto;         /* transport protocol; that of the first fragment if known */
	uint8_t tos;           /* TOS or traffic class */
	uint8_t ttl;           /* TTL or hop limit */
	uint8_t ip_hdr_len;    /* bytes of the IPv4 header with options; 40 for IPv6 */
	uint8_t reserved[11];
};
_Static_assert(sizeof(struct pkt_info) == 32, "two to a cache line");

struct sa_hot;
struct spd_flow;
struct nexthop;

enum { ICMP_ABOUT_NONE = 0, ICMP_ABOUT_TTL, ICMP_ABOUT_MTU, ICMP_ABOUT_ADMIN, ICMP_ABOUT_NO_ROUTE };

struct burst {
	uint8_t next[BURST_MAX] __attribute__((aligned(64))); /* enum burst_next */
	uint16_t n;
	uint64_t may_learn;      /* bit i: the SPD let packet i onward in this burst (known.h) */
	uint8_t drop[BURST_MAX]; /* enum drop_reason, with NEXT_DROP */
	uint8_t icmp[BURST_MAX]; /* ICMP_ABOUT_*, with NEXT_ICMP */
	uint8_t reserved[BURST_MAX];
	uint16_t port[BURST_MAX]; /* that it came in by, or whose TAP it is */
	uint16_t mtu[BURST_MAX];  /* with ICMP_ABOUT_MTU: the MTU to tell */
	struct rte_mbuf *m[BURST_MAX];
	struct pkt_info pkt[BURST_MAX] __attribute__((aligned(64)));
	struct sa_hot *sa[BURST_MAX];              /* SA to use: SAD look-up, SPD out */
	struct sa_hot *in_sa[BURST_MAX];           /* with PKT_FROM_SA: the SA it came in by */
	const struct spd_flow *in_flow[BURST_MAX]; /* of the SPD look-up on the way in, or NULL */
	const struct spd_flow *flow[BURST_MAX];    /* of the one on the way out, or NULL */
	struct nexthop *nexthop[BURST_MAX];        /* with NEXT_TX */
	uint64_t esp_seq[BURST_MAX];               /* full sequence number, both directions */
};

/*
 * Bit i is set where packet i stands at this stage: most stages of a burst have nothing to do, and
 * learn it from few comparisons. Walk: for (left = mask; left; left &= left - 1) with burst_first.
 */
static inline uint64_t burst_mask(const struct burst *b, enum burst_next next)
{
	const __m128i want = _mm_set1_epi8((char)next);
	uint64_t mask = 0;

	for (unsigned int k = 0; k < BURST_MAX && k < b->n; k += 16) {
		__m128i v = _mm_load_si128((const __m128i *)(b->next + k));

		mask |= (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, want)) << k;
	}
	return b->n >= 64 ? mask : mask & ((UINT64_C(1) << b->n) - 1);
}

static inline unsigned int burst_first(uint64_t mask)
{
	return (unsigned int)__builtin_ctzll(mask);
}

static inline void burst_drop(struct burst *b, unsigned int i, enum drop_reason why)
{
	b->next[i] = NEXT_DROP;
	b->drop[i] = (uint8_t)why;
}

static inline uint8_t *burst_l3(const struct burst *b, unsigned int i)
{
	return rte_pktmbuf_mtod_offset(b->m[i], uint8_t *, b->pkt[i].l3_off);
}

/* The source or destination address in the packet: 4 or 16 bytes by pkt.family. */
static inline const uint8_t *burst_src(const struct burst *b, unsigned int i)
{
	return burst_l3(b, i) + (b->pkt[i].family == 4 ? 12 : 8);
}

static inline const uint8_t *burst_dst(const struct burst *b, unsigned int i)
{
	return burst_l3(b, i) + (b->pkt[i].family == 4 ? 16 : 24);
}

/* A copy as ip_addr, for slow paths. */
static inline struct ip_addr burst_addr(uint8_t family, const uint8_t *bytes)
{
	struct ip_addr a = {.family = family};
	memcpy(a.b, bytes, family == 4 ? 4 : 16);
	return a;
}
