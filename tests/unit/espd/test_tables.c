#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dataplane/lease.h"

#define OWNER 0x20000u
#define OTHER 0x20001u

static void a_freed_index_rests(void **state)
{
	struct lease_table *t = lease_table_create(8);
	uint32_t first;

	(void)state;
	assert_non_null(t);
	assert_int_equal(lease_take(t, OWNER, 1000, 10, &first), 256); /* all there are */
	assert_int_equal(first, 0);
	assert_int_equal(lease_take(t, OTHER, 1, 10, &first), 0);
	lease_return(t, 5, OTHER, 10); /* not its own: left alone */
	assert_true(lease_is_of(t, 5, OWNER));
	lease_return(t, 5, OWNER, 10);
	assert_int_equal(lease_take(t, OTHER, 1, 10 + LEASE_REST_S - 1, &first), 0);
	assert_int_equal(lease_take(t, OTHER, 4, 10 + LEASE_REST_S, &first), 1);
	assert_int_equal(first, 5);
	assert_false(lease_is_of(t, 256, OWNER));
	lease_table_destroy(t);
}

static void an_index_of_an_earlier_process_is_kept_for_it(void **state)
{
	struct lease_table *t = lease_table_create(8);
	uint32_t first;

	(void)state;
	assert_non_null(t);
	lease_rest(t, 3, UINT32_MAX);
	lease_rest(t, 4, UINT32_MAX);
	assert_int_equal(lease_take(t, OTHER, 256, 1000, &first), 3); /* 0 to 2 */
	assert_true(lease_adopt(t, 3, OWNER));
	assert_false(lease_adopt(t, 3, OTHER));
	assert_true(lease_is_of(t, 3, OWNER));
	lease_rest_end(t, 1000); /* nobody claimed 4: it rests as any freed one */
	assert_int_equal(lease_take(t, OTHER, 256, 1000, &first), 251);
	assert_int_equal(first, 5);
	assert_int_equal(lease_take(t, OTHER, 256, 1000 + LEASE_REST_S, &first), 1);
	assert_int_equal(first, 4);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_freed_index_rests),
		cmocka_unit_test(an_index_of_an_earlier_process_is_kept_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
