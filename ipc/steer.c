#include "ipc/steer.h"

#include <string.h>

#define IKE_HEADER_LEN 28
#define FLAGS_AT 19
#define FLAG_INITIATOR 0x08

void ipc_steer_init(struct ipc_steer *out, const uint8_t key[IKE_SPI_KEY_LEN], uint32_t n_engines,
	uint32_t stranger_budget)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->key, key, IKE_SPI_KEY_LEN);
	out->n_engines = n_engines;
	out->stranger_budget = stranger_budget;
	for (uint32_t shard = 0; shard < IKE_SPI_SHARDS; shard++)
		out->engine[shard] = (uint8_t)(shard % n_engines);
}

bool ipc_steer_is_valid(const struct ipc_steer *steer)
{
	uint32_t seen = 0;

	if (steer->n_engines == 0 || steer->n_engines > IPC_ENGINES_MAX)
		return false;
	for (uint32_t shard = 0; shard < IKE_SPI_SHARDS; shard++) {
		if (steer->engine[shard] >= steer->n_engines)
			return false;
		seen |= 1u << steer->engine[shard];
	}
	return seen == (1u << steer->n_engines) - 1;
}

uint8_t ipc_steer_shard(const struct ipc_steer *steer, uint32_t engine, uint32_t random32)
{
	uint32_t n = 0, wanted;

	for (uint32_t shard = 0; shard < IKE_SPI_SHARDS; shard++)
		n += steer->engine[shard] == engine;
	wanted = n ? random32 % n : 0;
	for (uint32_t shard = 0; shard < IKE_SPI_SHARDS; shard++) {
		if (steer->engine[shard] == engine && wanted-- == 0)
			return (uint8_t)shard;
	}
	return 0;
}

uint32_t ipc_steer_engine(const struct ipc_steer *steer, const uint8_t *data, size_t len,
	const struct ip_addr *src, bool *is_known)
{
	static const uint8_t zero[IKE_SPI_LEN];
	uint8_t spi_i[IKE_SPI_LEN] = {0};
	const uint8_t *ours;

	*is_known = false;
	if (len >= IKE_HEADER_LEN) {
		/* RFC 7296 3.1: the flag is the sender's, and set when the peer is the original
		 * initiator; then SPIr is ours. */
		ours = data[FLAGS_AT] & FLAG_INITIATOR ? data + IKE_SPI_LEN : data;
		*is_known = memcmp(ours, zero, IKE_SPI_LEN) != 0 && ike_spi_check(steer->key, ours);
		if (*is_known)
			return steer->engine[ike_spi_shard(ours)];
	}
	if (len >= IKE_SPI_LEN)
		memcpy(spi_i, data, IKE_SPI_LEN);
	return steer->engine[ike_spi_stranger_hash(steer->key, spi_i, src) % IKE_SPI_SHARDS];
}
