#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/ike_spi.h"
#include "ipc/messages.h"

/*
 * Which engine an IKE datagram belongs to. What names an SPI of ours goes to the engine that has
 * the SPI's shard (ipc/ike_spi.h); what does not (SPIr = 0, or a made-up SPI) goes by a keyed hash
 * of SPIi and source address, so that repeats of an IKE_SA_INIT, with a cookie or without, meet
 * the same engine, and nobody outside can aim at one.
 */

/* The table of n_engines (1 to IPC_ENGINES_MAX): shards in turn. The rest of *out is set too. */
void ipc_steer_init(struct ipc_steer *out, const uint8_t key[IKE_SPI_KEY_LEN], uint32_t n_engines,
	uint32_t stranger_budget);
/* Nothing in it leads beyond n_engines, and each engine has a shard. */
bool ipc_steer_is_valid(const struct ipc_steer *steer) __attribute__((warn_unused_result));

/* One of the engine's shards, chosen by random32: for an SPI of its own. */
uint8_t ipc_steer_shard(const struct ipc_steer *steer, uint32_t engine, uint32_t random32);

/*
 * The engine for a datagram (without the non-ESP marker) from src. *is_known: it names an SPI that
 * one of the engines made. Anything may be in data, and len may be 0.
 */
uint32_t ipc_steer_engine(const struct ipc_steer *steer, const uint8_t *data, size_t len,
	const struct ip_addr *src, bool *is_known);
