#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/debug.h"
#include "ipc/keys.h"
#include "ipc/punt.h"
#include "ipc/ring.h"

#define SLOT 64
#define SLOTS 8
#define ITEMS 300000u

struct both {
	struct ipc_ring p, c;
	int p_fd, c_fd; /* on which producer and consumer sleep */
	void *mem;
};

static void both_init_with(struct both *b, uint32_t slot, uint32_t n_slots)
{
	size_t len = sizeof(struct ipc_ring_shared) + (size_t)slot * n_slots;

	b->mem = aligned_alloc(64, len);
	assert_non_null(b->mem);
	memset(b->mem, 0, len);
	b->p_fd = eventfd(0, EFD_NONBLOCK);
	b->c_fd = eventfd(0, EFD_NONBLOCK);
	ipc_ring_init(&b->p, b->mem, slot, n_slots, true, b->c_fd);
	ipc_ring_init(&b->c, b->mem, slot, n_slots, false, b->p_fd);
}

static void both_init(struct both *b)
{
	both_init_with(b, SLOT, SLOTS);
}

static void both_fini(struct both *b)
{
	close(b->p_fd);
	close(b->c_fd);
	free(b->mem);
}

/* Random batches on both sides, across the wrap of the indices, against plain counters. */
static void test_random_batches(void **state)
{
	struct both b;
	unsigned int seed = 5;
	uint32_t in = 0, out = 0, v;

	(void)state;
	both_init(&b);
	/* Start close to the wrap of 32 bits, as after four billion slots. */
	b.p.own = b.c.own = UINT32_MAX - 1000;
	atomic_store(&b.p.shared->tail, b.p.own);
	atomic_store(&b.p.shared->head, b.p.own);
	for (int i = 0; i < 20000; i++) {
		uint32_t room = ipc_ring_room(&b.p), n;

		assert_int_equal(room, SLOTS - (in - out));
		n = room ? (uint32_t)rand_r(&seed) % (room + 1) : 0;
		for (uint32_t k = 0; k < n; k++) {
			v = in + k;
			memcpy(ipc_ring_slot(&b.p, k), &v, sizeof(v));
		}
		ipc_ring_publish(&b.p, n);
		in += n;
		assert_int_equal(ipc_ring_available(&b.c), in - out);
		n = in - out ? (uint32_t)rand_r(&seed) % (in - out + 1) : 0;
		for (uint32_t k = 0; k < n; k++) {
			ipc_ring_copy(&b.c, k, &v, sizeof(v));
			assert_int_equal(v, out + k);
			ipc_ring_wipe(&b.c, k);
			ipc_ring_copy(&b.c, k, &v, sizeof(v));
			assert_int_equal(v, 0);
		}
		ipc_ring_consume(&b.c, n);
		out += n;
	}
	assert_int_equal(b.p.wakes + b.c.wakes, 0); /* nobody slept: no system call */
	both_fini(&b);
}

static void test_impossible_indices_break_the_ring(void **state)
{
	static const uint32_t bad[] = {SLOTS + 1, 0x80000000u, UINT32_MAX};
	struct both b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		both_init(&b);
		atomic_store(&b.c.shared->tail, bad[i]);
		assert_int_equal(ipc_ring_available(&b.c), 0);
		assert_true(ipc_ring_is_broken(&b.c));
		atomic_store(&b.c.shared->tail, 1); /* for good */
		assert_int_equal(ipc_ring_available(&b.c), 0);
		atomic_store(&b.p.shared->head, bad[i]);
		if (bad[i] <= UINT32_MAX - SLOTS) { /* tail 0 - head is more than the slots */
			assert_int_equal(ipc_ring_room(&b.p), 0);
			assert_true(ipc_ring_is_broken(&b.p));
		}
		both_fini(&b);
	}
}

static int wait_for(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int n = poll(&pfd, 1, 20000); /* only a lost wake-up takes that long */

	ipc_wake_clear(fd);
	return n == 1;
}

static void *produce(void *arg)
{
	struct both *b = arg;

	for (uint32_t i = 0; i < ITEMS;) {
		if (ipc_ring_room(&b->p) == 0) {
			if (!ipc_ring_wait_room(&b->p, 1) && !wait_for(b->p_fd))
				return b; /* lost */
			continue;
		}
		memcpy(ipc_ring_slot(&b->p, 0), &i, sizeof(i));
		ipc_ring_publish(&b->p, 1);
		i++;
	}
	return NULL;
}

static void test_no_wake_up_is_lost(void **state)
{
	struct both b;
	pthread_t thread;
	void *lost;
	uint32_t v;

	(void)state;
	both_init(&b);
	assert_int_equal(pthread_create(&thread, NULL, produce, &b), 0);
	for (uint32_t i = 0; i < ITEMS;) {
		if (ipc_ring_available(&b.c) == 0) {
			assert_true(ipc_ring_sleep(&b.c) || wait_for(b.c_fd));
			continue;
		}
		ipc_ring_copy(&b.c, 0, &v, sizeof(v));
		assert_int_equal(v, i);
		ipc_ring_consume(&b.c, 1);
		i++;
	}
	pthread_join(thread, &lost);
	assert_null(lost);
	assert_true(b.p.wakes > 0);
	both_fini(&b);
}

#define DATAGRAMS 20000u
#define PUNT_SLOTS 16

static size_t datagram_len(uint32_t i)
{
	return 4 + (size_t)(i * 2654435761u >> 7) % 9000;
}

static void *punts_produce(void *arg)
{
	static uint8_t data[IPC_PUNT_MAX];
	struct ipc_punt_header h = {0};
	struct both *b = arg;

	for (uint32_t i = 0; i < DATAGRAMS;) {
		size_t len = datagram_len(i);
		uint32_t n = ipc_punt_slots(len);

		memset(data, (int)(i & 0xff), len);
		memcpy(data, &i, sizeof(i));
		if (ipc_punt_write(&b->p, &h, data, len) == 0)
			i++;
		else if (!ipc_ring_wait_room(&b->p, n) && !wait_for(b->p_fd))
			return b;
	}
	return NULL;
}

/* Datagrams of one to several slots from thread to thread: each whole, in order, none twice. */
static void test_datagrams_between_threads(void **state)
{
	static uint8_t buf[IPC_PUNT_MAX];
	struct ipc_punt_header h;
	pthread_t thread;
	struct both b;
	void *lost;

	(void)state;
	both_init_with(&b, IPC_SLOT_PUNT, PUNT_SLOTS);
	assert_int_equal(pthread_create(&thread, NULL, punts_produce, &b), 0);
	for (uint32_t i = 0, got; i < DATAGRAMS; i++) {
		while (ipc_punt_read(&b.c, &h, buf) == 0)
			assert_true(ipc_ring_sleep(&b.c) || wait_for(b.c_fd));
		memcpy(&got, buf, sizeof(got));
		assert_int_equal(got, i);
		assert_int_equal(h.total_len, datagram_len(i));
		for (size_t k = sizeof(i); k < h.total_len; k += 97)
			assert_int_equal(buf[k], i & 0xff);
	}
	pthread_join(thread, &lost);
	assert_null(lost);
	both_fini(&b);
}

static void test_keys_and_debug_frames(void **state)
{
	struct ipc_key_record rec = {.spi = 0x1000, .enc_key_len = 16}, got;
	struct ipc_peer peer = {.uid = 1000};
	static char buf[IPC_DEBUG_DATA_MAX + 1];
	const uint32_t request[2] = {0x504e4b59u, IPC_VERSION};
	uint16_t type;
	size_t len;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	peer.fd = sv[0];
	assert_int_equal(write(sv[1], request, sizeof(request)), sizeof(request));
	assert_int_equal(ipc_keys_read_request(&peer), -IPC_ERR_PERM);
	peer.uid = 0;
	assert_int_equal(ipc_keys_read_request(&peer), 0);
	assert_int_equal(ipc_keys_read_request(&peer), -IPC_ERR_AGAIN);
	memset(rec.enc_key, 7, 16);
	assert_int_equal(ipc_keys_send(sv[0], &rec), 0);
	assert_int_equal(ipc_keys_send_end(sv[0]), 0);
	assert_int_equal(ipc_keys_next(sv[1], &got), 1);
	assert_memory_equal(got.enc_key, rec.enc_key, sizeof(got.enc_key));
	assert_int_equal(ipc_keys_next(sv[1], &got), 0);

	assert_int_equal(ipc_debug_send(sv[0], IPC_DEBUG_SHOW, "spd ", 4, "--json", 6), 0);
	assert_int_equal(ipc_debug_recv(sv[1], &type, buf, sizeof(buf), &len), 0);
	assert_int_equal(type, IPC_DEBUG_SHOW);
	assert_int_equal(len, 10);
	assert_string_equal(buf, "spd --json");
	assert_int_equal(ipc_debug_send_text(sv[0], "longer than the reader's room"), 0);
	assert_int_equal(ipc_debug_recv(sv[1], &type, buf, 8, &len), -IPC_ERR_INVALID);
	assert_int_equal(write(sv[0], "nonsense", 8), 8);
	assert_int_equal(ipc_debug_recv(sv[1], &type, buf, sizeof(buf), &len), -IPC_ERR_INVALID);
	close(sv[0]);
	assert_int_equal(ipc_debug_recv(sv[1], &type, buf, sizeof(buf), &len), -IPC_ERR_CLOSED);
	close(sv[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_batches),
		cmocka_unit_test(test_impossible_indices_break_the_ring),
		cmocka_unit_test(test_no_wake_up_is_lost),
		cmocka_unit_test(test_datagrams_between_threads),
		cmocka_unit_test(test_keys_and_debug_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
