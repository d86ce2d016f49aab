#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/esp/gateway.h"

#define TRAFFIC_IMIX 0 /* as size: 7 of 64, 4 of 570, 1 of 1,420 bytes */

/*
 * A lap: distinct packets, tunnels at random (uniformly), in the order in which they come. It is
 * a pcap file in memory, which the port reads once and then repeats. For an outbound gateway
 * clear UDP packets; for an inbound one ESP under each tunnel's key, numbered from 1 up.
 */
struct lap {
	uint32_t n; /* packets, a multiple of GATEWAY_BURST */
	uint32_t *tunnel;
	uint16_t *len;  /* of the inner packet */
	uint64_t bytes; /* all inner packets */
	char path[32];
	int fd;
};

/* size: of the inner IP packets. NULL: no memory. */
struct lap *lap_create(const struct gateway *g, uint32_t n, uint16_t size);
/*
 * A lap for each worker's queue, out[]. is_steered: with packets of its own SAs alone, else of
 * all; a tunnel's numbers then go on from one lap to the next. 0, or -1: no memory.
 */
int laps_create(
	const struct gateway *g, uint32_t n, uint16_t size, bool is_steered, struct lap *out[]);
void lap_destroy(struct lap *lap);
/* Bytes that are ciphered for an inner packet: with padding and trailer. */
uint32_t lap_text_len(const struct suite *s, uint32_t inner_len);
