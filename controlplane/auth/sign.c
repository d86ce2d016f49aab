#include "controlplane/auth/sign.h"

#include <stdio.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "controlplane/auth/alg_id.h"
#include "controlplane/ike/wire_error.h"

/* RFC 4754 3: one curve and one hash a method. */
static const struct ecdsa_method {
	uint8_t method;
	uint16_t hash;
	int bits;
} ecdsa_methods[] = {
	{IKE_AUTHNUM_ECDSA256, IKE_HASH_SHA2_256, 256},
	{IKE_AUTHNUM_ECDSA384, IKE_HASH_SHA2_384, 384},
	{IKE_AUTHNUM_ECDSA521, IKE_HASH_SHA2_512, 521},
};

static const struct ecdsa_method *ecdsa_find(uint8_t method)
{
	for (size_t i = 0; i < sizeof(ecdsa_methods) / sizeof(ecdsa_methods[0]); i++)
		if (ecdsa_methods[i].method == method)
			return &ecdsa_methods[i];
	return NULL;
}

static const struct ecdsa_method *ecdsa_of_key(const EVP_PKEY *key)
{
	for (size_t i = 0; i < sizeof(ecdsa_methods) / sizeof(ecdsa_methods[0]); i++)
		if (ecdsa_methods[i].bits == EVP_PKEY_get_bits(key))
			return &ecdsa_methods[i];
	return NULL;
}

static const char *hash_openssl_name(uint16_t hash)
{
	static const char *const names[] = {[IKE_HASH_SHA1] = "SHA1",
		[IKE_HASH_SHA2_256] = "SHA256",
		[IKE_HASH_SHA2_384] = "SHA384",
		[IKE_HASH_SHA2_512] = "SHA512"};

	return hash < sizeof(names) / sizeof(names[0]) ? names[hash] : NULL;
}

enum auth_key_kind auth_key_kind(const EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "RSA"))
		return AUTH_KEY_RSA;
	return EVP_PKEY_is_a(key, "EC") ? AUTH_KEY_ECDSA : AUTH_KEY_UNKNOWN;
}

uint32_t auth_hashes_parse(struct bytes data)
{
	struct reader r = reader_init(data.data, data.len);
	uint32_t set = 0;

	while (reader_left(&r) >= 2) {
		uint16_t hash = read_u16(&r);

		if (hash >= IKE_HASH_SHA1 && hash <= IKE_HASH_SHA2_512)
			set |= AUTH_HASH_BIT(hash);
	}
	return set;
}

/* The hash whose strength is that of the key (NIST SP 800-57, table 2). */
static uint16_t hash_for_key(const EVP_PKEY *key)
{
	int strength = EVP_PKEY_get_security_bits(key);

	if (strength <= 128)
		return IKE_HASH_SHA2_256;
	return strength <= 192 ? IKE_HASH_SHA2_384 : IKE_HASH_SHA2_512;
}

/* The fitting hash, else a stronger one, else the strongest of the weaker; 0 if none. */
static uint16_t hash_choose(const EVP_PKEY *key, uint32_t set)
{
	uint16_t fit = hash_for_key(key);

	for (uint16_t h = fit; h <= IKE_HASH_SHA2_512; h++)
		if (set & AUTH_HASH_BIT(h))
			return h;
	for (uint16_t h = fit; h-- > IKE_HASH_SHA1;)
		if (set & AUTH_HASH_BIT(h))
			return h;
	return 0;
}

int auth_scheme_choose(const EVP_PKEY *key, const struct auth_rules *rules, uint32_t peer_hashes,
	const struct auth_scheme *peer_used, struct auth_scheme *out)
{
	enum auth_key_kind kind = auth_key_kind(key);
	const struct ecdsa_method *ec = kind == AUTH_KEY_ECDSA ? ecdsa_of_key(key) : NULL;
	bool wants_raw_ecdsa = ecdsa_find(rules->method) != NULL;

	memset(out, 0, sizeof(*out));
	if (kind == AUTH_KEY_UNKNOWN || (rules->kind && rules->kind != kind))
		return -IKE_WIRE_E_AUTH_ALG;
	/* RFC 7427 4: method 14 only to a peer that said which hashes it has. */
	if (peer_hashes != 0 && !wants_raw_ecdsa) {
		out->method = IKE_AUTHNUM_SIGNATURE;
		out->hash = hash_choose(key, peer_hashes & rules->hashes);
		out->is_pss = kind == AUTH_KEY_RSA && peer_used &&
			      peer_used->method == IKE_AUTHNUM_SIGNATURE && peer_used->is_pss;
		return out->hash ? 0 : -IKE_WIRE_E_AUTH_ALG;
	}
	if (ec && (rules->method == 0 || rules->method == ec->method)) {
		out->method = ec->method;
		out->hash = ec->hash;
		return 0;
	}
	if (kind == AUTH_KEY_RSA && rules->allow_rsa_sha1 && rules->method == 0) {
		out->method = IKE_AUTHNUM_RSA_SHA1;
		out->hash = IKE_HASH_SHA1;
		return 0;
	}
	return -IKE_WIRE_E_AUTH_ALG;
}

/* Sets digest and padding of a signature context of either direction. */
static bool digest_begin(
	EVP_MD_CTX *ctx, EVP_PKEY *key, uint16_t hash, bool is_pss, int salt_len, bool is_sign)
{
	const char *name = hash_openssl_name(hash);
	EVP_PKEY_CTX *pctx = NULL;
	int rc;

	if (!ctx || !name)
		return false;
	rc = is_sign ? EVP_DigestSignInit_ex(ctx, &pctx, name, NULL, NULL, key, NULL)
		     : EVP_DigestVerifyInit_ex(ctx, &pctx, name, NULL, NULL, key, NULL);
	if (rc != 1)
		return false;
	if (!is_pss)
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt_len) == 1;
}

/* RFC 4754 7: r and s, each padded to the length of the order. */
static size_t half_len(const struct ecdsa_method *ec)
{
	return (size_t)(ec->bits + 7) / 8;
}

static int ecdsa_der_to_raw(const struct ecdsa_method *ec, const uint8_t *der, size_t der_len,
	uint8_t *out, size_t cap, size_t *out_len)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
	int half = (int)half_len(ec), rc = -IKE_WIRE_E_CRYPTO;

	*out_len = 2 * (size_t)half;
	if (cap < *out_len)
		rc = -IKE_WIRE_E_SPACE;
	else if (sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half) == half &&
		 BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half) == half)
		rc = 0;
	ECDSA_SIG_free(sig);
	return rc;
}

static size_t ecdsa_raw_to_der(const struct ecdsa_method *ec, struct bytes raw, uint8_t *out)
{
	size_t half = half_len(ec);
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw.data, (int)half, NULL);
	BIGNUM *s = BN_bin2bn(raw.data + half, (int)half, NULL);
	int len = -1;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL;
		len = i2d_ECDSA_SIG(sig, &out);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return len > 0 ? (size_t)len : 0;
}

/* Key and scheme must go together; fills the identifier of method 14. */
static int scheme_check(const EVP_PKEY *key, const struct auth_scheme *scheme, struct alg_id *alg)
{
	enum auth_key_kind kind = auth_key_kind(key);
	const struct ecdsa_method *ec = ecdsa_find(scheme->method);

	*alg = (struct alg_id){kind, scheme->hash, scheme->is_pss, 0};
	if (kind == AUTH_KEY_UNKNOWN || !hash_openssl_name(scheme->hash))
		return -IKE_WIRE_E_AUTH_ALG;
	if (ec)
		return kind == AUTH_KEY_ECDSA && ecdsa_of_key(key) == ec && scheme->hash == ec->hash
			       ? 0
			       : -IKE_WIRE_E_AUTH_ALG;
	if (scheme->method == IKE_AUTHNUM_RSA_SHA1)
		return kind == AUTH_KEY_RSA && scheme->hash == IKE_HASH_SHA1 && !scheme->is_pss
			       ? 0
			       : -IKE_WIRE_E_AUTH_ALG;
	if (scheme->method != IKE_AUTHNUM_SIGNATURE || (scheme->is_pss && kind != AUTH_KEY_RSA))
		return -IKE_WIRE_E_AUTH_ALG;
	return 0;
}

static int digest_sign(EVP_PKEY *key, const struct auth_scheme *scheme, struct bytes octets,
	uint8_t *out, size_t cap, size_t *out_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	*out_len = cap;
	if (cap < (size_t)EVP_PKEY_get_size(key))
		rc = -IKE_WIRE_E_SPACE;
	else if (digest_begin(
			 ctx, key, scheme->hash, scheme->is_pss, RSA_PSS_SALTLEN_DIGEST, true) &&
		 EVP_DigestSign(ctx, out, out_len, octets.data, octets.len) == 1)
		rc = 0;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

/* RFC 7427 3: length of the identifier (one byte), identifier, signature. */
static int sign_rfc7427(EVP_PKEY *key, const struct auth_scheme *scheme, const struct alg_id *alg,
	struct bytes octets, uint8_t *out, size_t cap, size_t *out_len)
{
	size_t id_len = cap > 1 ? alg_id_write(alg, out + 1, cap - 1) : 0, sig_len;
	int rc;

	if (id_len == 0)
		return -IKE_WIRE_E_SPACE;
	out[0] = (uint8_t)id_len;
	rc = digest_sign(key, scheme, octets, out + 1 + id_len, cap - 1 - id_len, &sig_len);
	*out_len = 1 + id_len + sig_len;
	return rc;
}

int auth_sign(EVP_PKEY *key, const struct auth_scheme *scheme, struct bytes octets, uint8_t *out,
	size_t cap, size_t *out_len)
{
	const struct ecdsa_method *ec = ecdsa_find(scheme->method);
	uint8_t der[160];
	struct alg_id alg;
	size_t der_len;
	int rc = scheme_check(key, scheme, &alg);

	if (rc < 0)
		return rc;
	if (scheme->method == IKE_AUTHNUM_SIGNATURE)
		return sign_rfc7427(key, scheme, &alg, octets, out, cap, out_len);
	if (!ec)
		return digest_sign(key, scheme, octets, out, cap, out_len);
	rc = digest_sign(key, scheme, octets, der, sizeof(der), &der_len);
	return rc < 0 ? rc : ecdsa_der_to_raw(ec, der, der_len, out, cap, out_len);
}

static int digest_verify(
	EVP_PKEY *key, const struct alg_id *alg, struct bytes signature, struct bytes octets)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	if (digest_begin(ctx, key, alg->hash, alg->is_pss, alg->salt_len, false))
		rc = EVP_DigestVerify(
			     ctx, signature.data, signature.len, octets.data, octets.len) == 1
			     ? 0
			     : -IKE_WIRE_E_AUTH;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

/* Splits AUTH of method 14. */
static int rfc7427_split(struct bytes auth, struct alg_id *alg, struct bytes *signature)
{
	struct reader r = reader_init(auth.data, auth.len);
	uint8_t id_len = read_u8(&r);
	struct bytes id = read_bytes(&r, id_len);

	*signature = read_bytes(&r, reader_left(&r));
	if (r.failed)
		return -IKE_WIRE_E_SYNTAX;
	return alg_id_parse(id, alg);
}

static bool is_allowed(const struct auth_rules *rules, uint8_t method, const struct alg_id *alg)
{
	if (rules->kind && rules->kind != alg->kind)
		return false;
	if (rules->method && rules->method != method)
		return false;
	if (method == IKE_AUTHNUM_RSA_SHA1)
		return rules->allow_rsa_sha1;
	return method != IKE_AUTHNUM_SIGNATURE || (rules->hashes & AUTH_HASH_BIT(alg->hash));
}

static int verify_raw_ecdsa(const struct ecdsa_method *ec, EVP_PKEY *key, const struct alg_id *alg,
	struct bytes auth, struct bytes octets)
{
	uint8_t der[160];
	size_t len;

	if (ecdsa_of_key(key) != ec)
		return -IKE_WIRE_E_AUTH_ALG;
	if (auth.len != 2 * half_len(ec))
		return -IKE_WIRE_E_AUTH;
	len = ecdsa_raw_to_der(ec, auth, der);
	return len ? digest_verify(key, alg, (struct bytes){der, len}, octets) : -IKE_WIRE_E_CRYPTO;
}

int auth_verify(EVP_PKEY *key, uint8_t method, struct bytes auth, struct bytes octets,
	const struct auth_rules *rules, struct auth_scheme *used)
{
	const struct ecdsa_method *ec = ecdsa_find(method);
	struct bytes signature = auth;
	struct alg_id alg;
	int rc = 0;

	if (ec)
		alg = (struct alg_id){AUTH_KEY_ECDSA, ec->hash, false, 0};
	else if (method == IKE_AUTHNUM_RSA_SHA1)
		alg = (struct alg_id){AUTH_KEY_RSA, IKE_HASH_SHA1, false, 0};
	else if (method == IKE_AUTHNUM_SIGNATURE)
		rc = rfc7427_split(auth, &alg, &signature);
	else
		rc = -IKE_WIRE_E_AUTH_ALG;
	if (rc < 0)
		return rc;
	if (used)
		*used = (struct auth_scheme){method, alg.hash, alg.is_pss};
	if (auth_key_kind(key) != alg.kind || !is_allowed(rules, method, &alg) ||
		(rules->curve_bits && EVP_PKEY_get_bits(key) != rules->curve_bits))
		return -IKE_WIRE_E_AUTH_ALG;
	if (ec)
		return verify_raw_ecdsa(ec, key, &alg, auth, octets);
	return digest_verify(key, &alg, signature, octets);
}

const char *auth_scheme_str(
	const struct auth_scheme *s, enum auth_key_kind kind, char buf[AUTH_SCHEME_STRLEN])
{
	const char *key = kind == AUTH_KEY_RSA ? (s->is_pss ? "RSA_PSS" : "RSA_PKCS1") : "ECDSA";

	snprintf(buf, AUTH_SCHEME_STRLEN, "%s %s (method %u)", key, ike_hash_str(s->hash),
		s->method);
	return buf;
}
