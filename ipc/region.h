#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/ring.h"

/* Slots of each ring: powers of two from IPC_RING_SLOTS_MIN to IPC_RING_SLOTS_MAX. */
struct ipc_region_config {
	uint32_t n_slots[IPC_N_RINGS];
};

/* 1024 commands (1 MiB), 2048 events (1 MiB), 1024 known, 512 strangers, 1024 tx (5 MiB). */
void ipc_region_config_default(struct ipc_region_config *cfg);

/* One side's mapping of a region and its five rings. */
struct ipc_region {
	int memfd; /* owned */
	void *base;
	size_t len;
	struct ipc_ring ring[IPC_N_RINGS];
};

/*
 * espd: makes a memfd of the right size, backed by memory (fallocate), sealed against
 * shrinking, growing and further seals, excluded from core dumps. peer_fd is the eventfd on
 * which the client sleeps (not owned). 0, -IPC_ERR_INVALID, -IPC_ERR_SYS.
 */
int ipc_region_create(struct ipc_region *region, const struct ipc_region_config *cfg,
	uint32_t owner_kind, uint32_t engine, int peer_fd) __attribute__((warn_unused_result));

/*
 * Client: maps a received memfd. Refuses one that is not sealed (it could be cut under our
 * feet: SIGBUS), of another size than its header says, of another layout, or whose rings
 * overlap or leave it. Owns memfd only when it returns 0. Else -IPC_ERR_PERM (seals),
 * -IPC_ERR_VERSION, -IPC_ERR_INVALID, -IPC_ERR_SYS.
 */
int ipc_region_map(struct ipc_region *region, int memfd, int peer_fd)
	__attribute__((warn_unused_result));

/* Erases the command ring (keys) and unmaps. Harmless on a zeroed or finished region. */
void ipc_region_fini(struct ipc_region *region);

/* True if any ring is broken. */
bool ipc_region_is_broken(const struct ipc_region *region);
