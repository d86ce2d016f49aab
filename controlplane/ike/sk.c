#include "controlplane/ike/sk.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "shared/wipe.h"

/*
 * RFC 7296 3.14: IV | encrypted(payloads | padding | pad length) | ICV. The ICV covers the whole
 * message before it; with an AEAD all before the IV is associated data (RFC 5282 5.1) and the
 * nonce is salt | IV. AES-CTR counts from one behind its nonce (RFC 5930 2).
 */
enum {
	SKF_EXTRA_LEN = 4,
	NONCE_MAX = 16,
};

static bool is_aead(const struct ike_cipher *c)
{
	return c->encr->flags & TRANSFORM_F_AEAD;
}

static size_t icv_len(const struct ike_cipher *c)
{
	return is_aead(c) ? c->encr->icv_len : c->integ->icv_len;
}

static size_t padded_len(const struct ike_cipher *c, size_t plain_len)
{
	size_t block = c->encr->block_len;

	return (plain_len + 1 + block - 1) / block * block;
}

void ike_cipher_init(struct ike_cipher *c, const struct ike_suite *suite,
	const struct ike_sa_keys *keys, bool from_initiator)
{
	memset(c, 0, sizeof(*c));
	c->encr = suite->encr;
	c->integ = ike_suite_integ(suite);
	memcpy(c->enc_key, from_initiator ? keys->sk_ei : keys->sk_er, sizeof(c->enc_key));
	memcpy(c->integ_key, from_initiator ? keys->sk_ai : keys->sk_ar, sizeof(c->integ_key));
}

void ike_cipher_wipe(struct ike_cipher *c)
{
	wipe(c, sizeof(*c));
}

size_t ike_sk_message_len(const struct ike_cipher *c, size_t plain_len, bool is_fragment)
{
	return IKE_HEADER_LEN + IKE_PAYLOAD_HEADER_LEN + (is_fragment ? SKF_EXTRA_LEN : 0) +
	       c->encr->iv_len + padded_len(c, plain_len) + icv_len(c);
}

/* What EVP takes as IV: the IV itself, or salt and IV, or these and a counter of one. */
static void nonce_make(const struct ike_cipher *c, const uint8_t *iv, uint8_t out[NONCE_MAX])
{
	size_t salt_len = c->encr->salt_len;

	memset(out, 0, NONCE_MAX);
	memcpy(out, c->enc_key + c->encr->key_len, salt_len);
	memcpy(out + salt_len, iv, c->encr->iv_len);
	if (salt_len > 0 && !is_aead(c))
		out[NONCE_MAX - 1] = 1;
}

static EVP_CIPHER_CTX *cipher_begin(const struct ike_cipher *c, const uint8_t *iv, int encrypt)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, c->encr->openssl_name, NULL);
	EVP_CIPHER_CTX *ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
	uint8_t nonce[NONCE_MAX];

	nonce_make(c, iv, nonce);
	if (ctx && (EVP_CipherInit_ex2(ctx, cipher, c->enc_key, nonce, encrypt, NULL) != 1 ||
			   EVP_CIPHER_CTX_set_padding(ctx, 0) != 1)) {
		EVP_CIPHER_CTX_free(ctx);
		ctx = NULL;
	}
	EVP_CIPHER_free(cipher);
	return ctx;
}

/* In place; aad and tag only with an AEAD. */
static int cipher_run(const struct ike_cipher *c, const uint8_t *iv, bool encrypt, struct bytes aad,
	struct bytes in, uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *ctx = cipher_begin(c, iv, encrypt);
	int n = 0, tag_len = (int)c->encr->icv_len, rc = -IKE_WIRE_E_CRYPTO;

	if (!ctx)
		return rc;
	if (is_aead(c)) {
		if (!encrypt && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, tag_len, tag) != 1)
			goto out;
		if (EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.len) != 1)
			goto out;
	}
	if (EVP_CipherUpdate(ctx, out, &n, in.data, (int)in.len) != 1 || (size_t)n != in.len)
		goto out;
	if (EVP_CipherFinal_ex(ctx, out + n, &n) != 1) {
		rc = is_aead(c) && !encrypt ? -IKE_WIRE_E_ICV : -IKE_WIRE_E_CRYPTO;
		goto out;
	}
	if (is_aead(c) && encrypt &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, tag_len, tag) != 1)
		goto out;
	rc = 0;
out:
	EVP_CIPHER_CTX_free(ctx);
	if (rc < 0)
		ERR_clear_error();
	return rc;
}

static int hmac_icv(const struct ike_cipher *c, struct bytes covered, uint8_t out[IKE_PRF_MAX_LEN])
{
	const struct bytes key = {c->integ_key, c->integ->key_len};
	size_t len;

	return ike_hmac(c->integ->openssl_name, key, &covered, 1, out, &len);
}

/* RFC 3602 3: CBC IVs must not be predictable. Counter modes need only never repeat one. */
static int iv_make(struct ike_cipher *c, const struct ike_random *rng, uint8_t *iv)
{
	if (c->encr->flags & TRANSFORM_F_COUNTER) {
		struct writer w = writer_init(iv, 8);

		if (c->next_iv == UINT64_MAX)
			return -IKE_WIRE_E_CRYPTO;
		write_u64(&w, c->next_iv++);
		return 0;
	}
	return ike_random_bytes(rng, iv, c->encr->iv_len);
}

/* Header, generic header of SK or SKF; everything before the IV. */
static void head_write(struct writer *w, const struct ike_header *hdr,
	const struct ike_sk_plain *plain, size_t total)
{
	bool is_fragment = plain->n_fragments > 0;

	write_u64(w, hdr->spi_i);
	write_u64(w, hdr->spi_r);
	write_u8(w, is_fragment ? IKE_PAYLOAD_SKF : IKE_PAYLOAD_SK);
	write_u8(w, IKE_VERSION);
	write_u8(w, hdr->exchange);
	write_u8(w, hdr->flags);
	write_u32(w, hdr->message_id);
	write_u32(w, (uint32_t)total);
	/* RFC 7383 2.5: only the first fragment names the first payload. */
	write_u8(w, plain->fragment > 1 ? IKE_PAYLOAD_NONE : plain->first_payload);
	write_u8(w, 0);
	write_u16(w, (uint16_t)(total - IKE_HEADER_LEN));
	if (is_fragment) {
		write_u16(w, plain->fragment);
		write_u16(w, plain->n_fragments);
	}
}

int ike_sk_seal(struct ike_cipher *c, const struct ike_random *rng, const struct ike_header *hdr,
	const struct ike_sk_plain *plain, uint8_t *out, size_t cap, size_t *out_len)
{
	size_t total = ike_sk_message_len(c, plain->payloads.len, plain->n_fragments > 0);
	size_t text_len = padded_len(c, plain->payloads.len), head_len;
	struct writer w = writer_init(out, cap);
	uint8_t *iv, *text, mac[IKE_PRF_MAX_LEN];
	int rc;

	*out_len = total;
	if (total > cap || total > IKE_MESSAGE_MAX)
		return -IKE_WIRE_E_SPACE;
	head_write(&w, hdr, plain, total);
	head_len = w.len;
	iv = write_skip(&w, c->encr->iv_len);
	text = write_skip(&w, text_len);
	if (!iv || !text)
		return -IKE_WIRE_E_SPACE;
	memset(text, 0, text_len);
	if (plain->payloads.len > 0)
		memcpy(text, plain->payloads.data, plain->payloads.len);
	text[text_len - 1] = (uint8_t)(text_len - 1 - plain->payloads.len);
	rc = iv_make(c, rng, iv);
	if (rc == 0)
		rc = cipher_run(c, iv, true, (struct bytes){out, head_len},
			(struct bytes){text, text_len}, text, out + w.len);
	if (rc == 0 && !is_aead(c)) {
		rc = hmac_icv(c, (struct bytes){out, w.len}, mac);
		if (rc == 0)
			memcpy(out + w.len, mac, c->integ->icv_len);
	}
	/* Nothing in clear is left behind in a buffer that may still be sent. */
	if (rc < 0)
		wipe(out, total);
	return rc;
}

static int text_open(
	const struct ike_cipher *c, const struct ike_message *m, struct bytes text, uint8_t *plain)
{
	const uint8_t *iv = m->sk->sk.body.data;
	const struct bytes aad = {m->raw.data, (size_t)(iv - m->raw.data)};
	uint8_t mac[IKE_PRF_MAX_LEN], tag[16];
	int rc;

	if (is_aead(c)) {
		memcpy(tag, text.data + text.len, c->encr->icv_len);
		return cipher_run(c, iv, false, aad, text, plain, tag);
	}
	rc = hmac_icv(c, (struct bytes){m->raw.data, m->raw.len - c->integ->icv_len}, mac);
	if (rc < 0)
		return rc;
	if (!ct_equal(mac, text.data + text.len, c->integ->icv_len))
		return -IKE_WIRE_E_ICV;
	return cipher_run(c, iv, false, aad, text, plain, NULL);
}

int ike_sk_open(const struct ike_cipher *c, const struct ike_message *m, uint8_t *plain, size_t cap,
	size_t *plain_len)
{
	struct bytes body = m->sk->sk.body, text;
	size_t iv_len = c->encr->iv_len, around = iv_len + icv_len(c), pad_len;
	int rc;

	*plain_len = 0;
	if (body.len < around + c->encr->block_len || (body.len - around) % c->encr->block_len != 0)
		return -IKE_WIRE_E_ICV;
	text = (struct bytes){body.data + iv_len, body.len - around};
	if (cap < text.len)
		return -IKE_WIRE_E_SPACE;
	rc = text_open(c, m, text, plain);
	if (rc < 0) {
		wipe(plain, text.len);
		return rc;
	}
	pad_len = plain[text.len - 1];
	if (pad_len + 1 > text.len)
		return -IKE_WIRE_E_PADDING;
	*plain_len = text.len - 1 - pad_len;
	return 0;
}
