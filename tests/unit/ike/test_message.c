#include "controlplane/ike/message_rules.h"
#include "tests/unit/ike/fixtures.h"
#include "tests/unit/ike/util.h"

struct state {
	struct ike_message m, again;
	uint8_t in[IKE_MESSAGE_MAX], out[IKE_MESSAGE_MAX];
};

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct state));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void assert_rewrites(struct state *s, size_t len)
{
	struct ike_builder b;
	size_t out_len;

	ike_builder_init(&b, s->out, sizeof(s->out), &s->m.hdr);
	message_rewrite(&b, &s->m);
	assert_int_equal(ike_builder_finish(&b, &out_len), 0);
	assert_int_equal(out_len, len);
	assert_memory_equal(s->in, s->out, len);
}

static void test_clients_rewrite_identically(void **state)
{
	struct state *s = *state;
	size_t (*const fixtures[])(uint8_t *, size_t) = {
		fixture_windows_init, fixture_macos_init, fixture_android_init};
	const char *why;

	for (size_t i = 0; i < 3; i++) {
		size_t len = fixtures[i](s->in, sizeof(s->in));

		assert_true(len > 0);
		assert_int_equal(ike_message_decode(s->in, len, &s->m), 0);
		assert_int_equal(ike_message_check(&s->m, &why), 0);
		assert_rewrites(s, len);
	}
}

static void test_windows_content(void **state)
{
	struct state *s = *state;
	size_t len = fixture_windows_init(s->in, sizeof(s->in));
	char text[IKE_MESSAGE_STRLEN], offer[IKE_OFFER_STRLEN];

	assert_int_equal(ike_message_decode(s->in, len, &s->m), 0);
	assert_int_equal(s->m.offer.n_proposals, 18);
	assert_int_equal(s->m.offer.n_skipped, 0);
	assert_int_equal(s->m.ke->ke.group, DH_MODP_1024);
	assert_int_equal(s->m.nonce->nonce.len, 48);
	assert_null(ike_message_notify(&s->m, IKE_N_SIGNATURE_HASH_ALGORITHMS));
	assert_non_null(ike_message_notify(&s->m, IKE_N_NAT_DETECTION_DESTINATION_IP));
	assert_string_equal(ike_message_str(&s->m, text),
		"IKE_SA_INIT request 0 [ SA KE No N(NAT_DETECTION_SOURCE_IP) "
		"N(NAT_DETECTION_DESTINATION_IP) V V V V ]");
	assert_non_null(strstr(ike_offer_str(&s->m.offer, offer),
		"11 IKE: AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_1024; "));
	assert_true(strlen(offer) < IKE_OFFER_STRLEN);
}

static void test_ios_auth(void **state)
{
	struct state *s = *state;
	uint8_t shell[IKE_HEADER_LEN] = {0};
	struct ike_builder b;
	struct ike_cp_attr attr;
	struct reader at;
	size_t len = fixture_ios_auth(s->in, sizeof(s->in)), out_len, n_attrs = 0;

	shell[17] = 0x20;
	shell[18] = IKE_EXCHANGE_AUTH;
	shell[27] = IKE_HEADER_LEN;
	assert_int_equal(ike_message_decode(shell, sizeof(shell), &s->m), 0);
	assert_int_equal(ike_message_decode_inner(&s->m, IKE_PAYLOAD_IDI, s->in, len), 0);
	assert_int_equal(s->m.n_payloads, 10);
	assert_true(s->m.idi->is_encrypted);
	assert_int_equal(s->m.tsi_list.n, 2);
	assert_int_equal(s->m.tsr_list.ts[1].range.lo.family, 6);
	at = reader_init(s->m.cp->cp.attrs.data, s->m.cp->cp.attrs.len);
	while (ike_cp_next(&at, &attr))
		n_attrs++;
	assert_int_equal(n_attrs, 8);
	assert_int_equal(attr.type, IKE_CFG_INTERNAL_DNS_DOMAIN);

	ike_builder_init_inner(&b, s->out, sizeof(s->out));
	message_rewrite(&b, &s->m);
	assert_int_equal(ike_builder_finish(&b, &out_len), 0);
	assert_int_equal(b.first_payload, IKE_PAYLOAD_IDI);
	assert_int_equal(out_len, len);
	assert_memory_equal(s->out, s->in, len);
}

/* Header and the payloads given in hex. */
static int decode_hex(struct state *s, uint8_t first, const char *hex)
{
	size_t len = IKE_HEADER_LEN + hex_read(hex, s->in + IKE_HEADER_LEN, 4096);
	struct writer w = writer_init(s->in, IKE_HEADER_LEN);

	write_u64(&w, 1);
	write_u64(&w, 2);
	write_u8(&w, first);
	write_u8(&w, 0x20);
	write_u8(&w, IKE_EXCHANGE_INFORMATIONAL);
	write_u8(&w, IKE_FLAG_INITIATOR);
	write_u32(&w, 7);
	write_u32(&w, (uint32_t)len);
	return ike_message_decode(s->in, len, &s->m);
}

static const struct {
	uint8_t first;
	const char *hex;
	int rc;
	const char *why;
} shapes[] = {
	{0, "", 0, "an empty INFORMATIONAL"},
	{0, "00", -IKE_WIRE_E_SYNTAX, "a byte behind the last payload"},
	{200, "00000004", 0, "unknown without critical bit: skipped"},
	{200, "00800004", -IKE_WIRE_E_CRITICAL, "unknown with critical bit"},
	{200, "007f0004", 0, "reserved bits are not the critical bit (0x80)"},
	{200, "298000042b0000080000001129000004", -IKE_WIRE_E_SYNTAX,
		"malformed wins over critical"},
	{43, "00800005aa", 0, "a known type ignores the critical bit"},
	{43, "00000003", -IKE_WIRE_E_SYNTAX, "length below the generic header"},
	{43, "00000006aa", -IKE_WIRE_E_SYNTAX, "length beyond the message"},
	{43, "2b000004", -IKE_WIRE_E_SYNTAX, "next payload announced but absent"},
	{41, "00000008 00004001", 0, "notify"},
	{41, "00000008 0304 0011", -IKE_WIRE_E_SYNTAX, "notify's SPI beyond the payload"},
	{42, "00000008 01000000", 0, "delete of the IKE SA"},
	{42, "00000010 03040002 00001000 00002000", 0, "delete of two ESP SAs"},
	/* Field case B41. */
	{42, "0000000c 0304ffff 00001000", -IKE_WIRE_E_SYNTAX, "count 65535 and four bytes"},
	{42, "00000010 03080001 0000000000001000", -IKE_WIRE_E_SYNTAX, "SPI of eight with ESP"},
	{42, "00000010 01080001 0000000000001000", -IKE_WIRE_E_SYNTAX, "SPI with IKE"},
	{42, "0000000c 03000000 00001000", -IKE_WIRE_E_SYNTAX, "bytes behind no SPI"},
	{40, "00000013 000102030405060708090a0b0c0d0e", -IKE_WIRE_E_SYNTAX, "nonce of 15"},
	{40, "00000014 000102030405060708090a0b0c0d0e0f", 0, "nonce of 16"},
	{34, "00000008 001f0000", -IKE_WIRE_E_SYNTAX, "KE without a value"},
	{48, "00000009 0101000501", 0, "EAP identity request"},
	{48, "00000009 0101000401", -IKE_WIRE_E_SYNTAX, "EAP length below the payload's"},
	{48, "00000009 0101ffff01", -IKE_WIRE_E_SYNTAX, "EAP length beyond the payload"},
	{48, "00000007 010103", -IKE_WIRE_E_SYNTAX, "EAP of three bytes"},
	{48, "00000008 03010004", 0, "EAP success"},
	{47, "0000000c 01000000 00010000", 0, "CP with one attribute"},
	{47, "0000000c 01000000 00010001", -IKE_WIRE_E_SYNTAX, "CP attribute beyond the payload"},
	{44, "00000008 00000000", -IKE_WIRE_E_SYNTAX, "no selector"},
	{44, "00000018 01000000 07000010 0000ffff 0a000000 0a0000ff", 0, "one selector"},
	{44, "00000018 01000000 07000010 0000ffff 0a0000ff 0a000000", -IKE_WIRE_E_SYNTAX,
		"range upside down"},
	{44, "00000018 01000000 07000010 ffff0000 0a000000 0a0000ff", 0, "OPAQUE ports"},
	{44, "00000018 01000000 07000010 00020001 0a000000 0a0000ff", -IKE_WIRE_E_SYNTAX,
		"ports upside down"},
	{44, "00000018 02000000 07000010 0000ffff 0a000000 0a0000ff", -IKE_WIRE_E_SYNTAX,
		"more selectors announced"},
	{44, "00000010 01000000 09000008 00000000", 0, "selector of unknown type: left out"},
	{44, "00000010 01000000 07000008 00000000", -IKE_WIRE_E_SYNTAX, "IPv4 without addresses"},
	{33, "00000004", 0, "SA without a proposal: nothing to choose, but no fault of form"},
	{33, "0000000c 00000008 01010000", 0, "a proposal without transforms is well-formed"},
	{33, "0000000c 02000008 01010000", -IKE_WIRE_E_SYNTAX, "another proposal announced"},
	{33, "0000000c 00000009 01010000", -IKE_WIRE_E_SYNTAX, "proposal beyond the payload"},
	{33, "00000014 00000010 01010001 00000008 0100000c", 0, "one transform"},
	{33, "00000014 00000010 01010002 00000008 0100000c", -IKE_WIRE_E_SYNTAX,
		"two transforms announced"},
	{33, "00000014 00000010 01010001 03000008 0100000c", -IKE_WIRE_E_SYNTAX,
		"last transform not marked so"},
	{33, "00000014 00000010 01010001 0000000c 0100000c", -IKE_WIRE_E_SYNTAX,
		"attribute beyond the transform"},
	{33, "00000018 00000014 01010001 0000000c 0100000c 000e0005", -IKE_WIRE_E_SYNTAX,
		"long attribute beyond the transform"},
	{46, "29000008 00000000", 0, "SK, whatever it holds"},
	{46, "29000008 00000000 00", -IKE_WIRE_E_SYNTAX, "bytes behind SK"},
	{53, "2900000c 00010002 00000000", 0, "SKF 1 of 2"},
	{53, "2900000c 00030002 00000000", -IKE_WIRE_E_SYNTAX, "SKF 3 of 2"},
	{53, "2900000c 00000002 00000000", -IKE_WIRE_E_SYNTAX, "SKF 0"},
};

static void test_shapes(void **state)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		int rc = decode_hex(*state, shapes[i].first, shapes[i].hex);

		if (rc != shapes[i].rc)
			fail_msg("%s: %s", shapes[i].why, ike_wire_error_str(rc));
	}
}

static void test_critical_type_is_reported(void **state)
{
	struct state *s = *state;

	assert_int_equal(decode_hex(s, 200, "c9000004 2b800004 00000005aa"), -IKE_WIRE_E_CRITICAL);
	assert_int_equal(s->m.unsupported, 201);
	assert_int_equal(s->m.n_skipped, 2);
	assert_int_equal(s->m.n_payloads, 1);
}

/* RFC 7296 3.7: CERTREQ of raw keys, also beside those of certificates. */
static void test_wanted_keys(void **state)
{
	struct state *s = *state;

	assert_int_equal(decode_hex(s, 38,
				 "26000019 04 000102030405060708090a0b0c0d0e0f10111213"
				 "26000005 0b 26000005 c9 00000005 0c"),
		0);
	assert_int_equal(
		ike_message_wanted_keys(&s->m), IKE_WANTS_RSA_KEY | IKE_WANTS_OPENIKED_ECDSA);
	assert_int_equal(decode_hex(s, 38, "00000005 0f"), 0);
	assert_int_equal(ike_message_wanted_keys(&s->m), IKE_WANTS_RAW_KEY);
}

static void test_several_deletes_and_notifies(void **state)
{
	struct state *s = *state;
	const struct ike_payload *p = NULL;
	unsigned int n = 0;

	assert_int_equal(decode_hex(s, 42,
				 "29000010 03040002 00001000 00002000"
				 "2a000008 0000a000"
				 "29000008 01000000"
				 "00000008 00004009"),
		0);
	p = ike_message_next(&s->m, NULL, IKE_PAYLOAD_DELETE);
	assert_int_equal(ike_delete_spi(&p->del, 0), 0x1000);
	assert_int_equal(ike_delete_spi(&p->del, 1), 0x2000);
	for (p = NULL; (p = ike_message_next(&s->m, p, IKE_PAYLOAD_DELETE));)
		n++;
	assert_int_equal(n, 2);
	assert_non_null(ike_message_notify(&s->m, IKE_N_REKEY_SA));
	assert_null(ike_message_error(&s->m));
}

static void test_header(void **state)
{
	struct state *s = *state;
	struct ike_header h;

	assert_int_equal(decode_hex(s, 0, ""), 0);
	for (size_t len = 0; len < IKE_HEADER_LEN; len++) {
		assert_int_equal(ike_header_decode(s->in, len, &h), -IKE_WIRE_E_SHORT);
		assert_int_equal(ike_message_decode(s->in, len, &s->m), -IKE_WIRE_E_SHORT);
	}
	s->in[17] = 0x21; /* RFC 7296 2.5: a minor version */
	s->in[19] |= 0xc7 & ~IKE_FLAG_RESPONSE;
	assert_int_equal(ike_message_decode(s->in, IKE_HEADER_LEN, &s->m), 0);
	s->in[17] = 0x30;
	assert_int_equal(ike_message_decode(s->in, IKE_HEADER_LEN, &s->m), -IKE_WIRE_E_VERSION);
	s->in[17] = 0x10; /* IKEv1 */
	assert_int_equal(ike_message_decode(s->in, IKE_HEADER_LEN, &s->m), -IKE_WIRE_E_VERSION);
	assert_int_equal(s->m.hdr.message_id, 7);
	s->in[17] = 0x20;
	s->in[27]++;
	assert_int_equal(ike_message_decode(s->in, IKE_HEADER_LEN, &s->m), -IKE_WIRE_E_SHORT);
}

static void test_payload_limit(void **state)
{
	struct state *s = *state;
	struct ike_builder b;
	const struct ike_header hdr = {.exchange = IKE_EXCHANGE_INFORMATIONAL};
	size_t len;

	for (int n = IKE_PAYLOADS_MAX; n <= IKE_PAYLOADS_MAX + 1; n++) {
		ike_builder_init(&b, s->in, sizeof(s->in), &hdr);
		for (int i = 0; i < n; i++)
			ike_put_raw(&b, i % 2 ? IKE_PAYLOAD_VENDOR : 250, "x", 1);
		assert_int_equal(ike_builder_finish(&b, &len), 0);
		assert_int_equal(ike_message_decode(s->in, len, &s->m),
			n > IKE_PAYLOADS_MAX ? -IKE_WIRE_E_LIMIT : 0);
	}
}

static void test_big_offer_is_bounded(void **state)
{
	struct state *s = *state;
	struct ike_builder b;
	const struct ike_header hdr = {.exchange = IKE_EXCHANGE_SA_INIT};
	uint8_t body[60000];
	struct writer w = writer_init(body, sizeof(body));
	size_t len;

	/* 28 proposals of 255 transforms: two fit. */
	for (int i = 0; i < 28; i++) {
		write_u8(&w, i == 27 ? 0 : 2);
		write_u8(&w, 0);
		write_u16(&w, 8 + 255 * 8);
		write_u8(&w, (uint8_t)(i + 1));
		write_u8(&w, 1);
		write_u8(&w, 0);
		write_u8(&w, 255);
		for (int j = 0; j < 255; j++) {
			write_u8(&w, j == 254 ? 0 : 3);
			write_u8(&w, 0);
			write_u16(&w, 8);
			write_u8(&w, 4);
			write_u8(&w, 0);
			write_u16(&w, (uint16_t)j);
		}
	}
	assert_false(w.failed);
	ike_builder_init(&b, s->in, sizeof(s->in), &hdr);
	ike_put_raw(&b, IKE_PAYLOAD_SA, body, w.len);
	assert_int_equal(ike_builder_finish(&b, &len), 0);
	assert_int_equal(ike_message_decode(s->in, len, &s->m), 0);
	assert_int_equal(s->m.offer.n_proposals, 2);
	assert_int_equal(s->m.offer.n_skipped, 26);
}

/* The bytes stand at the end of a heap block, so that a sanitizer sees any read past them. */
static void decode_exact(struct state *s, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	char text[IKE_MESSAGE_STRLEN], offer[IKE_OFFER_STRLEN];

	assert_non_null(copy);
	memcpy(copy, data, len);
	if (ike_message_decode(copy, len, &s->again) == 0) {
		const char *why = NULL;
		int rc = ike_message_check(&s->again, &why);

		assert_true((rc == 0) == (why == NULL));
		ike_message_str(&s->again, text);
		ike_offer_str(&s->again.offer, offer);
	}
	assert_true(s->again.n_payloads <= IKE_PAYLOADS_MAX);
	free(copy);
}

static void test_truncations_and_mutations(void **state)
{
	struct state *s = *state;
	size_t (*const fixtures[])(uint8_t *, size_t) = {
		fixture_windows_init, fixture_macos_init, fixture_android_init};
	static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

	for (size_t f = 0; f < 3; f++) {
		size_t len = fixtures[f](s->in, sizeof(s->in));

		for (size_t cut = 0; cut < len; cut++) {
			decode_exact(s, s->in, cut);
			/* Again with a header that agrees with the cut. */
			if (cut >= IKE_HEADER_LEN) {
				memcpy(s->out, s->in, cut);
				s->out[26] = (uint8_t)(cut >> 8);
				s->out[27] = (uint8_t)cut;
				decode_exact(s, s->out, cut);
			}
		}
		for (size_t at = 0; at < len; at++) {
			memcpy(s->out, s->in, len);
			for (size_t v = 0; v < sizeof(values); v++) {
				s->out[at] = values[v];
				decode_exact(s, s->out, len);
			}
			s->out[at] = s->in[at] ^ 1;
			decode_exact(s, s->out, len);
		}
	}
}

static void inner_exact(struct state *s, const uint8_t *data, size_t len)
{
	uint8_t shell[IKE_HEADER_LEN] = {[17] = 0x20, [18] = IKE_EXCHANGE_AUTH, [27] = 28};
	uint8_t *copy = malloc(len ? len : 1);
	struct ike_cp_attr attr;
	struct reader at;
	struct ike_id id;
	char text[IKE_ID_STRLEN];

	assert_non_null(copy);
	memcpy(copy, data, len);
	assert_int_equal(ike_message_decode(shell, sizeof(shell), &s->again), 0);
	if (ike_message_decode_inner(&s->again, IKE_PAYLOAD_IDI, copy, len) == 0) {
		if (s->again.cp) {
			at = reader_init(s->again.cp->cp.attrs.data, s->again.cp->cp.attrs.len);
			while (ike_cp_next(&at, &attr))
				assert_true(attr.value.len <= len);
		}
		if (s->again.idi && ike_id_from_payload(&s->again.idi->id, &id) == 0)
			ike_id_str(&id, text);
	}
	free(copy);
}

static void test_inner_truncations_and_mutations(void **state)
{
	struct state *s = *state;
	size_t len = fixture_ios_auth(s->in, sizeof(s->in));

	for (size_t cut = 0; cut <= len; cut++)
		inner_exact(s, s->in, cut);
	for (size_t at = 0; at < len; at++) {
		memcpy(s->out, s->in, len);
		for (int v = 0; v < 256; v++) {
			s->out[at] = (uint8_t)v;
			inner_exact(s, s->out, len);
		}
	}
}

static void test_random_messages_rewrite(void **state)
{
	struct state *s = *state;
	struct seeded_random rng = {1};
	static const uint8_t types[] = {IKE_PAYLOAD_CERT, IKE_PAYLOAD_CERTREQ, IKE_PAYLOAD_NOTIFY,
		IKE_PAYLOAD_VENDOR, IKE_PAYLOAD_IDI, IKE_PAYLOAD_NONCE};
	uint8_t body[300];

	for (int round = 0; round < 2000; round++) {
		struct ike_header hdr = {.spi_i = round, .exchange = IKE_EXCHANGE_INFORMATIONAL};
		uint32_t n = seeded_below(&rng, 20);
		struct ike_builder b;
		size_t len;

		ike_builder_init(&b, s->in, sizeof(s->in), &hdr);
		for (uint32_t i = 0; i < n; i++) {
			size_t body_len = 16 + seeded_below(&rng, 200);
			uint8_t type = types[seeded_below(&rng, sizeof(types))];

			seeded_random_next(&rng, body, body_len);
			if (type == IKE_PAYLOAD_NOTIFY)
				body[0] = body[1] = 0;
			ike_put_raw(&b, type, body, body_len);
		}
		assert_int_equal(ike_builder_finish(&b, &len), 0);
		assert_int_equal(ike_message_decode(s->in, len, &s->m), 0);
		assert_int_equal(s->m.n_payloads, n);
		assert_rewrites(s, len);
	}
}

static void test_builder_full(void **state)
{
	struct state *s = *state;
	const struct ike_header hdr = {0};
	struct ike_builder b;
	size_t len;

	for (size_t cap = 0; cap < 60; cap++) {
		uint8_t *buf = malloc(cap ? cap : 1);

		ike_builder_init(&b, buf, cap, &hdr);
		ike_put_nonce(&b, s->in, 16);
		ike_put_notify_u16(&b, IKE_N_INVALID_KE_PAYLOAD, 14);
		assert_int_equal(ike_builder_finish(&b, &len), cap < 58 ? -IKE_WIRE_E_SPACE : 0);
		free(buf);
	}
}

static void test_id_limits(void **state)
{
	uint8_t data[IKE_ID_MAXLEN + 1] = {0};
	struct ike_id id;

	(void)state;
	assert_int_equal(ike_id_from_payload(&(struct ike_id_payload){.type = IKE_ID_FQDN,
						     .data = {data, IKE_ID_MAXLEN}},
				 &id),
		0);
	assert_int_equal(ike_id_from_payload(&(struct ike_id_payload){.type = IKE_ID_FQDN,
						     .data = {data, sizeof(data)}},
				 &id),
		-IKE_WIRE_E_SYNTAX);
	assert_int_equal(
		ike_id_from_payload(
			&(struct ike_id_payload){.type = IKE_ID_IPV4, .data = {data, 5}}, &id),
		-IKE_WIRE_E_SYNTAX);
	assert_int_equal(
		ike_id_from_payload(
			&(struct ike_id_payload){.type = IKE_ID_FQDN, .data = {data, 0}}, &id),
		-IKE_WIRE_E_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clients_rewrite_identically),
		cmocka_unit_test(test_windows_content),
		cmocka_unit_test(test_ios_auth),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_critical_type_is_reported),
		cmocka_unit_test(test_wanted_keys),
		cmocka_unit_test(test_several_deletes_and_notifies),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_payload_limit),
		cmocka_unit_test(test_big_offer_is_bounded),
		cmocka_unit_test(test_truncations_and_mutations),
		cmocka_unit_test(test_inner_truncations_and_mutations),
		cmocka_unit_test(test_random_messages_rewrite),
		cmocka_unit_test(test_builder_full),
		cmocka_unit_test(test_id_limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
