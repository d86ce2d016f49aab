#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/engine/sim.h"

/*
 * Seeds: each chooses policies, faults of the network, of the key service and of espd, and short
 * lifetimes, so that both sides rekey all the time, often at once (field case B37). Then the faults
 * end, lifetimes become long, and once all is quiet the two sides must agree. ENGINE_SEEDS sets how
 * many are run, ENGINE_SEED runs one (with SIM_LOG=1 to see it).
 */
enum { DEFAULT_SEEDS = 400 };

struct plan {
	const char *a, *b; /* without lifetimes and psk */
};

static const struct plan plans[] = {
	{"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer 198.51.100.1 %s",
		"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 %s"},
	{"ikev2 active esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer 198.51.100.1 %s",
		"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 %s"},
	/* PFS, GCM; several pairs, one of them IPv6 */
	{"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 from 10.0.3.0/24 to 10.0.2.0/24 "
	 "from fd00:1::/64 to fd00:2::/64 local 192.0.2.1 peer 198.51.100.1 "
	 "childsa enc aes-256-gcm group curve25519 %s",
		"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 from 10.0.2.0/24 to 10.0.3.0/24 "
		"from fd00:2::/64 to fd00:1::/64 peer 192.0.2.1 "
		"childsa enc aes-256-gcm group curve25519 %s"},
	/* the wanted group is not the first one of the initiator */
	{"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer 198.51.100.1 "
	 "ikesa group ecp256 %s",
		"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 "
		"ikesa group curve25519 group ecp256 %s"},
};

static char *with(const char *format, const char *tail)
{
	char rule[512], *text = NULL;

	snprintf(rule, sizeof(rule), format, tail);
	assert_true(asprintf(&text, "set dpd_check_interval 30\n%s\n", rule) > 0);
	return text;
}

static struct sim_faults faults_of(struct sim *sim)
{
	struct sim_faults f = {.loss = (unsigned int)sim_random(sim, 25),
		.twice = (unsigned int)sim_random(sim, 20),
		.delay_ms = sim_random(sim, 60),
		.answer_twice = (unsigned int)sim_random(sim, 30),
		.answer_jitter_ms = sim_random(sim, 4) ? sim_random(sim, 50) : 5000,
		.command_jitter_ms = sim_random(sim, 20)};

	/* Some networks only reorder a little, some keep a datagram for seconds. */
	f.jitter_ms = sim_random(sim, 3) ? sim_random(sim, 40) : sim_random(sim, 6000);
	return f;
}

/* What the seeds met, so that the test cannot turn easy without being noticed. */
static struct ike_stats met;

static void add_met(struct sim *sim)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct ike_stats s;

		ike_engine_stats(sim->node[i].engine, &s);
		met.collisions_child += s.collisions_child;
		met.collisions_ike += s.collisions_ike;
		met.temporary_failures += s.temporary_failures;
		met.requests_retransmitted += s.requests_retransmitted;
		met.responses_retransmitted += s.responses_retransmitted;
		met.requests_timed_out += s.requests_timed_out;
		met.sas_rekeyed += s.sas_rekeyed;
		met.children_rekeyed += s.children_rekeyed;
		met.answers_ignored += s.answers_ignored;
		met.requests_dropped_busy += s.requests_dropped_busy;
		met.invalid_ke += s.invalid_ke;
		met.dropped_auth += s.dropped_auth;
		met.dropped_malformed += s.dropped_malformed;
		met.commands_failed += s.commands_failed;
	}
}

static void run_seed(uint64_t seed)
{
	const struct plan *plan = &plans[seed % (sizeof(plans) / sizeof(plans[0]))];
	char *conf[4] = {with(plan->a, "ikelifetime 90 lifetime 40 psk 'mekmitasdigoat'"),
		with(plan->b, "ikelifetime 90 lifetime 40 psk 'mekmitasdigoat'"),
		with(plan->a, "ikelifetime 9000000 lifetime 9000000 psk 'mekmitasdigoat'"),
		with(plan->b, "ikelifetime 9000000 lifetime 9000000 psk 'mekmitasdigoat'")};
	struct sim *sim = sim_create(seed, conf[0], conf[1]);

	if (seed % 3 == 0)
		sim_nat_b(sim);
	sim->faults = faults_of(sim);
	sim_start(sim);
	for (unsigned int i = 0; i < 60; i++) {
		sim_run(sim, 5000);
		sim_traffic(sim);
		if (sim_random(sim, 8) == 0) {
			/* Both at the same moment. */
			sim_soft_expire(&sim->node[0]);
			sim_soft_expire(&sim->node[1]);
		}
	}
	sim->faults = (struct sim_faults){.delay_ms = 5};
	sim_reload(&sim->node[0], conf[2]);
	sim_reload(&sim->node[1], conf[3]);
	for (unsigned int i = 0; i < 130; i++) {
		sim_run(sim, 10000);
		sim_traffic(sim);
	}
	sim_check_invariants(sim);
	assert_true(sim_count(&sim->node[0]).children >= 1);
	sim->packets_sent = sim->packets_lost = 0;
	sim_traffic(sim);
	assert_true(sim->packets_sent > 0);
	assert_int_equal(sim->packets_lost, 0);
	add_met(sim);
	sim_destroy(sim);
	for (unsigned int i = 0; i < 4; i++)
		free(conf[i]);
}

static void test_seeds(void **state)
{
	const char *one = getenv("ENGINE_SEED"), *many = getenv("ENGINE_SEEDS");
	uint64_t n = many ? strtoull(many, NULL, 10) : DEFAULT_SEEDS;

	(void)state;
	if (one) {
		run_seed(strtoull(one, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= n; seed++) {
		print_message("seed %llu\r", (unsigned long long)seed);
		run_seed(seed);
	}
	print_message(
		"collisions: %llu children, %llu IKE SAs; %llu and %llu rekeyed, %llu temporary "
		"failures, %llu timed out, %llu answers ignored, %llu repeats dropped\n",
		(unsigned long long)met.collisions_child, (unsigned long long)met.collisions_ike,
		(unsigned long long)met.children_rekeyed, (unsigned long long)met.sas_rekeyed,
		(unsigned long long)met.temporary_failures,
		(unsigned long long)met.requests_timed_out, (unsigned long long)met.answers_ignored,
		(unsigned long long)met.requests_dropped_busy);
	if (n < DEFAULT_SEEDS)
		return;
	assert_true(met.collisions_child > 20);
	assert_true(met.collisions_ike > 5);
	assert_true(met.temporary_failures > 20);
	assert_true(met.requests_timed_out > 5);
	assert_true(met.answers_ignored > 20);
	assert_true(met.requests_dropped_busy > 0);
	assert_true(met.invalid_ke > 20);
	/* Both ends are ours: nothing is malformed, nothing is refused by espd. */
	assert_int_equal(met.dropped_malformed, 0);
	assert_int_equal(met.dropped_auth, 0);
	assert_int_equal(met.commands_failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
