#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "controlplane/auth/alg_id.h"
#include "controlplane/auth/sign.h"
#include "controlplane/ike/wire_error.h"
#include "tests/unit/ike/util.h"

enum { KEY_RSA2048, KEY_P256, KEY_P384, KEY_P521, KEY_ED25519, N_KEYS };

struct keys {
	EVP_PKEY *k[N_KEYS];
};

static int setup(void **state)
{
	struct keys *keys = calloc(1, sizeof(*keys));

	keys->k[KEY_RSA2048] = EVP_RSA_gen(2048);
	keys->k[KEY_P256] = EVP_EC_gen("P-256");
	keys->k[KEY_P384] = EVP_EC_gen("P-384");
	keys->k[KEY_P521] = EVP_EC_gen("P-521");
	keys->k[KEY_ED25519] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	*state = keys;
	return 0;
}

static int teardown(void **state)
{
	struct keys *keys = *state;

	for (size_t i = 0; i < N_KEYS; i++)
		EVP_PKEY_free(keys->k[i]);
	free(keys);
	return 0;
}

static const struct auth_rules any = {.hashes = AUTH_HASHES_DEFAULT, .allow_rsa_sha1 = true};
static const char text[] = "octets to be signed";
static const struct bytes octets = {(const uint8_t *)text, sizeof(text)};

static const struct {
	int key;
	struct auth_scheme scheme;
	bool ok;        /* key and scheme go together */
	size_t raw_len; /* 0: not fixed */
} rows[] = {
	{KEY_RSA2048, {14, IKE_HASH_SHA2_256, false}, true, 0},
	{KEY_RSA2048, {14, IKE_HASH_SHA2_384, false}, true, 0},
	{KEY_RSA2048, {14, IKE_HASH_SHA2_512, false}, true, 0},
	{KEY_RSA2048, {14, IKE_HASH_SHA2_256, true}, true, 0},
	{KEY_RSA2048, {14, IKE_HASH_SHA2_512, true}, true, 0},
	{KEY_RSA2048, {1, IKE_HASH_SHA1, false}, true, 256},
	{KEY_RSA2048, {1, IKE_HASH_SHA2_256, false}, false, 0},
	{KEY_RSA2048, {9, IKE_HASH_SHA2_256, false}, false, 0},
	{KEY_RSA2048, {14, IKE_HASH_IDENTITY, false}, false, 0},
	{KEY_RSA2048, {2, IKE_HASH_SHA2_256, false}, false, 0},
	{KEY_P256, {14, IKE_HASH_SHA2_256, false}, true, 0},
	{KEY_P384, {14, IKE_HASH_SHA2_256, false}, true, 0},
	{KEY_P521, {14, IKE_HASH_SHA2_512, false}, true, 0},
	{KEY_P256, {14, IKE_HASH_SHA2_256, true}, false, 0},
	{KEY_P256, {9, IKE_HASH_SHA2_256, false}, true, 64},
	{KEY_P384, {10, IKE_HASH_SHA2_384, false}, true, 96},
	{KEY_P521, {11, IKE_HASH_SHA2_512, false}, true, 132},
	{KEY_P384, {9, IKE_HASH_SHA2_256, false}, false, 0},
	{KEY_P256, {9, IKE_HASH_SHA2_384, false}, false, 0},
	{KEY_ED25519, {14, IKE_HASH_IDENTITY, false}, false, 0},
};

static void test_sign_and_verify(void **state)
{
	struct keys *keys = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		EVP_PKEY *key = keys->k[rows[i].key];
		const struct auth_scheme *s = &rows[i].scheme;
		uint8_t auth[AUTH_SIGNATURE_MAX];
		struct auth_scheme used;
		size_t len;
		int rc = auth_sign(key, s, octets, auth, sizeof(auth), &len);

		if (rc != (rows[i].ok ? 0 : -IKE_WIRE_E_AUTH_ALG))
			fail_msg("row %zu: %s", i, ike_wire_error_str(rc));
		if (rc < 0)
			continue;
		if (rows[i].raw_len)
			assert_int_equal(len, rows[i].raw_len);
		assert_int_equal(
			auth_verify(key, s->method, (struct bytes){auth, len}, octets, &any, &used),
			0);
		assert_int_equal(used.method, s->method);
		assert_int_equal(used.hash, s->hash);
		assert_int_equal(used.is_pss, s->is_pss);
		/* Other octets, a changed end, a cut end, another key. */
		assert_int_equal(auth_verify(key, s->method, (struct bytes){auth, len},
					 (struct bytes){octets.data, octets.len - 1}, &any, NULL),
			-IKE_WIRE_E_AUTH);
		assert_true(auth_verify(key, s->method, (struct bytes){auth, len - 1}, octets, &any,
				    NULL) < 0);
		auth[len - 1] ^= 1;
		assert_int_equal(
			auth_verify(key, s->method, (struct bytes){auth, len}, octets, &any, NULL),
			-IKE_WIRE_E_AUTH);
		auth[len - 1] ^= 1;
		assert_true(auth_verify(keys->k[rows[i].key == KEY_P256 ? KEY_P384 : KEY_P256],
				    s->method, (struct bytes){auth, len}, octets, &any, NULL) < 0);
		/* Method of another kind with the same bytes. */
		assert_true(auth_verify(key, s->method == 14 ? 1 : 14, (struct bytes){auth, len},
				    octets, &any, NULL) < 0);
		assert_int_equal(auth_sign(key, s, octets, auth, 10, &len), -IKE_WIRE_E_SPACE);
	}
}

static void test_rules(void **state)
{
	struct keys *keys = *state;
	EVP_PKEY *rsa = keys->k[KEY_RSA2048];
	const struct auth_scheme pkcs1 = {14, IKE_HASH_SHA2_256, false}, sha1 = {14, 1, false};
	const struct auth_scheme method1 = {1, IKE_HASH_SHA1, false};
	const struct auth_rules no_sha1 = {.hashes = AUTH_HASHES_DEFAULT};
	const struct auth_rules ecdsa = {.hashes = AUTH_HASHES_DEFAULT, .kind = AUTH_KEY_ECDSA};
	const struct auth_rules only_512 = {.hashes = AUTH_HASH_BIT(IKE_HASH_SHA2_512)};
	const struct auth_rules only_14 = {
		.hashes = AUTH_HASHES_DEFAULT, .method = 14, .allow_rsa_sha1 = true};
	uint8_t auth[AUTH_SIGNATURE_MAX];
	size_t len;

	assert_int_equal(auth_sign(rsa, &pkcs1, octets, auth, sizeof(auth), &len), 0);
	const struct bytes a = {auth, len};

	assert_int_equal(auth_verify(rsa, 14, a, octets, &no_sha1, NULL), 0);
	assert_int_equal(auth_verify(rsa, 14, a, octets, &only_14, NULL), 0);
	assert_int_equal(auth_verify(rsa, 14, a, octets, &ecdsa, NULL), -IKE_WIRE_E_AUTH_ALG);
	assert_int_equal(auth_verify(rsa, 14, a, octets, &only_512, NULL), -IKE_WIRE_E_AUTH_ALG);
	assert_int_equal(auth_verify(rsa, 3, a, octets, &any, NULL), -IKE_WIRE_E_AUTH_ALG);
	assert_int_equal(auth_verify(rsa, 13, a, octets, &any, NULL), -IKE_WIRE_E_AUTH_ALG);
	/* The curve that a policy names, with either method. */
	const struct auth_rules p384 = {
		.hashes = AUTH_HASHES_DEFAULT, .kind = AUTH_KEY_ECDSA, .curve_bits = 384};
	const struct auth_scheme by_curve[] = {{14, IKE_HASH_SHA2_256, false},
		{9, IKE_HASH_SHA2_256, false}, {14, IKE_HASH_SHA2_384, false},
		{10, IKE_HASH_SHA2_384, false}};

	for (size_t i = 0; i < 4; i++) {
		EVP_PKEY *key = keys->k[i < 2 ? KEY_P256 : KEY_P384];

		assert_int_equal(auth_sign(key, &by_curve[i], octets, auth, sizeof(auth), &len), 0);
		assert_int_equal(auth_verify(key, by_curve[i].method, (struct bytes){auth, len},
					 octets, &p384, NULL),
			i < 2 ? -IKE_WIRE_E_AUTH_ALG : 0);
	}
	assert_int_equal(auth_sign(rsa, &sha1, octets, auth, sizeof(auth), &len), 0);
	assert_int_equal(auth_verify(rsa, 14, (struct bytes){auth, len}, octets, &any, NULL),
		-IKE_WIRE_E_AUTH_ALG);
	assert_int_equal(auth_sign(rsa, &method1, octets, auth, sizeof(auth), &len), 0);
	assert_int_equal(auth_verify(rsa, 1, (struct bytes){auth, len}, octets, &any, NULL), 0);
	assert_int_equal(auth_verify(rsa, 1, (struct bytes){auth, len}, octets, &no_sha1, NULL),
		-IKE_WIRE_E_AUTH_ALG);
	assert_int_equal(auth_verify(rsa, 1, (struct bytes){auth, len}, octets, &only_14, NULL),
		-IKE_WIRE_E_AUTH_ALG);
}

#define H(x) AUTH_HASH_BIT(IKE_HASH_##x)

/* Field case B22: the method and the hash by what the peer announced, PSS only as an answer. */
static void test_choose(void **state)
{
	static const struct auth_scheme pss = {14, IKE_HASH_SHA2_256, true};
	static const struct {
		int key;
		uint8_t rule_method;
		bool allow_sha1;
		uint32_t peer;
		const struct auth_scheme *peer_used;
		int method; /* 0: none */
		uint16_t hash;
		bool is_pss;
		const char *why;
	} choices[] = {
		{KEY_RSA2048, 0, false, H(SHA2_256) | H(SHA2_512), NULL, 14, IKE_HASH_SHA2_256,
			false, "the key's size suggests SHA2-256"},
		{KEY_RSA2048, 0, false, H(SHA2_512), NULL, 14, IKE_HASH_SHA2_512, false,
			"a stronger one if it is the only one"},
		{KEY_RSA2048, 0, false, H(SHA2_256), &pss, 14, IKE_HASH_SHA2_256, true,
			"PSS is mirrored"},
		{KEY_RSA2048, 0, true, H(SHA1), NULL, 0, 0, false, "nothing in common"},
		{KEY_RSA2048, 0, false, 0, NULL, 0, 0, false, "no hashes announced, no SHA-1"},
		{KEY_RSA2048, 0, true, 0, NULL, 1, IKE_HASH_SHA1, false, "the policy says rsa"},
		{KEY_P384, 0, false, H(SHA2_256), NULL, 14, IKE_HASH_SHA2_256, false,
			"P-384 with SHA2-256 only"},
		{KEY_P384, 0, false, AUTH_HASHES_DEFAULT, &pss, 14, IKE_HASH_SHA2_384, false,
			"ECDSA has no PSS"},
		{KEY_P256, 0, false, 0, NULL, 9, IKE_HASH_SHA2_256, false, "by curve"},
		{KEY_P521, 0, false, 0, NULL, 11, IKE_HASH_SHA2_512, false, "by curve"},
		{KEY_P384, 10, false, AUTH_HASHES_DEFAULT, NULL, 10, IKE_HASH_SHA2_384, false,
			"the policy says ecdsa384"},
		{KEY_P256, 10, false, AUTH_HASHES_DEFAULT, NULL, 0, 0, false, "another curve"},
		{KEY_RSA2048, 14, true, 0, NULL, 0, 0, false, "the policy says rfc7427"},
		{KEY_ED25519, 0, true, AUTH_HASHES_DEFAULT, NULL, 0, 0, false, "kind unknown"},
	};
	struct keys *keys = *state;

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		const struct auth_rules rules = {.hashes = AUTH_HASHES_DEFAULT,
			.method = choices[i].rule_method,
			.allow_rsa_sha1 = choices[i].allow_sha1};
		struct auth_scheme s;
		int rc = auth_scheme_choose(
			keys->k[choices[i].key], &rules, choices[i].peer, choices[i].peer_used, &s);

		if ((rc == 0) != (choices[i].method != 0))
			fail_msg("%s", choices[i].why);
		if (rc == 0 && (s.method != choices[i].method || s.hash != choices[i].hash ||
				       s.is_pss != choices[i].is_pss))
			fail_msg("%s: %u %u", choices[i].why, s.method, s.hash);
	}
}

static void test_hash_notify(void **state)
{
	static const uint8_t data[] = {0, 2, 0, 4, 0, 5, 0x12, 0x34, 0, 1, 9};

	(void)state;
	assert_int_equal(auth_hashes_parse((struct bytes){data, sizeof(data)}),
		H(SHA1) | H(SHA2_256) | H(SHA2_512));
	assert_int_equal(auth_hashes_parse((struct bytes){data, 0}), 0);
}

/* RFC 7427 A.1.2, A.2.2, A.3.2, A.3.3 as printed there; PSS with and without the trailer field
 * and the NULLs, as different implementations write it. */
static const struct {
	const char *der;
	int rc;
	enum auth_key_kind kind;
	uint16_t hash, salt_len;
	const char *why;
} ids[] = {
	{"300d06092a864886f70d01010b0500", 0, AUTH_KEY_RSA, IKE_HASH_SHA2_256, 0, "RSA SHA-256"},
	{"300d06092a864886f70d01010d0500", 0, AUTH_KEY_RSA, IKE_HASH_SHA2_512, 0, "RSA SHA-512"},
	{"300b06092a864886f70d01010b", 0, AUTH_KEY_RSA, IKE_HASH_SHA2_256, 0, "without NULL"},
	{"300a06082a8648ce3d040302", 0, AUTH_KEY_ECDSA, IKE_HASH_SHA2_256, 0, "ECDSA SHA-256"},
	{"300a06082a8648ce3d040303", 0, AUTH_KEY_ECDSA, IKE_HASH_SHA2_384, 0, "ECDSA SHA-384"},
	{"304606092a864886f70d01010a3039a00f300d06096086480165030402010500"
	 "a11c301a06092a864886f70d010108300d06096086480165030402010500"
	 "a203020120a303020101",
		0, AUTH_KEY_RSA, IKE_HASH_SHA2_256, 32, "PSS with trailer"},
	{"304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
	 "a11c301a06092a864886f70d010108300d06096086480165030402010500"
	 "a203020120",
		0, AUTH_KEY_RSA, IKE_HASH_SHA2_256, 32, "PSS"},
	{"303d06092a864886f70d01010a3030a00d300b0609608648016503040201"
	 "a11a301806092a864886f70d010108300b0609608648016503040201"
	 "a203020120",
		0, AUTH_KEY_RSA, IKE_HASH_SHA2_256, 32, "PSS without NULLs"},
	{"304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
	 "a11c301a06092a864886f70d010108300d06096086480165030402030500"
	 "a203020120",
		-IKE_WIRE_E_AUTH_ALG, 0, 0, 0, "PSS, another hash in MGF1"},
	{"300d06092a864886f70d01010a3000", -IKE_WIRE_E_AUTH_ALG, 0, 0, 0, "PSS with defaults"},
	{"300506032b6570", -IKE_WIRE_E_AUTH_ALG, 0, 0, 0, "Ed25519"},
	{"300d06092a864886f70d0101040500", -IKE_WIRE_E_AUTH_ALG, 0, 0, 0, "RSA MD5"},
	{"300d06092a864886f70d01010b050000", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "trailing byte"},
	{"300e06092a864886f70d01010b050000", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "trailing inside"},
	{"30810d06092a864886f70d01010b0500", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "not the short form"},
	{"300d06092a864886f70d01010b0501", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "NULL of one byte"},
	{"310d06092a864886f70d01010b0500", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "a SET"},
	{"30", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "one byte"},
	{"", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "nothing"},
	{"3000", -IKE_WIRE_E_SYNTAX, 0, 0, 0, "empty"},
};

static void test_algorithm_identifiers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		uint8_t der[128], *exact;
		size_t len = hex_read(ids[i].der, der, sizeof(der));
		struct alg_id alg;
		int rc;

		rc = alg_id_parse((struct bytes){der, len}, &alg);
		if (rc != ids[i].rc)
			fail_msg("%s: %s", ids[i].why, ike_wire_error_str(rc));
		if (rc == 0 && (alg.kind != ids[i].kind || alg.hash != ids[i].hash ||
				       alg.salt_len != ids[i].salt_len))
			fail_msg("%s", ids[i].why);
		/* Truncations and mutations at the end of a heap block. */
		for (size_t cut = 0; cut < len; cut++) {
			exact = malloc(cut ? cut : 1);
			memcpy(exact, der, cut);
			rc = alg_id_parse((struct bytes){exact, cut}, &alg);
			assert_true(rc < 0 || ids[i].rc < 0);
			for (size_t bit = 0; bit < 8 * cut; bit++) {
				exact[bit / 8] ^= (uint8_t)(1 << bit % 8);
				assert_true(alg_id_parse((struct bytes){exact, cut}, &alg) <= 0);
				exact[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			free(exact);
		}
	}
}

static void test_algorithm_identifiers_rewrite(void **state)
{
	(void)state;
	for (uint16_t hash = IKE_HASH_SHA1; hash <= IKE_HASH_SHA2_512; hash++) {
		const struct alg_id all[] = {{AUTH_KEY_RSA, hash, false, 0},
			{AUTH_KEY_ECDSA, hash, false, 0}, {AUTH_KEY_RSA, hash, true, 0}};

		for (size_t i = 0; i < 3; i++) {
			struct alg_id parsed;
			uint8_t der[ALG_ID_MAX];
			size_t len = alg_id_write(&all[i], der, sizeof(der));

			assert_true(len > 0);
			assert_int_equal(alg_id_parse((struct bytes){der, len}, &parsed), 0);
			assert_int_equal(parsed.kind, all[i].kind);
			assert_int_equal(parsed.hash, hash);
			assert_int_equal(parsed.is_pss, all[i].is_pss);
			assert_int_equal(alg_id_write(&all[i], der, len - 1), 0);
		}
	}
}

static void test_public_keys(void **state)
{
	struct keys *keys = *state;
	uint8_t der[2048];

	for (int i = 0; i < N_KEYS; i++) {
		for (int encoding = 11; encoding <= 15; encoding += 4) {
			size_t len = auth_pubkey_to_cert(
				keys->k[i], (uint8_t)encoding, der, sizeof(der));
			EVP_PKEY *key;

			if (encoding == IKE_CERT_RSA_KEY && i != KEY_RSA2048) {
				assert_int_equal(len, 0);
				continue;
			}
			assert_true(len > 0);
			key = auth_pubkey_from_cert((uint8_t)encoding, (struct bytes){der, len});
			if (i == KEY_ED25519) {
				assert_null(key);
				continue;
			}
			assert_int_equal(EVP_PKEY_eq(key, keys->k[i]), 1);
			EVP_PKEY_free(key);
			/* SubjectPublicKeyInfo under the encoding of its kind only. */
			if (encoding == IKE_CERT_RAW_PUBLIC_KEY) {
				uint8_t fits = i == KEY_RSA2048 ? IKE_CERT_RSA_KEY
								: IKE_CERT_OPENIKED_ECDSA;
				uint8_t other = i == KEY_RSA2048 ? IKE_CERT_OPENIKED_ECDSA
								 : IKE_CERT_RSA_KEY;

				key = auth_pubkey_from_cert(fits, (struct bytes){der, len});
				assert_non_null(key);
				EVP_PKEY_free(key);
				assert_null(auth_pubkey_from_cert(other, (struct bytes){der, len}));
			}
			der[len] = 0;
			assert_null(auth_pubkey_from_cert(
				(uint8_t)encoding, (struct bytes){der, len + 1}));
			assert_null(auth_pubkey_from_cert(
				(uint8_t)encoding, (struct bytes){der, len - 1}));
			assert_null(auth_pubkey_from_cert(IKE_CERT_X509, (struct bytes){der, len}));
			assert_int_equal(
				auth_pubkey_to_cert(keys->k[i], (uint8_t)encoding, der, len - 1),
				0);
		}
	}
	assert_null(auth_pubkey_from_cert(11, (struct bytes){der, 0}));
}

static void test_weak_rsa_is_refused(void **state)
{
	EVP_PKEY *weak = EVP_RSA_gen(512);
	uint8_t der[256];
	size_t len;

	(void)state;
	assert_non_null(weak);
	len = auth_pubkey_to_cert(weak, IKE_CERT_RAW_PUBLIC_KEY, der, sizeof(der));
	assert_true(len > 0);
	assert_null(auth_pubkey_from_cert(IKE_CERT_RAW_PUBLIC_KEY, (struct bytes){der, len}));
	EVP_PKEY_free(weak);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sign_and_verify),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_hash_notify),
		cmocka_unit_test(test_algorithm_identifiers),
		cmocka_unit_test(test_algorithm_identifiers_rewrite),
		cmocka_unit_test(test_public_keys),
		cmocka_unit_test(test_weak_rsa_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
