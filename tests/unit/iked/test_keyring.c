#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "controlplane/auth/keyfile.h"
#include "controlplane/auth/sign.h"
#include "controlplane/ike/message.h"
#include "controlplane/iked/keyring.h"

static const struct bytes octets = {(const uint8_t *)"what both sides have said", 25};

static struct keyring *ring_with(uint32_t version, EVP_PKEY *key)
{
	struct keyring *ring = keyring_create(version);
	char pem[4096];

	assert_non_null(ring);
	if (key)
		assert_int_equal(keyring_private_set(ring, (const uint8_t *)pem,
					 keyfile_private_write(key, pem, sizeof(pem))),
			0);
	return ring;
}

static void hmac(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32])
{
	unsigned int out_len = 32;

	assert_non_null(HMAC(EVP_sha256(), key, (int)key_len, data, len, out, &out_len));
}

/* RFC 7296 2.15, computed here with another interface of OpenSSL. */
static void psk_of_the_right_policy_and_version(void **state)
{
	struct keyring *list = NULL, *one = ring_with(1, NULL), *two = ring_with(2, NULL);
	struct msg_auth_request request = {
		.kind = IKE_AUTH_REQUEST_PSK, .prf_id = PRF_HMAC_SHA2_256, .policy_number = 3};
	struct keyring_auth auth;
	uint8_t pad[32], expected[32];

	(void)state;
	assert_int_equal(keyring_psk_add(one, 3, (const uint8_t *)"old", 3), 0);
	assert_int_equal(keyring_psk_add(one, 3, (const uint8_t *)"twice", 5), -1);
	assert_int_equal(keyring_psk_add(one, 4, (const uint8_t *)"", 0), -1);
	assert_int_equal(keyring_psk_add(two, 3, (const uint8_t *)"new", 3), 0);
	keyring_push(&list, one);
	keyring_push(&list, two);
	for (uint32_t version = 1; version <= 2; version++) {
		request.config_version = version;
		keyring_auth_make(list, &request, octets, &auth);
		hmac(version == 1 ? "old" : "new", 3, "Key Pad for IKEv2", 17, pad);
		hmac(pad, 32, octets.data, octets.len, expected);
		assert_int_equal(auth.error, 0);
		assert_int_equal(auth.method, 2);
		assert_int_equal(auth.len, 32);
		assert_memory_equal(auth.data, expected, 32);
		assert_int_equal(auth.cert_encoding, 0);
	}
	request.policy_number = 4;
	keyring_auth_make(list, &request, octets, &auth);
	assert_int_equal(auth.error, -1);
	assert_string_equal(auth.text, "no pre-shared key for this policy");
	request.policy_number = 3;
	request.config_version = 3;
	keyring_auth_make(list, &request, octets, &auth);
	assert_int_equal(auth.error, -1);
	keyring_forget(&list, 1);
	request.config_version = 1;
	keyring_auth_make(list, &request, octets, &auth);
	assert_int_equal(auth.error, -1);
	/* A version loaded again replaces the one before. */
	two = ring_with(2, NULL);
	keyring_push(&list, two);
	request.config_version = 2;
	keyring_auth_make(list, &request, octets, &auth);
	assert_int_equal(auth.error, -1);
	keyring_forget(&list, 2);
	assert_null(list);
	request.prf_id = 999;
	keyring_auth_make(list, &request, octets, &auth);
	assert_int_equal(auth.error, -1);
}

static void signatures(void **state)
{
	static const struct {
		bool is_rsa;
		uint32_t auth; /* the policy's word */
		uint32_t peer_hashes;
		bool allow_sha1;
		int error, method;
		const char *why;
	} rows[] = {
		{true, IKE_AUTH_ANY_SIGNATURE, 1 << 2, false, 0, 14, "RFC 7427"},
		{true, IKE_AUTH_RSA, 1 << 2 | 1 << 4, true, 0, 14, "rsa with announced hashes"},
		{true, IKE_AUTH_RSA, 0, true, 0, 1, "rsa, no hashes announced: method 1"},
		{true, IKE_AUTH_ANY_SIGNATURE, 0, false, -2, 0, "no hashes, no SHA-1"},
		{true, IKE_AUTH_RFC7427, 1 << 3, false, 0, 14, "rfc7427"},
		{true, IKE_AUTH_ECDSA256, 1 << 2, false, -2, 0, "an RSA key where ECDSA must be"},
		{false, IKE_AUTH_RSA, 1 << 2, true, -2, 0, "an ECDSA key where RSA must be"},
		{false, IKE_AUTH_ANY_SIGNATURE, 1 << 2, false, 0, 14, "ECDSA with RFC 7427"},
		{false, IKE_AUTH_ANY_SIGNATURE, 0, false, 0, 9, "RFC 4754 by the curve"},
		{false, IKE_AUTH_ECDSA256, 1 << 2, false, 0, 9, "ecdsa256"},
		{false, IKE_AUTH_ECDSA384, 1 << 2, false, -2, 0, "another curve"},
	};
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		EVP_PKEY *key = rows[i].is_rsa ? rsa : ec;
		struct keyring *list = NULL;
		struct msg_auth_request request = {
			.kind = IKE_AUTH_REQUEST_SIGN,
			.config_version = 1,
			.auth = rows[i].auth,
			.peer_hashes = rows[i].peer_hashes,
			.allow_sha1 = rows[i].allow_sha1,
		};
		const struct auth_rules rules = {
			.hashes = AUTH_HASHES_DEFAULT, .allow_rsa_sha1 = rows[i].allow_sha1};
		struct keyring_auth auth;

		keyring_push(&list, ring_with(1, key));
		keyring_auth_make(list, &request, octets, &auth);
		if (auth.error != rows[i].error ||
			(auth.error == 0 && auth.method != rows[i].method))
			fail_msg("%s: error %d method %d: %s", rows[i].why, auth.error, auth.method,
				auth.text);
		if (auth.error == 0) {
			EVP_PKEY *sent = auth_pubkey_from_cert(
				auth.cert_encoding, (struct bytes){auth.cert, auth.cert_len});

			assert_int_equal(
				auth_verify(key, auth.method, (struct bytes){auth.data, auth.len},
					octets, &rules, NULL),
				0);
			assert_int_equal(EVP_PKEY_eq(sent, key), 1);
			EVP_PKEY_free(sent);
		} else {
			assert_int_not_equal(auth.text[0], '\0');
		}
		keyring_forget(&list, 1);
	}
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
}

static void a_missing_private_key_is_named(void **state)
{
	struct keyring *list = NULL;
	const struct msg_auth_request request = {
		.kind = IKE_AUTH_REQUEST_SIGN, .config_version = 1, .peer_hashes = 1 << 2};
	struct keyring_auth auth;
	uint8_t spki[2048];

	(void)state;
	keyring_push(&list, ring_with(1, NULL));
	assert_int_equal(keyring_spki(list, spki, sizeof(spki)), 0);
	keyring_auth_make(list, &request, octets, &auth);
	assert_int_equal(auth.error, -1);
	assert_string_equal(auth.text, "no private key (private/local.key)");
	assert_int_equal(keyring_private_set(list, (const uint8_t *)"garbage", 7), -1);
	keyring_forget(&list, 1);
}

/* RFC 7670 3, and what OpenIKED asks for. */
static void raw_key_in_the_form_asked_for(void **state)
{
	static const struct {
		bool is_rsa;
		uint8_t wanted, encoding;
	} rows[] = {
		{true, 0, IKE_CERT_RSA_KEY},
		{true, IKE_WANTS_RSA_KEY | IKE_WANTS_RAW_KEY, IKE_CERT_RSA_KEY},
		{true, IKE_WANTS_RAW_KEY, IKE_CERT_RAW_PUBLIC_KEY},
		{true, IKE_WANTS_OPENIKED_ECDSA, IKE_CERT_RSA_KEY},
		{false, 0, IKE_CERT_RAW_PUBLIC_KEY},
		{false, IKE_WANTS_RSA_KEY, IKE_CERT_RAW_PUBLIC_KEY},
		{false, IKE_WANTS_RAW_KEY | IKE_WANTS_OPENIKED_ECDSA, IKE_CERT_RAW_PUBLIC_KEY},
		{false, IKE_WANTS_OPENIKED_ECDSA, IKE_CERT_OPENIKED_ECDSA},
	};
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		EVP_PKEY *key = rows[i].is_rsa ? rsa : ec;
		struct keyring *list = NULL;
		struct msg_auth_request request = {.kind = IKE_AUTH_REQUEST_SIGN,
			.config_version = 1,
			.auth = IKE_AUTH_ANY_SIGNATURE,
			.peer_hashes = 1 << 2,
			.wanted_keys = rows[i].wanted};
		struct keyring_auth auth;

		keyring_push(&list, ring_with(1, key));
		keyring_auth_make(list, &request, octets, &auth);
		assert_int_equal(auth.error, 0);
		assert_int_equal(auth.cert_encoding, rows[i].encoding);
		EVP_PKEY *sent = auth_pubkey_from_cert(
			auth.cert_encoding, (struct bytes){auth.cert, auth.cert_len});

		assert_int_equal(EVP_PKEY_eq(sent, key), 1);
		EVP_PKEY_free(sent);
		keyring_forget(&list, 1);
	}
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(psk_of_the_right_policy_and_version),
		cmocka_unit_test(signatures),
		cmocka_unit_test(raw_key_in_the_form_asked_for),
		cmocka_unit_test(a_missing_private_key_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
