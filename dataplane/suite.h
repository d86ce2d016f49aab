#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <intel-ipsec-mb.h>

#include "shared/transform.h"

/*
 * One row a usable pair of encryption and integrity algorithms, with what intel-ipsec-mb needs
 * for it. Lengths come from shared/transform.h. Suites are few, so a suite's number sorts a
 * burst.
 */
enum suite_kind {
	SUITE_GCM,
	SUITE_CHACHA,
	SUITE_CBC, /* AES-CBC, 3DES: block cipher with an unpredictable IV on the wire */
	SUITE_CTR,
	SUITE_NULL, /* no encryption, HMAC alone */
};

struct suite {
	uint8_t kind; /* enum suite_kind */
	uint8_t iv_len, icv_len;
	uint8_t align; /* of payload + trailer on the wire: the block, at least 4 */
	uint8_t salt_len;
	uint16_t encr_id, integ_id;
	uint8_t key_len, integ_key_len; /* bytes, salt not counted */
	IMB_CIPHER_MODE cipher;
	IMB_HASH_ALG hash;
};

#define SUITES_MAX 64 /* more than there are rows */

/*
 * Prepared keys of one direction of one SA, the only place where its key exists in espd. Part
 * of the SA's allocation, wiped with it.
 */
struct sa_keys {
	uint8_t salt[4]; /* GCM, CTR, ChaCha20: first bytes of the nonce */
	uint32_t reserved;
	/* HMAC: the digest's state after the block key^ipad, key^opad; behind the cipher's schedule
	 */
	uint8_t *ipad, *opad;
	const void *des[3]; /* 3DES: pointers into schedule */
	/* The cipher's schedule for this direction and the HMAC's, suite_schedule_len() bytes. */
	uint8_t schedule[] __attribute__((aligned(64)));
};

#define SUITE_GCM_HASH_KEYS 48 /* at most, at the end of the schedule: H^48 .. H^1 */

/*
 * Asks for the lines that a packet of text_len bytes needs of the keys: all of a short schedule;
 * of GCM's the round keys, and of the powers of the hash key (the table's end) one a block.
 */
static inline void suite_keys_prefetch(
	const struct suite *s, const struct sa_keys *keys, uint32_t text_len)
{
	const char *at = (const char *)keys, *schedule = (const char *)keys->schedule;
	uint32_t n_powers = text_len / 16 + 3;

	__builtin_prefetch(at);
	for (uint32_t k = 0; k < 256; k += 64)
		__builtin_prefetch(schedule + k);
	if (s->kind != SUITE_GCM) {
		__builtin_prefetch(at + 64);
		__builtin_prefetch(at + 128);
		return;
	}
	if (n_powers > SUITE_GCM_HASH_KEYS)
		n_powers = SUITE_GCM_HASH_KEYS;
	at = schedule + sizeof(struct gcm_key_data);
	for (const char *from = at - 16 * n_powers; from < at; from += 64)
		__builtin_prefetch(from);
}

/* NULL if the pair cannot be used together or is not built in. Key length 0: the first row. */
const struct suite *suite_find(uint16_t encr_id, uint16_t encr_key_len, uint16_t integ_id);
/* The rows in order; NULL past the end. */
const struct suite *suite_at(unsigned int number);
unsigned int suite_number(const struct suite *s);
/* Bytes of sa_keys.schedule. */
size_t suite_schedule_len(const struct suite *s);
/*
 * Prepares keys (zeroed memory of sizeof(struct sa_keys) + suite_schedule_len()). enc_key is
 * key and salt. Lengths that do not fit the suite: -1. mb serves key expansion only.
 */
int suite_keys_init(const struct suite *s, IMB_MGR *mb, bool is_outbound, const uint8_t *enc_key,
	size_t enc_key_len, const uint8_t *integ_key, size_t integ_key_len, struct sa_keys *out)
	__attribute__((warn_unused_result));
