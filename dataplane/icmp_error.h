#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pkt_info;

/* ICMP errors that a gateway sends. The caller gives an address inside the selectors as source. */

enum icmp_error_kind {
	ICMP_ERROR_TTL,      /* time exceeded in transit */
	ICMP_ERROR_MTU,      /* fragmentation needed; packet too big */
	ICMP_ERROR_NO_ROUTE, /* net unreachable; no route */
	ICMP_ERROR_ADMIN,    /* administratively prohibited */
};

#define ICMP_ERROR_MAX 1280 /* bytes of the longest error, IP header included */

struct icmp_error {
	enum icmp_error_kind kind;
	uint16_t mtu;       /* with ICMP_ERROR_MTU */
	uint16_t ip_id;     /* IPv4 identification of the error */
	const uint8_t *src; /* 4 or 16 bytes, of the family of the packet */
};

/*
 * May an error be sent about the packet at ip? Not about an ICMP error or redirect, a later
 * fragment, multicast or broadcast, nor to a source that is no single host (RFC 1812 4.3.2.7,
 * RFC 4443 2.4).
 */
bool icmp_error_is_allowed(
	const uint8_t *ip, const struct pkt_info *pkt, enum icmp_error_kind kind);

/*
 * Writes the error about the packet at ip (pkt->len bytes are there) as a whole IP packet.
 * Returns its length, or 0 when none may be sent or cap is too small.
 */
size_t icmp_error_build(const uint8_t *ip, const struct pkt_info *pkt,
	const struct icmp_error *error, uint8_t *out, size_t cap);

/* Token bucket, one a worker (RFC 4443 2.4 f). Zeroed: full at the first use. */
struct icmp_limit {
	uint64_t last_tsc;
	uint32_t millitokens;
	bool is_started;
};
/* True if one may be sent now. rate: a second; burst: at most at once. */
bool icmp_limit_take(
	struct icmp_limit *l, uint64_t now_tsc, uint64_t tsc_hz, uint32_t rate, uint32_t burst);
