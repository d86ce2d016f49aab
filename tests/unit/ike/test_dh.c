#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "controlplane/ike/dh.h"
#include "shared/transform.h"
#include "tests/unit/ike/util.h"

/* RFC 5903 8.1 to 8.3, RFC 7748 6.1. */
static const struct {
	uint16_t group;
	const char *private_i, *public_i, *private_r, *public_r, *shared;
} vectors[] = {
	{DH_ECP_256, "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
		"dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
		"5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
		"c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
		"d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
		"56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
		"d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"},
	{DH_ECP_384,
		"099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655"
		"e35b538041e649ee3faef896783ab194",
		"667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6"
		"de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f"
		"65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
		"41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942"
		"e0308312916b8ed2960e4bd55a7448fc",
		"e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d"
		"0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f"
		"66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
		"11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4"
		"d603135569b9e9d09cf5d4a270f59746"},
	{DH_ECP_521,
		"0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a0"
		"95aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
		"0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbe"
		"e1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e"
		"017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10a"
		"d8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
		"0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e"
		"9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
		"00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a21"
		"9b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f"
		"015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87"
		"220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
		"01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04"
		"d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea"},
	{DH_CURVE25519, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
		"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
		"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
		"de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
		"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
};

static struct ike_dh *dh_from_hex(uint16_t group, const char *hex)
{
	uint8_t key[66];
	struct fixed_random fixed = {key, hex_read(hex, key, sizeof(key)), 0};
	const struct ike_random rng = {fixed_random_next, &fixed};
	struct ike_dh *dh;

	assert_int_equal(ike_dh_create(group, &rng, &dh), 0);
	return dh;
}

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct ike_dh *a = dh_from_hex(vectors[i].group, vectors[i].private_i);
		struct ike_dh *b = dh_from_hex(vectors[i].group, vectors[i].private_r);
		uint8_t shared[IKE_DH_MAX_LEN];
		const uint8_t *public_a, *public_b;
		size_t len_a, len_b, len;

		public_a = ike_dh_public(a, &len_a);
		public_b = ike_dh_public(b, &len_b);
		assert_hex(public_a, len_a, vectors[i].public_i);
		assert_hex(public_b, len_b, vectors[i].public_r);
		assert_int_equal(
			ike_dh_shared(a, public_b, len_b, shared, sizeof(shared), &len), 0);
		assert_hex(shared, len, vectors[i].shared);
		assert_int_equal(
			ike_dh_shared(b, public_a, len_a, shared, sizeof(shared), &len), 0);
		assert_hex(shared, len, vectors[i].shared);
		ike_dh_destroy(a);
		ike_dh_destroy(b);
	}
}

/* Every group of the table: lengths as the table says, both sides agree, short buffer. */
static void test_all_groups_agree(void **state)
{
	const struct transform *t;
	unsigned int n = 0;

	(void)state;
	for (size_t i = 0; (t = transform_at(i)); i++) {
		uint8_t left[IKE_DH_MAX_LEN], right[IKE_DH_MAX_LEN];
		struct ike_dh *a, *b;
		size_t len, shared_a, shared_b;
		const uint8_t *value;

		if (t->type != TRANSFORM_DH)
			continue;
		if ((t->flags & TRANSFORM_F_KNOWN_ONLY) || t->id == DH_NONE) {
			assert_int_equal(ike_dh_create(t->id, NULL, &a), -IKE_WIRE_E_UNSUPPORTED);
			assert_null(a);
			continue;
		}
		n++;
		assert_int_equal(ike_dh_create(t->id, NULL, &a), 0);
		assert_int_equal(ike_dh_create(t->id, NULL, &b), 0);
		assert_int_equal(ike_dh_group(a), t->id);
		value = ike_dh_public(b, &len);
		assert_int_equal(len, t->out_len);
		assert_int_equal(ike_dh_shared(a, value, len, left, sizeof(left), &shared_a), 0);
		assert_int_equal(ike_dh_shared(a, value, len, left, shared_a - 1, &shared_b),
			-IKE_WIRE_E_SPACE);
		value = ike_dh_public(a, &len);
		assert_int_equal(ike_dh_shared(b, value, len, right, sizeof(right), &shared_b), 0);
		assert_int_equal(shared_a, shared_b);
		assert_memory_equal(left, right, shared_a);
		ike_dh_destroy(a);
		ike_dh_destroy(b);
	}
	assert_int_equal(n, 11);
}

/* OpenSSL's own key exchange over its named group is the other side. */
static void modp_against_openssl(const char *name, uint16_t group)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	OSSL_PARAM params[2] = {
		OSSL_PARAM_construct_utf8_string(
			OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)name, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY *key = NULL, *ours = EVP_PKEY_new();
	EVP_PKEY_CTX *derive;
	uint8_t *public_value = NULL, theirs[IKE_DH_MAX_LEN], shared[IKE_DH_MAX_LEN];
	size_t len, theirs_len = sizeof(theirs), shared_len;
	struct ike_dh *dh;

	assert_int_equal(ike_dh_create(group, NULL, &dh), 0);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	len = EVP_PKEY_get1_encoded_public_key(key, &public_value);
	assert_int_equal(
		ike_dh_shared(dh, public_value, len, shared, sizeof(shared), &shared_len), 0);

	assert_int_equal(EVP_PKEY_copy_parameters(ours, key), 1);
	assert_int_equal(EVP_PKEY_set1_encoded_public_key(ours, ike_dh_public(dh, &len), len), 1);
	derive = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	assert_int_equal(EVP_PKEY_derive_init(derive), 1);
	assert_int_equal(EVP_PKEY_CTX_set_params(derive,
				 (OSSL_PARAM[]){OSSL_PARAM_construct_uint(OSSL_EXCHANGE_PARAM_PAD,
							&(unsigned int){1}),
					 OSSL_PARAM_construct_end()}),
		1);
	assert_int_equal(EVP_PKEY_derive_set_peer(derive, ours), 1);
	assert_int_equal(EVP_PKEY_derive(derive, theirs, &theirs_len), 1);
	assert_int_equal(theirs_len, shared_len);
	assert_memory_equal(theirs, shared, shared_len);

	OPENSSL_free(public_value);
	EVP_PKEY_CTX_free(derive);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ours);
	ike_dh_destroy(dh);
}

static void test_modp_against_openssl(void **state)
{
	static const uint16_t ids[] = {
		DH_MODP_1536, DH_MODP_2048, DH_MODP_3072, DH_MODP_4096, DH_MODP_6144, DH_MODP_8192};

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		modp_against_openssl(transform_find(TRANSFORM_DH, ids[i], 0)->openssl_name, ids[i]);
}

static int shared_rc(uint16_t group, const uint8_t *peer, size_t len)
{
	struct ike_dh *dh;
	uint8_t out[IKE_DH_MAX_LEN];
	size_t out_len;
	int rc;

	assert_int_equal(ike_dh_create(group, NULL, &dh), 0);
	rc = ike_dh_shared(dh, peer, len, out, sizeof(out), &out_len);
	ike_dh_destroy(dh);
	return rc;
}

/* RFC 6989 2.1: 0, 1, p - 1, p and beyond are refused. The prime of group 14 ends in eight
 * bytes of ones, as it begins. */
static void test_modp_range(void **state)
{
	uint8_t value[256] = {0};
	struct ike_dh *dh;
	size_t len;

	(void)state;
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), -IKE_WIRE_E_KE);
	value[255] = 1;
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), -IKE_WIRE_E_KE);
	value[255] = 2;
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), 0);
	memset(value, 0xff, sizeof(value));
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), -IKE_WIRE_E_KE);

	BIGNUM *p = BN_get_rfc3526_prime_2048(NULL);

	assert_int_equal(BN_bn2binpad(p, value, 256), 256);
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), -IKE_WIRE_E_KE);
	BN_sub_word(p, 1);
	assert_int_equal(BN_bn2binpad(p, value, 256), 256);
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), -IKE_WIRE_E_KE);
	BN_sub_word(p, 1);
	assert_int_equal(BN_bn2binpad(p, value, 256), 256);
	assert_int_equal(shared_rc(DH_MODP_2048, value, 256), 0);
	BN_free(p);

	/* RFC 7296 3.4: the exact length. */
	assert_int_equal(ike_dh_create(DH_MODP_2048, NULL, &dh), 0);
	memcpy(value, ike_dh_public(dh, &len), 256);
	assert_int_equal(shared_rc(DH_MODP_2048, value, 255), -IKE_WIRE_E_KE);
	assert_int_equal(shared_rc(DH_MODP_2048, value, 0), -IKE_WIRE_E_KE);
	assert_int_equal(shared_rc(DH_MODP_1024, value, 256), -IKE_WIRE_E_KE);
	ike_dh_destroy(dh);
}

static void test_ecp_points(void **state)
{
	uint8_t point[132];
	size_t len;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint16_t group = vectors[i].group;

		len = hex_read(vectors[i].public_r, point, sizeof(point));
		assert_int_equal(shared_rc(group, point, len), 0);
		assert_int_equal(shared_rc(group, point, len - 1), -IKE_WIRE_E_KE);
		point[len - 1] ^= 1; /* not on the curve */
		assert_int_equal(shared_rc(group, point, len), -IKE_WIRE_E_KE);
		memset(point, 0, len); /* what some use for infinity */
		assert_int_equal(shared_rc(group, point, len), -IKE_WIRE_E_KE);
		memset(point, 0xff, len); /* beyond the prime */
		assert_int_equal(shared_rc(group, point, len), -IKE_WIRE_E_KE);
	}
}

/* RFC 8031 2: points of small order give a secret of zeros. */
static void test_x25519_small_order(void **state)
{
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	uint8_t point[32];

	(void)state;
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		assert_int_equal(hex_read(points[i], point, sizeof(point)), 32);
		assert_int_equal(shared_rc(DH_CURVE25519, point, 32), -IKE_WIRE_E_KE);
	}
	point[0] = 9;
	assert_int_equal(shared_rc(DH_CURVE25519, point, 31), -IKE_WIRE_E_KE);
}

/* The same random bytes give the same key; a source that fails gives none. */
static void test_deterministic(void **state)
{
	static const uint16_t ids[] = {DH_CURVE25519, DH_ECP_256, DH_MODP_2048};
	struct fixed_random empty = {NULL, 0, 0};
	const struct ike_random broken = {fixed_random_next, &empty};

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct seeded_random seed_a = {7}, seed_b = {7};
		const struct ike_random a = {seeded_random_next, &seed_a};
		const struct ike_random b = {seeded_random_next, &seed_b};
		struct ike_dh *dh_a, *dh_b, *none;
		size_t len;

		assert_int_equal(ike_dh_create(ids[i], &a, &dh_a), 0);
		assert_int_equal(ike_dh_create(ids[i], &b, &dh_b), 0);
		const uint8_t *public_a = ike_dh_public(dh_a, &len),
			      *public_b = ike_dh_public(dh_b, &len);

		assert_memory_equal(public_a, public_b, len);
		ike_dh_destroy(dh_a);
		ike_dh_destroy(dh_b);
		assert_int_equal(ike_dh_create(ids[i], &broken, &none), -IKE_WIRE_E_CRYPTO);
		assert_null(none);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_groups_agree),
		cmocka_unit_test(test_modp_against_openssl),
		cmocka_unit_test(test_modp_range),
		cmocka_unit_test(test_ecp_points),
		cmocka_unit_test(test_x25519_small_order),
		cmocka_unit_test(test_deterministic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
