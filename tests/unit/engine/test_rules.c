#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/wire/ike.h"
#include "tests/unit/engine/rules.h"
#include "tests/unit/engine/sim.h"

/* One rule a test, each a short story of two engines. */

static struct sim *up(uint64_t seed, const char *a, const char *b)
{
	struct sim *sim = sim_create(seed, a, b);

	sim_start(sim);
	sim_run(sim, 8000);
	return sim;
}

/* RFC 7296 1.2: the responder wants another group than the KE's. */
static void test_invalid_ke(void **state)
{
	struct sim *sim = up(1, A("ikesa group ecp256" PSK),
		B("ikesa group curve25519 group ecp256 ikelifetime 60" PSK));

	(void)state;
	/* HDR, SAi1, KEi(x25519), Ni -->  <-- N(INVALID_KE_PAYLOAD)  then all again with P-256 */
	assert_int_equal(sim_stats(sim, 1).invalid_ke, 1);
	sim_check_tunnel(sim, 1, 1);
	/* RFC 7296 1.3.2: rekeys begin with the group that was agreed on. */
	sim_run(sim, 200000);
	assert_true(sim_stats(sim, 1).sas_rekeyed >= 3);
	assert_int_equal(sim_stats(sim, 1).invalid_ke, 1);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
	/* Field case B12: a KE that is acceptable is taken, though not the first choice. */
	sim = up(2, A("ikesa group curve25519 group ecp256" PSK),
		B("ikesa group ecp256 group curve25519" PSK));
	assert_int_equal(sim_stats(sim, 0).invalid_ke, 0);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* Requests from many sources, each with its own SPI, never followed by IKE_AUTH. */
static uint8_t captured[2048];
static size_t captured_len;

static bool capture_init(struct sim *sim, int from, const struct ike_send *send)
{
	(void)sim;
	if (from == 1 && send->data[18] == IKE_EXCHANGE_SA_INIT && send->len < sizeof(captured)) {
		memcpy(captured, send->data, send->len);
		captured_len = send->len;
	}
	return true;
}

static void flood(struct sim *sim, unsigned int n)
{
	struct endpoint from = {.addr = {.family = 4, .b = {203, 0, 113, 1}}, .port = 500};

	for (unsigned int i = 0; i < n; i++) {
		from.addr.b[2] = (uint8_t)(i >> 8);
		from.addr.b[3] = (uint8_t)i;
		memcpy(captured, &i, sizeof(i));
		captured[7] = 0x5a;
		sim_datagram(&sim->node[0], &from, 500, false, captured, captured_len);
	}
}

/* RFC 7296 2.6, field case B14: under load a stateless COOKIE, also before INVALID_KE. */
static void test_cookie_under_load(void **state)
{
	struct sim *sim = sim_create(
		3, ANY("ikesa group ecp256" PSK), B("ikesa group curve25519 group ecp256" PSK));

	(void)state;
	sim->filter = capture_init;
	sim_start(sim);
	sim_run(sim, 8000);
	sim_check_tunnel(sim, 1, 1);
	/* captured holds an IKE_SA_INIT with P-256 */
	flood(sim, 1000);
	assert_true(sim_stats(sim, 0).cookies_sent > 700);
	assert_true(sim_stats(sim, 0).half_open_current <= 256);
	/* Now a good one: COOKIE, INVALID_KE_PAYLOAD with the cookie kept, and it stands. */
	sim_input(&sim->node[1],
		&(struct ike_input){.type = IKE_IN_RESET, .reset = {.what = IKE_RESET_ALL}});
	sim_run(sim, 1000);
	flood(sim, 1000);
	sim_run(sim, 8000);
	assert_true(sim_logged(sim, "SA_INIT -> COOKIE"));
	assert_int_equal(sim_count(&sim->node[1]).sas, 1);
	assert_int_equal(sim_count(&sim->node[1]).children, 1);
	/* The strangers are gone after their time. */
	sim_run(sim, 200000);
	assert_int_equal(sim_stats(sim, 0).half_open_current, 0);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* Field case B07: no key for us: others go on, this one waits longer each time. */
static void test_missing_credential(void **state)
{
	struct sim *sim = sim_create(4, A("\n"),
		B("\n") "ikev2 'c' active esp from 10.0.4.0/24 to 10.0.1.0/24 "
			"peer 203.0.113.9" PSK);

	(void)state;
	EVP_PKEY_free(sim->node[1].key);
	sim->node[1].key = NULL;
	sim_start(sim);
	sim_run(sim, 600 * 1000);
	assert_int_equal(sim_count(&sim->node[1]).sas, 0);
	assert_true(sim_logged(sim, "b: spi="));
	assert_true(sim_logged(sim, "no usable key for FQDN/server2.domain (policy 'b')"));
	/* at 2, 62, 182, 422 s: four tries */
	assert_int_equal(sim->node[1].n_auth_requests, 4);
	/* the other policy went on trying */
	assert_true(sim_stats(sim, 1).requests_retransmitted > 5);
	sim_destroy(sim);
}

/* The key process does not answer: the SA ends at the deadline, late answers are ignored. */
static void test_silent_key_process(void **state)
{
	struct sim *sim = sim_create(5, A(PSK), B(PSK));

	(void)state;
	sim->node[0].keys_silent = true;
	sim_start(sim);
	sim_run(sim, 20000);
	/* repeats of IKE_AUTH are dropped while its first copy waits */
	assert_true(sim_stats(sim, 0).requests_dropped_busy >= 2);
	sim_run(sim, 30000);
	assert_int_equal(sim_count(&sim->node[0]).sas, 0);
	assert_true(sim_logged(sim, "authentication failed notification from peer"));
	sim->node[0].keys_silent = false;
	sim_run(sim, 120000);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* Any dstid but our own name is strict; so is a key that is not the peer's. */
static void test_wrong_identity_or_key(void **state)
{
	struct sim *sim = up(6, A("\n"), B("dstid other.domain\n"));

	(void)state;
	/* RFC 7296 1.2: IDr is a wish; the initiator closes the SA when it is not met. */
	assert_true(sim_logged(
		sim, "peer asks for FQDN/other.domain, answering as FQDN/server1.domain"));
	assert_true(sim_logged(sim, "peer is FQDN/server1.domain, dstid is FQDN/other.domain"));
	sim_run(sim, 30000);
	assert_int_equal(sim_count(&sim->node[0]).sas + sim_count(&sim->node[1]).sas, 0);
	assert_int_equal(sim_count(&sim->node[0]).children, 0);
	sim_destroy(sim);

	sim = sim_create(7, A(PSK), B(PSK));
	sim->node[1].psk = "wrong";
	sim_start(sim);
	sim_run(sim, 8000);
	assert_true(sim_logged(sim, "pre-shared key differs"));
	sim_run(sim, 30000);
	assert_int_equal(sim_count(&sim->node[0]).sas + sim_count(&sim->node[1]).sas, 0);
	sim_destroy(sim);

	sim = sim_create(8, A("\n"), B("\n"));
	sim->node[0].no_pubkeys = true;
	sim_start(sim);
	sim_run(sim, 8000);
	assert_true(sim_logged(sim, "authentication failed for FQDN/server2.domain: no such file"));
	assert_int_equal(sim_count(&sim->node[1]).sas, 0);
	sim_destroy(sim);
}

/* RFC 7296 2.23, field case B30: NAT found, float to 4500, the peer's new port is followed. */
static void test_nat(void **state)
{
	struct sim *sim = sim_create(9, A(PSK), B(PSK));

	(void)state;
	sim_nat_b(sim);
	sim_start(sim);
	sim_run(sim, 8000);
	sim_check_tunnel(sim, 1, 1);
	assert_true(sim_logged(sim, ", NAT-T"));
	const struct ipc_path *path = &sim->node[0].espd.last_path;

	assert_int_equal(path->flags, IPC_PATH_UDP | IPC_PATH_PEER_NATTED);
	assert_int_equal(path->local.port, 4500);
	assert_int_equal(path->remote.port, sim->node[1].nat_ports[1]);
	assert_int_equal(sim->node[1].espd.last_path.flags, IPC_PATH_UDP | IPC_PATH_KEEPALIVE);
	assert_int_equal(sim->node[1].espd.last_path.remote.port, 4500);
	/* The NAT forgets; b's next message (a DPD probe) comes from elsewhere. */
	sim->node[1].nat_ports[1] = 0;
	sim_run(sim, 400 * 1000);
	assert_true(sim_logged(sim, "a: spi="));
	assert_true(sim_stats(sim, 0).nat_changes >= 1);
	assert_int_equal(path->remote.port, sim->node[1].nat_ports[1]);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* Field case B49: the responder answers what both allow. */
static void test_narrowing(void **state)
{
	struct sim *sim = up(10,
		"ikev2 passive esp from 10.1.0.0/16 to 10.2.0.0/16 from 10.3.0.0/16 to 10.2.0.0/16 "
		"peer 198.51.100.1 local 192.0.2.1" PSK,
		"ikev2 active esp from 0.0.0.0/0 to 0.0.0.0/0 peer 192.0.2.1" PSK);

	(void)state;
	assert_int_equal(sim_count(&sim->node[0]).children, 1);
	assert_int_equal(sim_count(&sim->node[1]).children, 1);
	for (size_t i = 0; i < SIM_SAS; i++)
		if (sim->node[1].espd.sas[i].is_used)
			assert_int_equal(sim->node[1].espd.sas[i].n_selectors, 2);
	/* At rekey what was agreed is proposed: the same two pairs. */
	sim_soft_expire(&sim->node[1]);
	sim_run(sim, 60000);
	assert_int_equal(sim_count(&sim->node[0]).children, 1);
	assert_int_equal(sim_count(&sim->node[1]).children, 1);
	for (size_t i = 0; i < SIM_SAS; i++)
		if (sim->node[0].espd.sas[i].is_used)
			assert_int_equal(sim->node[0].espd.sas[i].n_selectors, 2);
	sim_destroy(sim);

	/* Nothing in common: the IKE SA stays, without a child (RFC 7296 2.9, 2.21.2). */
	sim = up(11,
		"ikev2 passive esp from 10.1.0.0/16 to 10.2.0.0/16 peer 198.51.100.1 local "
		"192.0.2.1" PSK,
		"ikev2 active esp from 10.8.0.0/16 to 10.9.0.0/16 peer 192.0.2.1" PSK);
	assert_int_equal(sim_count(&sim->node[0]).sas, 1);
	assert_int_equal(sim_count(&sim->node[0]).children, 0);
	assert_int_equal(sim_count(&sim->node[1]).esp_in, 0);
	assert_true(sim_logged(sim, "no CHILD SA: TS_UNACCEPTABLE"));
	sim_destroy(sim);
}

/* The FAQ's words of warning: from A to A never cuts a network off from its gateway. */
static void test_faq_words_of_warning(void **state)
{
	struct sim *sim = up(12,
		"ikev2 'server1_rsa' passive esp from 10.0.1.0/24 to 10.0.2.0/24 "
		"from 10.0.1.0/24 to 198.51.100.1 from 192.0.2.1 to 10.0.2.0/24 "
		"local 192.0.2.1 peer 198.51.100.1 srcid server1.domain\n",
		"ikev2 'server2_rsa' active esp from 10.0.2.0/24 to 10.0.2.0/24 "
		"from 10.0.2.0/24 to 192.0.2.1 from 198.51.100.1 to 10.0.1.0/24 "
		"peer 192.0.2.1 dstid server2.domain\n");
	struct ip_prefix lan;

	(void)state;
	assert_int_equal(prefix_parse("10.0.2.0/24", &lan), 0);
	for (size_t i = 0; i < SIM_FLOWS; i++) {
		const struct sim_flow *f = &sim->node[1].espd.flows[i];

		if (f->is_used)
			assert_false(prefix_equal(&f->flow.src, &lan) &&
				     prefix_equal(&f->flow.dst, &lan));
	}
	assert_true(sim_count(&sim->node[1]).children >= 1);
	sim->packets_sent = sim->packets_lost = 0;
	sim_destroy(sim);
}

/* design.md: espd gone and back: nothing is sent meanwhile, SAs are pushed before anything. */
static void test_espd_restart(void **state)
{
	struct sim *sim = up(13, A(PSK), B(PSK));
	struct sim_node *a = &sim->node[0];

	(void)state;
	sim_simple(a, IKE_IN_TRANSPORT_DOWN);
	sim_espd_restart(a, false);
	sim_run(sim, 300 * 1000);
	sim_simple(a, IKE_IN_TRANSPORT_UP);
	assert_true(a->espd.is_ready);
	assert_int_equal(sim_count(a).esp_in, 1);
	sim_run(sim, 5000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_stats(sim, 0).restored, 1);
	/* Without its sequence numbers: every SA gets new keys, under the same IKE SA. */
	sim_simple(a, IKE_IN_TRANSPORT_DOWN);
	sim_espd_restart(a, true);
	sim_simple(a, IKE_IN_TRANSPORT_UP);
	sim_run(sim, 60000);
	assert_int_equal(sim_stats(sim, 0).restore_rekeyed, 1);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_stats(sim, 0).sas_created, 1);
	sim_destroy(sim);
}

/* A new engine finds SAs of the one before: kept until the same identity has new ones. */
static void test_orphans(void **state)
{
	struct sim *sim = sim_create(14, A(PSK), B(PSK));
	struct sim_espd *espd = &sim->node[1].espd;

	(void)state;
	espd->n_held = 1;
	espd->held[0] = (struct ipc_held){.handle = 77,
		.generation = 1,
		.spi = 0x12345,
		.direction = IPC_DIR_OUT,
		.tunnel_src = sim->node[1].addr,
		.tunnel_dst = sim->node[0].addr,
		.dstid = "FQDN/server1.domain"};
	sim_start(sim);
	sim_run(sim, 1500);
	assert_int_equal(sim_stats(sim, 1).orphans_adopted, 1);
	assert_int_equal(espd->n_held, 1);
	sim_run(sim, 8000);
	assert_int_equal(espd->n_held, 0);
	assert_int_equal(sim_stats(sim, 1).orphans_deleted, 1);
	/* RFC 7296 2.4: no INITIAL_CONTACT while something is left. */
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

static void restart_engine(struct sim *sim, int node)
{
	ike_engine_destroy(sim->node[node].engine);
	sim->node[node].engine = NULL;
	sim_run(sim, 1000);
	sim_start_node(&sim->node[node]);
	sim_run(sim, 1000);
}

/* iked dies and comes back, as responder for anybody: the tunnel goes on, whether its flow is
 * the policy's or was narrowed, until the same peer has a new one; then nothing is left over. */
static void test_engine_restart(void **state)
{
	static const char *const confs[] = {
		"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 peer any" PSK,
		"ikev2 passive esp from 10.0.1.0/24 to 10.0.0.0/8 peer any" PSK,
		"ikev2 passive esp from 10.0.0.0/8 to 10.0.0.0/8 peer any" PSK,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
		struct sim *sim = up(30 + i, confs[i], B(PSK));
		struct sim_counts before = sim_count(&sim->node[0]);

		sim_check_tunnel(sim, 1, 1);
		restart_engine(sim, 0);
		assert_int_equal(sim_stats(sim, 0).orphans_adopted, 2);
		assert_int_equal(sim_count(&sim->node[0]).flows, before.flows);
		sim_traffic(sim);
		sim_run(sim, 100);
		/* what no peer ever agreed to has no SA, before as after */
		assert_int_equal(sim->packets_sent - sim->packets_lost, 2);
		/* once more: the SAs are held as before */
		restart_engine(sim, 0);
		assert_int_equal(sim_stats(sim, 0).orphans_adopted, 2);
		assert_int_equal(sim_count(&sim->node[0]).flows, before.flows);
		sim_input(&sim->node[1], &(struct ike_input){.type = IKE_IN_RESET,
						 .reset = {.what = IKE_RESET_ALL}});
		sim_run(sim, 8000);
		assert_int_equal(sim_stats(sim, 0).orphans_deleted, 2);
		assert_int_equal(sim_count(&sim->node[0]).esp_in, 1);
		assert_int_equal(sim_count(&sim->node[0]).flows, before.flows);
		sim->packets_sent = sim->packets_lost = 0;
		sim_traffic(sim);
		assert_int_equal(sim->packets_sent - sim->packets_lost, 2);
		sim_destroy(sim);
	}
}

/* Field case B43: killed and back: INITIAL_CONTACT leaves one IKE SA, one child. */
static void test_peer_comes_back(void **state)
{
	struct sim *sim = up(15, A(PSK), B(PSK));

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct sim_node *b = &sim->node[1];

		ike_engine_destroy(b->engine);
		b->engine = NULL;
		b->rng += 12345;
		sim_espd_restart(b, false);
		sim_run(sim, 3000);
		sim_start_node(b);
		sim_run(sim, 8000);
	}
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_stats(sim, 0).sas_established_total, 6);
	sim_destroy(sim);
}

/* DELETE: `reset sa` at one side takes all of both; the active side starts again. */
static void test_reset_and_stop(void **state)
{
	struct sim *sim = up(16, A(PSK), B(PSK));

	(void)state;
	sim_input(&sim->node[0],
		&(struct ike_input){.type = IKE_IN_RESET,
			.reset = {.what = IKE_RESET_ID, .id = "FQDN/server2.domain"}});
	sim_run(sim, 1000);
	assert_int_equal(sim_count(&sim->node[0]).sas, 0);
	assert_int_equal(sim_count(&sim->node[1]).esp_in, 0);
	sim_run(sim, 10000);
	sim_check_tunnel(sim, 1, 1);
	sim_simple(&sim->node[1], IKE_IN_STOP);
	sim_run(sim, 30000);
	assert_true(ike_engine_is_idle(sim->node[1].engine));
	assert_int_equal(sim_count(&sim->node[1]).flows, 0);
	assert_int_equal(sim_count(&sim->node[0]).sas, 0);
	/* Fail closed: the flows of a policy outlive its SAs. */
	assert_int_equal(sim_count(&sim->node[0]).flows, 3);
	sim_destroy(sim);
}

/* `ikectl reset sa` and `ipsecctl -F` leave nothing; with the first tunnel that comes back all
 * flows do, the deny too, and those of policies without one. */
static void flows_come_back(bool is_flush)
{
	struct sim *sim = up(25,
		A(PSK) "ikev2 'other' passive esp from 10.0.7.0/24 to 10.0.8.0/24 local 192.0.2.1 "
		       "peer 203.0.113.77" PSK,
		B(PSK));

	assert_int_equal(sim_count(&sim->node[0]).flows, 5);
	if (is_flush) {
		sim_espd_restart(&sim->node[0], false);
		sim->node[0].espd.is_ready = true;
		sim_simple(&sim->node[0], IKE_IN_FLUSHED);
	} else {
		sim_input(&sim->node[0],
			&(struct ike_input){.type = IKE_IN_RESET, .reset = {.what = IKE_RESET_SA}});
	}
	sim_run(sim, 500);
	assert_int_equal(sim_count(&sim->node[0]).sas + sim_count(&sim->node[0]).esp_in, 0);
	assert_int_equal(sim_count(&sim->node[0]).flows, 0);
	sim_run(sim, 10000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_count(&sim->node[0]).flows, 5);
	sim_destroy(sim);
}

static void test_flows_come_back(void **state)
{
	(void)state;
	flows_come_back(false);
	flows_come_back(true);
}

/* RFC 7296 2.4: a dead peer is noticed, first by an unanswered flow, or by silence. */
static void test_dead_peer(void **state)
{
	struct sim *sim = up(17, A(PSK), B(PSK));

	(void)state;
	sim->node[0].is_down = true;
	for (int i = 0; i < 4; i++) {
		sim->node[1].espd.sas[1].packets += 5; /* one of the two is the outbound one */
		sim->node[1].espd.sas[0].packets += 5 * (i == 0);
		sim_run(sim, 61 * 1000);
	}
	sim_run(sim, 600 * 1000);
	assert_true(sim_stats(sim, 1).dpd_sent >= 1);
	assert_int_equal(sim_count(&sim->node[1]).sas, 0);
	sim->node[0].is_down = false;
	sim_run(sim, 1200 * 1000);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* ikectl decouple and couple. */
static void test_decouple(void **state)
{
	struct sim *sim = up(18, A(PSK), B(PSK));

	(void)state;
	sim_simple(&sim->node[1], IKE_IN_DECOUPLE);
	assert_int_equal(sim_count(&sim->node[1]).esp_in, 0);
	assert_int_equal(sim_count(&sim->node[1]).flows, 0);
	assert_int_equal(sim_count(&sim->node[1]).sas, 1);
	sim->node[1].espd.forgets = true; /* deleted SAs leave no record */
	sim_simple(&sim->node[1], IKE_IN_COUPLE);
	sim_run(sim, 60000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_count(&sim->node[1]).flows, 3);
	sim_destroy(sim);
}

/* A reload moves SAs to the policy that fits, and ends those without one. */
static void test_reload(void **state)
{
	struct sim *sim = up(19, A(PSK), B(PSK));

	(void)state;
	sim_reload(&sim->node[0],
		"ikev2 'other' passive esp from 10.0.7.0/24 to 10.0.8.0/24 local 192.0.2.1 "
		"peer 203.0.113.77" PSK A(PSK));
	sim_run(sim, 3000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_stats(sim, 0).sas_created, 1);
	assert_int_equal(sim_count(&sim->node[0]).flows, 5);
	sim_reload(&sim->node[0],
		"ikev2 'other' passive esp from 10.0.7.0/24 to 10.0.8.0/24 local 192.0.2.1 "
		"peer 203.0.113.77" PSK);
	sim_run(sim, 500);
	assert_int_equal(sim_count(&sim->node[0]).sas, 0);
	assert_int_equal(sim_count(&sim->node[0]).flows, 3);
	sim_destroy(sim);
}

/* Field cases B45, B47: what is no IKEv2, of no SA, or cut short. */
static void test_stray(void **state)
{
	struct sim *sim = up(20, A(PSK), B(PSK));
	struct endpoint from = {.addr = {.family = 4, .b = {203, 0, 113, 9}}, .port = 500};
	uint8_t m[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 46, 0x20, 37, 8};
	uint64_t sent = sim->node[0].n_sent;

	(void)state;
	for (size_t len = 0; len <= 28; len++)
		sim_datagram(&sim->node[0], &from, 500, false, m, len);
	assert_int_equal(sim->node[0].n_sent, sent);
	m[27] = sizeof(m);
	/* RFC 7296 2.21.4: INVALID_IKE_SPI, at most so many a second */
	for (int i = 0; i < 100; i++)
		sim_datagram(&sim->node[0], &from, 500, false, m, sizeof(m));
	assert_int_equal(sim->node[0].n_sent, sent + 10);
	/* never as answer to an answer */
	sim_run(sim, 2000);
	m[19] = 0x20;
	sim_datagram(&sim->node[0], &from, 500, false, m, sizeof(m));
	assert_int_equal(sim->node[0].n_sent, sent + 10);
	/* RFC 7296 2.5: version 3: INVALID_MAJOR_VERSION; 1: nothing */
	m[19] = 8;
	m[17] = 0x30;
	sim_datagram(&sim->node[0], &from, 500, false, m, sizeof(m));
	assert_int_equal(sim->node[0].n_sent, sent + 11);
	m[17] = 0x10;
	for (int exchange = 0; exchange < 256; exchange++) {
		m[18] = (uint8_t)exchange;
		sim_datagram(&sim->node[0], &from, 500, false, m, sizeof(m));
	}
	assert_int_equal(sim->node[0].n_sent, sent + 11);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

/* RFC 7383: RSA keys and small packets: IKE_AUTH goes in fragments, both ways. */
static void test_fragments(void **state)
{
	struct sim *sim = sim_create(
		21, "set fragmentation\n" A("rsa\n"), "set fragmentation\n" B("\n"));

	(void)state;
	sim_use_rsa(sim);
	sim->faults.jitter_ms = 30;
	sim->faults.twice = 30;
	sim_start(sim);
	sim_run(sim, 20000);
	sim_check_tunnel(sim, 1, 1);
	assert_true(sim_stats(sim, 1).frag_sent >= 2);
	assert_true(sim_stats(sim, 0).frag_reassembled >= 1);
	sim_destroy(sim);
	/* Either side may have none of it. */
	for (int none = 0; none < 2; none++) {
		sim = sim_create(24 + none, none ? "set nofragmentation\n" A("rsa\n") : A("rsa\n"),
			none ? "set fragmentation\n" B("\n") : "set nofragmentation\n" B("\n"));
		sim_use_rsa(sim);
		sim_start(sim);
		sim_run(sim, 20000);
		sim_check_tunnel(sim, 1, 1);
		assert_int_equal(sim_stats(sim, 0).frag_sent + sim_stats(sim, 1).frag_sent, 0);
		sim_destroy(sim);
	}
}

/* RFC 7296 1.3.1: transport mode, if both say so. */
static void test_transport_mode(void **state)
{
	struct sim *sim = up(22,
		"ikev2 passive transport esp from 192.0.2.1 to 198.51.100.1 local 192.0.2.1 peer "
		"198.51.100.1" PSK,
		"ikev2 active transport esp from 198.51.100.1 to 192.0.2.1 peer 192.0.2.1" PSK);

	(void)state;
	sim_check_tunnel(sim, 1, 1);
	for (size_t i = 0; i < SIM_SAS; i++)
		if (sim->node[0].espd.sas[i].is_used)
			assert_int_equal(sim->node[0].espd.sas[i].add.mode, IPC_MODE_TRANSPORT);
	sim_destroy(sim);
}

/* espd refuses an SA: the child is deleted at both ends, the IKE SA goes on. */
static void test_espd_refuses(void **state)
{
	struct sim *sim = sim_create(23, A(PSK), B(PSK));

	(void)state;
	sim_start(sim);
	sim->node[0].espd.fail_next_add = IPC_E_FULL;
	sim_run(sim, 20000);
	assert_int_equal(sim_stats(sim, 0).commands_failed, 1);
	assert_int_equal(sim_count(&sim->node[0]).sas, 1);
	assert_int_equal(sim_count(&sim->node[1]).esp_in, 0);
	/* the next packet asks for another */
	sim_traffic(sim);
	sim_run(sim, 20000);
	assert_true(sim_count(&sim->node[1]).children >= 1);
	sim_check_invariants(sim);
	sim_destroy(sim);
}

/* IPv4 and IPv6 inside IPv6; no deny flow where a policy has IPv6 flows. */
static void test_ipv6_outside(void **state)
{
	struct sim *sim = sim_create(24,
		"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 from fd00:1::/64 to fd00:2::/64 "
		"local 2001:db8::1 peer 2001:db8::2" PSK,
		"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 from fd00:2::/64 to fd00:1::/64 "
		"peer 2001:db8::1" PSK);

	(void)state;
	sim_use_v6(sim);
	sim_start(sim);
	sim_run(sim, 8000);
	sim_check_tunnel(sim, 1, 1);
	assert_int_equal(sim_count(&sim->node[0]).flows, 4);
	sim_traffic(sim);
	assert_int_equal(sim->packets_sent, 4);
	assert_int_equal(sim->packets_lost, 0);
	sim_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invalid_ke),
		cmocka_unit_test(test_cookie_under_load),
		cmocka_unit_test(test_missing_credential),
		cmocka_unit_test(test_silent_key_process),
		cmocka_unit_test(test_wrong_identity_or_key),
		cmocka_unit_test(test_nat),
		cmocka_unit_test(test_narrowing),
		cmocka_unit_test(test_faq_words_of_warning),
		cmocka_unit_test(test_espd_restart),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_engine_restart),
		cmocka_unit_test(test_peer_comes_back),
		cmocka_unit_test(test_reset_and_stop),
		cmocka_unit_test(test_flows_come_back),
		cmocka_unit_test(test_dead_peer),
		cmocka_unit_test(test_decouple),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_stray),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_transport_mode),
		cmocka_unit_test(test_espd_refuses),
		cmocka_unit_test(test_ipv6_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
