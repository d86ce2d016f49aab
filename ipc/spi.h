#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Inbound ESP SPIs that we choose: the low index_bits bits are the SAD index, the rest (at
 * least 10 bits) is random, so that a late packet of an earlier SA at this index does not match.
 * RFC 4303 2.1: 1 to 255 are reserved, 0 is local; none of them is ever made.
 */
#define IPC_SPI_INDEX_BITS_MIN 8
#define IPC_SPI_INDEX_BITS_MAX 22
#define IPC_SPI_MIN 256u

/* Bits needed for n_sa indices (0 to n_sa - 1), within the limits above; 0: too many. */
static inline uint32_t ipc_spi_index_bits(uint32_t n_sa)
{
	uint32_t bits = IPC_SPI_INDEX_BITS_MIN;

	while (bits < IPC_SPI_INDEX_BITS_MAX && n_sa > (1u << bits))
		bits++;
	return n_sa <= (1u << bits) ? bits : 0;
}

static inline bool ipc_spi_index_bits_ok(uint32_t index_bits)
{
	return index_bits >= IPC_SPI_INDEX_BITS_MIN && index_bits <= IPC_SPI_INDEX_BITS_MAX;
}

/* index < 1 << index_bits; random32: fresh for each SPI. */
static inline uint32_t ipc_spi_make(uint32_t index, uint32_t index_bits, uint32_t random32)
{
	uint32_t high = random32 >> index_bits;

	/* With the smallest index_bits, high 0 is exactly the reserved range. */
	if (high == 0)
		high = 1;
	return high << index_bits | (index & ((1u << index_bits) - 1));
}

static inline uint32_t ipc_spi_index(uint32_t spi, uint32_t index_bits)
{
	return spi & ((1u << index_bits) - 1);
}
