#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/messages.h"

/*
 * The shared memory of one client: a sealed memfd that begins with struct ipc_region_header,
 * followed by five single-producer single-consumer rings. A ring is struct ipc_ring_shared and
 * then n_slots slots of slot_size bytes, each slot aligned to a cache line.
 *
 * Trust: both sides may write everywhere in this memory at any time. So nobody uses a number
 * found here twice: geometry is copied into private memory when the region is mapped, own
 * indices live in private memory and are only published here, the other side's index is loaded
 * once, compared, and used masked.
 */
#define IPC_MAGIC 0x504e5354u /* "PNST" */
#define IPC_VERSION 1u
#define IPC_CACHE_LINE 64
#define IPC_PAGE 4096
#define IPC_RING_SLOTS_MIN 8
#define IPC_RING_SLOTS_MAX (1u << 20)

/* The order in the region. */
enum ipc_ring_id {
	IPC_RING_COMMANDS,  /* client to espd: struct ipc_cmd_header and body, IPC_SLOT_CMD */
	IPC_RING_EVENTS,    /* espd to client: struct ipc_event_header and body, IPC_SLOT_EVENT */
	IPC_RING_KNOWN,     /* espd to client: datagrams whose SPI's keyed check was right */
	IPC_RING_STRANGERS, /* espd to client: all other datagrams */
	IPC_RING_PUNT_TX,   /* client to espd: datagrams to send */
	IPC_N_RINGS
};

/*
 * Indices run freely over 32 bits; slot = index & (n_slots - 1); tail - head slots are full.
 * Each line has one writer in the normal case; a flag is set by its sleeper and taken back by
 * whoever wakes it.
 */
struct ipc_ring_shared {
	/* line 0: producer writes */
	_Alignas(IPC_CACHE_LINE) _Atomic uint32_t tail;
	/* line 1: consumer writes */
	_Alignas(IPC_CACHE_LINE) _Atomic uint32_t head;
	/* line 2: consumer sets 1 before it sleeps; the producer's exchange to 0 obliges to wake */
	_Alignas(IPC_CACHE_LINE) _Atomic uint32_t consumer_sleeps;
	/* line 3: producer sets 1 when it waits for room; the consumer's exchange obliges to wake
	 */
	_Alignas(IPC_CACHE_LINE) _Atomic uint32_t producer_waits;
};

struct ipc_ring_geometry {
	uint64_t offset; /* of struct ipc_ring_shared from the region's start */
	uint32_t slot_size;
	uint32_t n_slots; /* a power of two */
};

struct ipc_region_header {
	uint32_t magic, version;
	uint64_t layout_hash;
	uint64_t total_len;
	uint32_t n_rings;
	uint32_t owner_kind, engine;
	uint32_t reserved;
	struct ipc_ring_geometry ring[IPC_N_RINGS];
};

_Static_assert(sizeof(struct ipc_ring_shared) == 4 * IPC_CACHE_LINE, "ring header");
_Static_assert(offsetof(struct ipc_ring_shared, tail) == 0, "producer's line");
_Static_assert(offsetof(struct ipc_ring_shared, head) == IPC_CACHE_LINE, "consumer's line");
_Static_assert(offsetof(struct ipc_ring_shared, consumer_sleeps) == 2 * IPC_CACHE_LINE, "flag");
_Static_assert(offsetof(struct ipc_ring_shared, producer_waits) == 3 * IPC_CACHE_LINE, "flag");
_Static_assert(sizeof(_Atomic uint32_t) == 4 && ATOMIC_INT_LOCK_FREE == 2, "shared atomics");
_Static_assert(sizeof(struct ipc_ring_geometry) == 16, "geometry");
_Static_assert(sizeof(struct ipc_region_header) == 40 + 16 * IPC_N_RINGS, "region header");
_Static_assert(IPC_SLOT_CMD % IPC_CACHE_LINE == 0 && IPC_SLOT_EVENT % IPC_CACHE_LINE == 0 &&
		       IPC_SLOT_PUNT % IPC_CACHE_LINE == 0,
	"slots are whole cache lines");

/*
 * A hash over version, sizes and offsets of every message and shared struct: differs between
 * builds that would misread each other.
 */
uint64_t ipc_layout_hash(void);
