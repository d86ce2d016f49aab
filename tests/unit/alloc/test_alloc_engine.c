#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/alloc/alloc.h"
#include "tests/unit/engine/sim.h"

/*
 * Two engines negotiate, rekey and lose espd, and one allocation of their own fails somewhere on
 * the way (all of them in turn with PENSTOCK_ALLOC_STEP=1; every 29th without it;
 * PENSTOCK_ALLOC_AT=N: that one). Whatever it
 * was: nothing crashes, nothing leaks, and a while later one tunnel carries traffic again.
 */

#define RULE_A                                                                                 \
	"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 peer 198.51.100.1 ikelifetime 600 " \
	"lifetime 120\n"
#define RULE_B                                                                             \
	"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 ikelifetime 600 " \
	"lifetime 120\n"

void __real_ike_engine_step(
	struct ike_engine *engine, const struct ike_input *in, struct ike_actions *out);
void __wrap_ike_engine_step(
	struct ike_engine *engine, const struct ike_input *in, struct ike_actions *out);

static bool is_armed;
static uint64_t last_failing; /* shown when a test fails */
static uint64_t n_restarts;   /* engines replaced for want of memory */

/* Only what the engine allocates fails, not what the simulator does. */
void __wrap_ike_engine_step(
	struct ike_engine *engine, const struct ike_input *in, struct ike_actions *out)
{
	if (is_armed)
		alloc_begin();
	__real_ike_engine_step(engine, in, out);
	alloc_end();
}

enum scenario { SETUP, LATER };

static bool is_quiet(struct sim *sim)
{
	struct sim_counts a = sim_count(&sim->node[0]), b = sim_count(&sim->node[1]);

	return a.esp_in == a.children && b.esp_in == b.children;
}

/* Runs one scenario with the n-th allocation failing; the number of allocations it made. */
static uint64_t run(enum scenario scenario, uint64_t fail_at)
{
	struct sim *sim = sim_create(7, RULE_A, RULE_B);
	uint64_t count;

	/* The log is the simulator's: room for all of it now. */
	sim->log_cap = 8u << 20;
	sim->log = calloc(1, sim->log_cap);
	assert_non_null(sim->log);

	alloc_reset(fail_at);
	sim->node[0].may_restart = sim->node[1].may_restart = true;
	is_armed = scenario == SETUP;
	sim_start(sim);
	sim_run(sim, 10000);
	if (scenario == LATER) {
		sim_check_tunnel(sim, 1, 1);
		is_armed = true;
		sim_soft_expire(&sim->node[1]);
		sim_run(sim, 5000);
		sim_simple(&sim->node[0], IKE_IN_TRANSPORT_DOWN);
		sim_espd_restart(&sim->node[0], false);
		sim_simple(&sim->node[0], IKE_IN_TRANSPORT_UP);
		sim_run(sim, 30000);
		sim_reload(&sim->node[1], RULE_B);
		sim_run(sim, 600000); /* over a rekey of the IKE SA */
	}
	count = alloc_count();
	is_armed = false;
	sim_run(sim, 900000);
	/* A replaced inbound SA stays 30 s: not within these. */
	for (int i = 0; i < 10 && !is_quiet(sim); i++)
		sim_run(sim, 7000);
	sim_check_tunnel(sim, 1, 1);
	sim_traffic(sim);
	assert_int_equal(sim->packets_lost, 0);
	n_restarts += sim->node[0].n_restarts + sim->node[1].n_restarts;
	sim_destroy(sim);
	assert_int_equal(alloc_live(), 0);
	return count;
}

static void sweep(enum scenario scenario)
{
	const char *text = getenv("PENSTOCK_ALLOC_STEP"), *only = getenv("PENSTOCK_ALLOC_AT");
	uint64_t step = text && atoi(text) > 0 ? (uint64_t)atoi(text) : 29;
	uint64_t count = run(scenario, 0), tried = 0;

	assert_true(count > 50);
	for (uint64_t n = 1 + count % step; n <= count; n += step) {
		if (only && (uint64_t)atoi(only) != n)
			continue;
		last_failing = n;
		run(scenario, n);
		tried++;
	}
	print_message("%llu allocations, %llu failed in turn, %llu engines replaced\n",
		(unsigned long long)count, (unsigned long long)tried,
		(unsigned long long)n_restarts);
	last_failing = 0;
}

static int show(void **state)
{
	(void)state;
	if (last_failing)
		print_error("the allocation that failed: PENSTOCK_ALLOC_AT=%llu\n",
			(unsigned long long)last_failing);
	return 0;
}

static void test_setup(void **state)
{
	(void)state;
	sweep(SETUP);
}

static void test_later(void **state)
{
	(void)state;
	sweep(LATER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_setup, show),
		cmocka_unit_test_teardown(test_later, show),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
