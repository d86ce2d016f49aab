#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/auth/sign.h"
#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "tests/unit/engine/rules.h"
#include "tests/unit/engine/sim.h"
#include "tests/unit/ike/fixtures.h"

/* What went wrong elsewhere, each as a test of its whole kind. */

/* ---- IKE_SA_INIT as bytes ------------------------------------------------------------------ */

struct answered {
	uint8_t data[2048];
	size_t len;
	struct ike_message m;
};

static bool take_answer(struct sim *sim, int from, const struct ike_send *send)
{
	struct answered *a = sim->filter_ctx;

	if (from != 0)
		return true;
	assert_true(send->len <= sizeof(a->data));
	memcpy(a->data, send->data, send->len);
	a->len = send->len;
	return false;
}

/* What node a says to these bytes from a host of its own; NULL: nothing. */
static const struct ike_message *say(struct sim *sim, uint8_t host, const void *data, size_t len)
{
	struct answered *a = sim->filter_ctx;
	struct endpoint from = {.addr = {.family = 4, .b = {203, 0, 113, host}}, .port = 500};

	a->len = 0;
	sim_datagram(&sim->node[0], &from, 500, false, data, len);
	if (!a->len)
		return NULL;
	assert_int_equal(ike_message_decode(a->data, a->len, &a->m), 0);
	return &a->m;
}

static struct sim *listening(struct answered *a, uint64_t seed, const char *conf)
{
	struct sim *sim = sim_create(seed, conf, "set passive\n");

	sim->filter = take_answer;
	sim->filter_ctx = a;
	sim_start(sim);
	sim_run(sim, 3000);
	return sim;
}

/* Field case B08: a client's whole list, the weakest first, one group. */
static void test_stock_client(void **state)
{
	static const struct {
		const char *rule;
		unsigned int number; /* 0: refused */
		unsigned int n_transforms;
		const char *why;
	} rows[] = {
		{"", 0, 0, "no MODP_1024 by default (RFC 8247 2.4)"},
		{"ikesa enc aes-256 enc aes-128 enc 3des auth hmac-sha2-256 auth hmac-sha1 "
		 "prf hmac-sha2-256 prf hmac-sha1 group modp1024",
			11, 4, "our order: AES-256, SHA2-256"},
		{"ikesa enc aes-256-gcm prf hmac-sha2-256 group modp1024 "
		 "ikesa enc aes-256 auth hmac-sha2-256 prf hmac-sha2-256 group modp1024",
			17, 3, "GCM first in the policy, last in the offer"},
		{"ikesa enc 3des auth hmac-sha1 prf hmac-sha1 group modp1024", 1, 4,
			"the weakest, if nothing else is named"},
		{"ikesa enc aes-256 auth hmac-sha2-256 prf hmac-sha2-256 group modp2048", 0, 0,
			"the group alone is missing"},
	};
	struct answered *answer = calloc(1, sizeof(*answer));
	uint8_t data[2048];
	size_t len = fixture_windows_init(data, sizeof(data));

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char conf[512];

		snprintf(conf, sizeof(conf), ANY("%s" PSK), rows[i].rule);
		struct sim *sim = listening(answer, 100 + i, conf);
		const struct ike_message *m = say(sim, 9, data, len);

		assert_non_null(m);
		if (!rows[i].number) {
			assert_non_null(ike_message_notify(m, IKE_N_NO_PROPOSAL_CHOSEN));
			/* Both sides are named, so that one sees what is missing. */
			assert_true(sim_logged(sim, "a: 203.0.113.9:500: no proposal chosen"));
			assert_true(sim_logged(sim, "the peer offers 1 IKE: 3DES"));
			assert_true(sim_logged(sim, "MODP_1024; 18 IKE: AES_GCM_16-256"));
			assert_true(
				sim_logged(sim, "a: 203.0.113.9:500: policy 'a' takes 1 IKE: "));
			assert_int_equal(sim_stats(sim, 0).half_open_current, 0);
		} else if (m->offer.n_proposals != 1 ||
			   m->offer.proposals[0].number != rows[i].number ||
			   m->offer.n_transforms != rows[i].n_transforms) {
			fail_msg("%s: number %u", rows[i].why, m->offer.proposals[0].number);
		}
		sim_destroy(sim);
	}
	free(answer);
}

/* Field case B45 before there are keys: what is unknown and critical, versions, reserved bits. */
static void test_unknown_in_sa_init(void **state)
{
	static const struct {
		uint8_t version, flags, critical;
		uint16_t notify; /* 0: goes on */
		const char *why;
	} rows[] = {
		{0x20, 0x08, 0x80, IKE_N_UNSUPPORTED_CRITICAL_PAYLOAD, "critical"},
		{0x20, 0x08, 0x00, 0, "not critical"},
		{0x20, 0x08, 0x7f, 0, "reserved bits of the payload"},
		{0x21, 0x08, 0x00, 0, "2.1"},
		{0x20, 0xcf, 0x00, 0, "reserved bits of the header, V among them"},
		{0x30, 0x08, 0x00, IKE_N_INVALID_MAJOR_VERSION, "3.0"},
	};
	struct answered *answer = calloc(1, sizeof(*answer));
	uint8_t data[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim *sim = listening(
			answer, 120 + i, ANY("ikesa enc aes-256 group modp1024" PSK));
		size_t len = fixture_windows_init(data, sizeof(data)) + 4;

		/* A payload of type 200 before all others. */
		memmove(data + 32, data + 28, len - 32);
		memcpy(data + 28, (uint8_t[]){data[16], rows[i].critical, 0, 4}, 4);
		data[16] = 200;
		data[17] = rows[i].version;
		data[19] = rows[i].flags;
		data[26] = (uint8_t)(len >> 8);
		data[27] = (uint8_t)len;
		const struct ike_message *m = say(sim, 9, data, len);

		if (!m)
			fail_msg("%s: no answer", rows[i].why);
		const struct ike_notify *n = ike_message_error(m);

		if ((n ? n->type : 0) != rows[i].notify)
			fail_msg("%s: notify %u", rows[i].why, n ? n->type : 0);
		if (rows[i].notify == IKE_N_UNSUPPORTED_CRITICAL_PAYLOAD) {
			assert_int_equal(n->data.len, 1);
			assert_int_equal(n->data.data[0], 200);
		}
		assert_int_equal(sim_stats(sim, 0).half_open_current, rows[i].notify ? 0 : 1);
		sim_destroy(sim);
	}
	free(answer);
}

/* Field case B47: IKEv1 of every kind at a gateway that has no such thing. */
static void test_ikev1(void **state)
{
	struct answered *answer = calloc(1, sizeof(*answer));
	struct sim *sim = listening(answer, 130, ANY(PSK));
	uint8_t data[64] = {0};

	(void)state;
	data[16] = 1;
	data[17] = 0x10;
	data[27] = sizeof(data);
	for (int cookies = 0; cookies < 3; cookies++)
		for (int exchange = 0; exchange < 256; exchange++)
			for (int flags = 0; flags < 8; flags++) {
				memset(data, cookies ? 0x61 + exchange : 0, 8);
				memset(data + 8, cookies == 2 ? 0x16 + exchange : 0, 8);
				data[18] = (uint8_t)exchange;
				data[19] = (uint8_t)flags;
				assert_null(say(sim, 9, data, sizeof(data)));
			}
	assert_int_equal(sim_stats(sim, 0).dropped_version, 3 * 256 * 8);
	/* An answer is never longer than what it answers. */
	data[17] = 0x30;
	data[27] = IKE_HEADER_LEN;
	sim_run(sim, 2000);
	assert_null(say(sim, 9, data, IKE_HEADER_LEN));
	sim_destroy(sim);
	free(answer);
}

/* ---- cookies ------------------------------------------------------------------------------- */

static uint8_t with_cookie[2048], without_cookie[2048];
static size_t with_cookie_len, without_cookie_len;

static bool keep_inits(struct sim *sim, int from, const struct ike_send *send)
{
	(void)sim;
	if (from != 1 || send->data[18] != IKE_EXCHANGE_SA_INIT)
		return true;
	bool has_cookie = send->data[16] == IKE_PAYLOAD_NOTIFY;

	memcpy(has_cookie ? with_cookie : without_cookie, send->data, send->len);
	*(has_cookie ? &with_cookie_len : &without_cookie_len) = send->len;
	return true;
}

static void flood(struct sim *sim, unsigned int n)
{
	struct endpoint from = {.addr = {.family = 4, .b = {203, 0, 113, 1}}, .port = 500};
	uint8_t copy[2048];

	memcpy(copy, without_cookie, without_cookie_len);
	for (unsigned int i = 0; i < n; i++) {
		from.addr.b[1] = (uint8_t)(i >> 16);
		from.addr.b[2] = (uint8_t)(i >> 8);
		from.addr.b[3] = (uint8_t)i;
		memcpy(copy, &i, sizeof(i));
		copy[7] = 0x5a;
		sim_datagram(&sim->node[0], &from, 500, false, copy, without_cookie_len);
	}
}

/* RFC 7296 2.6, field case B14: a cookie that is changed, cut or of another host brings a new one
 * and nothing is kept; ten thousand strangers leave no more than the threshold. */
static void test_bad_cookies(void **state)
{
	struct sim *sim = sim_create(140, ANY(PSK), B(PSK));
	struct answered *answer = calloc(1, sizeof(*answer));
	struct endpoint b = {.addr = {.family = 4, .b = {198, 51, 100, 1}}, .port = 500};

	(void)state;
	sim->filter = keep_inits;
	sim_start(sim);
	sim_run(sim, 8000);
	flood(sim, 10000);
	assert_true(sim_stats(sim, 0).half_open_current <= 256);
	sim_input(&sim->node[1],
		&(struct ike_input){.type = IKE_IN_RESET, .reset = {.what = IKE_RESET_ALL}});
	sim_run(sim, 5000);
	assert_true(sim_logged(sim, "SA_INIT -> COOKIE"));
	flood(sim, 1000);
	sim->filter = take_answer;
	sim->filter_ctx = answer;
	uint64_t half_open = sim_stats(sim, 0).half_open_current;
	uint64_t bad = sim_stats(sim, 0).cookies_bad;
	size_t cookie_at = 28 + 8, cookie_len = (size_t)with_cookie[31] - 8, n = 0;

	/* Another SPI: the request itself was taken already. */
	with_cookie[3] ^= 0xff;
	for (size_t i = 0; i < cookie_len; i++, n++) {
		uint8_t copy[2048];

		memcpy(copy, with_cookie, with_cookie_len);
		copy[cookie_at + i] ^= 1;
		answer->len = 0;
		sim_datagram(&sim->node[0], &b, 500, false, copy, with_cookie_len);
		assert_int_equal(ike_message_decode(answer->data, answer->len, &answer->m), 0);
		assert_non_null(ike_message_notify(&answer->m, IKE_N_COOKIE));
	}
	for (size_t cut = 1; cut < cookie_len; cut++, n++) {
		uint8_t copy[2048];
		size_t len = with_cookie_len - cut;

		memcpy(copy, with_cookie, cookie_at);
		memcpy(copy + cookie_at, with_cookie + cookie_at + cut,
			with_cookie_len - cookie_at - cut);
		copy[31] = (uint8_t)(copy[31] - cut);
		copy[26] = (uint8_t)(len >> 8);
		copy[27] = (uint8_t)len;
		answer->len = 0;
		sim_datagram(&sim->node[0], &b, 500, false, copy, len);
		assert_int_equal(ike_message_decode(answer->data, answer->len, &answer->m), 0);
		assert_non_null(ike_message_notify(&answer->m, IKE_N_COOKIE));
	}
	with_cookie[3] ^= 0xff;
	/* The right cookie from elsewhere. */
	assert_non_null(
		ike_message_notify(say(sim, 77, with_cookie, with_cookie_len), IKE_N_COOKIE));
	assert_int_equal(sim_stats(sim, 0).half_open_current, half_open);
	assert_int_equal(sim_stats(sim, 0).cookies_bad, bad + n + 1);
	sim_destroy(sim);
	free(answer);
}

/* ---- credentials ---------------------------------------------------------------------------- */

/* Field cases B07, B22: a responder without a key, or without a hash in common with the peer,
 * says AUTHENTICATION_FAILED, keeps nothing, and serves the next. */
static void test_responder_without_credential(void **state)
{
	(void)state;
	for (int no_hash = 0; no_hash < 2; no_hash++) {
		struct sim *sim = sim_create(150, A("\n"), B("\n"));
		struct ike_sa *sa = NULL;

		sim_use_rsa(sim);
		EVP_PKEY *key = sim->node[0].key;

		if (!no_hash)
			sim->node[0].key = NULL;
		sim_start(sim);
		for (int i = 0; i < 10000 && no_hash && !sa; i++) {
			sim_run(sim, 1);
			sa = sim->node[0].engine->sas;
		}
		if (sa) {
			assert_non_null(sa->handshake);
			sa->handshake->peer_hashes = AUTH_HASH_BIT(IKE_HASH_SHA1);
		}
		sim_run(sim, 5000);
		assert_true(sim_logged(
			sim, "no usable key for FQDN/server1.domain (policy 'a'): no private key"));
		assert_true(sim_logged(sim, "b: spi="));
		assert_true(sim_logged(sim, "authentication failed notification from peer"));
		assert_int_equal(sim_count(&sim->node[1]).sas, 0);
		sim_run(sim, 30000);
		assert_int_equal(sim_count(&sim->node[0]).sas, 0);
		assert_int_equal(sim_stats(sim, 0).half_open_current, 0);
		sim->node[0].key = key;
		sim_run(sim, 200000);
		sim_check_tunnel(sim, 1, 1);
		sim_destroy(sim);
	}
}

static struct sim *rsa_pair(const char *a, const char *b)
{
	struct sim *sim = sim_create(155, a, b);

	sim_use_rsa(sim);
	sim_start(sim);
	while (!sim->node[0].engine->sas)
		sim_run(sim, 1);
	/* b announced no hashes: a must use what was there before them. */
	sim->node[0].engine->sas->handshake->peer_hashes = 0;
	sim_run(sim, 5000);
	return sim;
}

/* RFC 7427 4, field case B22: SHA-1 only with a peer that knows nothing else, only where both
 * policies say `rsa`, and never without a warning at either end. */
static void test_sha1_only_by_name(void **state)
{
	struct sim *sim = rsa_pair(A("rsa\n"), B("rsa\n"));

	(void)state;
	sim_check_tunnel(sim, 1, 1);
	assert_true(sim_logged(sim, "RSA_PKCS1 SHA2_256 (method 14)")); /* b's own */
	assert_true(sim_logged(sim, "the peer announced no hashes: signing with SHA1"));
	assert_true(sim_logged(sim, "the peer signed with SHA1, which `rsa` in policy 'b' allows"));
	sim_destroy(sim);
	sim = rsa_pair(A("rsa\n"), B("\n"));
	assert_true(sim_logged(sim, "ikev2_msg_authverify failed"));
	assert_int_equal(sim_count(&sim->node[1]).sas, 0);
	sim_destroy(sim);
	sim = rsa_pair(A("\n"), B("rsa\n"));
	assert_true(sim_logged(sim, "no usable key for FQDN/server1.domain"));
	assert_int_equal(sim_count(&sim->node[1]).sas, 0);
	sim_destroy(sim);
}

/* `ecdsa384` and the like name the key: one on another curve is refused. */
static void test_curve_by_name(void **state)
{
	struct sim *sim = sim_create(156, A("ecdsa256\n"), B("ecdsa256\n"));

	(void)state;
	sim_start(sim);
	sim_run(sim, 5000);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
	sim = sim_create(157, A("ecdsa384\n"), B("\n"));
	sim_start(sim);
	sim_run(sim, 5000);
	assert_true(sim_logged(sim, "ikev2_msg_authverify failed: authentication failed for "
				    "FQDN/server2.domain"));
	assert_int_equal(sim_count(&sim->node[0]).sas + sim_count(&sim->node[1]).sas, 0);
	sim_destroy(sim);
}

/* ---- rekeys that meet ----------------------------------------------------------------------- */

struct loss {
	uint8_t from[2]; /* how many CREATE_CHILD_SA requests of a and b are lost */
	uint8_t answers[2];
};

static bool lose_some(struct sim *sim, int from, const struct ike_send *send)
{
	struct loss *loss = sim->filter_ctx;
	bool is_answer = send->data[19] & IKE_FLAG_RESPONSE;
	uint8_t *left = is_answer ? &loss->answers[from] : &loss->from[from];

	if (send->data[18] != IKE_EXCHANGE_CREATE_CHILD_SA || !*left)
		return true;
	(*left)--;
	return false;
}

/* RFC 7296 2.8.1, field case B37: whatever is lost of the two exchanges, packets pass all the time
 * and one child is left. */
static void test_rekeys_meet(void **state)
{
	static const struct loss rows[] = {
		{{0, 0}, {0, 0}},
		{{0, 0}, {1, 0}},
		{{0, 0}, {0, 1}},
		{{0, 0}, {1, 1}},
		{{1, 0}, {0, 0}},
		{{1, 1}, {2, 0}},
		{{0, 2}, {1, 2}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (uint64_t seed = 0; seed < 8; seed++) {
			struct sim *sim = sim_create(160 + seed, A(PSK), B(PSK));
			struct loss loss = rows[i];

			sim->faults.delay_ms = 20;
			sim_start(sim);
			sim_run(sim, 8000);
			sim_check_tunnel(sim, 1, 1);
			sim->filter = lose_some;
			sim->filter_ctx = &loss;
			sim_soft_expire(&sim->node[0]);
			sim_run(sim, seed * 5); /* together, or a little apart */
			sim_soft_expire(&sim->node[1]);
			sim->packets_sent = sim->packets_lost = 0;
			for (int step = 0; step < 6000; step++) {
				sim_run(sim, 5);
				sim_traffic(sim);
				sim_run(sim, step < 3000 ? 0 : 15);
			}
			if (sim->packets_lost)
				fail_msg("row %zu, seed %llu: %llu of %llu packets lost", i,
					(unsigned long long)seed,
					(unsigned long long)sim->packets_lost,
					(unsigned long long)sim->packets_sent);
			sim_check_tunnel(sim, 1, 1);
			sim_destroy(sim);
		}
}

/* Bytes of the heap, without the log that the simulator keeps. */
static size_t allocated(struct sim *sim)
{
	free(sim->log);
	sim->log = NULL;
	sim->log_len = sim->log_cap = 0;
	return mallinfo2().uordblks;
}

/* Field case B64: thousands of rekeys leave no memory, no SA and no SPI behind. */
static void test_rekeys_leave_nothing(void **state)
{
	struct sim *sim = sim_create(170, A(PSK), B(PSK));
	struct sim_counts before[2], after[2];
	size_t bytes = 0;

	(void)state;
	sim_start(sim);
	sim_run(sim, 8000);
	for (unsigned int round = 0; round < 3000; round++) {
		struct sim_node *node = &sim->node[round % 2];

		if (round % 10 == 9) {
			node->engine->sas->rekey_at_ms = sim->now_ms;
			ike_sa_update_timer(node->engine->sas);
		} else {
			sim_soft_expire(node);
		}
		sim_run(sim, 40000); /* the old inbound SA stays 30 s */
		if (round == 499)
			bytes = allocated(sim);
		for (int n = 0; n < 2 && round == 499; n++)
			before[n] = sim_count(&sim->node[n]);
	}
	assert_true(
		sim_stats(sim, 0).children_rekeyed + sim_stats(sim, 1).children_rekeyed >= 2700);
	assert_true(sim_stats(sim, 0).sas_rekeyed + sim_stats(sim, 1).sas_rekeyed >= 300);
	for (int n = 0; n < 2; n++) {
		after[n] = sim_count(&sim->node[n]);
		assert_memory_equal(&before[n], &after[n], sizeof(before[n]));
	}
	sim_check_tunnel(sim, 1, 1);
	size_t now = allocated(sim);

	print_message("%zu bytes after 500 rekeys, %zu after 3000\n", bytes, now);
	assert_true(now < bytes + 2500 * 16); /* a child has hundreds of bytes */
	sim_destroy(sim);
}

/* ---- two hosts behind one NAT ---------------------------------------------------------------- */

#define L2TP(name, port)                                                           \
	"ikev2 '" name "' active transport esp proto udp from 10.9.0.2 port " port \
	" to 192.0.2.1 port 1701 peer 192.0.2.1 srcid " name ".domain" PSK
#define L2TP_SERVER                                                                           \
	"ikev2 'l2tp' passive transport esp proto udp from 192.0.2.1 port 1701 to 0.0.0.0/0 " \
	"local 192.0.2.1 peer any" PSK

/* RFC 3948 5.2, field case B36: equal selectors behind one address: the second host is refused,
 * not given the first one's answers; other ports, and the same host again, are taken. */
static void test_two_behind_one_nat(void **state)
{
	static const struct {
		const char *clients;
		size_t n_children;
		const char *why;
	} rows[] = {
		{L2TP("one", "1701") L2TP("two", "1701"), 1, "the same port"},
		{L2TP("one", "1701") L2TP("two", "1702"), 2, "ports of their own"},
		{L2TP("one", "1701") "ikev2 'two' active transport esp from 10.9.0.2 to 192.0.2.1 "
				     "peer 192.0.2.1 srcid two.domain" PSK,
			1, "one inside the other"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim *sim = sim_create(180 + i, L2TP_SERVER, rows[i].clients);

		sim_nat_b(sim);
		sim_start(sim);
		sim_run(sim, 10000);
		if (sim_count(&sim->node[0]).children != rows[i].n_children)
			fail_msg(
				"%s: %zu children", rows[i].why, sim_count(&sim->node[0]).children);
		assert_int_equal(sim_count(&sim->node[0]).sas, 2);
		assert_int_equal(sim_logged(sim, "another host behind the same NAT"),
			rows[i].n_children == 1);
		assert_int_equal(
			sim_logged(sim, "no CHILD SA: TS_UNACCEPTABLE"), rows[i].n_children == 1);
		sim_destroy(sim);
	}
	/* Dead and back without a word: it is the same host. */
	struct sim *sim = sim_create(190, L2TP_SERVER, L2TP("one", "1701"));

	sim_nat_b(sim);
	sim_start(sim);
	sim_run(sim, 8000);
	sim_check_tunnel(sim, 1, 1);
	for (int n = 0; n < 3; n++) {
		ike_engine_destroy(sim->node[1].engine);
		sim->node[1].engine = NULL;
		sim->node[1].rng += 999;
		sim_espd_restart(&sim->node[1], false);
		sim_run(sim, 1000);
		sim_start_node(&sim->node[1]);
		sim_run(sim, 8000);
		sim_check_tunnel(sim, 1, 1);
	}
	sim_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stock_client),
		cmocka_unit_test(test_unknown_in_sa_init),
		cmocka_unit_test(test_ikev1),
		cmocka_unit_test(test_bad_cookies),
		cmocka_unit_test(test_responder_without_credential),
		cmocka_unit_test(test_sha1_only_by_name),
		cmocka_unit_test(test_curve_by_name),
		cmocka_unit_test(test_rekeys_meet),
		cmocka_unit_test(test_rekeys_leave_nothing),
		cmocka_unit_test(test_two_behind_one_nat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
