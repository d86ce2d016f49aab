#include "ipc/ike_spi.h"

#include <string.h>

#include "shared/siphash.h"

/* One key, two uses: the first byte of the hashed text keeps them apart. */
enum { USE_CHECK = 1, USE_STRANGER = 2 };

static uint32_t check_of(const uint8_t key[IKE_SPI_KEY_LEN], const uint8_t spi[IKE_SPI_LEN])
{
	uint8_t text[6] = {USE_CHECK};

	memcpy(text + 1, spi, 5);
	return (uint32_t)siphash24(key, text, sizeof(text)) & 0xffffff;
}

void ike_spi_make(const uint8_t key[IKE_SPI_KEY_LEN], uint8_t shard, uint32_t random32,
	uint8_t spi[IKE_SPI_LEN])
{
	uint32_t check;

	/* RFC 7296 3.1: an SPI that we choose is never zero. */
	if (shard == 0 && random32 == 0)
		random32 = 1;
	spi[0] = shard;
	for (int i = 0; i < 4; i++)
		spi[1 + i] = (uint8_t)(random32 >> (24 - 8 * i));
	check = check_of(key, spi);
	for (int i = 0; i < 3; i++)
		spi[5 + i] = (uint8_t)(check >> (16 - 8 * i));
}

bool ike_spi_check(const uint8_t key[IKE_SPI_KEY_LEN], const uint8_t spi[IKE_SPI_LEN])
{
	uint32_t got = (uint32_t)spi[5] << 16 | (uint32_t)spi[6] << 8 | spi[7];

	return got == check_of(key, spi);
}

uint64_t ike_spi_stranger_hash(const uint8_t key[IKE_SPI_KEY_LEN], const uint8_t spi_i[IKE_SPI_LEN],
	const struct ip_addr *src)
{
	uint8_t text[1 + IKE_SPI_LEN + 1 + sizeof(src->b)] = {USE_STRANGER};

	memcpy(text + 1, spi_i, IKE_SPI_LEN);
	text[1 + IKE_SPI_LEN] = src->family;
	memcpy(text + 2 + IKE_SPI_LEN, src->b, addr_len(src->family));
	return siphash24(key, text, sizeof(text));
}
