#pragma once

#include <stdint.h>

#include "bench/esp/gateway.h"
#include "bench/esp/traffic.h"

/*
 * intel-ipsec-mb alone, with its best calls: the same texts, keys in the same order, bursts of
 * the same size, on buffers of the same pool. CBC with HMAC: a burst of ciphers, then a burst of
 * hashes; GCM: direct calls; ChaCha20-Poly1305: the job queue.
 */
struct bare;

/* With the manager of the worker whose queue has the lap. NULL: no memory. */
struct bare *bare_create(const struct gateway *g, uint16_t worker, const struct lap *lap);
void bare_destroy(struct bare *b);
/* The packets from `first` on, n of them (a multiple of GATEWAY_BURST). */
void bare_run(struct bare *b, uint32_t first, uint32_t n);
