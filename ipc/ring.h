#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/error.h"
#include "ipc/layout.h"

/*
 * One side's handle on one ring, in private memory. A side is either the producer or the
 * consumer of a ring and calls only that half of the functions, from one thread at a time.
 *
 * Sleeping. A side that just polls never sets a flag and never costs the other a system call.
 * A side that wants to sleep calls ipc_ring_sleep (consumer) or ipc_ring_wait_room (producer)
 * for each of its rings; if any returns true there is work: don't sleep. Else it sleeps on its
 * eventfd. The flag is stored before the last look and the other side looks at it after it has
 * published (both sequentially consistent), so one of the two sees the other: no wake-up is
 * lost, and at most one write to the eventfd is made for a sleep.
 *
 * Once an index of the other side makes no sense, the ring is broken for good: no room, nothing
 * available, ipc_ring_is_broken says so. The memory stays valid until unmapped.
 */
struct ipc_ring {
	struct ipc_ring_shared *shared;
	uint8_t *slots;
	uint32_t slot_size, n_slots;
	uint32_t own;  /* producer: tail, consumer: head; published, never read back */
	uint32_t peer; /* the other side's index when last looked at */
	int wake_fd;   /* eventfd on which the other side sleeps; not owned; -1: none */
	bool is_producer;
	bool is_broken;
	uint64_t wakes; /* writes to wake_fd, for statistics and tests */
};

/* Takes a mapped ring whose geometry was checked. Starts at the published indices' zero. */
void ipc_ring_init(struct ipc_ring *r, void *mem, uint32_t slot_size, uint32_t n_slots,
	bool is_producer, int wake_fd);
bool ipc_ring_is_broken(const struct ipc_ring *r);

/* Producer: free slots now. */
uint32_t ipc_ring_room(struct ipc_ring *r);
/* Producer: the i-th free slot, i < room. Whole slot is the caller's until published. */
void *ipc_ring_slot(struct ipc_ring *r, uint32_t i);
/* Producer: makes the next n slots visible at once and wakes the consumer if it sleeps. */
void ipc_ring_publish(struct ipc_ring *r, uint32_t n);
/* Producer: asks to be woken when slots are freed. True: at least `need` are free already. */
bool ipc_ring_wait_room(struct ipc_ring *r, uint32_t need);

/* Consumer: full slots now. */
uint32_t ipc_ring_available(struct ipc_ring *r);
/*
 * Consumer: copies len bytes of the i-th full slot (i < available, len <= slot_size). The slot
 * itself is not handed out: its bytes may change under the reader.
 */
void ipc_ring_copy(const struct ipc_ring *r, uint32_t i, void *dst, uint32_t len);
/* Consumer: erases the i-th full slot (it held keys). */
void ipc_ring_wipe(struct ipc_ring *r, uint32_t i);
/* Consumer: gives back the next n slots and wakes a producer that waits for room. */
void ipc_ring_consume(struct ipc_ring *r, uint32_t n);
/* Consumer: asks to be woken by the next publish. True: something is there already. */
bool ipc_ring_sleep(struct ipc_ring *r);
/* Consumer: takes the wish back (after a wake-up for another reason). Optional. */
void ipc_ring_awake(struct ipc_ring *r);

/* Writes 1 to an eventfd; reads it empty. Errors mean that nobody will miss it. */
void ipc_wake(int fd);
void ipc_wake_clear(int fd);
