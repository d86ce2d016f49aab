#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/ring.h"

/*
 * Datagrams over slots of a punt ring. A datagram that does not fit a slot spans consecutive
 * ones, each with a header, published at once: so a reader either sees all of it or nothing.
 */
#define IPC_PUNT_ROOM (IPC_SLOT_PUNT - sizeof(struct ipc_punt_header))

/* Slots that len bytes take; 1 for an empty datagram. */
uint32_t ipc_punt_slots(size_t len);
/*
 * Copies header (total_len, offset and len are set here) and data into slots and publishes
 * them. 0, -IPC_ERR_FULL, -IPC_ERR_INVALID (longer than IPC_PUNT_MAX), -IPC_ERR_BROKEN.
 */
int ipc_punt_write(struct ipc_ring *r, const struct ipc_punt_header *header, const void *data,
	size_t len) __attribute__((warn_unused_result));
/*
 * Copies the next datagram into buf (IPC_PUNT_MAX bytes) and its first header. 1, 0 (none), or
 * -IPC_ERR_BROKEN: the slots contradict each other.
 */
int ipc_punt_read(struct ipc_ring *r, struct ipc_punt_header *header,
	uint8_t buf[static IPC_PUNT_MAX]) __attribute__((warn_unused_result));
