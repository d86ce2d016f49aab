#include "dataplane/suite.h"

#include <string.h>

#include "shared/wipe.h"

/* enc id, key, kind, cipher, iv, align, salt, icv of the AEAD */
#define AEAD(id, key, kd, mode, auth, icv)                                                   \
	{                                                                                    \
		.kind = (kd), .iv_len = 8, .icv_len = (icv), .align = 4, .salt_len = 4,      \
		.encr_id = (id), .integ_id = INTEG_NONE, .key_len = (key), .cipher = (mode), \
		.hash = (auth)                                                               \
	}
#define PAIR(id, key, kd, mode, iv, al, salt, integ, ikey, icv, auth)                              \
	{                                                                                          \
		.kind = (kd), .iv_len = (iv), .icv_len = (icv), .align = (al), .salt_len = (salt), \
		.encr_id = (id), .integ_id = (integ), .key_len = (key), .integ_key_len = (ikey),   \
		.cipher = (mode), .hash = (auth)                                                   \
	}
/* One cipher with each HMAC. */
#define WITH_HMACS(id, key, kd, mode, iv, al, salt)                                    \
	PAIR(id, key, kd, mode, iv, al, salt, INTEG_HMAC_SHA2_256_128, 32, 16,         \
		IMB_AUTH_HMAC_SHA_256),                                                \
		PAIR(id, key, kd, mode, iv, al, salt, INTEG_HMAC_SHA1_96, 20, 12,      \
			IMB_AUTH_HMAC_SHA_1),                                          \
		PAIR(id, key, kd, mode, iv, al, salt, INTEG_HMAC_SHA2_384_192, 48, 24, \
			IMB_AUTH_HMAC_SHA_384),                                        \
		PAIR(id, key, kd, mode, iv, al, salt, INTEG_HMAC_SHA2_512_256, 64, 32, \
			IMB_AUTH_HMAC_SHA_512)
#define AES_GCM(id, key, icv) AEAD(id, key, SUITE_GCM, IMB_CIPHER_GCM, IMB_AUTH_AES_GMAC, icv)

static const struct suite suites[] = {
	WITH_HMACS(ENCR_AES_CBC, 32, SUITE_CBC, IMB_CIPHER_CBC, 16, 16, 0),
	WITH_HMACS(ENCR_AES_CBC, 24, SUITE_CBC, IMB_CIPHER_CBC, 16, 16, 0),
	WITH_HMACS(ENCR_AES_CBC, 16, SUITE_CBC, IMB_CIPHER_CBC, 16, 16, 0),
	WITH_HMACS(ENCR_AES_CTR, 32, SUITE_CTR, IMB_CIPHER_CNTR, 8, 4, 4),
	WITH_HMACS(ENCR_AES_CTR, 24, SUITE_CTR, IMB_CIPHER_CNTR, 8, 4, 4),
	WITH_HMACS(ENCR_AES_CTR, 16, SUITE_CTR, IMB_CIPHER_CNTR, 8, 4, 4),
	WITH_HMACS(ENCR_3DES, 24, SUITE_CBC, IMB_CIPHER_DES3, 8, 8, 0),
	WITH_HMACS(ENCR_NULL, 0, SUITE_NULL, IMB_CIPHER_NULL, 0, 4, 0),
	AES_GCM(ENCR_AES_GCM_16, 16, 16),
	AES_GCM(ENCR_AES_GCM_16, 24, 16),
	AES_GCM(ENCR_AES_GCM_16, 32, 16),
	AES_GCM(ENCR_AES_GCM_12, 16, 12),
	AES_GCM(ENCR_AES_GCM_12, 32, 12),
	AEAD(ENCR_CHACHA20_POLY1305, 32, SUITE_CHACHA, IMB_CIPHER_CHACHA20_POLY1305,
		IMB_AUTH_CHACHA20_POLY1305, 16),
};

#define N_SUITES (sizeof(suites) / sizeof(suites[0]))
_Static_assert(N_SUITES <= SUITES_MAX, "suites");

const struct suite *suite_at(unsigned int number)
{
	return number < N_SUITES ? &suites[number] : NULL;
}

unsigned int suite_number(const struct suite *s)
{
	return (unsigned int)(s - suites);
}

const struct suite *suite_find(uint16_t encr_id, uint16_t encr_key_len, uint16_t integ_id)
{
	for (size_t i = 0; i < N_SUITES; i++) {
		const struct suite *s = &suites[i];
		if (s->encr_id == encr_id && s->integ_id == integ_id &&
			(encr_key_len == 0 || s->key_len == encr_key_len))
			return s;
	}
	return NULL;
}

#define PAD_LEN 64 /* of the widest digest's state */

static size_t cipher_schedule_len(const struct suite *s)
{
	switch (s->kind) {
	case SUITE_GCM:
		return sizeof(struct gcm_key_data);
	case SUITE_CHACHA:
		return 64;
	case SUITE_NULL:
		return 0;
	default:
		return s->cipher == IMB_CIPHER_DES3 ? 3 * IMB_DES_KEY_SCHED_SIZE : 256;
	}
}

size_t suite_schedule_len(const struct suite *s)
{
	return cipher_schedule_len(s) + (s->integ_key_len ? 2 * PAD_LEN : 0);
}

/* RFC 2104 2: the digest's state after one block of key xor pad; keys fit in a block. */
static void hmac_pads(const struct suite *s, IMB_MGR *mb, const uint8_t *key, struct sa_keys *out)
{
	uint8_t block[2][128];
	memset(block[0], 0x36, sizeof(block[0]));
	memset(block[1], 0x5c, sizeof(block[1]));
	for (unsigned int i = 0; i < s->integ_key_len; i++) {
		block[0][i] ^= key[i];
		block[1][i] ^= key[i];
	}
	out->ipad = out->schedule + cipher_schedule_len(s);
	out->opad = out->ipad + PAD_LEN;
	uint8_t *pad[2] = {out->ipad, out->opad};
	for (int i = 0; i < 2; i++) {
		switch (s->hash) {
		case IMB_AUTH_HMAC_SHA_1:
			IMB_SHA1_ONE_BLOCK(mb, block[i], pad[i]);
			break;
		case IMB_AUTH_HMAC_SHA_256:
			IMB_SHA256_ONE_BLOCK(mb, block[i], pad[i]);
			break;
		case IMB_AUTH_HMAC_SHA_384:
			IMB_SHA384_ONE_BLOCK(mb, block[i], pad[i]);
			break;
		default:
			IMB_SHA512_ONE_BLOCK(mb, block[i], pad[i]);
			break;
		}
	}
	wipe(block, sizeof(block));
}

static void aes_schedule(
	const struct suite *s, IMB_MGR *mb, bool is_decrypt, const uint8_t *key, uint8_t *out)
{
	uint8_t other[256] __attribute__((aligned(16)));
	uint8_t *enc = is_decrypt ? other : out, *dec = is_decrypt ? out : other;
	if (s->key_len == 16)
		IMB_AES_KEYEXP_128(mb, key, enc, dec);
	else if (s->key_len == 24)
		IMB_AES_KEYEXP_192(mb, key, enc, dec);
	else
		IMB_AES_KEYEXP_256(mb, key, enc, dec);
	wipe(other, sizeof(other));
}

static void gcm_schedule(const struct suite *s, IMB_MGR *mb, const uint8_t *key, uint8_t *out)
{
	struct gcm_key_data *gcm = (struct gcm_key_data *)out;
	if (s->key_len == 16)
		IMB_AES128_GCM_PRE(mb, key, gcm);
	else if (s->key_len == 24)
		IMB_AES192_GCM_PRE(mb, key, gcm);
	else
		IMB_AES256_GCM_PRE(mb, key, gcm);
}

static void des_schedule(IMB_MGR *mb, const uint8_t *key, struct sa_keys *out)
{
	for (int i = 0; i < 3; i++) {
		uint8_t *at = out->schedule + i * IMB_DES_KEY_SCHED_SIZE;
		IMB_DES_KEYSCHED(mb, (uint64_t *)at, key + 8 * i);
		out->des[i] = at;
	}
}

int suite_keys_init(const struct suite *s, IMB_MGR *mb, bool is_outbound, const uint8_t *enc_key,
	size_t enc_key_len, const uint8_t *integ_key, size_t integ_key_len, struct sa_keys *out)
{
	if (enc_key_len != (size_t)s->key_len + s->salt_len || integ_key_len != s->integ_key_len)
		return -1;
	/* RFC 4106 8.1, RFC 3686 5.1, RFC 7634 2: the salt is what follows the key. */
	if (s->salt_len)
		memcpy(out->salt, enc_key + s->key_len, s->salt_len);
	if (s->integ_key_len)
		hmac_pads(s, mb, integ_key, out);
	switch (s->kind) {
	case SUITE_GCM:
		gcm_schedule(s, mb, enc_key, out->schedule);
		break;
	case SUITE_CHACHA:
		memcpy(out->schedule, enc_key, s->key_len);
		break;
	case SUITE_CTR:
		aes_schedule(s, mb, false, enc_key, out->schedule);
		break;
	case SUITE_CBC:
		if (s->cipher == IMB_CIPHER_DES3)
			des_schedule(mb, enc_key, out);
		else
			aes_schedule(s, mb, !is_outbound, enc_key, out->schedule);
		break;
	default:
		break;
	}
	return 0;
}
