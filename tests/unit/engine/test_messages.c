#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "tests/unit/engine/sim.h"

/* Protected requests that no engine of ours would send, made with the keys of b. */

#define CONF_A                                                                 \
	"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 peer 198.51.100.1 " \
	"local 192.0.2.1 psk 'x'\n"
#define CONF_B "ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 psk 'x'\n"

struct talk {
	struct sim *sim;
	uint8_t answer[4096]; /* the last datagram that a sent */
	size_t answer_len;
	struct ike_message m;
	uint8_t plain[4096];
};

static bool keep_answer(struct sim *sim, int from, const struct ike_send *send)
{
	struct talk *t = sim->filter_ctx;

	if (from != 0)
		return true;
	assert_true(send->len <= sizeof(t->answer));
	memcpy(t->answer, send->data, send->len);
	t->answer_len = send->len;
	return false;
}

static struct talk *talk_start(uint64_t seed)
{
	struct talk *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->sim = sim_create(seed, CONF_A, CONF_B);
	sim_start(t->sim);
	sim_run(t->sim, 8000);
	sim_check_tunnel(t->sim, 1, 1);
	t->sim->filter_ctx = t;
	t->sim->filter = keep_answer;
	return t;
}

static void talk_end(struct talk *t)
{
	sim_destroy(t->sim);
	free(t);
}

/* Sends payloads as b and decodes what a answers. */
static const struct ike_message *ask(
	struct talk *t, uint8_t exchange, uint8_t first, const void *payloads, size_t len)
{
	struct ike_sa *b = t->sim->node[1].engine->sas, *a = t->sim->node[0].engine->sas;
	struct endpoint from = {t->sim->node[1].addr, 500};
	struct ike_datagrams out = {0};
	struct ike_header h = {.spi_i = b->spi_i,
		.spi_r = b->spi_r,
		.version = IKE_VERSION,
		.exchange = exchange,
		.flags = IKE_FLAG_INITIATOR,
		.message_id = a->expected_id};
	size_t plain_len;

	t->answer_len = 0;
	assert_int_equal(
		ike_seal(&b->out, NULL, &h, first, (struct bytes){payloads, len}, 0, &out), 0);
	struct bytes d = ike_datagrams_at(&out, 0);

	sim_datagram(&t->sim->node[0], &from, 500, false, d.data, d.len);
	ike_datagrams_fini(&out);
	if (!t->answer_len)
		return NULL;
	assert_int_equal(ike_message_decode(t->answer, t->answer_len, &t->m), 0);
	assert_int_equal(ike_sk_open(&b->in, &t->m, t->plain, sizeof(t->plain), &plain_len), 0);
	assert_int_equal(
		ike_message_decode_inner(&t->m, t->m.sk->sk.first_payload, t->plain, plain_len), 0);
	return &t->m;
}

/* RFC 7296 2.5, field case B45: an unknown payload with and without the critical bit. */
static void test_critical(void **state)
{
	struct talk *t = talk_start(1);
	const struct ike_message *m;
	uint8_t payload[4] = {0, 0x80, 0, 4};

	(void)state;
	m = ask(t, IKE_EXCHANGE_INFORMATIONAL, 200, payload, sizeof(payload));
	const struct ike_notify *n = ike_message_notify(m, IKE_N_UNSUPPORTED_CRITICAL_PAYLOAD);

	assert_non_null(n);
	assert_int_equal(n->data.len, 1);
	assert_int_equal(n->data.data[0], 200);
	payload[1] = 0x7f;
	m = ask(t, IKE_EXCHANGE_INFORMATIONAL, 200, payload, sizeof(payload));
	assert_int_equal(m->hdr.exchange, IKE_EXCHANGE_INFORMATIONAL);
	assert_null(ike_message_error(m));
	assert_int_equal(sim_count(&t->sim->node[0]).sas, 1);
	talk_end(t);
}

static void put_u32(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* RFC 7296 2.21.2, 3.3: an SA payload without proposals offers nothing; the IKE SA stays. */
static void test_empty_offer(void **state)
{
	struct talk *t = talk_start(5);
	uint8_t payloads[4 + 20 + 24 + 24] = {40, 0, 0, 4, 44, 0, 0, 20};
	static const uint8_t tsi[24] = {45, 0, 0, 24, 1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 0xff, 0xff, 10,
		0, 2, 0, 10, 0, 2, 255};

	(void)state;
	memcpy(payloads + 24, tsi, 24);
	memcpy(payloads + 48, tsi, 24);
	payloads[48] = 0; /* the last */
	payloads[48 + 18] = payloads[48 + 22] = 1;
	const struct ike_message *m = ask(
		t, IKE_EXCHANGE_CREATE_CHILD_SA, IKE_PAYLOAD_SA, payloads, sizeof(payloads));

	assert_non_null(ike_message_notify(m, IKE_N_NO_PROPOSAL_CHOSEN));
	assert_int_equal(sim_count(&t->sim->node[0]).sas, 1);
	assert_int_equal(sim_count(&t->sim->node[0]).children, 1);
	talk_end(t);
}

/* RFC 7296 1.4.1, field case B41: a Delete of a known and an unknown SPI. */
static void test_delete_shapes(void **state)
{
	struct talk *t = talk_start(2);
	struct child_sa *child = t->sim->node[0].engine->sas->children;
	uint32_t spi_in = child->spi_in;
	uint8_t payload[28] = {42, 0, 0, 16, 3, 4, 0, 2};
	const struct ike_message *m;

	(void)state;
	put_u32(payload + 8, 0x01020304);
	put_u32(payload + 12, child->spi_out);
	/* and, behind it, one of AH, which we do not have */
	memcpy(payload + 16, (uint8_t[]){0, 0, 0, 12, 2, 4, 0, 1, 9, 9, 9, 9}, 12);
	m = ask(t, IKE_EXCHANGE_INFORMATIONAL, IKE_PAYLOAD_DELETE, payload, sizeof(payload));
	const struct ike_payload *d = ike_message_next(m, NULL, IKE_PAYLOAD_DELETE);

	/* the answer names our half of the one pair */
	assert_non_null(d);
	assert_int_equal(d->del.n_spis, 1);
	assert_int_equal(ike_delete_spi(&d->del, 0), spi_in);
	assert_null(ike_message_next(m, d, IKE_PAYLOAD_DELETE));
	assert_int_equal(sim_count(&t->sim->node[0]).children, 0);
	assert_int_equal(sim_count(&t->sim->node[0]).sas, 1);
	/* IKE: the answer is empty, its flows stay (fail closed) */
	memcpy(payload, (uint8_t[]){0, 0, 0, 8, 1, 0, 0, 0}, 8);
	m = ask(t, IKE_EXCHANGE_INFORMATIONAL, IKE_PAYLOAD_DELETE, payload, 8);
	assert_int_equal(m->n_payloads, 1); /* SK alone */
	assert_int_equal(sim_count(&t->sim->node[0]).sas, 0);
	assert_int_equal(sim_count(&t->sim->node[0]).flows, 3);
	talk_end(t);
}

/* Field case B41: the Delete of the IKE SA is the last of several in one message. */
static void test_delete_of_all_at_once(void **state)
{
	struct talk *t = talk_start(7);
	uint8_t payloads[32] = {42, 0, 0, 12, 3, 4, 0, 1, 0, 0, 0, 0, 42, 0, 0, 12, 3, 4, 0, 1, 9,
		9, 9, 9, 0, 0, 0, 8, 1, 0, 0, 0};
	const struct ike_message *m;

	(void)state;
	put_u32(payloads + 8, t->sim->node[0].engine->sas->children->spi_out);
	m = ask(t, IKE_EXCHANGE_INFORMATIONAL, IKE_PAYLOAD_DELETE, payloads, sizeof(payloads));
	assert_int_equal(m->n_payloads, 1); /* SK alone */
	assert_int_equal(sim_count(&t->sim->node[0]).sas, 0);
	assert_int_equal(sim_count(&t->sim->node[0]).esp_in, 0);
	talk_end(t);
}

/* RFC 7296 1.4.1, field case B41: both delete one pair at once: our answer does not name it again.
 */
static void test_deletes_cross(void **state)
{
	struct talk *t = talk_start(8);
	struct child_sa *child = t->sim->node[0].engine->sas->children;
	uint8_t payload[12] = {0, 0, 0, 12, 3, 4, 0, 1};
	struct ike_input hard = {.type = IKE_IN_SA_STATE};
	const struct ike_message *m;

	(void)state;
	put_u32(payload + 8, child->spi_out);
	hard.event.sa_state = (struct ipc_sa_state){
		.handle = child->handle_out, .generation = 1, .why = IPC_SA_WHY_HARD};
	t->answer_len = 0;
	sim_input(&t->sim->node[0], &hard);
	assert_int_equal(t->sim->node[0].engine->sas->request.type, IKE_TASK_DELETE_CHILD);
	assert_true(t->answer_len > 0);
	m = ask(t, IKE_EXCHANGE_INFORMATIONAL, IKE_PAYLOAD_DELETE, payload, sizeof(payload));
	assert_true(ike_header_is_response(&m->hdr));
	assert_null(ike_message_next(m, NULL, IKE_PAYLOAD_DELETE));
	assert_int_equal(sim_count(&t->sim->node[0]).sas, 1);
	assert_int_equal(sim_count(&t->sim->node[0]).children, 0);
	/* b has nothing of it any more either, and a's request is still answered. */
	t->sim->filter = NULL;
	sim_run(t->sim, 10000);
	assert_int_equal(t->sim->node[0].engine->sas->request.type, IKE_TASK_NONE);
	talk_end(t);
}

/* RFC 7296 2.21.2, 2.21.3: what a peer reports in a request of its own, and what becomes of the SA.
 */
static void test_reported_errors(void **state)
{
	static const struct {
		uint16_t type;
		bool is_fatal;
		const char *why;
	} rows[] = {
		{IKE_N_AUTHENTICATION_FAILED, true, "the initiator could not authenticate us"},
		{IKE_N_INVALID_SYNTAX, true, "the peer found no sense in a message"},
		{IKE_N_INVALID_SPI, false, "of a packet, not of the SA"},
		{IKE_N_TEMPORARY_FAILURE, false, "passes"},
		{IKE_N_NO_PROPOSAL_CHOSEN, false, "of another exchange"},
		{8191, false, "unknown error"},
		{IKE_N_INITIAL_CONTACT, false, "no error"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_start(20 + i);
		uint8_t payload[8] = {
			0, 0, 0, 8, 0, 0, (uint8_t)(rows[i].type >> 8), (uint8_t)rows[i].type};
		const struct ike_message *m = ask(t, IKE_EXCHANGE_INFORMATIONAL, IKE_PAYLOAD_NOTIFY,
			payload, sizeof(payload));
		size_t n_left = rows[i].is_fatal ? 0 : 1;

		assert_int_equal(m->n_payloads, 1); /* SK alone */
		if (sim_count(&t->sim->node[0]).sas != n_left)
			fail_msg("notify %u: %s", rows[i].type, rows[i].why);
		assert_int_equal(sim_count(&t->sim->node[0]).children, n_left);
		assert_int_equal(sim_count(&t->sim->node[0]).flows, 3); /* fail closed */
		talk_end(t);
	}
}

/* A CREATE_CHILD_SA request of b with the payloads of `order`, one letter each. */
static const struct ike_message *ask_rekey(struct talk *t, const char *order, uint32_t spi)
{
	struct ike_engine *b = t->sim->node[1].engine;
	struct ike_builder *build = ike_builder_begin(b);
	const struct ike_policy *policy = b->sas->policy;
	const struct ts_pair *pair = &b->sas->children->pairs[0];
	struct ike_offer offer;
	struct ike_ts_list tsi = {0}, tsr = {0};
	uint8_t nonce[32] = {7}, copy[2048];
	size_t len;

	assert_true(ike_ts_list_add(&tsi, &pair->local) && ike_ts_list_add(&tsr, &pair->remote));
	assert_int_equal(ike_offer_build(policy->child_proposals, policy->n_child_proposals,
				 IKE_SUITE_CHILD, 4, 0x55555555, &offer),
		0);
	for (; *order; order++)
		switch (*order) {
		case 'C':
			ike_put_cp(build, IKE_CFG_REQUEST, NULL, 0);
			break;
		case 'S':
			ike_put_sa(build, &offer);
			break;
		case 'N':
			ike_put_nonce(build, nonce, sizeof(nonce));
			break;
		case 'I':
			ike_put_ts(build, IKE_PAYLOAD_TSI, &tsi);
			break;
		case 'R':
			ike_put_ts(build, IKE_PAYLOAD_TSR, &tsr);
			break;
		case 'r':
			ike_put_notify_spi(build, IKE_N_REKEY_SA, IKE_PROTO_ESP, spi, NULL, 0);
			break;
		case 't':
			ike_put_notify(build, IKE_N_ESP_TFC_PADDING_NOT_SUPPORTED, NULL, 0);
			break;
		case 'u':
			ike_put_notify(build, 40960, "abc", 3);
			break;
		default:
			ike_put_vendor(build, "somebody", 8);
			break;
		}
	assert_int_equal(ike_builder_finish(build, &len), 0);
	assert_true(len <= sizeof(copy));
	memcpy(copy, b->scratch, len);
	return ask(t, IKE_EXCHANGE_CREATE_CHILD_SA, build->first_payload, copy, len);
}

/* RFC 7296 2.25: rekey of a child that is not there; the notify names what was asked for. */
static void test_rekey_unknown(void **state)
{
	struct talk *t = talk_start(3);
	const struct ike_message *m = ask_rekey(t, "CSNurIR", 0xdeadbeef);
	const struct ike_notify *n = ike_message_notify(m, IKE_N_CHILD_SA_NOT_FOUND);

	(void)state;
	assert_non_null(n);
	assert_int_equal(ike_notify_spi(n), 0xdeadbeef);
	assert_int_equal(sim_count(&t->sim->node[0]).children, 1);
	talk_end(t);
}

/* RFC 7296 C.4, field case B39: a rekey is one wherever its notify stands, and whatever else is
 * there that nobody needs. */
static void test_rekey_in_any_order(void **state)
{
	static const char *const orders[] = {
		"rSNIR", "CturSNIR", "SNrvIRu", "RINtSvrC", "utrtuSNIRuv", "vCSNIRr"};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct talk *t = talk_start(40 + i);
		const struct child_sa *old = t->sim->node[0].engine->sas->children;
		uint32_t spi = t->sim->node[1].engine->sas->children->spi_in;
		const struct ike_message *m = ask_rekey(t, orders[i], spi);

		if (ike_message_error(m) || !m->sa || !m->tsi || !m->tsr || !m->nonce)
			fail_msg("%s", orders[i]);
		assert_int_equal(old->state, CHILD_REKEYED);
		assert_int_equal(sim_count(&t->sim->node[0]).esp_in, 2);
		talk_end(t);
	}
}

/* RFC 7296 2.3: a request beyond the window is not answered, a repeat is, with the same bytes. */
static void test_window(void **state)
{
	struct talk *t = talk_start(4);
	struct ike_sa *a = t->sim->node[0].engine->sas;
	uint8_t first[4096];
	size_t first_len;

	(void)state;
	assert_non_null(ask(t, IKE_EXCHANGE_INFORMATIONAL, 0, "", 0));
	first_len = t->answer_len;
	memcpy(first, t->answer, first_len);
	a->expected_id--; /* so that the same message ID is used again */
	struct ike_sa *b = t->sim->node[1].engine->sas;
	struct ike_header h = {.spi_i = b->spi_i,
		.spi_r = b->spi_r,
		.version = IKE_VERSION,
		.exchange = IKE_EXCHANGE_INFORMATIONAL,
		.flags = IKE_FLAG_INITIATOR,
		.message_id = a->expected_id};
	struct endpoint from = {t->sim->node[1].addr, 500};

	a->expected_id++;
	for (uint32_t ahead = 0; ahead < 3; ahead++) {
		struct ike_datagrams out = {0};
		uint32_t id = h.message_id + (ahead == 1 ? 2 : ahead == 2 ? 1000 : 0);
		struct ike_header now = h;

		now.message_id = id;
		assert_int_equal(
			ike_seal(&b->out, NULL, &now, 0, (struct bytes){NULL, 0}, 0, &out), 0);
		struct bytes d = ike_datagrams_at(&out, 0);

		t->answer_len = 0;
		sim_datagram(&t->sim->node[0], &from, 500, false, d.data, d.len);
		ike_datagrams_fini(&out);
		if (ahead) {
			assert_int_equal(t->answer_len, 0);
			continue;
		}
		assert_int_equal(t->answer_len, first_len);
		assert_memory_equal(t->answer, first, first_len);
	}
	talk_end(t);
}

/* Drops what a sends, keeps what b sends. */
static bool keep_request(struct sim *sim, int from, const struct ike_send *send)
{
	struct talk *t = sim->filter_ctx;

	if (from == 1 && send->len <= sizeof(t->answer)) {
		memcpy(t->answer, send->data, send->len);
		t->answer_len = send->len;
	}
	return from == 1;
}

/* Answers b's open request as a, with payloads that are authentic and malformed; what b says. */
static const struct ike_message *answer_malformed(struct talk *t)
{
	static const uint8_t no_selectors[8] = {0, 0, 0, 8, 0, 0, 0, 0};
	struct ike_sa *b = t->sim->node[1].engine->sas, *a = t->sim->node[0].engine->sas;
	struct endpoint from = {t->sim->node[0].addr, 500};
	struct ike_datagrams out = {0};
	struct ike_header h = {.spi_i = b->spi_i,
		.spi_r = b->spi_r,
		.version = IKE_VERSION,
		.exchange = b->request.exchange,
		.flags = IKE_FLAG_RESPONSE,
		.message_id = b->request.message_id};
	size_t plain_len;

	assert_int_equal(ike_seal(&a->out, NULL, &h, IKE_PAYLOAD_TSI,
				 (struct bytes){no_selectors, sizeof(no_selectors)}, 0, &out),
		0);
	struct bytes d = ike_datagrams_at(&out, 0);

	t->answer_len = 0;
	sim_datagram(&t->sim->node[1], &from, 500, false, d.data, d.len);
	ike_datagrams_fini(&out);
	assert_int_not_equal(t->answer_len, 0);
	assert_int_equal(ike_message_decode(t->answer, t->answer_len, &t->m), 0);
	assert_int_equal(ike_sk_open(&a->in, &t->m, t->plain, sizeof(t->plain), &plain_len), 0);
	assert_int_equal(
		ike_message_decode_inner(&t->m, t->m.sk->sk.first_payload, t->plain, plain_len), 0);
	return &t->m;
}

/* RFC 7296 2.21.2, 2.21.3: the SA goes at once, and the peer, which holds it for valid, hears of
 * it; asking again would bring the same bytes for two minutes. */
static void test_malformed_answers(void **state)
{
	(void)state;
	for (int during_auth = 0; during_auth < 2; during_auth++) {
		struct talk *t = calloc(1, sizeof(*t));

		assert_non_null(t);
		t->sim = sim_create(6, CONF_A, CONF_B);
		sim_start(t->sim);
		t->sim->filter_ctx = t;
		if (during_auth) {
			while (!t->sim->node[1].engine->sas ||
				t->sim->node[1].engine->sas->request.type != IKE_TASK_AUTH)
				sim_run(t->sim, 1);
			t->sim->filter = keep_request;
			sim_run(t->sim, 1000);
		} else {
			sim_run(t->sim, 8000);
			t->sim->filter = keep_request;
			sim_soft_expire(&t->sim->node[1]);
			sim_run(t->sim, 100);
			assert_int_equal(
				t->sim->node[1].engine->sas->request.type, IKE_TASK_REKEY_CHILD);
		}
		const struct ike_message *m = answer_malformed(t);

		assert_int_equal(m->hdr.exchange, IKE_EXCHANGE_INFORMATIONAL);
		assert_non_null(ike_message_notify(m, IKE_N_INVALID_SYNTAX));
		assert_non_null(ike_message_next(m, NULL, IKE_PAYLOAD_DELETE));
		assert_int_equal(t->sim->node[1].engine->sas->state, IKE_SA_CLOSING);
		assert_int_equal(sim_count(&t->sim->node[1]).children, 0);
		/* The policy is active: both have one tunnel again in the end. */
		t->sim->filter = NULL;
		sim_run(t->sim, 200 * 1000);
		sim_check_tunnel(t->sim, 1, 1);
		talk_end(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_critical),
		cmocka_unit_test(test_empty_offer),
		cmocka_unit_test(test_malformed_answers),
		cmocka_unit_test(test_delete_shapes),
		cmocka_unit_test(test_delete_of_all_at_once),
		cmocka_unit_test(test_deletes_cross),
		cmocka_unit_test(test_reported_errors),
		cmocka_unit_test(test_rekey_unknown),
		cmocka_unit_test(test_rekey_in_any_order),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
