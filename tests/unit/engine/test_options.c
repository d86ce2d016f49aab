#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "tests/unit/engine/sim.h"

/* What a rule or an option asks for, and peers that refuse some of it. */

#define PSK " psk 'mekmitasdigoat'\n"
#define A(mid, opts)                                                                     \
	"ikev2 'a' passive " mid " esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 " \
	"peer 198.51.100.1 " opts
#define B(mid, opts) \
	"ikev2 'b' active " mid " esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 " opts

static struct sim *up(uint64_t seed, const char *a, const char *b)
{
	struct sim *sim = sim_create(seed, a, b);

	sim_start(sim);
	sim_run(sim, 8000);
	return sim;
}

/* RFC 4303 2.2.1: extended sequence numbers are negotiated; both ends install the same. */
static void test_esn(void **state)
{
	static const struct {
		const char *a, *b;
		int children, esn;
		const char *why;
	} rows[] = {
		{A("", PSK), B("", PSK), 1, 1, "the default prefers them"},
		{A("", "childsa enc aes-256 noesn" PSK), B("", PSK), 1, 0,
			"the responder has none"},
		{A("", PSK), B("", "childsa enc aes-256 noesn" PSK), 1, 0,
			"the initiator has none"},
		{A("", "childsa enc aes-256 esn" PSK), B("", PSK), 1, 1, "the responder insists"},
		{A("", "childsa enc aes-256 esn" PSK), B("", "childsa enc aes-256 noesn" PSK), 0, 0,
			"nothing in common: no child, the IKE SA stays (RFC 7296 2.21.2)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim *sim = up(40 + i, rows[i].a, rows[i].b);

		print_message("%s\n", rows[i].why);
		assert_int_equal(sim_count(&sim->node[0]).sas, 1);
		assert_int_equal(sim_count(&sim->node[1]).sas, 1);
		assert_int_equal(sim_count(&sim->node[1]).children, rows[i].children);
		for (size_t s = 0; s < SIM_SAS; s++)
			if (sim->node[0].espd.sas[s].is_used)
				assert_int_equal(sim->node[0].espd.sas[s].add.flags & IPC_SA_ESN,
					rows[i].esn ? IPC_SA_ESN : 0);
		if (rows[i].children)
			sim_check_tunnel(sim, 1, 1);
		sim_destroy(sim);
	}
}

static struct endpoint first_from, first_to;

static bool note_first(struct sim *sim, int from, const struct ike_send *send)
{
	(void)sim;
	if (from == 1 && !first_to.port) {
		first_from = send->local;
		first_to = send->remote;
	}
	return true;
}

/* `natt` in a rule, at either end, and iked -t: ESP goes in UDP though no NAT is there. */
static void test_forced_encapsulation(void **state)
{
	static const struct {
		const char *a, *b;
		bool only_nat_t;
		uint16_t first_port;
	} rows[] = {
		{A("", PSK), B("natt", PSK), false, 500},
		{A("natt", PSK), B("", PSK), false, 500},
		{A("natt", PSK), B("natt", PSK), false, 500},
		{A("", PSK), B("", PSK), true, 4500},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim *sim = sim_create(50 + i, rows[i].a, rows[i].b);

		first_to.port = 0;
		sim->filter = note_first;
		sim->node[1].only_nat_t = rows[i].only_nat_t;
		sim_start(sim);
		sim_run(sim, 8000);
		sim_check_tunnel(sim, 1, 1);
		assert_int_equal(first_to.port, rows[i].first_port);
		assert_int_equal(first_from.port, rows[i].first_port);
		for (int n = 0; n < SIM_NODES; n++) {
			const struct ipc_path *path = &sim->node[n].espd.last_path;

			assert_int_equal(path->local.port, 4500);
			assert_int_equal(path->remote.port, 4500);
			if (!rows[i].only_nat_t || n == 1)
				assert_true(path->flags & IPC_PATH_UDP);
		}
		sim_traffic(sim);
		assert_int_equal(sim->packets_lost, 0);
		sim_destroy(sim);
	}
}

/* The responder proves another identity than `dstid`: the initiator takes no SA of it. */
static void test_wrong_responder(void **state)
{
	struct sim *sim = sim_create(60, A("", PSK), B("", "dstid server1.domain" PSK));
	struct ike_sa *sa = NULL;

	(void)state;
	sim_start(sim);
	/* It is to answer as somebody else: changed before its own AUTH is computed. */
	for (int i = 0; i < 10000 && (!sa || sa->wait != IKE_WAIT_PSK_PEER); i++) {
		sim_run(sim, 1);
		sa = sim->node[0].engine->sas;
	}
	assert_non_null(sa);
	assert_int_equal(ike_id_parse("evil.domain", &sa->local_id), 0);
	sim_run(sim, 5000);
	assert_true(sim_logged(sim, "peer is FQDN/evil.domain, dstid is FQDN/server1.domain"));
	/* RFC 7296 2.21.2: told by AUTHENTICATION_FAILED; nothing is installed or left. */
	assert_true(sim_logged(sim, "a: spi="));
	assert_int_equal(sim_count(&sim->node[1]).sas, 0);
	assert_int_equal(sim_count(&sim->node[1]).esp_out, 0);
	assert_int_equal(sim_count(&sim->node[0]).sas, 0);
	assert_int_equal(sim_count(&sim->node[0]).esp_out, 0);
	/* at the next try it is itself */
	sim_run(sim, 120000);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* Answers the CREATE_CHILD_SA requests of b with an error notify, in a's place. */
struct refuser {
	uint16_t notify;
	unsigned int n; /* how many more */
};

static bool refuse_child(struct sim *sim, int from, const struct ike_send *send)
{
	struct refuser *r = sim->filter_ctx;
	struct ike_sa *a = sim->node[0].engine->sas;
	struct ike_header h;

	if (from != 1 || !r->n || ike_header_decode(send->data, send->len, &h) < 0 ||
		h.exchange != IKE_EXCHANGE_CREATE_CHILD_SA)
		return true;
	r->n--;
	struct ike_header answer = {.spi_i = h.spi_i,
		.spi_r = h.spi_r,
		.version = IKE_VERSION,
		.exchange = h.exchange,
		.flags = IKE_FLAG_RESPONSE,
		.message_id = h.message_id};
	uint8_t payload[8] = {0, 0, 0, 8, 0, 0, (uint8_t)(r->notify >> 8), (uint8_t)r->notify};
	struct ike_datagrams out = {0};
	struct ike_input in = {.type = IKE_IN_DATAGRAM};

	assert_int_equal(ike_seal(&a->out, &sim->node[0].engine->rng, &answer, IKE_PAYLOAD_NOTIFY,
				 (struct bytes){payload, sizeof(payload)}, 0, &out),
		0);
	a->expected_id++;
	in.datagram = (struct ike_datagram){.local = send->local,
		.remote = send->remote,
		.data = ike_datagrams_at(&out, 0).data,
		.len = ike_datagrams_at(&out, 0).len};
	sim_later(&sim->node[1], 1, &in);
	ike_datagrams_fini(&out);
	return false;
}

#define MORE                                                                               \
	"from 10.0.1.0/24 to 10.0.3.0/24 from 10.0.1.0/24 to 10.0.4.0/24 local 192.0.2.1 " \
	"peer 198.51.100.1" PSK
#define MORE_B "from 10.0.3.0/24 to 10.0.1.0/24 from 10.0.4.0/24 to 10.0.1.0/24 peer 192.0.2.1" PSK

/* RFC 7296 2.9: SINGLE_PAIR_REQUIRED: each pair is asked for on its own. */
static void test_single_pair(void **state)
{
	struct refuser r = {.notify = IKE_N_SINGLE_PAIR_REQUIRED, .n = 1};
	struct sim *sim = up(
		61, "ikev2 'a' passive esp from 10.0.1.0/24 to 10.0.2.0/24 " MORE, B("", PSK));

	(void)state;
	assert_int_equal(sim_count(&sim->node[1]).children, 1);
	sim->filter = refuse_child;
	sim->filter_ctx = &r;
	sim_reload(&sim->node[1], "ikev2 'b' active esp from 10.0.2.0/24 to 10.0.1.0/24 " MORE_B);
	sim_run(sim, 20000);
	assert_int_equal(r.n, 0);
	sim_check_tunnel(sim, 1, 3);
	for (size_t i = 0; i < SIM_SAS; i++)
		if (sim->node[1].espd.sas[i].is_used)
			assert_int_equal(sim->node[1].espd.sas[i].n_selectors, 1);
	sim_traffic(sim);
	assert_int_equal(sim->packets_lost, 0);
	sim_destroy(sim);
}

/* RFC 7296 1.3: a child is refused for good: the IKE SA and the other children go on. */
static void test_child_refused(void **state)
{
	static const uint16_t notifies[] = {IKE_N_NO_ADDITIONAL_SAS, IKE_N_NO_PROPOSAL_CHOSEN,
		IKE_N_TS_UNACCEPTABLE, IKE_N_INVALID_SYNTAX};

	(void)state;
	for (size_t i = 0; i < sizeof(notifies) / sizeof(notifies[0]); i++) {
		struct refuser r = {.notify = notifies[i], .n = 1};
		struct sim *sim = up(62 + i,
			"ikev2 'a' passive esp from 10.0.1.0/24 to 10.0.2.0/24 " MORE, B("", PSK));

		sim->filter = refuse_child;
		sim->filter_ctx = &r;
		sim_reload(&sim->node[1],
			"ikev2 'b' active esp from 10.0.2.0/24 to 10.0.1.0/24 " MORE_B);
		sim_run(sim, 20000);
		assert_int_equal(r.n, 0);
		assert_int_equal(sim_count(&sim->node[1]).sas, 1);
		assert_true(sim_count(&sim->node[1]).children >= 1);
		sim_destroy(sim);
	}
}

/* ikectl reset policy: what runs under a policy that is still there goes on. */
static void test_reset_policy(void **state)
{
	struct sim *sim = up(70, A("", PSK), B("", PSK));
	struct sim_counts before = sim_count(&sim->node[0]);
	uint64_t spi = sim->node[0].engine->sas->spi_r;

	(void)state;
	for (int n = 0; n < SIM_NODES; n++)
		sim_input(&sim->node[n], &(struct ike_input){.type = IKE_IN_RESET,
						 .reset = {.what = IKE_RESET_POLICY}});
	sim_run(sim, 5000);
	sim_check_tunnel(sim, 1, 1);
	assert_true(sim->node[0].engine->sas->spi_r == spi);
	assert_int_equal(sim_count(&sim->node[0]).flows, before.flows);
	sim_traffic(sim);
	assert_int_equal(sim->packets_lost, 0);
	sim_destroy(sim);
}

static size_t longest;

static bool note_longest(struct sim *sim, int from, const struct ike_send *send)
{
	(void)sim;
	if (from == 1 && send->len > longest)
		longest = send->len;
	return true;
}

/* RFC 7383 2.5.1: what espd learns of the path bounds our own fragments, down to 576 bytes. */
static void test_pmtu(void **state)
{
	static const struct {
		uint32_t mtu;
		size_t packet; /* bytes of the longest IP packet */
		bool is_split;
	} rows[] = {{9000, 1280, false}, {1280, 1280, false}, {1000, 1000, false}, {600, 600, true},
		{68, 576, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* modp4096 and its many proposals: a rekey of more than 576 bytes */
		struct sim *sim = up(80 + i, A("", "ikesa enc aes-256 group modp4096" PSK),
			B("", "ikesa enc aes-256 group modp4096 group modp3072 group modp2048 "
			      "group ecp521 group ecp384 group ecp256 group curve25519 "
			      "childsa enc aes-256 group modp4096 group modp2048" PSK));
		struct sim_node *b = &sim->node[1];
		struct ike_input in = {.type = IKE_IN_PMTU};

		in.event.pmtu = (struct ipc_pmtu_event){
			.path = b->engine->sas->tunnel, .mtu = rows[i].mtu};
		sim_input(b, &in);
		longest = 0;
		sim->filter = note_longest;
		b->engine->sas->rekey_at_ms = sim->now_ms;
		ike_sa_update_timer(b->engine->sas);
		sim_run(sim, 8000);
		sim_check_tunnel(sim, 1, 1);
		assert_true(longest + 20 + 8 + 4 <= rows[i].packet);
		struct ike_stats stats;

		ike_engine_stats(b->engine, &stats);
		assert_int_equal(stats.sas_rekeyed, 1);
		assert_int_equal(stats.frag_sent != 0, rows[i].is_split);
		sim_destroy(sim);
	}
}

/* A clean stop: a peer that answers is told, one that does not holds us up for a second. */
static unsigned int lose_from_b;

static bool lose(struct sim *sim, int from, const struct ike_send *send)
{
	(void)sim;
	(void)send;
	if (from != 1 || !lose_from_b)
		return true;
	lose_from_b--;
	return false;
}

static void test_stop(void **state)
{
	static const struct {
		unsigned int lost;
		bool is_down;
		uint64_t ms;
		size_t left; /* SAs at the peer */
	} rows[] = {{0, false, 20, 0}, {1, false, 300, 0}, {2, false, 600, 0}, {0, true, 1100, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim *sim = up(90 + i, A("", PSK), B("", PSK));

		lose_from_b = rows[i].lost;
		sim->filter = lose;
		sim->node[0].is_down = rows[i].is_down;
		sim_simple(&sim->node[1], IKE_IN_STOP);
		assert_int_equal(sim_count(&sim->node[1]).esp_out, 0);
		assert_int_equal(sim_count(&sim->node[1]).flows, 0);
		assert_false(ike_engine_is_idle(sim->node[1].engine));
		sim_run(sim, rows[i].ms);
		assert_true(ike_engine_is_idle(sim->node[1].engine));
		assert_int_equal(sim_count(&sim->node[0]).sas, rows[i].left);
		sim_destroy(sim);
	}
}

/* Also when another request waits for its answer: a peer that is there gives it quickly. */
static void test_stop_while_asking(void **state)
{
	struct sim *sim = up(95, A("", PSK), B("", PSK));

	(void)state;
	lose_from_b = 2;
	sim->filter = lose;
	sim_soft_expire(&sim->node[1]); /* its request is lost, and once more */
	sim_run(sim, 2500);
	assert_int_equal(lose_from_b, 0);
	sim_simple(&sim->node[1], IKE_IN_STOP);
	sim_run(sim, 1100);
	assert_true(ike_engine_is_idle(sim->node[1].engine));
	assert_int_equal(sim_count(&sim->node[0]).sas, 0);
	sim_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_esn),
		cmocka_unit_test(test_forced_encapsulation),
		cmocka_unit_test(test_wrong_responder),
		cmocka_unit_test(test_single_pair),
		cmocka_unit_test(test_child_refused),
		cmocka_unit_test(test_reset_policy),
		cmocka_unit_test(test_pmtu),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_stop_while_asking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
