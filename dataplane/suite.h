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
