#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "controlplane/auth/sign.h"

enum { RSA_BITS_MIN = 1024, RSA_BITS_MAX = 16384 };

/* Explicit curve parameters have no name and are refused by that. */
static bool curve_is_known(const EVP_PKEY *key)
{
	static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
	char name[32];
	size_t len;

	if (EVP_PKEY_get_group_name(key, name, sizeof(name), &len) != 1)
		return false;
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
		if (strcmp(name, curves[i]) == 0)
			return true;
	return false;
}

static bool key_is_usable(const EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);

	switch (auth_key_kind(key)) {
	case AUTH_KEY_RSA:
		return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
	case AUTH_KEY_ECDSA:
		return curve_is_known(key);
	default:
		return false;
	}
}

static EVP_PKEY *spki_parse(struct bytes data)
{
	const uint8_t *at = data.data;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)data.len);

	if (key && at == data.data + data.len)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static EVP_PKEY *pkcs1_parse(struct bytes data)
{
	const uint8_t *at = data.data;
	EVP_PKEY *key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)data.len);

	if (key && at == data.data + data.len)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static bool is_spki_encoding(uint8_t encoding)
{
	return encoding == IKE_CERT_RSA_KEY || encoding == IKE_CERT_RAW_PUBLIC_KEY ||
	       encoding == IKE_CERT_OPENIKED_ECDSA;
}

static bool kind_fits(uint8_t encoding, enum auth_key_kind kind)
{
	return encoding == IKE_CERT_RAW_PUBLIC_KEY ||
	       kind == (encoding == IKE_CERT_RSA_KEY ? AUTH_KEY_RSA : AUTH_KEY_ECDSA);
}

EVP_PKEY *auth_pubkey_from_cert(uint8_t encoding, struct bytes data)
{
	EVP_PKEY *key = NULL;

	if (data.len == 0 || data.len > UINT16_MAX)
		return NULL;
	if (encoding == IKE_CERT_RSA_KEY)
		key = pkcs1_parse(data);
	if (!key && is_spki_encoding(encoding))
		key = spki_parse(data);
	ERR_clear_error();
	if (key && (!key_is_usable(key) || !kind_fits(encoding, auth_key_kind(key)))) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

size_t auth_pubkey_to_cert(EVP_PKEY *key, uint8_t encoding, uint8_t *out, size_t cap)
{
	uint8_t *der = NULL;
	int len = -1;
	size_t written = 0;

	if (!is_spki_encoding(encoding) || !kind_fits(encoding, auth_key_kind(key)))
		return 0;
	len = encoding == IKE_CERT_RSA_KEY ? i2d_PublicKey(key, &der) : i2d_PUBKEY(key, &der);
	if (len > 0 && (size_t)len <= cap) {
		memcpy(out, der, (size_t)len);
		written = (size_t)len;
	}
	OPENSSL_free(der);
	ERR_clear_error();
	return written;
}
