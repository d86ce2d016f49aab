#include "ipc/ring.h"

#include <string.h>
#include <unistd.h>

#include "shared/wipe.h"

void ipc_ring_init(struct ipc_ring *r, void *mem, uint32_t slot_size, uint32_t n_slots,
	bool is_producer, int wake_fd)
{
	memset(r, 0, sizeof(*r));
	r->shared = mem;
	r->slots = (uint8_t *)mem + sizeof(struct ipc_ring_shared);
	r->slot_size = slot_size;
	r->n_slots = n_slots;
	r->is_producer = is_producer;
	r->wake_fd = wake_fd;
}

bool ipc_ring_is_broken(const struct ipc_ring *r)
{
	return r->is_broken;
}

static uint8_t *slot_at(const struct ipc_ring *r, uint32_t index)
{
	return r->slots + (size_t)(index & (r->n_slots - 1)) * r->slot_size;
}

/* Full slots as the other side's index, loaded once, says. A number over n_slots is a lie. */
static uint32_t used(struct ipc_ring *r)
{
	uint32_t n;

	if (r->is_broken)
		return 0;
	if (r->is_producer) {
		r->peer = atomic_load_explicit(&r->shared->head, memory_order_acquire);
		n = r->own - r->peer;
	} else {
		r->peer = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
		n = r->peer - r->own;
	}
	if (n > r->n_slots) {
		r->is_broken = true;
		return 0;
	}
	return n;
}

/* Whoever takes the sleeper's flag back owes it a wake-up. */
static void wake_if(struct ipc_ring *r, _Atomic uint32_t *flag)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(flag, memory_order_relaxed) == 0)
		return;
	if (atomic_exchange(flag, 0) == 0)
		return;
	r->wakes++;
	ipc_wake(r->wake_fd);
}

uint32_t ipc_ring_room(struct ipc_ring *r)
{
	uint32_t n = used(r);

	return r->is_broken ? 0 : r->n_slots - n;
}

void *ipc_ring_slot(struct ipc_ring *r, uint32_t i)
{
	return slot_at(r, r->own + i);
}

void ipc_ring_publish(struct ipc_ring *r, uint32_t n)
{
	r->own += n;
	atomic_store_explicit(&r->shared->tail, r->own, memory_order_release);
	wake_if(r, &r->shared->consumer_sleeps);
}

bool ipc_ring_wait_room(struct ipc_ring *r, uint32_t need)
{
	atomic_store(&r->shared->producer_waits, 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (ipc_ring_room(r) < need)
		return false;
	atomic_store_explicit(&r->shared->producer_waits, 0, memory_order_relaxed);
	return true;
}

uint32_t ipc_ring_available(struct ipc_ring *r)
{
	return used(r);
}

void ipc_ring_copy(const struct ipc_ring *r, uint32_t i, void *dst, uint32_t len)
{
	memcpy(dst, slot_at(r, r->own + i), len);
}

void ipc_ring_wipe(struct ipc_ring *r, uint32_t i)
{
	wipe(slot_at(r, r->own + i), r->slot_size);
}

void ipc_ring_consume(struct ipc_ring *r, uint32_t n)
{
	r->own += n;
	atomic_store_explicit(&r->shared->head, r->own, memory_order_release);
	wake_if(r, &r->shared->producer_waits);
}

bool ipc_ring_sleep(struct ipc_ring *r)
{
	atomic_store(&r->shared->consumer_sleeps, 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (used(r) == 0)
		return false;
	ipc_ring_awake(r);
	return true;
}

void ipc_ring_awake(struct ipc_ring *r)
{
	atomic_store_explicit(&r->shared->consumer_sleeps, 0, memory_order_relaxed);
}

void ipc_wake(int fd)
{
	const uint64_t one = 1;

	/* A full counter has woken the sleeper already; a closed one has none. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

void ipc_wake_clear(int fd)
{
	uint64_t n;

	if (fd >= 0 && read(fd, &n, sizeof(n)) < 0)
		return;
}
