#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/bytes.h"
#include "shared/wipe.h"

static void test_numbers(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct reader r = reader_init(data, sizeof(data));

	(void)state;
	assert_int_equal(read_u8(&r), 1);
	assert_int_equal(read_u16(&r), 0x0203);
	assert_int_equal(read_u32(&r), 0x04050607);
	assert_true(read_u64(&r) == 0x08090a0b0c0d0e0fu);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
	assert_int_equal(read_u8(&r), 0);
	assert_true(r.failed);
}

/* Once failed, a reader stays so and yields zeros, even where bytes would be left. */
static void test_failure_is_kept(void **state)
{
	static const uint8_t data[] = {1, 2, 3};
	struct reader r = reader_init(data, sizeof(data));
	uint8_t copy[4] = {9, 9, 9, 9};

	(void)state;
	assert_int_equal(read_u32(&r), 0);
	assert_int_equal(read_u8(&r), 0);
	assert_int_equal(reader_left(&r), 0);
	assert_null(read_bytes(&r, 0).data);
	read_copy(&r, copy, sizeof(copy));
	assert_memory_equal(copy, "\0\0\0\0", 4);
}

static void test_sub_reader(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4};
	struct reader r = reader_init(data, sizeof(data)), sub = read_sub(&r, 2), beyond;

	(void)state;
	assert_int_equal(read_u16(&sub), 0x0102);
	assert_int_equal(read_u8(&sub), 0);
	assert_true(sub.failed);
	assert_false(r.failed);
	assert_int_equal(read_u16(&r), 0x0304);
	beyond = read_sub(&r, 1);
	assert_true(r.failed);
	assert_true(beyond.failed);
}

static void test_empty(void **state)
{
	struct reader r = reader_init(NULL, 0);

	(void)state;
	assert_int_equal(reader_left(&r), 0);
	read_bytes(&r, 0);
	assert_false(r.failed);
	read_u8(&r);
	assert_true(r.failed);
}

static void test_writer(void **state)
{
	uint8_t buf[15];
	struct writer w = writer_init(buf, sizeof(buf));

	(void)state;
	write_u8(&w, 1);
	write_u16(&w, 0x0203);
	write_u32(&w, 0);
	write_u64(&w, 0x08090a0b0c0d0e0fu);
	write_u32_at(&w, 3, 0x04050607);
	assert_false(w.failed);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i + 1);
	write_u16_at(&w, 13, 0xffff);
	assert_false(w.failed);
	write_u8(&w, 1);
	assert_true(w.failed);
	assert_int_equal(w.len, 15);
	assert_null(write_skip(&w, 0));
}

static void test_writer_at_bounds(void **state)
{
	uint8_t buf[4] = {0};
	struct writer w = writer_init(buf, sizeof(buf));

	(void)state;
	write_u8(&w, 1);
	write_u16_at(&w, 0, 1);
	assert_true(w.failed);
	w = writer_init(buf, sizeof(buf));
	write_u32(&w, 0);
	write_u32_at(&w, 1, 1);
	assert_true(w.failed);
	w = writer_init(buf, 3);
	write_bytes(&w, "abcd", 4);
	assert_true(w.failed);
	assert_int_equal(w.len, 0);
}

static void test_wipe_and_compare(void **state)
{
	uint8_t a[16], b[16];

	(void)state;
	memset(a, 7, sizeof(a));
	memset(b, 7, sizeof(b));
	assert_true(ct_equal(a, b, sizeof(a)));
	for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
		a[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(ct_equal(a, b, sizeof(a)));
		a[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_true(ct_equal(a, b, 0));
	wipe(a, sizeof(a));
	wipe(NULL, 0);
	memset(b, 0, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
}

static void hexadecimal_digits(void **state)
{
	static const struct {
		const char *digits;
		size_t len;
		bool ok;
	} rows[] = {{"", 0, true}, {"00fF7a", 3, true}, {"0g", 1, false}, {"g0", 1, false},
		{"0", 1, false}, {" 1", 1, false}, {"0x10", 2, false}, {"12zz", 1, true},
		{"@G`{", 2, false}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t out[4] = {0};

		assert_int_equal(bytes_from_hex(rows[i].digits, out, rows[i].len), rows[i].ok);
		if (rows[i].len == 3)
			assert_memory_equal(out, "\x00\xff\x7a", 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_failure_is_kept),
		cmocka_unit_test(test_sub_reader),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_writer_at_bounds),
		cmocka_unit_test(test_wipe_and_compare),
		cmocka_unit_test(hexadecimal_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
