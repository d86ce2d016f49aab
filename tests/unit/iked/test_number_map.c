#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controlplane/iked/number_map.h"

/* Ring numbers that carried the engine's commands; 0: the transport's own. */
static void numbers_go_both_ways(void **state)
{
	static const struct {
		uint64_t ring, engine;
	} rows[] = {
		{1, 0},
		{2, 0},
		{3, 0}, /* own ones at attach */
		{4, 1},
		{5, 2},
		{6, 3},
		{7, 5},
		{8, 6}, /* the engine's 4 was not taken */
		{9, 0},
		{10, 7},
		{11, 90},
		{12, 91},
	};
	struct number_map map = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(number_map_add(&map, rows[i].ring, rows[i].engine), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(number_map_to_engine(&map, rows[i].ring), rows[i].engine);
		if (rows[i].engine != 0)
			assert_int_equal(number_map_to_ring(&map, rows[i].engine), rows[i].ring);
	}
	/* Not sent: lost, and never given. */
	assert_int_equal(number_map_to_ring(&map, 4), 0);
	assert_int_equal(number_map_to_ring(&map, 50), 0);
	assert_int_equal(number_map_to_ring(&map, 92), 0);
	assert_int_equal(number_map_to_engine(&map, 0), 0);
	assert_int_equal(number_map_to_engine(&map, 13), 0);
	/* A steady stream needs no memory. */
	for (uint64_t n = 13; n < 1000000; n++)
		assert_int_equal(number_map_add(&map, n, n + 79), 0);
	assert_true(map.n <= 8);
	assert_int_equal(number_map_to_ring(&map, 500079), 500000);
	number_map_reset(&map);
	assert_int_equal(number_map_to_engine(&map, 5), 0);
	assert_int_equal(number_map_to_ring(&map, 5), 0);
	number_map_fini(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_go_both_ways)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
