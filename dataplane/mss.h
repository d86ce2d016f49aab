#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pkt_info;

/*
 * Lowers the MSS option of a TCP SYN at ip so that its segments fit in mtu bytes of IP packet
 * (never raises it; never below 536 for IPv4, 1220 for IPv6), and mends the checksum. True if
 * the packet was changed. Packets of other kinds are left alone, and those whose options TCP-AO
 * protects.
 */
bool mss_clamp(uint8_t *ip, const struct pkt_info *pkt, uint16_t mtu);
/* Is it a packet that mss_clamp could change? Cheap, before an MTU is computed for it. */
bool mss_is_syn(const uint8_t *ip, const struct pkt_info *pkt);
