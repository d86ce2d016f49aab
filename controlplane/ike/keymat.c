#include "controlplane/ike/keymat.h"

#include <string.h>

#include "controlplane/ike/wire_error.h"
#include "shared/wipe.h"

static struct bytes be64(uint8_t buf[8], uint64_t v)
{
	struct writer w = writer_init(buf, 8);

	write_u64(&w, v);
	return (struct bytes){buf, 8};
}

static const uint8_t *take(uint8_t *dst, const uint8_t *from, size_t len)
{
	memcpy(dst, from, len);
	return from + len;
}

static bool lengths_set(const struct ike_suite *suite, struct ike_sa_keys *out)
{
	const struct transform *integ = ike_suite_integ(suite);

	memset(out, 0, sizeof(*out));
	if (!suite->prf || !suite->encr || suite->prf->out_len > IKE_PRF_MAX_LEN ||
		transform_keymat_len(suite->encr) > IKE_KEY_ENC_MAX ||
		(integ && integ->key_len > IKE_KEY_INTEG_MAX))
		return false;
	out->prf_len = (uint8_t)suite->prf->out_len;
	out->enc_len = (uint8_t)transform_keymat_len(suite->encr);
	out->integ_len = integ ? (uint8_t)integ->key_len : 0;
	return true;
}

/*
 * RFC 7296 2.14: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} =
 * prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)
 */
static int keys_expand(const struct ike_suite *suite, const uint8_t *skeyseed, size_t seed_len,
	const struct ike_keymat_input *in, struct ike_sa_keys *out)
{
	uint8_t stream[3 * IKE_PRF_MAX_LEN + 2 * IKE_KEY_INTEG_MAX + 2 * IKE_KEY_ENC_MAX];
	uint8_t spi_i[8], spi_r[8];
	const struct bytes seed[] = {
		in->ni, in->nr, be64(spi_i, in->spi_i), be64(spi_r, in->spi_r)};
	const uint8_t *at = stream;
	size_t len;
	int rc;

	if (!lengths_set(suite, out))
		return -IKE_WIRE_E_UNSUPPORTED;
	len = 3u * out->prf_len + 2u * out->integ_len + 2u * out->enc_len;
	rc = ike_prf_plus(suite->prf, (struct bytes){skeyseed, seed_len}, seed, 4, stream, len);
	if (rc == 0) {
		at = take(out->sk_d, at, out->prf_len);
		at = take(out->sk_ai, at, out->integ_len);
		at = take(out->sk_ar, at, out->integ_len);
		at = take(out->sk_ei, at, out->enc_len);
		at = take(out->sk_er, at, out->enc_len);
		at = take(out->sk_pi, at, out->prf_len);
		take(out->sk_pr, at, out->prf_len);
	}
	wipe(stream, sizeof(stream));
	return rc;
}

int ike_keys_derive(
	const struct ike_suite *suite, const struct ike_keymat_input *in, struct ike_sa_keys *out)
{
	uint8_t nonces[2 * 256], skeyseed[IKE_PRF_MAX_LEN];
	struct writer w = writer_init(nonces, sizeof(nonces));
	int rc;

	if (!suite->prf)
		return -IKE_WIRE_E_UNSUPPORTED;
	write_bytes(&w, in->ni.data, in->ni.len);
	write_bytes(&w, in->nr.data, in->nr.len);
	if (w.failed)
		return -IKE_WIRE_E_LIMIT;
	rc = ike_prf(suite->prf, (struct bytes){nonces, w.len}, &in->shared, 1, skeyseed);
	if (rc == 0)
		rc = keys_expand(suite, skeyseed, suite->prf->out_len, in, out);
	wipe(skeyseed, sizeof(skeyseed));
	return rc;
}

int ike_keys_derive_rekey(const struct ike_suite *suite, const struct transform *old_prf,
	const struct ike_sa_keys *old, const struct ike_keymat_input *in, struct ike_sa_keys *out)
{
	const struct bytes parts[] = {in->shared, in->ni, in->nr};
	uint8_t skeyseed[IKE_PRF_MAX_LEN];
	int rc = ike_prf(old_prf, (struct bytes){old->sk_d, old->prf_len}, parts, 3, skeyseed);

	if (rc == 0)
		rc = keys_expand(suite, skeyseed, old_prf->out_len, in, out);
	wipe(skeyseed, sizeof(skeyseed));
	return rc;
}

/* RFC 7296 2.17: all keys of initiator to responder first; encryption before integrity. */
int ike_child_keys_derive(const struct ike_suite *child, const struct transform *prf,
	const struct ike_sa_keys *ike, const struct ike_keymat_input *in,
	struct ike_child_keys *out)
{
	const struct transform *integ = ike_suite_integ(child);
	const struct bytes seed[] = {in->shared, in->ni, in->nr};
	uint8_t stream[2 * IKE_KEY_INTEG_MAX + 2 * IKE_KEY_ENC_MAX];
	const uint8_t *at = stream;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!child->encr || transform_keymat_len(child->encr) > IKE_KEY_ENC_MAX ||
		(integ && integ->key_len > IKE_KEY_INTEG_MAX))
		return -IKE_WIRE_E_UNSUPPORTED;
	out->enc_len = (uint8_t)transform_keymat_len(child->encr);
	out->integ_len = integ ? (uint8_t)integ->key_len : 0;
	rc = ike_prf_plus(prf, (struct bytes){ike->sk_d, ike->prf_len}, seed, 3, stream,
		2u * out->enc_len + 2u * out->integ_len);
	if (rc == 0) {
		at = take(out->enc_i, at, out->enc_len);
		at = take(out->integ_i, at, out->integ_len);
		at = take(out->enc_r, at, out->enc_len);
		take(out->integ_r, at, out->integ_len);
	}
	wipe(stream, sizeof(stream));
	return rc;
}

void ike_keys_wipe(struct ike_sa_keys *keys)
{
	wipe(keys, sizeof(*keys));
}

void ike_child_keys_wipe(struct ike_child_keys *keys)
{
	wipe(keys, sizeof(*keys));
}
