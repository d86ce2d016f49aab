#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/secret.h"

/* Is the page of p left out of core dumps? VmFlags of /proc/self/smaps say so. */
static bool is_hidden(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	uintptr_t at = (uintptr_t)p, from, to;
	bool inside = false, hidden = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = at >= from && at < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			hidden = strstr(line, " dd") != NULL;
	}
	fclose(f);
	return hidden;
}

static const struct {
	size_t len;
	size_t align;
	const char *why;
} rows[] = {
	{1, 16, "less than a step"},
	{16, 16, "a step"},
	{20, 16, "AES-128 and a salt"},
	{64, 16, "AES-256 and HMAC-SHA-256"},
	{144, 16, "the longest pair of keys"},
	{4096, 16, "the largest object that shares pages"},
	{4097, 4096, "pages of its own"},
	{100000, 4096, "many pages"},
};

static void test_objects_are_zero_apart_and_hidden(void **state)
{
	struct secrets *s = secrets_create();

	(void)state;
	assert_non_null(s);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const uint8_t zero[100000];
		uint8_t *a = secrets_alloc(s, rows[i].len), *b = secrets_alloc(s, rows[i].len);

		print_message("%s\n", rows[i].why);
		assert_non_null(a);
		assert_non_null(b);
		assert_int_equal((uintptr_t)a % rows[i].align, 0);
		assert_memory_equal(a, zero, rows[i].len);
		assert_true(a + rows[i].len <= b || b + rows[i].len <= a);
		assert_true(is_hidden(a));
		assert_true(is_hidden(a + rows[i].len - 1));
		memset(a, 0xa5, rows[i].len);
		memset(b, 0x5a, rows[i].len);
		secrets_free(s, a, rows[i].len);
		/* The same place again, without what stood there. */
		b = secrets_alloc(s, rows[i].len);
		assert_non_null(b);
		if (rows[i].align == 16)
			assert_ptr_equal(a, b);
		assert_memory_equal(b, zero, rows[i].len);
	}
	secrets_free(s, NULL, 64);
	secrets_destroy(s);
	secrets_destroy(NULL);
}

static void test_many_objects_keep_their_bytes(void **state)
{
	enum { N = 5000 };
	struct secrets *s = secrets_create();
	uint8_t **at = calloc(N, sizeof(*at));

	(void)state;
	for (size_t i = 0; i < N; i++) {
		at[i] = secrets_alloc(s, 20 + i % 80);
		assert_non_null(at[i]);
		memset(at[i], (int)(i & 0xff), 20 + i % 80);
	}
	for (size_t i = 0; i < N; i += 3) {
		secrets_free(s, at[i], 20 + i % 80);
		at[i] = NULL;
	}
	for (size_t i = 0; i < N; i++) {
		for (size_t k = 0; at[i] && k < 20 + i % 80; k++)
			assert_int_equal(at[i][k], i & 0xff);
	}
	free(at);
	secrets_destroy(s);
}

static void test_foreign_pages_are_hidden(void **state)
{
	uint8_t *p = aligned_alloc(4096, 3 * 4096);

	(void)state;
	memset(p, 1, 3 * 4096);
	assert_false(is_hidden(p));
	secret_pages_hide(p + 1, 3 * 4096 - 2);
	assert_false(is_hidden(p)); /* half a page belongs to somebody else too */
	assert_true(is_hidden(p + 4096));
	assert_false(is_hidden(p + 8192));
	assert_int_equal(p[4096], 1);
	free(p);
	assert_null(secret_pages_alloc(0));
	assert_null(secret_pages_alloc(SIZE_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_are_zero_apart_and_hidden),
		cmocka_unit_test(test_many_objects_keep_their_bytes),
		cmocka_unit_test(test_foreign_pages_are_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
