#include "controlplane/ike/message_rules.h"
#include "tests/unit/ike/util.h"

/* Payloads as letters, bodies that decode: what matters here is which are there. */
static void put(struct ike_builder *b, char letter)
{
	static const uint8_t child[] = {0, 0, 0, 12, 1, 3, 4, 0, 0, 0, 0x10, 0};
	static const uint8_t ike[] = {0, 0, 0, 16, 1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	static const uint8_t ts[] = {
		1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 255};
	static const uint8_t zeros[32] = {0};

	switch (letter) {
	case 'S':
		ike_put_raw(b, IKE_PAYLOAD_SA, child, sizeof(child));
		break;
	case 'R': /* an SA payload about an IKE SA */
		ike_put_raw(b, IKE_PAYLOAD_SA, ike, sizeof(ike));
		break;
	case 'K':
		ike_put_raw(b, IKE_PAYLOAD_KE, zeros, 20);
		break;
	case 'n':
		ike_put_nonce(b, zeros, 32);
		break;
	case 'i':
		ike_put_raw(b, IKE_PAYLOAD_IDI, zeros, 8);
		break;
	case 'r':
		ike_put_raw(b, IKE_PAYLOAD_IDR, zeros, 8);
		break;
	case 'A':
		ike_put_raw(b, IKE_PAYLOAD_AUTH, zeros, 20);
		break;
	case 'C':
		ike_put_raw(b, IKE_PAYLOAD_CERT, zeros, 8);
		break;
	case 't':
		ike_put_raw(b, IKE_PAYLOAD_TSI, ts, sizeof(ts));
		break;
	case 'u':
		ike_put_raw(b, IKE_PAYLOAD_TSR, ts, sizeof(ts));
		break;
	case 'c':
		ike_put_raw(b, IKE_PAYLOAD_CP, zeros, 4);
		break;
	case 'N':
		ike_put_notify(b, IKE_N_MOBIKE_SUPPORTED, NULL, 0);
		break;
	case 'E':
		ike_put_notify(b, IKE_N_NO_PROPOSAL_CHOSEN, NULL, 0);
		break;
	case 'k':
		ike_put_notify(b, IKE_N_COOKIE, zeros, 16);
		break;
	case 'V':
		ike_put_vendor(b, zeros, 8);
		break;
	case 'D':
		ike_put_delete_ike(b);
		break;
	case 'e':
		ike_put_raw(b, IKE_PAYLOAD_EAP, (const uint8_t[]){3, 1, 0, 4}, 4);
		break;
	default:
		fail_msg("letter %c", letter);
	}
}

static const struct {
	uint8_t exchange;
	bool is_response;
	uint32_t message_id;
	const char *outer, *inner; /* inner NULL: no SK */
	bool ok;
	const char *why;
} rows[] = {
	{34, false, 0, "RKnNNV", NULL, true, "IKE_SA_INIT request"},
	{34, false, 0, "nVKNR", NULL, true, "order is free"},
	{34, false, 0, "kRKn", NULL, true, "cookie first"},
	{34, false, 0, "RK", NULL, false, "no nonce"},
	{34, false, 0, "RKnn", NULL, false, "two nonces"},
	{34, false, 0, "RRKn", NULL, false, "two SA"},
	{34, false, 0, "RKnA", NULL, false, "AUTH in clear"},
	{34, false, 0, "RKn", "", false, "SK in IKE_SA_INIT"},
	{34, false, 0, "E", NULL, false, "an error notify does not excuse a request"},
	{34, true, 0, "RKn", NULL, true, "IKE_SA_INIT response"},
	{34, true, 0, "E", NULL, true, "refusal"},
	{34, true, 0, "k", NULL, true, "cookie wanted"},
	{34, true, 0, "N", NULL, false, "a status notify alone"},
	{35, false, 1, "", "iASt", false, "TSr is missing"},
	{35, false, 1, "", "iAStu", true, "IKE_AUTH request"},
	{35, false, 1, "", "iNrcNSutAC", true, "order is free, IDr, CP, CERT"},
	{35, false, 1, "", "iStu", true, "AUTH left out: EAP wanted"},
	{35, false, 1, "", "iA", true, "no child wanted"},
	{35, false, 1, "", "AStu", false, "no IDi"},
	{35, false, 1, "", "iiAStu", false, "two IDi"},
	{35, false, 1, "", "iAStue", false, "EAP in the first request"},
	{35, false, 1, "iAStu", NULL, false, "IKE_AUTH in clear"},
	{35, false, 1, "N", "iAStu", false, "a notify outside of SK"},
	{35, true, 1, "", "rAStu", true, "IKE_AUTH response"},
	{35, true, 1, "", "rAE", true, "child refused"},
	{35, true, 1, "", "E", true, "all refused"},
	{35, true, 1, "", "rCe", true, "EAP begins"},
	{35, true, 1, "", "A", false, "no IDr"},
	{35, false, 2, "", "e", true, "EAP goes on"},
	{35, false, 3, "", "A", true, "AUTH after EAP"},
	{36, false, 2, "", "Sntu", true, "new child"},
	{36, false, 2, "", "cNSNnVKtu", true, "CP first, notifies and a vendor ID between"},
	{36, false, 2, "", "Sn", false, "child without selectors"},
	{36, false, 2, "", "Stu", false, "no nonce"},
	{36, false, 2, "", "RnK", true, "rekey of the IKE SA"},
	{36, false, 2, "", "Rn", false, "rekey of the IKE SA without KE"},
	{36, true, 2, "", "E", true, "refusal"},
	{37, false, 4, "", "", true, "liveness"},
	{37, false, 4, "", "DDD", true, "several deletes"},
	{37, false, 4, "D", NULL, false, "delete in clear"},
	{37, true, 4, "", "", true, "empty answer"},
	{60, false, 4, "", "", false, "unknown exchange"},
};

static void test_rules(void **state)
{
	struct ike_message *m = calloc(1, sizeof(*m));
	uint8_t outer[1000], inner[1000];

	(void)state;
	assert_non_null(m);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ike_header hdr = {.spi_i = 1,
			.spi_r = 2,
			.exchange = rows[i].exchange,
			.message_id = rows[i].message_id,
			.flags = rows[i].is_response ? IKE_FLAG_RESPONSE : 0};
		struct ike_builder b, in;
		size_t outer_len, inner_len;
		const char *why;

		ike_builder_init(&b, outer, sizeof(outer), &hdr);
		for (const char *c = rows[i].outer; *c; c++)
			put(&b, *c);
		if (rows[i].inner)
			ike_put_raw(&b, IKE_PAYLOAD_SK, "opaque", 6);
		assert_int_equal(ike_builder_finish(&b, &outer_len), 0);
		assert_int_equal(ike_message_decode(outer, outer_len, m), 0);
		ike_builder_init_inner(&in, inner, sizeof(inner));
		for (const char *c = rows[i].inner; c && *c; c++)
			put(&in, *c);
		assert_int_equal(ike_builder_finish(&in, &inner_len), 0);
		assert_int_equal(
			ike_message_decode_inner(m, in.first_payload, inner, inner_len), 0);
		if ((ike_message_check(m, &why) == 0) != rows[i].ok)
			fail_msg("%s: %s", rows[i].why, why ? why : "accepted");
		assert_true(rows[i].ok == (why == NULL));
	}
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
