#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"

struct pkt_info;

/* Path MTU messages about our ESP packets (RFC 4301 8.2, 6.1.1). */

struct icmp_pmtu {
	struct ip_addr src, dst; /* of the quoted packet: our address and the peer's */
	uint32_t spi;            /* host order */
	uint16_t mtu;            /* told, not below the floor of 576 (IPv4) or 1280 (IPv6) */
	bool is_udp;             /* quoted ESP in UDP */
	uint16_t src_port, dst_port;
};

/*
 * ip: an ICMP or ICMPv6 packet to us (pkt->proto 1 or 58), pkt->len bytes there. True if it is
 * "fragmentation needed" or "packet too big" with a good checksum and quotes an ESP packet of
 * ours up to its SPI. The caller must find the outbound SA of (dst, spi) before it believes it,
 * and takes an MTU only if it is below what it has.
 */
bool icmp_input_pmtu(const uint8_t *ip, const struct pkt_info *pkt, struct icmp_pmtu *out);
