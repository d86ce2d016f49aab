#include "controlplane/ike/dh.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>

#include "shared/transform.h"
#include "shared/wipe.h"

/*
 * MODP: private exponents of twice the group's strength and more (RFC 3526 8), y = g^x mod p.
 * ECP: RFC 5903; a public value is x | y, the shared secret is x alone. X25519: RFC 8031.
 */
enum dh_kind { DH_KIND_MODP, DH_KIND_ECP, DH_KIND_X25519 };

struct dh_group {
	uint16_t id;
	enum dh_kind kind;
	uint16_t public_len, shared_len, private_len; /* bytes */
	BIGNUM *(*prime)(BIGNUM *bn);
	int curve; /* NID */
};

static const struct dh_group groups[] = {
	{DH_CURVE25519, DH_KIND_X25519, 32, 32, 32, NULL, 0},
	{DH_ECP_256, DH_KIND_ECP, 64, 32, 32, NULL, NID_X9_62_prime256v1},
	{DH_ECP_384, DH_KIND_ECP, 96, 48, 48, NULL, NID_secp384r1},
	{DH_ECP_521, DH_KIND_ECP, 132, 66, 66, NULL, NID_secp521r1},
	{DH_MODP_1024, DH_KIND_MODP, 128, 128, 24, BN_get_rfc2409_prime_1024, 0},
	{DH_MODP_1536, DH_KIND_MODP, 192, 192, 28, BN_get_rfc3526_prime_1536, 0},
	{DH_MODP_2048, DH_KIND_MODP, 256, 256, 32, BN_get_rfc3526_prime_2048, 0},
	{DH_MODP_3072, DH_KIND_MODP, 384, 384, 36, BN_get_rfc3526_prime_3072, 0},
	{DH_MODP_4096, DH_KIND_MODP, 512, 512, 42, BN_get_rfc3526_prime_4096, 0},
	{DH_MODP_6144, DH_KIND_MODP, 768, 768, 48, BN_get_rfc3526_prime_6144, 0},
	{DH_MODP_8192, DH_KIND_MODP, 1024, 1024, 52, BN_get_rfc3526_prime_8192, 0},
};

struct ike_dh {
	const struct dh_group *group;
	EVP_PKEY *x25519; /* loading it costs a multiplication: kept from the public value's */
	size_t private_len;
	uint8_t private_key[66];
	uint8_t public_value[]; /* group->public_len */
};

static const struct dh_group *group_find(uint16_t id)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (groups[i].id == id)
			return &groups[i];
	return NULL;
}

/* base^private mod p; base NULL is the generator 2. RFC 6989 2.1: 1 < y < p - 1. */
static int modp_power(const struct ike_dh *dh, const uint8_t *base, uint8_t *out)
{
	const struct dh_group *g = dh->group;
	BN_CTX *ctx = BN_CTX_secure_new();
	BIGNUM *p = g->prime(NULL), *x = BN_secure_new(), *y = BN_new(), *top = BN_new();
	BIGNUM *z = BN_secure_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	if (!ctx || !p || !x || !y || !top || !z)
		goto out;
	if (!BN_bin2bn(dh->private_key, (int)dh->private_len, x))
		goto out;
	if (base ? !BN_bin2bn(base, g->public_len, y) : !BN_set_word(y, 2))
		goto out;
	if (!BN_copy(top, p) || !BN_sub_word(top, 1))
		goto out;
	if (BN_cmp(y, BN_value_one()) <= 0 || BN_cmp(y, top) >= 0) {
		rc = -IKE_WIRE_E_KE;
		goto out;
	}
	BN_set_flags(x, BN_FLG_CONSTTIME);
	if (BN_mod_exp_mont_consttime(z, y, x, p, ctx, NULL) &&
		BN_bn2binpad(z, out, g->shared_len) == g->shared_len)
		rc = 0;
out:
	BN_free(p);
	BN_clear_free(x);
	BN_free(y);
	BN_free(top);
	BN_clear_free(z);
	BN_CTX_free(ctx);
	return rc;
}

/*
 * The point from x | y. RFC 6989 2.3: coordinates below the prime, on the curve (setting them
 * checks that); the cofactor of these curves is one, and x | y cannot say "infinity".
 */
static int ecp_point_load(
	const struct dh_group *g, const EC_GROUP *curve, const uint8_t *in, EC_POINT *out)
{
	size_t half = g->public_len / 2u;
	BIGNUM *x = BN_bin2bn(in, (int)half, NULL), *y = BN_bin2bn(in + half, (int)half, NULL);
	BIGNUM *p = BN_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	if (x && y && p && EC_GROUP_get_curve(curve, p, NULL, NULL, NULL)) {
		rc = -IKE_WIRE_E_KE;
		if (BN_cmp(x, p) < 0 && BN_cmp(y, p) < 0 &&
			EC_POINT_set_affine_coordinates(curve, out, x, y, NULL) == 1)
			rc = 0;
	}
	BN_free(x);
	BN_free(y);
	BN_free(p);
	return rc;
}

/* Writes x, and y if out has room for the public value. */
static int ecp_point_store(
	const EC_GROUP *curve, const EC_POINT *point, size_t half, bool with_y, uint8_t *out)
{
	BIGNUM *x = BN_secure_new(), *y = BN_secure_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	if (x && y && EC_POINT_get_affine_coordinates(curve, point, x, y, NULL) == 1 &&
		BN_bn2binpad(x, out, (int)half) == (int)half &&
		(!with_y || BN_bn2binpad(y, out + half, (int)half) == (int)half))
		rc = 0;
	BN_clear_free(x);
	BN_clear_free(y);
	return rc;
}

/* The multiple of the generator (peer NULL: public value) or of the peer's point (secret). */
static int ecp_multiply(const struct ike_dh *dh, const uint8_t *peer, uint8_t *out)
{
	EC_GROUP *curve = EC_GROUP_new_by_curve_name(dh->group->curve);
	EC_POINT *base = curve ? EC_POINT_new(curve) : NULL;
	EC_POINT *product = curve ? EC_POINT_new(curve) : NULL;
	BIGNUM *k = BN_secure_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	if (!base || !product || !k || !BN_bin2bn(dh->private_key, (int)dh->private_len, k))
		goto out;
	BN_set_flags(k, BN_FLG_CONSTTIME);
	if (peer) {
		rc = ecp_point_load(dh->group, curve, peer, base);
		if (rc < 0)
			goto out;
		rc = -IKE_WIRE_E_CRYPTO;
	}
	if (EC_POINT_mul(curve, product, peer ? NULL : k, peer ? base : NULL, peer ? k : NULL,
		    NULL) != 1)
		goto out;
	if (EC_POINT_is_at_infinity(curve, product))
		rc = -IKE_WIRE_E_KE;
	else
		rc = ecp_point_store(curve, product, dh->group->public_len / 2u, peer == NULL, out);
out:
	BN_clear_free(k);
	EC_POINT_clear_free(product);
	EC_POINT_free(base);
	EC_GROUP_free(curve);
	return rc;
}

static int x25519_load(struct ike_dh *dh)
{
	size_t len = dh->group->public_len;

	dh->x25519 = EVP_PKEY_new_raw_private_key_ex(
		NULL, "X25519", NULL, dh->private_key, dh->private_len);
	if (!dh->x25519 || EVP_PKEY_get_raw_public_key(dh->x25519, dh->public_value, &len) != 1 ||
		len != dh->group->public_len)
		return -IKE_WIRE_E_CRYPTO;
	return 0;
}

/* RFC 8031 2, RFC 7748 6.1: an all-zero result comes from a point of small order. */
static int x25519_shared(const struct ike_dh *dh, const uint8_t *peer, uint8_t *out)
{
	static const uint8_t zero[32];
	EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer, 32);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, dh->x25519, NULL);
	size_t len = 32;
	int rc = -IKE_WIRE_E_CRYPTO;

	if (!theirs || !ctx || EVP_PKEY_derive_init(ctx) != 1 ||
		EVP_PKEY_derive_set_peer(ctx, theirs) != 1)
		goto out;
	/* OpenSSL itself refuses the zero result: what fails here is the peer's value. */
	rc = -IKE_WIRE_E_KE;
	if (EVP_PKEY_derive(ctx, out, &len) == 1 && len == 32 && !ct_equal(out, zero, 32))
		rc = 0;
out:
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(theirs);
	return rc;
}

/* RFC 5903 and NIST SP 800-56A: the scalar is from 1 to the order - 1; others are drawn again. */
static int ecp_private_draw(struct ike_dh *dh, const struct ike_random *rng)
{
	EC_GROUP *curve = EC_GROUP_new_by_curve_name(dh->group->curve);
	BIGNUM *k = BN_secure_new();
	int rc = -IKE_WIRE_E_CRYPTO;

	for (int tries = 0; curve && k && tries < 100; tries++) {
		rc = ike_random_bytes(rng, dh->private_key, dh->private_len);
		if (rc < 0)
			break;
		if (dh->group->id == DH_ECP_521)
			dh->private_key[0] &= 1;
		rc = -IKE_WIRE_E_CRYPTO;
		if (!BN_bin2bn(dh->private_key, (int)dh->private_len, k))
			break;
		if (!BN_is_zero(k) && BN_cmp(k, EC_GROUP_get0_order(curve)) < 0) {
			rc = 0;
			break;
		}
	}
	BN_clear_free(k);
	EC_GROUP_free(curve);
	return rc;
}

static int key_make(struct ike_dh *dh, const struct ike_random *rng)
{
	int rc;

	if (dh->group->kind == DH_KIND_ECP) {
		rc = ecp_private_draw(dh, rng);
		return rc < 0 ? rc : ecp_multiply(dh, NULL, dh->public_value);
	}
	rc = ike_random_bytes(rng, dh->private_key, dh->private_len);
	if (rc < 0)
		return rc;
	if (dh->group->kind == DH_KIND_X25519)
		return x25519_load(dh);
	dh->private_key[0] |= 0x80; /* full length, never zero */
	return modp_power(dh, NULL, dh->public_value);
}

int ike_dh_create(uint16_t group, const struct ike_random *rng, struct ike_dh **out)
{
	const struct dh_group *g = group_find(group);
	struct ike_dh *dh;
	int rc;

	*out = NULL;
	if (!g)
		return -IKE_WIRE_E_UNSUPPORTED;
	dh = calloc(1, sizeof(*dh) + g->public_len);
	if (!dh)
		return -IKE_WIRE_E_MEMORY;
	dh->group = g;
	dh->private_len = g->private_len;
	rc = key_make(dh, rng);
	if (rc < 0) {
		ike_dh_destroy(dh);
		return rc;
	}
	*out = dh;
	return 0;
}

void ike_dh_destroy(struct ike_dh *dh)
{
	if (!dh)
		return;
	EVP_PKEY_free(dh->x25519);
	wipe(dh->private_key, sizeof(dh->private_key));
	free(dh);
}

uint16_t ike_dh_group(const struct ike_dh *dh)
{
	return dh->group->id;
}

const uint8_t *ike_dh_public(const struct ike_dh *dh, size_t *len)
{
	*len = dh->group->public_len;
	return dh->public_value;
}

int ike_dh_shared(const struct ike_dh *dh, const uint8_t *peer, size_t peer_len, uint8_t *out,
	size_t cap, size_t *out_len)
{
	int rc = -IKE_WIRE_E_UNSUPPORTED;

	*out_len = dh->group->shared_len;
	if (cap < dh->group->shared_len)
		return -IKE_WIRE_E_SPACE;
	/* RFC 7296 3.4: the value has the length of the group's prime, zeros included. */
	if (peer_len != dh->group->public_len)
		return -IKE_WIRE_E_KE;
	switch (dh->group->kind) {
	case DH_KIND_MODP:
		rc = modp_power(dh, peer, out);
		break;
	case DH_KIND_ECP:
		rc = ecp_multiply(dh, peer, out);
		break;
	case DH_KIND_X25519:
		rc = x25519_shared(dh, peer, out);
		break;
	}
	if (rc < 0)
		ERR_clear_error();
	return rc;
}
