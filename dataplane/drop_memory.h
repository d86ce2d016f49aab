#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/drop.h"
#include "shared/addr.h"

struct burst;

/*
 * The last packets that a worker dropped, for `penstockctl explain`: one place for the address
 * pairs of a hash, one for the SPIs of a hash; a newer drop takes the place of an older one. The
 * worker writes, main reads at any time and takes no copy that changed meanwhile. No packet
 * that goes on touches any of it.
 */
#define DROP_NOTES_PAIRS 1024
#define DROP_NOTES_SPIS 256

struct drop_note {
	_Atomic uint32_t seq; /* odd: being written; 0: never written */
	uint32_t spi;         /* of the packet's SA, or of the ESP packet; 0: none */
	uint32_t at_s;        /* worker_ctx.now_s */
	uint8_t reason, family, proto, reserved;
	uint16_t sport, dport; /* 0 without ports */
	uint8_t src[16], dst[16];
} __attribute__((aligned(64)));

struct drop_memory {
	struct drop_note pairs[DROP_NOTES_PAIRS], spis[DROP_NOTES_SPIS];
};

/* NULL: no memory. Freed by free(). */
struct drop_memory *drop_memory_create(void);
/* Worker: packet i of the burst is being dropped. */
void drop_memory_note(
	struct drop_memory *memory, const struct burst *b, unsigned int i, uint32_t now_s);
/* Main: the newest drop between two addresses, or of an SPI. False: none is remembered. */
bool drop_memory_pair(const struct drop_memory *memory, const struct ip_addr *src,
	const struct ip_addr *dst, struct drop_note *out);
bool drop_memory_spi(const struct drop_memory *memory, uint32_t spi, struct drop_note *out);
