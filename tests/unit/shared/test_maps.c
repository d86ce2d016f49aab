#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shared/handle_map.h"
#include "shared/multi_map.h"

enum { SPACE = 0x20000, OTHER = 0x20001 };

static void test_spaces(void **state)
{
	struct handle_map m = {0};
	int a, b;

	(void)state;
	assert_null(handle_map_find(&m, SPACE, 7)); /* nothing was ever in it */
	handle_map_remove(&m, SPACE, 7);
	assert_int_equal(handle_map_insert(&m, SPACE, 7, &a), 0);
	assert_int_equal(handle_map_insert(&m, OTHER, 7, &b), 0);
	assert_ptr_equal(handle_map_find(&m, SPACE, 7), &a);
	assert_ptr_equal(handle_map_find(&m, OTHER, 7), &b);
	handle_map_remove(&m, SPACE, 7);
	assert_null(handle_map_find(&m, SPACE, 7));
	assert_ptr_equal(handle_map_find(&m, OTHER, 7), &b);
	handle_map_replace(&m, OTHER, 7, &a);
	handle_map_replace(&m, SPACE, 7, &a); /* not there: stays so */
	assert_ptr_equal(handle_map_find(&m, OTHER, 7), &a);
	assert_null(handle_map_find(&m, SPACE, 7));
	assert_int_equal(handle_map_count(&m), 1);
	assert_int_equal(handle_map_insert(&m, SPACE, 0, &a), -1); /* 0 is never a handle */
	assert_null(handle_map_find(&m, SPACE, 0));
	handle_map_fini(&m);
	assert_int_equal(handle_map_count(&m), 0);
}

/* Kinds of numbers that are used as handles. */
static uint64_t counted(uint64_t i)
{
	return i + 1;
}

static uint64_t high_only(uint64_t i)
{
	return (i + 1) << 44;
}

static uint64_t mixed(uint64_t i)
{
	return i % 2 ? (i + 1) << 32 : i + 1;
}

static uint64_t random_like(uint64_t i)
{
	return (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void test_many(void **state)
{
	static uint64_t (*const keys[])(uint64_t) = {counted, high_only, mixed, random_like};
	enum { N = 5000 };
	static int objects[N];

	(void)state;
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		struct handle_map *m = handle_map_create();
		size_t cursor = 0, n = 0, n_slots = 0;

		assert_non_null(m);
		for (int round = 0; round < 8; round++) {
			for (uint64_t i = 0; i < N; i++)
				assert_int_equal(
					handle_map_insert(m, SPACE, keys[k](i), &objects[i]), 0);
			if (round == 1)
				n_slots = m->n_slots;
			for (uint64_t i = 0; i < N; i += 3)
				handle_map_remove(m, SPACE, keys[k](i));
			for (uint64_t i = 0; i < N; i++)
				assert_ptr_equal(handle_map_find(m, SPACE, keys[k](i)),
					i % 3 ? &objects[i] : NULL);
			for (uint64_t i = 0; i < N && round < 7; i++)
				handle_map_remove(m, SPACE, keys[k](i));
		}
		/* Coming and going does not make it grow. */
		assert_int_equal(m->n_slots, n_slots);
		/* Removing what a walk just returned does not disturb it. */
		for (int *o; (o = handle_map_next(m, &cursor)) != NULL; n++)
			handle_map_remove(m, SPACE, keys[k]((uint64_t)(o - objects)));
		assert_int_equal(n, N - (N + 2) / 3);
		assert_int_equal(handle_map_count(m), 0);
		handle_map_destroy(m);
	}
}

struct item {
	int number;
	struct multi_link link;
};

static void expect_ring(const struct multi_map *m, uint64_t key, const int *numbers, size_t n)
{
	struct multi_link *at = multi_map_first(m, key), *back = multi_map_last(m, key);

	for (size_t i = 0; i < n; i++, at = multi_map_next(m, at))
		assert_int_equal(multi_object(at, struct item, link)->number, numbers[i]);
	assert_null(at);
	for (size_t i = n; i-- > 0; back = multi_map_prev(m, back))
		assert_int_equal(multi_object(back, struct item, link)->number, numbers[i]);
	assert_null(back);
}

static void test_multi(void **state)
{
	struct multi_map m = {0};
	struct item items[6] = {{0}};

	(void)state;
	expect_ring(&m, 9, NULL, 0);
	for (int i = 0; i < 6; i++) {
		items[i].number = i;
		assert_int_equal(multi_map_add(&m, i % 2 ? 9 : 8, &items[i].link), 0);
	}
	expect_ring(&m, 8, (const int[]){0, 2, 4}, 3);
	expect_ring(&m, 9, (const int[]){1, 3, 5}, 3);
	multi_map_remove(&m, &items[2].link); /* from the middle */
	expect_ring(&m, 8, (const int[]){0, 4}, 2);
	multi_map_remove(&m, &items[0].link); /* the first */
	multi_map_remove(&m, &items[0].link); /* is in none now: nothing happens */
	expect_ring(&m, 8, (const int[]){4}, 1);
	assert_int_equal(multi_map_add(&m, 8, &items[0].link), 0);
	expect_ring(&m, 8, (const int[]){4, 0}, 2);
	multi_map_remove(&m, &items[0].link); /* the last */
	multi_map_remove(&m, &items[4].link); /* the only one */
	expect_ring(&m, 8, NULL, 0);
	expect_ring(&m, 9, (const int[]){1, 3, 5}, 3);
	/* to another key */
	multi_map_remove(&m, &items[3].link);
	assert_int_equal(multi_map_add(&m, 8, &items[3].link), 0);
	expect_ring(&m, 8, (const int[]){3}, 1);
	expect_ring(&m, 9, (const int[]){1, 5}, 2);
	assert_int_equal(multi_map_add(&m, 0, &items[0].link), -1);
	assert_null(items[0].link.next);
	multi_map_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spaces),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_multi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
