#include "controlplane/ike/fragment.h"
#include "tests/unit/ike/util.h"

/*
 * One message under each kind of cipher: SPIs, header and the 12 bytes of N(SET_WINDOW_SIZE) of
 * RFC 7634 B, counting keys. The ChaCha20-Poly1305 row is that appendix; the others were
 * computed with Python's cryptography and hmac.
 */
static const struct {
	const char *encr, *integ;
	uint16_t key_len, integ_key_len;
	const char *message;
} vectors[] = {
	{"chacha20-poly1305", NULL, 32, 0,
		"c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000452900002910111213"
		"14151617610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2"},
	{"aes-256-gcm", NULL, 32, 0,
		"c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000452900002910111213"
		"141516179440c4dcb893200cfb55f6fdcc30045d78376cd938f8f24d89b4ab48f2"},
	{"aes-128-gcm-12", NULL, 16, 0,
		"c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000412900002510111213"
		"141516179146c4ffacb89c2bc9f175a7fa58cd133297416bd1d4c3cfe2"},
	{"aes-128-ctr", "hmac-sha2-512", 16, 64,
		"c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000552900003910111213"
		"1415161752cbf873cac0a57587418494c364999c370da873d37cc496cd2012df21ade192"
		"b051856d25b338d0b1712b0b0c"},
	{"aes-256", "hmac-sha2-256", 32, 32,
		"c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000502900003410111213"
		"1415161718191a1b1c1d1e1f33c5424c06b72578caad1ebb0765f102c2f63456eebb8e63"
		"e1b66a0826ee51ea"},
	{"3des", "hmac-sha1", 24, 20,
		"c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000442900002810111213"
		"141516177b609d066711a761c39f47e6d2effbd098c31ffddd5a1594a588d480"},
};

#define N_VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static void count_up(uint8_t *out, uint8_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(from + i);
}

static void cipher_of(size_t i, struct ike_cipher *c)
{
	struct ike_suite suite = {
		.encr = transform_by_name(TRANSFORM_ENCR, vectors[i].encr),
		.integ = vectors[i].integ ? transform_by_name(TRANSFORM_INTEG, vectors[i].integ)
					  : NULL,
	};
	struct ike_sa_keys keys = {0};

	count_up(keys.sk_ei, 0x80, vectors[i].key_len);
	count_up(keys.sk_ei + vectors[i].key_len, 0xa0, 4);
	count_up(keys.sk_ai, 0x30, vectors[i].integ_key_len);
	ike_cipher_init(c, &suite, &keys, true);
	c->next_iv = 0x1011121314151617u;
}

static const struct ike_header header = {.spi_i = 0xc0c1c2c3c4c5c6c7u,
	.spi_r = 0xd0d1d2d3d4d5d6d7u,
	.exchange = IKE_EXCHANGE_INFORMATIONAL,
	.message_id = 9};

static const uint8_t notify[] = {0, 0, 0, 12, 0, 0, 0x40, 1, 0, 0, 0, 10};

static struct ike_message *message_new(void)
{
	struct ike_message *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	return m;
}

static void test_vectors(void **state)
{
	struct ike_message *m = message_new();
	uint8_t iv[16], out[256], plain[256];

	(void)state;
	count_up(iv, 0x10, sizeof(iv));
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct fixed_random fixed = {iv, sizeof(iv), 0};
		const struct ike_random rng = {fixed_random_next, &fixed};
		const struct ike_sk_plain in = {
			.first_payload = IKE_PAYLOAD_NOTIFY, .payloads = {notify, sizeof(notify)}};
		struct ike_cipher c;
		size_t len, plain_len;

		cipher_of(i, &c);
		assert_int_equal(ike_sk_seal(&c, &rng, &header, &in, out, sizeof(out), &len), 0);
		assert_int_equal(len, ike_sk_message_len(&c, sizeof(notify), false));
		assert_hex(out, len, vectors[i].message);
		assert_int_equal(ike_message_decode(out, len, m), 0);
		assert_int_equal(ike_sk_open(&c, m, plain, sizeof(plain), &plain_len), 0);
		assert_int_equal(plain_len, sizeof(notify));
		assert_memory_equal(plain, notify, plain_len);
		assert_int_equal(
			ike_message_decode_inner(m, m->sk->sk.first_payload, plain, plain_len), 0);
		assert_non_null(ike_message_notify(m, IKE_N_SET_WINDOW_SIZE));
	}
	free(m);
}

/* Every bit of a message is covered: header, SK's header, IV, text, ICV. */
static void test_every_bit_is_covered(void **state)
{
	struct ike_message *m = message_new();
	uint8_t data[256], plain[256];

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		size_t len = hex_read(vectors[i].message, data, sizeof(data)), plain_len;
		struct ike_cipher c;

		cipher_of(i, &c);
		for (size_t bit = 0; bit < 8 * len; bit++) {
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (ike_message_decode(data, len, m) == 0 && m->sk)
				assert_int_equal(
					ike_sk_open(&c, m, plain, sizeof(plain), &plain_len),
					-IKE_WIRE_E_ICV);
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_int_equal(ike_message_decode(data, len, m), 0);
		assert_int_equal(ike_sk_open(&c, m, plain, 12, &plain_len), -IKE_WIRE_E_SPACE);
	}
	free(m);
}

/* Bodies of every length up to a real one: too short for IV and ICV, not whole blocks. */
static void test_short_bodies(void **state)
{
	struct ike_message *m = message_new();
	const struct ike_header hdr = header;
	uint8_t data[256], plain[256], body[64] = {0};

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		for (size_t n = 0; n < sizeof(body); n++) {
			struct ike_builder b;
			struct ike_cipher c;
			size_t len, plain_len;

			cipher_of(i, &c);
			ike_builder_init(&b, data, sizeof(data), &hdr);
			ike_put_raw(&b, IKE_PAYLOAD_SK, body, n);
			assert_int_equal(ike_builder_finish(&b, &len), 0);
			assert_int_equal(ike_message_decode(data, len, m), 0);
			assert_int_equal(ike_sk_open(&c, m, plain, sizeof(plain), &plain_len),
				-IKE_WIRE_E_ICV);
		}
	}
	free(m);
}

static void test_ivs(void **state)
{
	struct seeded_random seed = {5};
	const struct ike_random rng = {seeded_random_next, &seed};
	const struct ike_sk_plain in = {
		.first_payload = IKE_PAYLOAD_NOTIFY, .payloads = {notify, sizeof(notify)}};
	uint8_t first[256], second[256];
	size_t len;

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct ike_cipher c;
		struct fixed_random empty = {NULL, 0, 0};
		const struct ike_random broken = {fixed_random_next, &empty};
		bool is_counter;

		cipher_of(i, &c);
		is_counter = c.encr->flags & TRANSFORM_F_COUNTER;
		assert_int_equal(
			ike_sk_seal(&c, &rng, &header, &in, first, sizeof(first), &len), 0);
		assert_int_equal(
			ike_sk_seal(&c, &rng, &header, &in, second, sizeof(second), &len), 0);
		assert_memory_not_equal(first + 32, second + 32, c.encr->iv_len);
		/* Without randomness no CBC message goes out, nor clear text. */
		memset(first, 0, sizeof(first));
		assert_int_equal(ike_sk_seal(&c, &broken, &header, &in, first, sizeof(first), &len),
			is_counter ? 0 : -IKE_WIRE_E_CRYPTO);
		if (!is_counter)
			assert_int_equal(first[33 + c.encr->iv_len], 0);
		c.next_iv = UINT64_MAX;
		if (is_counter)
			assert_int_equal(
				ike_sk_seal(&c, &rng, &header, &in, first, sizeof(first), &len),
				-IKE_WIRE_E_CRYPTO);
		assert_int_equal(ike_sk_seal(&c, &rng, &header, &in, first, len - 1, &len),
			-IKE_WIRE_E_SPACE);
	}
}

/* Opens one datagram and adds it. */
static int feed(struct ike_message *m, const struct ike_cipher *c, struct ike_reassembly **r,
	struct bytes datagram)
{
	static uint8_t plain[IKE_MESSAGE_MAX];
	size_t len;

	assert_int_equal(ike_message_decode(datagram.data, datagram.len, m), 0);
	assert_int_equal(ike_sk_open(c, m, plain, sizeof(plain), &len), 0);
	return ike_reassembly_add(r, m->hdr.message_id, &m->sk->sk, plain, len);
}

/* A chain of one big CERT payload and a notify. */
static size_t chain_make(uint8_t *out, size_t cap, size_t cert_len)
{
	static const uint8_t zeros[60000];
	struct ike_builder b;
	size_t len;

	ike_builder_init_inner(&b, out, cap);
	ike_put_cert(&b, IKE_PAYLOAD_CERT, IKE_CERT_X509, zeros, cert_len);
	ike_put_notify(&b, IKE_N_INITIAL_CONTACT, NULL, 0);
	assert_int_equal(ike_builder_finish(&b, &len), 0);
	return len;
}

static void shuffle(struct seeded_random *rng, uint16_t *order, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		order[i] = i;
	for (uint16_t i = n; i > 1; i--) {
		uint16_t j = (uint16_t)seeded_below(rng, i), t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}

/* Field case B27: sizes as in the field, any order, each fragment twice. */
static void test_fragments(void **state)
{
	static const struct {
		size_t cert_len, max_len;
		uint16_t at_least;
	} rows[] = {{12000, 300, 40}, {12000, 576, 21}, {3000, 626, 4}, {60000, 1280, 46},
		{30000, 150, 200}, {100, 1280, 1}, {1200, 0, 1}, {60000, 0, 1}};
	struct seeded_random seed = {11};
	const struct ike_random rng = {seeded_random_next, &seed};
	struct ike_message *m = message_new();
	static uint8_t chain[IKE_MESSAGE_MAX];

	(void)state;
	for (size_t i = 0; i < N_VECTORS * sizeof(rows) / sizeof(rows[0]); i++) {
		size_t row = i / N_VECTORS;
		size_t len = chain_make(chain, sizeof(chain), rows[row].cert_len);
		struct ike_reassembly *r = NULL;
		struct ike_datagrams d;
		struct ike_cipher c;
		uint16_t order[IKE_FRAGMENTS_MAX];
		struct bytes whole;
		uint8_t first;

		cipher_of(i % N_VECTORS, &c);
		assert_int_equal(ike_seal(&c, &rng, &header, IKE_PAYLOAD_CERT,
					 (struct bytes){chain, len}, rows[row].max_len, &d),
			0);
		assert_true(d.n >= rows[row].at_least);
		for (uint16_t j = 0; rows[row].max_len && j < d.n; j++)
			assert_true(ike_datagrams_at(&d, j).len <= rows[row].max_len);
		if (d.n == 1) {
			assert_int_equal(ike_message_decode(d.data, d.end[0], m), 0);
			assert_int_equal(m->sk->type, IKE_PAYLOAD_SK);
			ike_datagrams_fini(&d);
			continue;
		}
		shuffle(&seed, order, d.n);
		for (uint16_t j = 0; j + 1 < d.n; j++) {
			assert_int_equal(feed(m, &c, &r, ike_datagrams_at(&d, order[j])), 0);
			assert_int_equal(feed(m, &c, &r, ike_datagrams_at(&d, order[j])), 0);
		}
		assert_int_equal(feed(m, &c, &r, ike_datagrams_at(&d, order[d.n - 1])), 1);
		whole = ike_reassembly_take(r, &first);
		assert_int_equal(first, IKE_PAYLOAD_CERT);
		assert_int_equal(whole.len, len);
		assert_memory_equal(whole.data, chain, len);
		assert_int_equal(ike_message_decode_inner(m, first, whole.data, whole.len), 0);
		assert_non_null(ike_message_notify(m, IKE_N_INITIAL_CONTACT));
		ike_reassembly_destroy(&r);
		ike_datagrams_fini(&d);
	}
	free(m);
}

static void test_seal_limits(void **state)
{
	static uint8_t chain[IKE_MESSAGE_MAX];
	struct ike_datagrams d;
	struct ike_cipher c;

	(void)state;
	cipher_of(0, &c);
	assert_int_equal(
		ike_seal(&c, NULL, &header, IKE_PAYLOAD_CERT, (struct bytes){chain, 60000}, 40, &d),
		-IKE_WIRE_E_LIMIT);
	assert_int_equal(ike_seal(&c, NULL, &header, IKE_PAYLOAD_CERT, (struct bytes){chain, 60000},
				 100, &d),
		-IKE_WIRE_E_LIMIT);
	assert_int_equal(ike_seal(&c, NULL, &header, IKE_PAYLOAD_CERT,
				 (struct bytes){chain, sizeof(chain)}, 0, &d),
		-IKE_WIRE_E_LIMIT);
	/* An empty INFORMATIONAL. */
	assert_int_equal(
		ike_seal(&c, NULL, &header, IKE_PAYLOAD_NONE, (struct bytes){NULL, 0}, 1280, &d),
		0);
	assert_int_equal(d.n, 1);
	ike_datagrams_fini(&d);
}

static int add(struct ike_reassembly **r, uint32_t id, uint16_t n, uint16_t total, size_t len)
{
	static const uint8_t data[IKE_MESSAGE_MAX];
	const struct ike_sk sk = {.first_payload = n == 1 ? IKE_PAYLOAD_CERT : 0,
		.fragment = n,
		.n_fragments = total};

	return ike_reassembly_add(r, id, &sk, data, len);
}

/* Field case B27: what bounds a message of many fragments. */
static void test_reassembly_rules(void **state)
{
	struct ike_reassembly *r = NULL;
	uint8_t first;

	(void)state;
	assert_int_equal(add(&r, 1, 1, 513, 10), -IKE_WIRE_E_LIMIT);
	assert_null(r);
	assert_int_equal(add(&r, 1, 0, 3, 10), -IKE_WIRE_E_FRAGMENT);
	assert_int_equal(add(&r, 1, 4, 3, 10), -IKE_WIRE_E_FRAGMENT);
	assert_int_equal(add(&r, 1, 1, 3, 10), 0);
	assert_int_equal(add(&r, 1, 2, 3, 10), 0);
	/* RFC 7383 2.6: a smaller total is dropped, a larger one begins anew. */
	assert_int_equal(add(&r, 1, 1, 2, 10), -IKE_WIRE_E_FRAGMENT);
	assert_int_equal(add(&r, 1, 3, 4, 10), 0);
	assert_int_equal(add(&r, 1, 3, 3, 10), -IKE_WIRE_E_FRAGMENT);
	assert_int_equal(add(&r, 1, 4, 4, 10), 0);
	assert_int_equal(add(&r, 1, 2, 4, 0), 0);
	assert_int_equal(add(&r, 1, 1, 4, 10), 1);
	assert_int_equal(ike_reassembly_take(r, &first).len, 30);
	assert_int_equal(first, IKE_PAYLOAD_CERT);
	/* Another message. */
	assert_int_equal(add(&r, 2, 2, 2, 10), 0);
	assert_int_equal(add(&r, 2, 1, 2, 10), 1);
	ike_reassembly_destroy(&r);
	assert_null(r);
	ike_reassembly_destroy(&r);

	for (uint16_t i = 1; i < 512; i++)
		assert_int_equal(add(&r, 3, i, 512, 100), 0);
	assert_int_equal(add(&r, 3, 512, 512, 100), 1);
	/* 64 KiB in all. */
	assert_int_equal(add(&r, 4, 1, 3, 40000), 0);
	assert_int_equal(add(&r, 4, 2, 3, 40000), -IKE_WIRE_E_LIMIT);
	assert_int_equal(add(&r, 4, 2, 3, 20000), 0);
	assert_int_equal(add(&r, 4, 3, 3, 5535), 1);
	ike_reassembly_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_bit_is_covered),
		cmocka_unit_test(test_short_bodies),
		cmocka_unit_test(test_ivs),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_seal_limits),
		cmocka_unit_test(test_reassembly_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
