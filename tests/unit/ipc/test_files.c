#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/ike_spi.h"
#include "ipc/manual_store.h"
#include "shared/siphash.h"
#include "ipc/spi.h"
#include "ipc/store.h"
#include "ipc/view.h"

static char dir[64], path[96];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/penstock-files-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void test_sequence_numbers_outlive_the_process(void **state)
{
	const uint64_t tag = seq_store_tag(2, 0, 5, 1, 2), other = seq_store_tag(2, 0, 6, 1, 1);
	struct seq_store *s, *second;
	struct seq_record rec;
	bool fresh;

	(void)state;
	assert_int_equal(seq_store_open(&s, path, 100, &fresh), 0);
	assert_true(fresh);
	assert_int_equal(seq_store_open(&second, path, 100, &fresh), -IPC_ERR_PERM);
	assert_false(seq_store_read(s, 7, &rec));
	assert_int_equal(seq_store_reserve(s, 7, 100), -IPC_ERR_INVALID);
	assert_int_equal(seq_store_claim(s, 7, tag, 0x1234, 2), 0);
	assert_int_equal(seq_store_reserve(s, 7, 1 << 20), 0);
	assert_int_equal(seq_store_reserve(s, 7, 5), -IPC_ERR_INVALID);
	assert_int_equal(seq_store_claim(s, 8, other, 0x9008, 1), 0);
	*seq_store_top_ptr(s, 8) = 777;
	assert_int_equal(seq_store_claim(s, 100, tag, 1, 1), -IPC_ERR_INVALID);
	seq_store_close(s);

	assert_int_equal(seq_store_open(&s, path, 200, &fresh), 0); /* grown */
	assert_false(fresh);
	assert_int_equal(seq_store_find(s, tag, 0x1234, 0), 7);
	assert_int_equal(seq_store_find(s, tag, 0x1235, 0), -1);
	assert_int_equal(seq_store_find(s, other, 0x9008, 8), 8);
	assert_true(seq_store_read(s, 7, &rec));
	assert_int_equal(rec.reserved_end, 1 << 20);
	assert_true(seq_store_read(s, 8, &rec));
	assert_int_equal(rec.top, 777);
	seq_store_release(s, 7);
	assert_int_equal(seq_store_find(s, tag, 0x1234, 7), -1);
	seq_store_close(s);
}

/* Any byte of a record's identity or of the reserved end that did not get there: no record. */
static void test_torn_record_is_none(void **state)
{
	struct seq_store *s;
	struct seq_record rec;
	bool fresh;
	int fd;

	(void)state;
	unlink(path);
	for (int byte = 0; byte < 40; byte++) {
		uint8_t b;

		assert_int_equal(seq_store_open(&s, path, 4, &fresh), 0);
		assert_int_equal(seq_store_claim(s, 2, 42, 0x5555, 2), 0);
		assert_int_equal(seq_store_reserve(s, 2, 0x123456), 0);
		seq_store_close(s);
		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &b, 1, 64 + 2 * 64 + byte), 1);
		b ^= 0x10;
		assert_int_equal(pwrite(fd, &b, 1, 64 + 2 * 64 + byte), 1);
		close(fd);
		assert_int_equal(seq_store_open(&s, path, 4, &fresh), 0);
		assert_false(fresh);
		assert_false(seq_store_read(s, 2, &rec));
		assert_int_equal(seq_store_find(s, 42, 0x5555, 2), -1);
		seq_store_close(s);
	}
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(seq_store_open(&s, path, 4, &fresh), -IPC_ERR_PERM);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(seq_store_open(&s, path, 4, &fresh), -IPC_ERR_PERM);
	unlink(path);
}

static void test_manual_entries_survive(void **state)
{
	struct ipc_sa_add sa = {.sa = {.handle = 1}, .spi = 0x1000};
	struct ipc_sa_selectors sel = {.sa = {.handle = 1}, .n_selectors = 1};
	struct ipc_flow flow = {.flow = {.handle = 2}};
	struct ipc_flow_bind bind = {.flow = {.handle = 2}, .sa = {.handle = 1}};
	struct manual_store *m;
	struct stat st;
	const void *body;
	uint32_t type;
	int fd;

	(void)state;
	assert_int_equal(manual_store_create(&m, path), 0);
	assert_int_equal(manual_store_load(m), 0);
	assert_int_equal(manual_store_put(m, IPC_CMD_SA_ADD, &sa), 0);
	assert_int_equal(manual_store_put(m, IPC_CMD_SA_SELECTORS, &sel), 0);
	assert_int_equal(manual_store_put(m, IPC_CMD_FLOW_ADD, &flow), 0);
	assert_int_equal(manual_store_put(m, IPC_CMD_FLOW_BIND, &bind), 0);
	assert_int_equal(manual_store_put(m, IPC_CMD_FLUSH, &bind), -IPC_ERR_INVALID);
	flow.policy = 9;
	assert_int_equal(manual_store_put(m, IPC_CMD_FLOW_ADD, &flow), 0); /* replaces */
	assert_int_equal(manual_store_count(m), 4);
	assert_int_equal(manual_store_save(m), 0);
	assert_int_equal(manual_store_save(m), 0);
	manual_store_destroy(m);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	assert_int_equal(manual_store_create(&m, path), 0);
	assert_int_equal(manual_store_load(m), 0);
	assert_int_equal(manual_store_count(m), 4);
	assert_true(manual_store_at(m, 0, &type, &body));
	assert_int_equal(type, IPC_CMD_SA_ADD);
	assert_memory_equal(body, &sa, sizeof(sa));
	assert_int_equal(manual_store_delete(m, IPC_CMD_SA_DELETE, 1), 3); /* SA, selectors, bind */
	assert_int_equal(manual_store_flush(m, IPC_FLUSH_FLOW), 1);
	manual_store_destroy(m);

	/* Cut anywhere: an error and an empty store, never half of it. */
	for (off_t len = st.st_size - 1; len > 0; len -= 97) {
		assert_int_equal(truncate(path, len), 0);
		assert_int_equal(manual_store_create(&m, path), 0);
		assert_int_equal(manual_store_load(m), -IPC_ERR_INVALID);
		assert_int_equal(manual_store_count(m), 0);
		manual_store_destroy(m);
	}
	fd = open(path, O_RDWR);
	assert_int_equal(fchmod(fd, 0604), 0);
	close(fd);
	assert_int_equal(manual_store_create(&m, path), 0);
	assert_int_equal(manual_store_load(m), -IPC_ERR_PERM);
	manual_store_destroy(m);
	unlink(path);
}

static const char *drop_word(uint32_t reason)
{
	return reason ? "replay" : "none";
}

static const struct view_config view_cfg = {.max_sa = 64,
	.max_flows = 32,
	.n_workers = 2,
	.max_ports = 2,
	.n_drops = 2,
	.drop_name = drop_word,
	.version = "0.1"};

static void test_view_shows_what_was_written(void **state)
{
	struct view_sa sa = {.state = VIEW_SA_MATURE, .spi = 0xabcd}, got;
	struct view_flow flow = {.is_used = 1, .sa_spi = 5}, got_flow;
	struct view_globals g = {.state = VIEW_READY, .sa_high = 99}, got_g;
	struct view_sa_counters c;
	struct view_writer *w;
	struct view_reader *r;
	uint64_t hits;

	(void)state;
	assert_int_equal(view_writer_create(&w, path, &view_cfg, (uint32_t)-1), 0);
	assert_int_equal(view_reader_open(&r, path), 0);
	assert_true(view_reader_is_live(r));
	assert_string_equal(view_reader_drop_name(r, 1), "replay");
	assert_string_equal(view_reader_drop_name(r, 2), "?");
	view_set_sa(w, 9, &sa);
	view_set_sa(w, 64, &sa); /* out of range: ignored */
	view_set_flow(w, 3, &flow);
	view_set_globals(w, &g);
	view_sa_counters_at(w, 9)->packets = 11;
	view_flow_hits_at(w, 0)[3] = 4;
	view_flow_hits_at(w, 2)[3] = 5;
	view_worker_at(w, 1)->drops[1] = 6;
	assert_null(view_worker_at(w, 3));
	assert_int_equal(view_read_sa(r, 9, &got, &c), 1);
	assert_int_equal(got.spi, 0xabcd);
	assert_int_equal(c.packets, 11);
	assert_int_equal(view_read_sa(r, 8, &got, NULL), 0);
	assert_int_equal(view_read_sa(r, 64, &got, NULL), -IPC_ERR_INVALID);
	assert_int_equal(view_read_flow(r, 3, &got_flow, &hits), 1);
	assert_int_equal(hits, 9);
	assert_int_equal(view_read_drops(r, 1), 6);
	assert_int_equal(view_read_globals(r, &got_g), 1);
	assert_int_equal(got_g.sa_high, 10);
	assert_int_equal(got_g.state, VIEW_READY);
	view_clear_sa(w, 9);
	assert_int_equal(view_read_sa(r, 9, &got, &c), 0);
	assert_int_equal(c.packets, 0);
	view_writer_destroy(w);
	assert_false(view_reader_is_live(r));
	assert_int_equal(view_read_globals(r, &got_g), 1);
	assert_int_equal(got_g.state, VIEW_STOPPING);
	view_reader_close(r);
	assert_int_equal(access(path, F_OK), -1);
}

static void *view_scribble(void *arg)
{
	struct view_sa sa = {.state = VIEW_SA_MATURE};

	for (uint64_t i = 1; i <= 200000; i++) {
		sa.handle = sa.partner = sa.ike = sa.hard_bytes = i;
		view_set_sa(arg, 0, &sa);
	}
	return NULL;
}

static void test_reader_sees_whole_entries(void **state)
{
	struct view_writer *w;
	struct view_reader *r;
	struct view_sa sa;
	uint64_t last = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(view_writer_create(&w, path, &view_cfg, (uint32_t)-1), 0);
	assert_int_equal(view_reader_open(&r, path), 0);
	assert_int_equal(pthread_create(&thread, NULL, view_scribble, w), 0);
	while (last < 200000) {
		if (view_read_sa(r, 0, &sa, NULL) != 1)
			continue;
		assert_int_equal(sa.handle, sa.hard_bytes);
		assert_int_equal(sa.handle, sa.ike);
		assert_true(sa.handle >= last);
		last = sa.handle;
	}
	pthread_join(thread, NULL);
	view_reader_close(r);
	view_writer_destroy(w);
}

static void test_spis(void **state)
{
	/* The SipHash paper's test vector: key 00..0f, text 00..0e. */
	uint8_t key[16], text[15], spi[8];

	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		key[i] = i;
	memcpy(text, key, sizeof(text));
	assert_true(siphash24(key, text, sizeof(text)) == UINT64_C(0xa129ca6149be45e5));
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t bits = ipc_spi_index_bits(i * 100 + 1), r = i < 3 ? i : i * 2654435761u;
		uint32_t s = ipc_spi_make(i, bits, r);

		assert_true(s >= IPC_SPI_MIN);
		assert_int_equal(ipc_spi_index(s, bits), i & ((1u << bits) - 1));
		ike_spi_make(key, (uint8_t)i, r, spi);
		assert_int_equal(ike_spi_shard(spi), i & 0xff);
		assert_true(ike_spi_check(key, spi));
		spi[i % 8] ^= 1;
		assert_false(ike_spi_check(key, spi));
	}
	assert_int_equal(ipc_spi_index_bits((1u << 22) + 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequence_numbers_outlive_the_process),
		cmocka_unit_test(test_torn_record_is_none),
		cmocka_unit_test(test_manual_entries_survive),
		cmocka_unit_test(test_view_shows_what_was_written),
		cmocka_unit_test(test_reader_sees_whole_entries),
		cmocka_unit_test(test_spis),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
