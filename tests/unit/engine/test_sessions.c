#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/ike/sessions.h"
#include "tests/unit/engine/sim.h"

/* An engine among several: what it leaves to others, what it tells them and does of what they say.
 */

#define PSK " psk 'mekmitasdigoat'\n"
#define A                                                                             \
	"ikev2 'a' passive esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer " \
	"198.51.100.1" PSK
#define B "ikev2 'b' active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1" PSK

static void zeros(void *ctx, void *out, size_t len)
{
	(void)ctx;
	memset(out, 0, len);
}

/* Node `of` is engine 0 or 1 of two: its first policy's home, or not. */
static struct sim *start(uint64_t seed, const char *a, const char *b, int of, bool is_home)
{
	for (uint32_t number = 0; number < 2; number++) {
		struct sim *sim = sim_create(seed, a, b);
		struct sim_node *node = &sim->node[of];

		node->engine_number = number;
		node->n_engines = 2;
		sim_start(sim);
		if (policy_is_ours(node->engine, &node->config->policies[0]) == is_home)
			return sim;
		sim_destroy(sim);
	}
	fail_msg("a policy is at home in one of two engines");
	return NULL;
}

static struct ike_session session_of(const struct sim_node *node, uint64_t since_ms)
{
	struct ike_session s = {.engine = !node->engine_number,
		.is_up = 1,
		.sa = 4711,
		.since_ms = since_ms,
		.policy = policy_key(&node->config->policies[0])};

	s.remote = node->sim->node[!node->index].addr;
	assert_int_equal(
		ike_id_parse(node->index ? "server1.domain" : "server2.domain", &s.peer), 0);
	return s;
}

static void session_say(struct sim_node *node, const struct ike_session *s)
{
	struct ike_input in = {.type = IKE_IN_SESSION, .session = *s};

	sim_input(node, &in);
}

static size_t n_policy_flows(struct sim_node *node)
{
	size_t n = 0;

	for (size_t i = 0; i < SIM_FLOWS; i++)
		n += node->espd.flows[i].is_used && node->espd.flows[i].flow.type != IPC_FLOW_DENY;
	return n;
}

/* Only the home has the policy's flows and initiates; the other one answers, with flows of its
 * own that go with the tunnel. */
static void test_home(void **state)
{
	struct sim *sim;

	(void)state;
	sim = start(1, A, B, 1, false);
	sim_run(sim, 20000);
	assert_int_equal(sim_stats(sim, 1).sas_created, 0);
	assert_int_equal(n_policy_flows(&sim->node[1]), 0);
	sim_destroy(sim);

	sim = start(2, A, B, 1, true);
	sim_run(sim, 20000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(n_policy_flows(&sim->node[1]), 2);
	sim_destroy(sim);

	sim = start(3, A, B, 0, false);
	assert_int_equal(n_policy_flows(&sim->node[0]), 0);
	sim_run(sim, 20000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(n_policy_flows(&sim->node[0]), 2);
	struct ike_input reset = {.type = IKE_IN_RESET, .reset = {IKE_RESET_SA, NULL}};

	sim_input(&sim->node[1], &reset);
	sim_run(sim, 2000);
	assert_int_equal(n_policy_flows(&sim->node[0]), 0);
	sim_destroy(sim);
}

/* It begins once and ends once, through a rekeying of the IKE SA, and is told again when asked. */
static void test_telling(void **state)
{
	struct sim *sim = start(4, A, B, 0, true);
	struct sim_node *a = &sim->node[0];

	(void)state;
	sim_run(sim, 20000);
	assert_int_equal(a->n_sessions, 1);
	assert_true(a->session.is_up && a->session.since_ms > 0);
	assert_int_equal(a->session.policy, policy_key(&a->config->policies[0]));
	assert_int_equal(a->session.peer.type, IKE_ID_FQDN);
	assert_memory_equal(a->session.peer.data, "server2.domain", 14);
	const uint64_t sa = a->session.sa;

	sim_simple(a, IKE_IN_SESSION_QUERY);
	assert_int_equal(a->n_sessions, 2);
	struct ike_input reset = {.type = IKE_IN_RESET, .reset = {IKE_RESET_SA, NULL}};

	sim_input(&sim->node[1], &reset);
	sim_run(sim, 2000);
	assert_int_equal(a->n_sessions, 3);
	assert_false(a->session.is_up);
	assert_int_equal(a->session.sa, sa);
	sim_destroy(sim);
}

/* RFC 7296 2.4: the identity's new SA in another engine ends what it has here, if that is older. */
static void test_replaced(void **state)
{
	static const struct {
		int64_t later_ms;
		uint8_t replaces;
		bool ends;
		const char *why;
	} rows[] = {
		{1, 1, true, "INITIAL_CONTACT there, later than here"},
		{-1, 1, false, "it was before: ours replaced it"},
		{1, 0, false, "a second SA of the peer beside the first"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim *sim = start(5 + i, A, B, 0, true);
		struct sim_node *a = &sim->node[0];

		sim_run(sim, 8000);
		assert_int_equal(sim_stats(sim, 0).sas_established_current, 1);
		struct ike_session s = session_of(
			a, a->session.since_ms + (uint64_t)rows[i].later_ms);

		s.replaces = rows[i].replaces;
		session_say(a, &s);
		if (sim_stats(sim, 0).sas_established_current != !rows[i].ends)
			fail_msg("%s", rows[i].why);
		sim_destroy(sim);
	}
}

/* Of two that begin in the same millisecond exactly one stays. */
static void test_tie(void **state)
{
	int n_left = 0;

	(void)state;
	for (int is_home = 0; is_home < 2; is_home++) {
		struct sim *sim = start(9, A, B, 0, is_home);
		struct sim_node *a = &sim->node[0];

		sim_run(sim, 8000);
		struct ike_session s = session_of(a, a->session.since_ms);

		s.replaces = 1;
		session_say(a, &s);
		n_left += (int)sim_stats(sim, 0).sas_established_current;
		sim_destroy(sim);
	}
	assert_int_equal(n_left, 1);
}

/* The home does not initiate for what is served elsewhere, and does when it is not any more. */
static void test_served_elsewhere(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct sim *sim = start(10, A, B, 1, true);
		struct sim_node *b = &sim->node[1];
		struct ike_session s = session_of(b, 1);
		struct ike_input lost = {
			.type = IKE_IN_ENGINE_LOST, .engine_number = !b->engine_number};

		session_say(b, &s);
		sim_run(sim, 90000);
		assert_int_equal(sim_stats(sim, 1).sas_created, 0);
		s.is_up = 0;
		s.is_superseded = how == 1; /* another one serves it still */
		if (how == 2)
			sim_input(b, &lost);
		else
			session_say(b, &s);
		sim_run(sim, 10000);
		assert_int_equal(sim_stats(sim, 1).sas_established_current, how != 1);
		sim_destroy(sim);
	}
}

/* A packet for the home's flow goes to who has the SA. */
static void test_acquire(void **state)
{
	struct sim *sim = start(11, A, B, 1, true);
	struct sim_node *b = &sim->node[1];
	struct ike_session s = session_of(b, 1);

	(void)state;
	session_say(b, &s);
	sim_run(sim, 3000);
	sim_acquire(b, "10.0.2.7", "10.0.1.8");
	sim_run(sim, 100);
	assert_int_equal(b->n_session_acquires, 1);
	assert_int_equal(b->session_acquire.engine, !b->engine_number);
	assert_int_equal(b->session_acquire.sa, 4711);
	assert_int_equal(sim_stats(sim, 1).sas_created, 0);
	sim_destroy(sim);
}

/* What it cannot make sense of: counted as nothing, kept nowhere. */
static void test_nonsense(void **state)
{
	struct sim *sim = start(12, A, B, 1, true);
	struct sim_node *b = &sim->node[1];
	struct ike_session good = session_of(b, 1), s;

	(void)state;
	s = good, s.engine = b->engine_number, session_say(b, &s);
	s = good, s.engine = 2, session_say(b, &s);
	s = good, s.engine = UINT32_MAX, session_say(b, &s);
	s = good, s.sa = 0, session_say(b, &s);
	s = good, s.remote.family = 5, session_say(b, &s);
	s = good, s.peer.len = UINT16_MAX, session_say(b, &s);
	s = good, s.is_up = 0, session_say(b, &s);
	/* None of them served the policy. */
	sim_run(sim, 8000);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* An orphan goes when its peer has a new SA in another engine, but not for one that it had beside
 * it already when the engine before us died. */
static void test_orphans(void **state)
{
	(void)state;
	for (uint64_t since_ms = 999; since_ms <= 1000; since_ms++) {
		struct sim *sim = sim_create(13, A, B);
		struct sim_node *a = &sim->node[0];

		a->n_engines = 2;
		a->since_ms = 1000;
		a->espd.n_held = 1;
		a->espd.held[0] = (struct ipc_held){.handle = 77,
			.generation = 1,
			.spi = 0x12345,
			.direction = IPC_DIR_OUT,
			.tunnel_src = a->addr,
			.tunnel_dst = sim->node[1].addr,
			.dstid = "FQDN/server2.domain"};
		sim->node[1].is_down = true;
		sim_start(sim);
		sim_run(sim, 1500);
		assert_int_equal(sim_stats(sim, 0).orphans_adopted, 1);
		assert_int_equal(a->n_session_queries, 1);
		struct ike_session s = session_of(a, since_ms);

		session_say(a, &s);
		sim_run(sim, 100);
		assert_int_equal(a->espd.n_held, since_ms < 1000);
		sim_destroy(sim);
	}
}

/* A reload takes the last configuration's flows out only when all engines have the new one. */
static void test_reload(void **state)
{
	struct sim *sim = start(14, A, B, 1, true);
	struct sim_node *b = &sim->node[1];

	(void)state;
	sim_run(sim, 1000);
	sim_simple(b, IKE_IN_CONFIG_COMMIT);
	sim_run(sim, 100);
	assert_int_equal(n_policy_flows(b), 2);
	sim_reload(b, "ikev2 'b' active esp from 10.0.2.0/24 to 10.0.3.0/24 peer 192.0.2.1" PSK);
	sim_run(sim, 100);
	assert_int_equal(n_policy_flows(b), 4);
	sim_simple(b, IKE_IN_CONFIG_COMMIT);
	sim_run(sim, 100);
	assert_int_equal(n_policy_flows(b), 2);
	/* Back and forth without an end: all that was replaced goes. */
	sim_reload(b, B);
	sim_reload(b, "ikev2 'b' active esp from 10.0.2.0/24 to 10.0.3.0/24 peer 192.0.2.1" PSK);
	sim_simple(b, IKE_IN_CONFIG_COMMIT);
	sim_run(sim, 100);
	assert_int_equal(n_policy_flows(b), 2);
	sim_destroy(sim);
}

/* Takes the place of a process that carries actions out. */
static void count_commands(void *ctx, struct ike_actions *actions)
{
	size_t *n = ctx;

	assert_in_range(actions->n, 4096, 4200);
	for (size_t i = 0; i < actions->n; i++)
		*n += actions->list[i]->type == IKE_ACT_COMMAND;
	ike_actions_reset(actions);
}

/* Take-over of very many SAs: each is named, and not all commands are in memory at once. */
static void test_many_orphans(void **state)
{
	enum { N = 20000 };
	struct sim *sim = sim_create(15, A, B);
	struct sim_node *a = &sim->node[0];
	struct ike_input in = {.type = IKE_IN_TRANSPORT_UP, .now_ms = 1};
	size_t n_flushed = 0, n_kept = 0;
	struct ike_actions actions = {.flush = count_commands, .flush_ctx = &n_flushed};

	(void)state;
	sim->node[1].is_down = true;
	sim_start(sim);
	ike_engine_destroy(a->engine);
	a->engine = ike_engine_create(&(struct ike_engine_params){
		.random = zeros, .log = &a->log, .n_engines = 2, .engine_number = 1});
	ike_engine_step(a->engine, &in, &actions);
	ike_actions_reset(&actions);
	in = (struct ike_input){.type = IKE_IN_CONFIG, .config = {a->config, 1}};
	ike_engine_step(a->engine, &in, &actions);
	ike_actions_reset(&actions);
	for (uint64_t i = 0; i < N; i++) {
		in = (struct ike_input){.type = IKE_IN_HELD};
		in.event.held = (struct ipc_held){.handle = 100 + i,
			.generation = 1,
			.direction = IPC_DIR_OUT,
			.tunnel_dst = {.family = 4, .b = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}}};
		ike_engine_step(a->engine, &in, &actions);
	}
	in = (struct ike_input){.type = IKE_IN_HELD_END};
	ike_engine_step(a->engine, &in, &actions);
	for (size_t i = 0; i < actions.n; i++)
		n_kept += actions.list[i]->type == IKE_ACT_COMMAND;
	/* The resync's begin and end, and the wish for SPIs. */
	assert_in_range(n_flushed + n_kept, N + 3, N + 8);
	assert_true(n_flushed >= N - 4096);
	ike_actions_fini(&actions);
	sim_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_home),
		cmocka_unit_test(test_telling),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_tie),
		cmocka_unit_test(test_served_elsewhere),
		cmocka_unit_test(test_acquire),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_many_orphans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
