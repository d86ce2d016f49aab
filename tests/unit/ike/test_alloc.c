#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "controlplane/auth/sign.h"
#include "controlplane/ike/auth_blob.h"
#include "controlplane/ike/dh.h"
#include "controlplane/ike/fragment.h"
#include "tests/unit/ike/util.h"

/*
 * Each allocation, ours (the linker wraps malloc and calloc) and OpenSSL's, fails once. An
 * operation may then fail or succeed, but leaks nothing, crashes nowhere, and works again.
 */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static unsigned long n_allocations, fail_at; /* fail_at 0: never */

static bool fails_now(void)
{
	return ++n_allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails_now() ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *p, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails_now() ? NULL : realloc(p, size);
}

static void openssl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

static EVP_PKEY *rsa, *ecdsa;

static int dh_of(uint16_t group)
{
	struct ike_dh *dh;
	uint8_t out[IKE_DH_MAX_LEN];
	const uint8_t *value;
	size_t len, out_len;
	int rc = ike_dh_create(group, NULL, &dh);

	if (rc < 0)
		return dh ? 1 : rc;
	value = ike_dh_public(dh, &len);
	rc = ike_dh_shared(dh, value, len, out, sizeof(out), &out_len);
	ike_dh_destroy(dh);
	return rc;
}

static int run_x25519(void)
{
	return dh_of(DH_CURVE25519);
}

static int run_ecp(void)
{
	return dh_of(DH_ECP_256);
}

static int run_modp(void)
{
	return dh_of(DH_MODP_1024);
}

static int run_prf(void)
{
	const struct transform *t = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
	const struct bytes b = {(const uint8_t *)"key", 3};
	uint8_t out[100];

	return ike_prf_plus(t, b, &b, 1, out, sizeof(out));
}

/* Fragments sealed, opened, put together. */
static int run_fragments(void)
{
	static uint8_t text[5000], plain[8192];
	static struct ike_message m;
	const struct ike_suite suite = {
		.encr = transform_find(TRANSFORM_ENCR, ENCR_AES_CBC, 32),
		.integ = transform_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128, 0),
	};
	const struct ike_sa_keys keys = {.sk_ei = {1}};
	const struct ike_header hdr = {.exchange = IKE_EXCHANGE_INFORMATIONAL};
	struct ike_reassembly *r = NULL;
	struct ike_datagrams d;
	struct ike_cipher c;
	int rc;

	ike_cipher_init(&c, &suite, &keys, true);
	rc = ike_seal(
		&c, NULL, &hdr, IKE_PAYLOAD_VENDOR, (struct bytes){text, sizeof(text)}, 1280, &d);
	for (uint16_t i = 0; rc == 0 && i < d.n; i++) {
		struct bytes one = ike_datagrams_at(&d, i);
		size_t len;

		rc = ike_message_decode(one.data, one.len, &m);
		if (rc == 0)
			rc = ike_sk_open(&c, &m, plain, sizeof(plain), &len);
		if (rc == 0)
			rc = ike_reassembly_add(&r, 1, &m.sk->sk, plain, len);
	}
	ike_reassembly_destroy(&r);
	ike_datagrams_fini(&d);
	return rc == 1 ? 0 : rc;
}

static int sign_with(EVP_PKEY *key, struct auth_scheme scheme)
{
	static const struct auth_rules rules = {.hashes = AUTH_HASHES_DEFAULT};
	const struct bytes octets = {(const uint8_t *)"octets", 6};
	uint8_t auth[AUTH_SIGNATURE_MAX];
	size_t len;
	int rc = auth_sign(key, &scheme, octets, auth, sizeof(auth), &len);

	return rc < 0 ? rc
		      : auth_verify(key, scheme.method, (struct bytes){auth, len}, octets, &rules,
				NULL);
}

static int run_sign_rsa(void)
{
	return sign_with(rsa, (struct auth_scheme){14, IKE_HASH_SHA2_256, false});
}

static int run_sign_ecdsa(void)
{
	return sign_with(ecdsa, (struct auth_scheme){9, IKE_HASH_SHA2_256, false});
}

static int run_pubkey(void)
{
	uint8_t der[600];
	size_t len = auth_pubkey_to_cert(rsa, IKE_CERT_RSA_KEY, der, sizeof(der));
	EVP_PKEY *key;

	if (len == 0)
		return -1;
	key = auth_pubkey_from_cert(IKE_CERT_RSA_KEY, (struct bytes){der, len});
	EVP_PKEY_free(key);
	return key ? 0 : -1;
}

static int run_dn(void)
{
	struct ike_id a, b;
	char text[IKE_ID_STRLEN];

	if (ike_id_parse("/C=DE/O=Example/CN=gw", &a) < 0)
		return -1;
	b = a;
	b.data[b.len - 1] ^= 0x20;
	ike_id_str(&a, text);
	return ike_id_equal(&a, &b) ? 0 : -1;
}

static const struct {
	const char *name;
	int (*run)(void);
} operations[] = {
	{"x25519", run_x25519},
	{"ecp", run_ecp},
	{"modp", run_modp},
	{"prf", run_prf},
	{"fragments", run_fragments},
	{"sign rsa", run_sign_rsa},
	{"sign ecdsa", run_sign_ecdsa},
	{"public key", run_pubkey},
	{"name", run_dn},
};

static void test_each_allocation_fails_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		unsigned long total;

		/* Twice: the first run fills OpenSSL's caches. */
		assert_int_equal(operations[i].run(), 0);
		n_allocations = 0;
		assert_int_equal(operations[i].run(), 0);
		total = n_allocations;
		assert_true(total > 0);
		for (unsigned long at = 1; at <= total; at++) {
			int rc;

			n_allocations = 0;
			fail_at = at;
			rc = operations[i].run();
			fail_at = 0;
			ERR_clear_error();
			if (rc > 0)
				fail_msg("%s, allocation %lu: %d", operations[i].name, at, rc);
			if (operations[i].run() != 0)
				fail_msg("%s does not work after allocation %lu failed",
					operations[i].name, at);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation_fails_once)};
	int rc;

	if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
		return 1;
	rsa = EVP_RSA_gen(2048);
	ecdsa = EVP_EC_gen("P-256");
	rc = rsa && ecdsa ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ecdsa);
	return rc;
}
