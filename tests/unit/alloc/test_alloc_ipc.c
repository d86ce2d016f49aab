#include "tests/unit/ipc/pair.h"

#include <stdlib.h>

#include "ipc/manual_store.h"
#include "ipc/store.h"
#include "tests/unit/alloc/alloc.h"

/*
 * The rings and the stores without memory: what cannot be made is refused with an error, a command
 * that was taken is acknowledged once all the same, and one that was not taken is known to the
 * caller. Each allocation fails once.
 */

static void turn(struct pair *p)
{
	struct ipc_punt_header h = {0};
	struct ipc_server_cmd cmd;
	const uint8_t *data;

	assert_true(ipc_server_begin(p->server) == 0);
	/* Before the commands that they wait for: they are parked. */
	while (ipc_server_punt_tx_next(p->server, &h, &data) == 1)
		(void)!ipc_server_punt_rx(p->server, true, &h, data, h.total_len);
	while (ipc_server_cmd_next(p->server, &cmd) == 1) {
		uint64_t number = cmd.number;

		ipc_server_cmd_done(p->server);
		assert_int_equal(ipc_server_ack(p->server, number, IPC_OK), 0);
	}
	(void)!ipc_server_event(p->server, IPC_EVENT_HELD_END, NULL);
	ipc_server_end(p->server);
	ipc_client_service(p->client);
}

/* Both ends, as pair_open makes them; false if one could not be made. */
static bool try_open(struct pair *p)
{
	const struct ipc_attach_rule rule = {getuid(), IPC_OWNER_ENGINE};
	struct ipc_client_config cc = {
		.owner_kind = IPC_OWNER_ENGINE, .max_queued = 64, .ops = &pair_ops, .ctx = p};
	struct ipc_server_config sc = {.max_inflight = 64, .max_events = 64, .max_parked = 8};
	struct ipc_hello hello;
	struct ipc_peer peer;

	for (int i = 0; i < IPC_N_RINGS; i++)
		sc.region.n_slots[i] = 8;
	if (ipc_client_create(&p->client, &cc) < 0)
		return false;
	if (ipc_client_attach(p->client, ipc_connect(p->path)) < 0)
		return false;
	assert_int_equal(ipc_listener_accept(&p->listener, &peer), 0);
	assert_int_equal(ipc_attach_read_hello(&peer, &rule, 1, &hello), IPC_ATTACH_OK);
	if (ipc_server_create(&p->server, &peer, &hello, &sc) < 0)
		ipc_attach_refuse(&peer, IPC_ATTACH_NO_ROOM);
	ipc_client_service(p->client);
	if (p->server && ipc_client_is_attached(p->client))
		return true;
	assert_int_equal(p->reason, -IPC_ERR_REFUSED);
	assert_int_equal(p->refusal, IPC_ATTACH_NO_ROOM);
	return false;
}

static void commands_and_datagrams(struct pair *p)
{
	struct ipc_sa_add add = {.sa = {.handle = 1}};
	struct ipc_client_stats st;
	uint8_t data[100] = {1};
	uint64_t n_taken = 0, number;

	for (int i = 0; i < 60; i++) {
		struct ipc_punt_header h = {0};

		if (ipc_client_send(p->client, IPC_CMD_SA_ADD, &add, &number) == 0) {
			n_taken++;
			h.after_command = number;
		}
		(void)!ipc_client_punt_send(p->client, &h, data, sizeof(data));
		if (i % 20 == 19)
			turn(p);
	}
	for (int i = 0; i < 100 && ipc_client_outstanding(p->client) > 0; i++)
		turn(p);
	ipc_client_stats(p->client, &st);
	assert_int_equal(ipc_client_outstanding(p->client), 0);
	assert_int_equal(p->acks, n_taken);
	assert_int_equal(st.sent, n_taken);
	assert_int_equal(st.bad_acks, 0);
}

static void test_rings(void **state)
{
	static struct pair p;
	uint64_t n, n_refused = 0;

	(void)state;
	for (n = 1;; n++) {
		memset(&p, 0, sizeof(p));
		snprintf(p.dir, sizeof(p.dir), "/tmp/penstock-ipc-XXXXXX");
		assert_non_null(mkdtemp(p.dir));
		snprintf(p.path, sizeof(p.path), "%s/sock", p.dir);
		assert_int_equal(ipc_listener_open(&p.listener, p.path, 0600, (gid_t)-1), 0);
		alloc_reset(n);
		alloc_begin();
		if (try_open(&p))
			commands_and_datagrams(&p);
		else
			n_refused++;
		alloc_end();
		pair_close(&p);
		assert_int_equal(alloc_live(), 0);
		if (!alloc_failed())
			break;
	}
	print_message("%llu allocations, %llu attachments refused\n", (unsigned long long)n - 1,
		(unsigned long long)n_refused);
	assert_true(n_refused >= 4 && n > 20);
}

static void seq_store_use(const char *path)
{
	struct seq_store *s;
	struct seq_record r;
	bool is_fresh;

	if (seq_store_open(&s, path, 64, &is_fresh) < 0)
		return;
	assert_int_equal(seq_store_claim(s, 3, 42, 0x1000, 1), 0);
	assert_int_equal(seq_store_reserve(s, 3, 1000), 0);
	seq_store_close(s);
	if (seq_store_open(&s, path, 64, &is_fresh) < 0)
		return;
	/* What was reserved is there, or there was no store: never a record with less. */
	assert_false(is_fresh);
	assert_true(seq_store_read(s, 3, &r));
	assert_int_equal(r.reserved_end, 1000);
	seq_store_close(s);
}

static void manual_store_use(const char *path)
{
	struct ipc_sa_add sa = {.sa = {.handle = 1}, .spi = 0x1000};
	struct manual_store *m;
	size_t n = 0;

	if (manual_store_create(&m, path) < 0)
		return;
	n += manual_store_put(m, IPC_CMD_SA_ADD, &sa) == 0;
	sa.sa.handle = 2;
	n += manual_store_put(m, IPC_CMD_SA_ADD, &sa) == 0;
	assert_int_equal(manual_store_count(m), n);
	if (manual_store_save(m) < 0)
		n = SIZE_MAX;
	manual_store_destroy(m);
	if (n == SIZE_MAX || manual_store_create(&m, path) < 0)
		return;
	if (manual_store_load(m) == 0)
		assert_int_equal(manual_store_count(m), n);
	else
		assert_int_equal(manual_store_count(m), 0);
	manual_store_destroy(m);
}

static void sweep_files(void (*use)(const char *path))
{
	uint64_t n;

	for (n = 1;; n++) {
		char dir[64] = "/tmp/penstock-ipc-XXXXXX", path[96];

		assert_non_null(mkdtemp(dir));
		snprintf(path, sizeof(path), "%s/file", dir);
		alloc_reset(n);
		alloc_begin();
		use(path);
		alloc_end();
		unlink(path);
		assert_int_equal(rmdir(dir), 0);
		assert_int_equal(alloc_live(), 0);
		if (!alloc_failed())
			break;
	}
	assert_true(n > 2);
}

static void test_sequence_store(void **state)
{
	(void)state;
	sweep_files(seq_store_use);
}

static void test_manual_store(void **state)
{
	(void)state;
	sweep_files(manual_store_use);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rings),
		cmocka_unit_test(test_sequence_store),
		cmocka_unit_test(test_manual_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
