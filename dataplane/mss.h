#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pkt_info;

/*
 * Lowers the MSS option of a TCP SYN at ip so that its segments fit in mtu bytes of IP packet
 * (never raises it; never below 536 for IPv4, 1220 for IPv6), and mends the checksum. True if
 * the packet was changed. Packets of other kinds are left alone.
 */
bool mss_clamp(uint8_t *ip, const struct pkt_info *pkt, uint16_t mtu);
