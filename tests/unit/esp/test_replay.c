#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/replay.h"
#include "dataplane/seqno.h"

struct window {
	struct replay r;
	uint64_t words[REPLAY_WINDOW_MAX / 32];
	uint64_t stored;
};

static void open_window(struct window *w, uint32_t size, bool esn, uint64_t floor)
{
	memset(w, 0, sizeof(*w));
	replay_init(&w->r, size, esn, w->words, floor, &w->stored);
}

/* A packet with a right ICV, as esp_in handles it: check, then update. */
static enum replay_verdict arrive(struct window *w, uint64_t seq)
{
	bool advanced;
	enum replay_verdict v = replay_check(&w->r, seq);
	enum replay_verdict u = replay_update(&w->r, seq, &advanced);
	assert_int_equal(v, u);
	return v;
}

enum { OK = REPLAY_OK, OLD = REPLAY_OLD, SEEN = REPLAY_SEEN, HELD = REPLAY_HELD };

static void test_sequences(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		uint32_t window;
		uint64_t floor;
		struct {
			uint64_t seq;
			int verdict;
		} step[12];
	} rows[] = {
		{"B55: duplicates, and both edges of a window of 64", 64, 0,
			{{1, OK}, {2, OK}, {3, OK}, {2, SEEN}, {3, SEEN}, {1, SEEN}, {100, OK},
				{37, OK}, {36, OLD}, {35, OLD}, {37, SEEN}}},
		{"0 is never sent", 64, 0, {{0, OLD}, {1, OK}, {0, OLD}}},
		{"a jump by less than the window keeps what was seen", 64, 0,
			{{60, OK}, {100, OK}, {60, SEEN}, {61, OK}, {99, OK}, {99, SEEN}}},
		{"a jump of exactly the window", 64, 0,
			{{64, OK}, {128, OK}, {64, OLD}, {65, OK}, {127, OK}, {128, SEEN}}},
		{"a jump far beyond the ring leaves no old bit", 64, 0,
			{{64, OK}, {UINT64_C(1) << 20, OK}, {(UINT64_C(1) << 20) - 63, OK},
				{(UINT64_C(1) << 20) - 64, OLD},
				{(UINT64_C(1) << 20) - 64 * 2, OLD}}},
		{"the largest window", 4096, 0,
			{{5000, OK}, {905, OK}, {904, OLD}, {905, SEEN}, {5001, OK}, {905, OLD}}},
		{"after a restart all up to the floor is refused", 1024, 5000,
			{{1, HELD}, {4999, HELD}, {5000, HELD}, {5001, OK}, {5001, SEEN},
				{5600, OK}, {5002, OK}, {5000, HELD}}},
		{"numbers near the end of the short space", 64, 0,
			{{UINT32_MAX - 1, OK}, {UINT32_MAX, OK}, {UINT32_MAX, SEEN},
				{UINT32_MAX - 63, OK}, {UINT32_MAX - 64, OLD}}},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct window w;
		open_window(&w, rows[i].window, false, rows[i].floor);
		for (int k = 0; k < 12 && (k == 0 || rows[i].step[k].seq); k++) {
			int v = (int)arrive(&w, rows[i].step[k].seq);
			if (v != rows[i].step[k].verdict)
				fail_msg("%s: step %d (%llu): %d", rows[i].why, k,
					(unsigned long long)rows[i].step[k].seq, v);
		}
	}
}

/* Against a plain model: a set of numbers, and the rule of RFC 4303 3.4.3 on it. */
static void test_random_against_model(void **state)
{
	(void)state;
	static const uint32_t windows[] = {64, 128, 1024, 4096};
	static uint8_t seen[1 << 17];
	uint64_t rng = 88172645463325252u;
	for (size_t i = 0; i < 4; i++) {
		struct window w;
		uint64_t top = 0;
		open_window(&w, windows[i], false, 0);
		memset(seen, 0, sizeof(seen));
		for (int k = 0; k < 40000; k++) {
			rng ^= rng << 13;
			rng ^= rng >> 7;
			rng ^= rng << 17;
			/* mostly near the top, at times a jump */
			uint64_t span = windows[i] * 2 + 1;
			uint64_t back = rng % span;
			uint64_t seq = top + 3 > back ? top + 3 - back : 1;
			if (rng >> 58 == 0)
				seq = top + (rng >> 20 & 511);
			if (seq == 0 || seq >= sizeof(seen))
				continue;
			int want = OK;
			if (seq <= top && top - seq >= windows[i])
				want = OLD;
			else if (seen[seq])
				want = SEEN;
			assert_int_equal(arrive(&w, seq), want);
			if (want == OK) {
				seen[seq] = 1;
				top = seq > top ? seq : top;
			}
		}
	}
}

/* B57: reordering inside the window loses nothing, beyond it exactly what is outside. */
static void test_displacement(void **state)
{
	(void)state;
	static const struct {
		uint32_t window, shift, lost;
	} rows[] = {
		{1024, 100, 0}, {1024, 500, 0}, {1024, 1023, 0}, {1024, 1024, 1}, {1024, 2000, 1}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct window w;
		uint32_t lost = 0;
		open_window(&w, rows[i].window, false, 0);
		/* number 10 comes when `shift` later ones have come */
		for (uint64_t s = 1; s <= 10u + rows[i].shift; s++)
			if (s != 10)
				lost += arrive(&w, s) != REPLAY_OK;
		lost += arrive(&w, 10) != REPLAY_OK;
		assert_int_equal(lost, rows[i].lost);
	}
}

static void test_esn_inference(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		uint64_t top;
		uint32_t lo;
		uint64_t full;
	} rows[] = {
		{"first packet", 0, 1, 1},
		{"A: inside the window", 0x100000500, 0x4ff, 0x1000004ff},
		{"A: ahead", 0x100000500, 0xf0000000, 0x1f0000000},
		{"A: below the window means the next subspace", 0x1fffffff0, 5, 0x200000005},
		{"A: just below the bottom", 0x180000000, 0x80000000 - 1024, 0x280000000 - 1024},
		{"A: the bottom itself", 0x180000000, 0x80000000 - 1023, 0x180000000 - 1023},
		{"B: window over the boundary, packet behind it", 0x200000005, 0xfffffff0,
			0x1fffffff0},
		{"B: packet ahead", 0x200000005, 6, 0x200000006},
		{"B: nothing lies before the first number", 5, 0xfffffff0, 0},
		{"the last subspace has no successor", 0xfffffffffffffff0, 1, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct window w;
		open_window(&w, 1024, true, 0);
		w.r.top = rows[i].top;
		uint64_t got = replay_infer(&w.r, rows[i].lo);
		if (got != rows[i].full)
			fail_msg("%s: %llx", rows[i].why, (unsigned long long)got);
	}
}

/* Through four subspaces in steps, with a late copy after each. */
static void test_esn_stream(void **state)
{
	(void)state;
	struct window w;
	open_window(&w, 1024, true, 0);
	for (uint64_t seq = 1; seq < UINT64_C(4) << 32; seq += UINT64_C(0x3fffff01)) {
		uint64_t full = replay_infer(&w.r, (uint32_t)seq);
		assert_true(full == seq);
		assert_int_equal(arrive(&w, full), REPLAY_OK);
		assert_int_equal(arrive(&w, replay_infer(&w.r, (uint32_t)seq)), REPLAY_SEEN);
		if (seq > 500)
			assert_int_equal(
				arrive(&w, replay_infer(&w.r, (uint32_t)(seq - 500))), REPLAY_OK);
	}
}

/* Design, "either side may die": whatever was accepted is at or below stored top + interval. */
static void test_stored_top_covers(void **state)
{
	(void)state;
	struct window w;
	open_window(&w, 1024, false, 0);
	uint64_t step = 1;
	for (uint64_t seq = 1; seq < 100000; seq += step) {
		assert_int_equal(arrive(&w, seq), REPLAY_OK);
		assert_true(w.r.top <= w.stored + replay_store_interval(1024));
		step = step % 700 + 1;
	}
	/* The process dies here. Nothing old is taken, the next number soon is. */
	uint64_t top = w.r.top, kept = w.stored;
	struct window n;
	memset(&n, 0, sizeof(n));
	n.stored = kept;
	replay_init(&n.r, 1024, false, n.words, kept + replay_store_interval(1024), &n.stored);
	for (uint64_t seq = top > 2000 ? top - 2000 : 1; seq <= top; seq++)
		assert_int_equal(arrive(&n, seq), REPLAY_HELD);
	assert_int_equal(arrive(&n, top + replay_store_interval(1024) + 1), REPLAY_OK);
	assert_true(n.r.top <= n.stored + replay_store_interval(1024));
}

static void test_no_window(void **state)
{
	(void)state;
	struct replay r;
	bool advanced;
	replay_init(&r, 0, false, NULL, 0, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(replay_update(&r, 7, &advanced), REPLAY_OK);
	assert_int_equal(replay_words(0), 0);
}

static void test_window_round(void **state)
{
	(void)state;
	static const struct {
		uint32_t in, out;
	} rows[] = {{1, 64}, {64, 64}, {65, 128}, {1000, 1024}, {4096, 4096}, {100000, 4096}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(replay_window_round(rows[i].in), rows[i].out);
}

static void test_numbers_short(void **state)
{
	(void)state;
	struct seqno s;
	uint64_t n;
	seqno_init(&s, false, 0, 3);
	for (uint64_t want = 1; want <= 3; want++) {
		assert_int_equal(seqno_take(&s, &n), SEQNO_OK);
		assert_true(n == want);
	}
	assert_int_equal(seqno_take(&s, &n), SEQNO_NOT_RESERVED);
	assert_true(seqno_wants_block(&s));
	assert_true(seqno_next_end(&s) == 3 + SEQNO_BLOCK_SHORT);
	seqno_set_reserved(&s, seqno_next_end(&s));
	assert_int_equal(seqno_take(&s, &n), SEQNO_OK);
	assert_true(n == 4);
	assert_false(seqno_wants_block(&s));
	/* RFC 4303 3.3.3: the last number is used, and none after it. */
	seqno_init(&s, false, UINT32_MAX, UINT64_MAX);
	assert_true(s.next > s.near_wrap);
	assert_int_equal(seqno_take(&s, &n), SEQNO_OK);
	assert_true(n == UINT32_MAX);
	assert_int_equal(seqno_take(&s, &n), SEQNO_EXHAUSTED);
	assert_false(seqno_wants_block(&s));
}

static void test_numbers_long(void **state)
{
	(void)state;
	struct seqno s;
	uint64_t n;
	seqno_init(&s, true, UINT32_MAX, UINT32_MAX + SEQNO_BLOCK);
	assert_int_equal(seqno_take(&s, &n), SEQNO_OK);
	assert_int_equal(seqno_take(&s, &n), SEQNO_OK);
	assert_true(n == UINT64_C(0x100000000));
	/* A process that comes after one that died starts above all it had reserved. */
	seqno_init(&s, true, 5 * SEQNO_BLOCK + 1, 5 * SEQNO_BLOCK);
	assert_int_equal(seqno_take(&s, &n), SEQNO_NOT_RESERVED);
	assert_true(seqno_next_end(&s) == 6 * SEQNO_BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_random_against_model),
		cmocka_unit_test(test_displacement),
		cmocka_unit_test(test_esn_inference),
		cmocka_unit_test(test_esn_stream),
		cmocka_unit_test(test_stored_top_covers),
		cmocka_unit_test(test_no_window),
		cmocka_unit_test(test_window_round),
		cmocka_unit_test(test_numbers_short),
		cmocka_unit_test(test_numbers_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
