#include "tests/unit/ipc/pair.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <stdlib.h>

#include "ipc/punt.h"
#include "ipc/region.h"

static void server_turn(struct pair *p, uint32_t error)
{
	struct ipc_server_cmd cmd;

	assert_int_equal(ipc_server_begin(p->server), 0);
	while (ipc_server_cmd_next(p->server, &cmd) == 1) {
		ipc_server_cmd_done(p->server);
		assert_int_equal(ipc_server_ack(p->server, cmd.number, error), 0);
	}
	ipc_server_end(p->server);
}

static int readable(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

static void test_command_is_acknowledged_once(void **state)
{
	static struct pair p;
	struct ipc_ref ref = {.handle = 7, .generation = 1};
	struct ipc_server_cmd cmd;
	uint64_t number = 0;

	(void)state;
	pair_open(&p, 0, 0);
	assert_false(ipc_server_end(p.server));
	assert_int_equal(ipc_client_send(p.client, IPC_CMD_SA_DELETE, &ref, &number), 0);
	assert_int_equal(number, 1);
	assert_true(readable(ipc_server_wake_fd(p.server))); /* it slept: it is woken */
	assert_int_equal(ipc_server_begin(p.server), 0);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 1);
	assert_int_equal(cmd.type, IPC_CMD_SA_DELETE);
	assert_int_equal(cmd.len, sizeof(ref));
	assert_memory_equal(cmd.body, &ref, sizeof(ref));
	ipc_server_cmd_done(p.server);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 0);
	assert_int_equal(ipc_server_ack(p.server, 1, IPC_E_STALE), 0);
	assert_int_equal(ipc_server_ack(p.server, 1, IPC_OK), -IPC_ERR_INVALID);
	assert_true(readable(ipc_client_wake_fd(p.client)));
	ipc_client_service(p.client);
	assert_int_equal(p.acks, 1);
	assert_int_equal(p.last_error, IPC_E_STALE);
	assert_int_equal(ipc_client_outstanding(p.client), 0);
	assert_int_equal(ipc_client_send(p.client, 999, &ref, NULL), -IPC_ERR_INVALID);
	pair_close(&p);
}

static void test_million_commands_against_stopped_consumer(void **state)
{
	static struct pair p;
	const uint64_t n = 1000000;
	struct ipc_client_stats st;
	uint64_t sent = 0;

	(void)state;
	pair_open(&p, 64, 4096);
	p.n_acked = n + 1;
	p.acked = calloc(n + 1, 1);
	assert_non_null(p.acked);
	for (uint64_t i = 0; i < n; i++) /* nobody reads: bounded, then refused */
		sent += ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL) == 0;
	assert_int_equal(sent, 64 + 4096);
	while (p.acks < n) {
		server_turn(&p, IPC_OK);
		ipc_client_service(p.client);
		while (sent < n && ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL) == 0)
			sent++;
	}
	for (uint64_t i = 1; i <= n; i++)
		assert_int_equal(p.acked[i], 1);
	ipc_client_stats(p.client, &st);
	assert_true(st.queued_most <= 4096);
	assert_int_equal(st.bad_acks, 0);
	free(p.acked);
	pair_close(&p);
}

/* The client reads no events: espd stops taking commands instead of losing acknowledgements. */
static void test_acknowledgements_wait_for_room(void **state)
{
	static struct pair p;
	struct ipc_server_stats st;
	uint64_t n = 0;

	(void)state;
	pair_open(&p, 8, 100000);
	for (int i = 0; i < 20000; i++) {
		n += ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL) == 0;
		server_turn(&p, IPC_OK);
	}
	ipc_server_stats(p.server, &st);
	assert_true(st.stalls > 0);
	while (ipc_client_outstanding(p.client) > 0) {
		ipc_client_service(p.client);
		server_turn(&p, IPC_OK);
	}
	assert_int_equal(p.acks, n);
	pair_close(&p);
}

static void test_keys_are_erased_from_the_slot(void **state)
{
	static struct pair p;
	struct ipc_sa_add add = {.sa = {.handle = 1}};
	struct ipc_server_cmd cmd;
	const uint8_t *memory;

	(void)state;
	memset(add.enc_key, 0xa5, sizeof(add.enc_key));
	pair_open(&p, 8, 0);
	assert_int_equal(ipc_client_send(p.client, IPC_CMD_SA_ADD, &add, NULL), 0);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 1);
	assert_memory_equal(cmd.body, &add, sizeof(add));
	ipc_server_cmd_done(p.server);
	memory = cmd.body;
	for (size_t i = 0; i < sizeof(add); i++)
		assert_int_equal(memory[i], 0);
	pair_close(&p);
}

static void test_datagrams_both_ways(void **state)
{
	static const size_t lens[] = {
		0, 1, IPC_PUNT_ROOM - 1, IPC_PUNT_ROOM, IPC_PUNT_ROOM + 1, 12288, IPC_PUNT_MAX};
	static struct pair p;
	static uint8_t data[IPC_PUNT_MAX + 1];
	struct ipc_punt_header h = {.ifindex = 3}, got;
	const uint8_t *out;

	(void)state;
	pair_open(&p, 64, 0);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		assert_int_equal(ipc_server_punt_rx(p.server, i & 1, &h, data, lens[i]), 0);
		ipc_client_service(p.client);
		assert_int_equal(p.punts, i + 1);
		assert_int_equal(p.punt_len, lens[i]);
		assert_int_equal(p.punt_header.flags, i & 1 ? IPC_PUNT_KNOWN : 0);
		assert_memory_equal(p.punt, data, lens[i]);
		assert_int_equal(ipc_client_punt_send(p.client, &h, data, lens[i]), 0);
		assert_int_equal(ipc_server_punt_tx_next(p.server, &got, &out), 1);
		assert_int_equal(got.total_len, lens[i]);
		assert_memory_equal(out, data, lens[i]);
	}
	assert_int_equal(ipc_client_punt_send(p.client, &h, data, sizeof(data)), -IPC_ERR_INVALID);
	pair_close(&p);
}

/* Strangers fill their own ring; a known SPI's datagram still finds room. */
static void test_strangers_take_no_known_slot(void **state)
{
	static struct pair p;
	struct ipc_punt_header h = {0};
	struct ipc_server_stats st;

	(void)state;
	pair_open(&p, 8, 0);
	for (int i = 0; i < 20; i++)
		ipc_server_punt_rx(p.server, false, &h, "x", 1);
	assert_int_equal(ipc_server_punt_rx(p.server, true, &h, "k", 1), 0);
	ipc_server_stats(p.server, &st);
	assert_int_equal(st.punt_strangers, 8);
	assert_int_equal(st.punt_strangers_full, 12);
	pair_close(&p);
}

static void test_message_waits_for_its_command(void **state)
{
	static struct pair p;
	struct ipc_punt_header h = {0}, got;
	struct ipc_server_cmd cmd;
	const uint8_t *out;
	uint64_t n1, n2;

	(void)state;
	pair_open(&p, 8, 0);
	assert_int_equal(ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, &n1), 0);
	assert_int_equal(ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, &n2), 0);
	h.after_command = n1;
	assert_int_equal(ipc_client_punt_send(p.client, &h, "1", 1), 0);
	h.after_command = n2;
	assert_int_equal(ipc_client_punt_send(p.client, &h, "2", 1), 0);
	h.after_command = 0;
	assert_int_equal(ipc_client_punt_send(p.client, &h, "0", 1), 0);
	/* Only the one that waits for nothing leaves, whatever came before it. */
	assert_int_equal(ipc_server_punt_tx_next(p.server, &got, &out), 1);
	assert_int_equal(out[0], '0');
	assert_int_equal(ipc_server_punt_tx_next(p.server, &got, &out), 0);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 1);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 1);
	assert_int_equal(ipc_server_punt_tx_next(p.server, &got, &out), 0);
	/* Commands end in another order than they came; the failed one's message never leaves. */
	assert_int_equal(ipc_server_ack(p.server, n2, IPC_OK), 0);
	assert_true(ipc_server_end(p.server));
	assert_int_equal(ipc_server_punt_tx_next(p.server, &got, &out), 1);
	assert_int_equal(out[0], '2');
	assert_int_equal(ipc_server_ack(p.server, n1, IPC_E_FULL), 0);
	assert_int_equal(ipc_server_punt_tx_next(p.server, &got, &out), 0);
	pair_close(&p);
}

static void test_end_of_the_other_side(void **state)
{
	static struct pair p;

	(void)state;
	pair_open(&p, 8, 0);
	assert_int_equal(ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL), 0);
	ipc_server_destroy(p.server);
	p.server = NULL;
	ipc_client_service(p.client);
	assert_int_equal(p.reason, -IPC_ERR_CLOSED);
	assert_int_equal(p.dropped, 1);
	assert_int_equal(
		ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL), -IPC_ERR_CLOSED);
	pair_close(&p);
	pair_open(&p, 8, 0);
	ipc_client_detach(p.client);
	ipc_client_service(p.client);
	assert_int_equal(ipc_server_begin(p.server), -IPC_ERR_CLOSED);
	pair_close(&p);
}

/* Slots are written first and published by one store: half of a write is nothing at all. */
static void test_end_in_the_middle_of_a_write(void **state)
{
	static struct pair p;
	struct ipc_punt_header half = {.total_len = IPC_PUNT_MAX, .len = 100}, h;
	const struct ipc_region *region;
	struct ipc_server_cmd cmd;
	const uint8_t *data;

	(void)state;
	/* espd wrote part of an event and of a datagram, then it ended. */
	pair_open(&p, 8, 0);
	region = ipc_server_region(p.server);
	for (int i = 0; i < IPC_N_RINGS; i++)
		if (region->ring[i].is_producer)
			memcpy(ipc_ring_slot((struct ipc_ring *)&region->ring[i], 0), &half,
				sizeof(half));
	ipc_server_destroy(p.server);
	p.server = NULL;
	ipc_client_service(p.client);
	assert_int_equal(p.reason, -IPC_ERR_CLOSED);
	assert_int_equal(p.events + p.acks + p.punts, 0);
	pair_close(&p);

	/* The client likewise, with a command before it that is whole. */
	pair_open(&p, 8, 0);
	assert_int_equal(ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL), 0);
	region = ipc_server_region(p.server);
	for (int i = 0; i < IPC_N_RINGS; i++) {
		const struct ipc_ring *r = &region->ring[i];
		struct ipc_ring theirs = *r;

		if (r->is_producer)
			continue;
		theirs.own = i == IPC_RING_COMMANDS ? r->own + 1 : r->own;
		memset(ipc_ring_slot(&theirs, 0), 0xff, sizeof(half));
	}
	/* Killed: nothing is wiped, as ipc_client_destroy would. */
	assert_int_equal(shutdown(ipc_client_socket_fd(p.client), SHUT_RDWR), 0);
	assert_int_equal(ipc_server_begin(p.server), -IPC_ERR_CLOSED);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 1);
	ipc_server_cmd_done(p.server);
	assert_int_equal(ipc_server_cmd_next(p.server, &cmd), 0);
	assert_int_equal(ipc_server_punt_tx_next(p.server, &h, &data), 0);
	pair_close(&p);
}

static void test_unsealed_region_is_refused(void **state)
{
	struct ipc_region_config cfg;
	struct ipc_region made, region;
	uint8_t page[IPC_PAGE];
	int fd = memfd_create("plain", MFD_CLOEXEC);

	(void)state;
	ipc_region_config_default(&cfg);
	assert_int_equal(ipc_region_create(&made, &cfg, 2, 0, -1), 0);
	assert_true(ftruncate(made.memfd, 100) < 0); /* sealed */
	assert_int_equal(pread(made.memfd, page, sizeof(page), 0), sizeof(page));
	assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	assert_int_equal(ipc_region_map(&region, fd, -1), -IPC_ERR_PERM);
	((struct ipc_region_header *)made.base)->ring[1].offset -= 64;
	assert_int_equal(ipc_region_map(&region, made.memfd, -1), -IPC_ERR_INVALID);
	((struct ipc_region_header *)made.base)->version++;
	assert_int_equal(ipc_region_map(&region, made.memfd, -1), -IPC_ERR_VERSION);
	ipc_region_fini(&made);
	close(fd);
}

static void test_refusals(void **state)
{
	const struct {
		struct ipc_hello hello;
		size_t len;
		uid_t uid;
		int want;
		const char *why;
	} rows[] = {
		{{IPC_MAGIC, IPC_VERSION, 0, 2, 0}, 24, getuid(), IPC_ATTACH_VERSION, "layout"},
		{{IPC_MAGIC, 99, ipc_layout_hash(), 2, 0}, 24, getuid(), IPC_ATTACH_VERSION,
			"version"},
		{{1, IPC_VERSION, ipc_layout_hash(), 2, 0}, 24, getuid(), IPC_ATTACH_MAGIC,
			"magic"},
		{{IPC_MAGIC, IPC_VERSION, 0, 2, 0}, 4, getuid(), IPC_ATTACH_MAGIC, "cut"},
		{{IPC_MAGIC, IPC_VERSION, ipc_layout_hash(), 0, 0}, 24, getuid(), IPC_ATTACH_OWNER,
			"system is espd itself"},
		{{IPC_MAGIC, IPC_VERSION, ipc_layout_hash(), 2, 0}, 24, getuid() + 1,
			IPC_ATTACH_UID, "user not listed"},
		{{IPC_MAGIC, IPC_VERSION, ipc_layout_hash(), 1, 0}, 24, getuid(), IPC_ATTACH_UID,
			"user listed for another owner"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct ipc_attach_rule rule = {rows[i].uid, IPC_OWNER_ENGINE};
		struct ipc_peer peer = {.uid = getuid()};
		struct ipc_hello hello;
		uint32_t refusal;
		int sv[2], fds[IPC_ATTACH_FDS];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
		peer.fd = sv[0];
		assert_int_equal(ipc_attach_read_hello(&peer, &rule, 1, &hello), -IPC_ERR_AGAIN);
		assert_int_equal(write(sv[1], &rows[i].hello, rows[i].len), rows[i].len);
		assert_int_equal(ipc_attach_read_hello(&peer, &rule, 1, &hello), rows[i].want);
		ipc_attach_refuse(&peer, (enum ipc_refusal)rows[i].want);
		assert_int_equal(ipc_attach_read_welcome(sv[1], fds, &refusal), -IPC_ERR_REFUSED);
		assert_int_equal(refusal, rows[i].want);
		close(sv[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_is_acknowledged_once),
		cmocka_unit_test(test_million_commands_against_stopped_consumer),
		cmocka_unit_test(test_acknowledgements_wait_for_room),
		cmocka_unit_test(test_keys_are_erased_from_the_slot),
		cmocka_unit_test(test_datagrams_both_ways),
		cmocka_unit_test(test_strangers_take_no_known_slot),
		cmocka_unit_test(test_message_waits_for_its_command),
		cmocka_unit_test(test_end_of_the_other_side),
		cmocka_unit_test(test_end_in_the_middle_of_a_write),
		cmocka_unit_test(test_unsealed_region_is_refused),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
