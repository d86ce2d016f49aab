#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "controlplane/ike/auth_blob.h"
#include "controlplane/ike/cookie.h"
#include "controlplane/ike/keymat.h"
#include "tests/unit/ike/util.h"

static struct bytes text_bytes(const char *s)
{
	return (struct bytes){(const uint8_t *)s, strlen(s)};
}

/* RFC 4231 4.2 to 4.8: key, data, and the MACs of SHA-256, -384, -512. */
static const struct {
	const char *key, *data, *sha256, *sha384, *sha512;
} hmacs[] = {
	{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
		"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
		"faea9ea9076ede7f4af152e8b2fa9cb6",
		"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
		"daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
	{"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
		"8e2240ca5e69e2c78b3239ecfab21649",
		"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
		"9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
};

static void test_hmac(void **state)
{
	static const uint16_t ids[] = {PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512};

	(void)state;
	for (size_t i = 0; i < sizeof(hmacs) / sizeof(hmacs[0]); i++) {
		const char *const want[] = {hmacs[i].sha256, hmacs[i].sha384, hmacs[i].sha512};
		uint8_t key[64], data[64], out[IKE_PRF_MAX_LEN];
		struct bytes k = {key, hex_read(hmacs[i].key, key, sizeof(key))};
		size_t len = hex_read(hmacs[i].data, data, sizeof(data));
		/* In two parts, as the engine gives them. */
		const struct bytes parts[] = {{data, 3}, {data + 3, len - 3}};

		for (size_t j = 0; j < 3; j++) {
			const struct transform *t = transform_find(TRANSFORM_PRF, ids[j], 0);

			assert_int_equal(ike_prf(t, k, parts, 2, out), 0);
			assert_hex(out, t->out_len, want[j]);
		}
	}
}

/* prf+ has the shape of HKDF-Expand (RFC 5869 2.3): its vector A.1, then OpenSSL's KDF. */
static void test_prf_plus(void **state)
{
	const struct transform *t = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
	uint8_t key[32], info[10], out[42];
	struct bytes k = {key, hex_read("077709362c2e32df0ddc3f0dc47bba63"
					"90b6c73bb50f9c3122ec844ad7c2b3e5",
				       key, sizeof(key))};
	struct bytes seed = {info, hex_read("f0f1f2f3f4f5f6f7f8f9", info, sizeof(info))};

	(void)state;
	assert_int_equal(ike_prf_plus(t, k, &seed, 1, out, sizeof(out)), 0);
	assert_hex(out, sizeof(out),
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
		"34007208d5b887185865");
}

static void hkdf_expand(
	const char *digest, struct bytes key, struct bytes info, uint8_t *out, size_t len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(
			OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digest, 0),
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key.data, key.len),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info.data, info.len),
		OSSL_PARAM_construct_end(),
	};

	assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

static void test_prf_plus_against_openssl(void **state)
{
	static const uint16_t ids[] = {
		PRF_HMAC_SHA1, PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512};
	struct seeded_random rng = {3};
	uint8_t key[64], info[100], ours[2048], theirs[2048];

	(void)state;
	for (size_t i = 0; i < 400; i++) {
		const struct transform *t = transform_find(TRANSFORM_PRF, ids[i % 4], 0);
		struct bytes k = {key, 1 + seeded_below(&rng, sizeof(key))};
		struct bytes s = {info, 1 + seeded_below(&rng, sizeof(info))};
		size_t len = 1 + seeded_below(&rng, sizeof(ours));

		seeded_random_next(&rng, key, k.len);
		seeded_random_next(&rng, info, s.len);
		assert_int_equal(ike_prf_plus(t, k, &s, 1, ours, len), 0);
		hkdf_expand(t->openssl_name, k, s, theirs, len);
		assert_memory_equal(ours, theirs, len);
	}
}

static void test_prf_plus_limit(void **state)
{
	const struct transform *t = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA1, 0);
	uint8_t out[255 * 20 + 1];
	struct bytes k = text_bytes("key"), s = text_bytes("seed");

	(void)state;
	assert_int_equal(ike_prf_plus(t, k, &s, 1, out, 255 * 20), 0);
	assert_int_equal(ike_prf_plus(t, k, &s, 1, out, 255 * 20 + 1), -IKE_WIRE_E_LIMIT);
}

/* Known answers below were computed with Python's hmac from the formulas of RFC 7296 2.14 to
 * 2.18, over counting bytes. */
struct inputs {
	uint8_t ni[32], nr[32], shared[32];
	struct ike_keymat_input in;
};

static void inputs_init(struct inputs *x)
{
	for (uint8_t i = 0; i < 32; i++) {
		x->ni[i] = (uint8_t)(0x40 + i);
		x->nr[i] = (uint8_t)(0x60 + i);
		x->shared[i] = (uint8_t)(0xa0 + i);
	}
	x->in = (struct ike_keymat_input){{x->ni, 32}, {x->nr, 32}, {x->shared, 32},
		0xc0c1c2c3c4c5c6c7u, 0xd0d1d2d3d4d5d6d7u};
}

static struct ike_suite suite_cbc(void)
{
	return (struct ike_suite){
		.encr = transform_find(TRANSFORM_ENCR, ENCR_AES_CBC, 32),
		.prf = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0),
		.integ = transform_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128, 0),
	};
}

static struct ike_suite suite_gcm(void)
{
	return (struct ike_suite){
		.encr = transform_find(TRANSFORM_ENCR, ENCR_AES_GCM_16, 32),
		.prf = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0),
		.integ = transform_find(TRANSFORM_INTEG, INTEG_NONE, 0),
	};
}

static void test_ike_keys(void **state)
{
	struct ike_suite cbc = suite_cbc(), gcm = suite_gcm();
	struct ike_sa_keys k, rekeyed;
	struct inputs x;

	(void)state;
	inputs_init(&x);
	assert_int_equal(ike_keys_derive(&cbc, &x.in, &k), 0);
	assert_hex(k.sk_d, k.prf_len,
		"da2d7f05363e7e06df7e1df63254d65d3886d3f4f75e6b8d5bbc5d094e1aaa81");
	assert_hex(k.sk_ai, k.integ_len,
		"1961eba1d00b251b5c1f844f500c70b29b6f01d88cd7d5a0a62d8f2308ccbe17");
	assert_hex(k.sk_ar, k.integ_len,
		"ce88c134f0db67365334a454f6d690b9e209e5dc9889ea6aab6acd939209b5ee");
	assert_hex(k.sk_ei, k.enc_len,
		"0302b1b39810423489dd76c1dde95edb9e56720b04f1ea2316fc291687cb3531");
	assert_hex(k.sk_er, k.enc_len,
		"9412602d858a29cf925e007f6560b0db113b437be49b469981a90eb86475aef1");
	assert_hex(k.sk_pi, k.prf_len,
		"8718db92080ee9f0cc6b13221e6c151634d3d4ccdf65e44836081450bfd49e48");
	assert_hex(k.sk_pr, k.prf_len,
		"0f3eb9ff58b60cd115325302c6a0a560c30f5fe0f60dc2623eb8cb617dc4732c");

	assert_int_equal(ike_keys_derive_rekey(&gcm, cbc.prf, &k, &x.in, &rekeyed), 0);
	assert_int_equal(rekeyed.integ_len, 0);
	assert_hex(rekeyed.sk_d, rekeyed.prf_len,
		"6057cc5ca748d24f529812d79f5171335f2d7aab5b47c5b65ec65a33122ed773"
		"1b2a1f0b1db7f991cbf5985bc9292237ae1621b2c6fd642e4ee79cb46cbbc4d9");
	assert_hex(rekeyed.sk_ei, rekeyed.enc_len,
		"27b23ed22f5d0dd4689763c2faba2b53f97ca9f4ef730fc52163c218114b5d88fc640f68");
	assert_hex(rekeyed.sk_pr, rekeyed.prf_len,
		"6c611b61f58292d7d6d866add21869b3c1bd241c5bee8341fe47024a000925dc"
		"de41b3ac8e7bbb6a8e1ad4d7f6f10a8c811335fb9b73444646424f920d9372a5");
}

static void test_child_keys(void **state)
{
	struct ike_suite cbc = suite_cbc(), gcm = suite_gcm();
	struct ike_child_keys child;
	struct ike_sa_keys k;
	struct inputs x;

	(void)state;
	inputs_init(&x);
	assert_int_equal(ike_keys_derive(&cbc, &x.in, &k), 0);
	assert_int_equal(ike_child_keys_derive(&gcm, cbc.prf, &k, &x.in, &child), 0);
	assert_hex(child.enc_i, child.enc_len,
		"78150be1ef129aa3b961007e3f91469f2d02fb105652e585e42a5716c3addbd91436c9d4");
	assert_hex(child.enc_r, child.enc_len,
		"ade3537590c43204a844f885103c77195141675dc47efb282a5ad3767102162809086158");
	x.in.shared.len = 0; /* no PFS */
	assert_int_equal(ike_child_keys_derive(&cbc, cbc.prf, &k, &x.in, &child), 0);
	assert_hex(child.enc_i, child.enc_len,
		"5e1b0b3e9bf6a0e2e8498a033288549e6f459c6d4932cbfa6cf0bd1210219556");
	assert_hex(child.integ_i, child.integ_len,
		"9d7a52e23ae2bab836743571f93ba21824aa5d2763931a4b3949af5ab2a8a257");
	assert_hex(child.enc_r, child.enc_len,
		"7ef9f8981536771e9eaaded181dbbf89c7036538865eb04fe3daed2db7e17d6b");
	assert_hex(child.integ_r, child.integ_len,
		"89312a0f50993d36eb0b93c47aa4c902c1095595f73c495816c972b9cdc6dcd8");
}

static void test_psk_auth(void **state)
{
	const struct transform *prf = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
	uint8_t sk_p[32], message[50], id[64], pad[32], auth[32], octets[200], digest[32];
	struct ike_id name;
	struct inputs x;
	size_t len;

	(void)state;
	inputs_init(&x);
	memset(message, 'm', sizeof(message));
	for (uint8_t i = 0; i < 32; i++)
		sk_p[i] = (uint8_t)(0x80 + i);
	assert_int_equal(ike_id_parse("server1.domain", &name), 0);
	len = ike_id_body(&name, id, sizeof(id));

	const struct ike_auth_input in = {.prf = prf,
		.real_message = {message, sizeof(message)},
		.nonce = {x.nr, 32},
		.id_body = {id, len},
		.sk_p = {sk_p, 32}};

	assert_int_equal(ike_auth_octets(&in, octets, sizeof(octets), &len), 0);
	assert_int_equal(len, ike_auth_octets_len(&in));
	assert_int_equal(EVP_Digest(octets, len, digest, NULL, EVP_sha256(), NULL), 1);
	assert_hex(digest, 32, "27fa2dfe8c443110216aeedf9ce986ddfe7bff14bacccc97daffeb301ecb8536");
	assert_int_equal(ike_auth_octets(&in, octets, len - 1, &len), -IKE_WIRE_E_SPACE);

	assert_int_equal(ike_auth_psk_pad(prf, text_bytes("secret"), pad), 0);
	assert_int_equal(ike_auth_psk(&in, (struct bytes){pad, 32}, auth), 0);
	assert_hex(auth, 32, "c7a1524b081efce3154f93ac8828c149ef20f35747d3abbfaefde9d4885c5e68");
	assert_int_equal(
		ike_auth_psk_verify(&in, (struct bytes){pad, 32}, (struct bytes){auth, 32}), 0);
	assert_int_equal(
		ike_auth_psk_verify(&in, (struct bytes){pad, 32}, (struct bytes){auth, 31}),
		-IKE_WIRE_E_AUTH);
	auth[31] ^= 1;
	assert_int_equal(
		ike_auth_psk_verify(&in, (struct bytes){pad, 32}, (struct bytes){auth, 32}),
		-IKE_WIRE_E_AUTH);
}

static void test_cookie(void **state)
{
	struct ike_cookie_keys keys = {.version = 255};
	uint8_t fresh[32], cookie[IKE_COOKIE_LEN], changed[IKE_COOKIE_LEN];
	struct bytes nonce = text_bytes("a nonce of 18 byte"), c = {cookie, sizeof(cookie)};
	struct ip_addr peer, other;

	(void)state;
	memset(fresh, 1, sizeof(fresh));
	assert_int_equal(addr_parse("192.0.2.1", &peer), 0);
	assert_int_equal(addr_parse("192.0.2.2", &other), 0);
	assert_int_equal(ike_cookie_make(&keys, nonce, &peer, 5, cookie), 0);
	assert_true(ike_cookie_check(&keys, c, nonce, &peer, 5));
	assert_false(ike_cookie_check(&keys, c, nonce, &other, 5));
	assert_false(ike_cookie_check(&keys, c, nonce, &peer, 6));
	assert_false(ike_cookie_check(&keys, c, (struct bytes){nonce.data, 17}, &peer, 5));
	for (size_t len = 0; len < sizeof(cookie); len++)
		assert_false(ike_cookie_check(&keys, (struct bytes){cookie, len}, nonce, &peer, 5));
	for (size_t bit = 0; bit < 8 * sizeof(cookie); bit++) {
		memcpy(changed, cookie, sizeof(cookie));
		changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(ike_cookie_check(
			&keys, (struct bytes){changed, sizeof(changed)}, nonce, &peer, 5));
	}
	ike_cookie_rotate(&keys, fresh); /* the version wraps to 0; the old one still counts */
	assert_true(ike_cookie_check(&keys, c, nonce, &peer, 5));
	memset(fresh, 2, sizeof(fresh));
	ike_cookie_rotate(&keys, fresh);
	assert_false(ike_cookie_check(&keys, c, nonce, &peer, 5));
}

/* SHA-1 over SPIs, address and port. */
static void test_nat_hash(void **state)
{
	struct endpoint at = {.port = 500};
	uint8_t hash[20], in[22], want[20];

	(void)state;
	assert_int_equal(addr_parse("192.0.2.1", &at.addr), 0);
	assert_int_equal(ike_nat_hash(0x0102030405060708u, 0, &at, hash), 0);
	hex_read("01020304050607080000000000000000c000020101f4", in, sizeof(in));
	assert_int_equal(EVP_Digest(in, sizeof(in), want, NULL, EVP_sha1(), NULL), 1);
	assert_memory_equal(hash, want, sizeof(hash));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_prf_plus),
		cmocka_unit_test(test_prf_plus_against_openssl),
		cmocka_unit_test(test_prf_plus_limit),
		cmocka_unit_test(test_ike_keys),
		cmocka_unit_test(test_child_keys),
		cmocka_unit_test(test_psk_auth),
		cmocka_unit_test(test_cookie),
		cmocka_unit_test(test_nat_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
