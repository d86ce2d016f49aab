#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * Destination and encapsulation of an inbound packet in 32 bits, compared with what the SA
 * expects without touching its path. Equal tags mean equal IPv4 addresses; IPv6 is folded, which
 * is enough: the full SPI was compared before, and the ICV decides.
 */
static inline uint32_t sa_dst_tag(uint8_t family, const uint8_t *addr, bool is_udp)
{
	uint32_t w[4] = {0, 0, 0, 0};
	memcpy(w, addr, family == 4 ? 4 : 16);
	uint32_t tag = w[0] ^ (w[1] << 7 | w[1] >> 25) ^ (w[2] << 13 | w[2] >> 19) ^
		       (w[3] << 21 | w[3] >> 11);
	tag ^= family == 6 ? 0x6u : 0;
	return is_udp ? ~tag : tag;
}
