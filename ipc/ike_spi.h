#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"

/*
 * IKE SPIs that we choose (RFC 7296 2.6: SPIi as initiator, SPIr as responder), 8 bytes:
 *
 *   byte 0      shard: which of 256 parts of the IKE SAs; a table maps shards to engines
 *   bytes 1-4   random
 *   bytes 5-7   check: 24 bits of SipHash-2-4(key, bytes 0-4)
 *
 * espd, which keeps no IKE state, tells by the check whether a datagram names an SPI that our
 * engines made. It is a filter against floods (1 of 16 million guesses passes), no
 * authentication. The key is one for all engines and outlives each (struct ipc_steer).
 */
#define IKE_SPI_LEN 8
#define IKE_SPI_KEY_LEN 16
#define IKE_SPI_SHARDS 256

/* Never makes 0. random32: fresh; the engine makes another if the SPI is in use. */
void ike_spi_make(const uint8_t key[IKE_SPI_KEY_LEN], uint8_t shard, uint32_t random32,
	uint8_t spi[IKE_SPI_LEN]);
bool ike_spi_check(const uint8_t key[IKE_SPI_KEY_LEN], const uint8_t spi[IKE_SPI_LEN])
	__attribute__((warn_unused_result));
static inline uint8_t ike_spi_shard(const uint8_t spi[IKE_SPI_LEN])
{
	return spi[0];
}
/*
 * Where messages with SPIr = 0 go: a keyed hash of SPIi and source address. Use the low 8 bits
 * as the shard, other bits for budgets a source.
 */
uint64_t ike_spi_stranger_hash(const uint8_t key[IKE_SPI_KEY_LEN], const uint8_t spi_i[IKE_SPI_LEN],
	const struct ip_addr *src);
