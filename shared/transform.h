#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One row a transform (RFC 7296 3.3.2 and the IANA registry). All code looks algorithms up
 * here; a cipher with several key lengths has a row for each. A new cipher is a new row, its
 * functions in controlplane/ike and dataplane, and its vectors.
 */
enum transform_type {
	TRANSFORM_ENCR = 1,
	TRANSFORM_PRF = 2,
	TRANSFORM_INTEG = 3,
	TRANSFORM_DH = 4,
	TRANSFORM_ESN = 5,
};

enum { /* IANA: Transform Type 1 */
	ENCR_3DES = 3,
	ENCR_NULL = 11,
	ENCR_AES_CBC = 12,
	ENCR_AES_CTR = 13,
	ENCR_AES_GCM_8 = 18,
	ENCR_AES_GCM_12 = 19,
	ENCR_AES_GCM_16 = 20,
	ENCR_CHACHA20_POLY1305 = 28,
};
enum { /* Type 2 */
	PRF_HMAC_MD5 = 1,
	PRF_HMAC_SHA1 = 2,
	PRF_HMAC_SHA2_256 = 5,
	PRF_HMAC_SHA2_384 = 6,
	PRF_HMAC_SHA2_512 = 7,
};
enum { /* Type 3 */
	INTEG_NONE = 0,
	INTEG_HMAC_MD5_96 = 1,
	INTEG_HMAC_SHA1_96 = 2,
	INTEG_HMAC_SHA2_256_128 = 12,
	INTEG_HMAC_SHA2_384_192 = 13,
	INTEG_HMAC_SHA2_512_256 = 14,
};
enum { /* Type 4 */
	DH_NONE = 0,
	DH_MODP_768 = 1,
	DH_MODP_1024 = 2,
	DH_MODP_1536 = 5,
	DH_MODP_2048 = 14,
	DH_MODP_3072 = 15,
	DH_MODP_4096 = 16,
	DH_MODP_6144 = 17,
	DH_MODP_8192 = 18,
	DH_ECP_256 = 19,
	DH_ECP_384 = 20,
	DH_ECP_521 = 21,
	DH_CURVE25519 = 31,
};
enum { /* Type 5 */
	ESN_NO = 0,
	ESN_YES = 1,
};

enum {
	TRANSFORM_F_AEAD = 1 << 0,        /* combined mode: no INTEG beside it (RFC 5282 8) */
	TRANSFORM_F_IKE = 1 << 1,         /* usable in an IKE SA */
	TRANSFORM_F_ESP = 1 << 2,         /* usable in ESP */
	TRANSFORM_F_WEAK = 1 << 3,        /* never in the defaults; only when the policy names it */
	TRANSFORM_F_KNOWN_ONLY = 1 << 4,  /* parsed and named; not offered or accepted */
	TRANSFORM_F_COUNTER = 1 << 5,     /* IV is a counter: a (key, IV) pair must not repeat; the
					   * key is refused in manual SAs */
	TRANSFORM_F_KEYLEN_ATTR = 1 << 6, /* carries a Key Length attribute on the wire */
};

struct transform {
	enum transform_type type;
	uint16_t id;       /* IANA */
	uint16_t key_len;  /* bytes without salt; PRF: preferred key, INTEG: key; DH: 0 */
	uint8_t salt_len;  /* bytes of keying material after the key */
	uint8_t iv_len;    /* bytes on the wire */
	uint8_t icv_len;   /* AEAD tag or truncated ICV, bytes */
	uint8_t block_len; /* ENCR: padding unit for ESP before the 4-byte rule; else 1 */
	uint16_t out_len;  /* PRF: output; DH: public value on the wire; bytes */
	uint32_t flags;
	const char *name;          /* iked.conf's: "aes-256-gcm", "hmac-sha2-256", "modp2048" */
	const char *alias;         /* second name in iked.conf ("grp14"), or NULL */
	const char *ipsecctl_name; /* as ipsecctl -s prints it: "aes" for AES-CBC-128 */
	const char *iana_name;     /* in logs: "AES_CBC-256" */
	const char *openssl_name;  /* cipher, digest or group for EVP; NULL if none */
	const char *rfc;
};

/* key_len 0 finds the first row with this id (fixed-length ciphers, other types). */
const struct transform *transform_find(enum transform_type type, uint16_t id, uint16_t key_len);
/* By iked.conf's name or alias, without case. */
const struct transform *transform_by_name(enum transform_type type, const char *name);
/* The rows in table order; NULL past the end. */
const struct transform *transform_at(size_t index);
/* Bytes of keying material the transform takes from KEYMAT: key and salt. */
size_t transform_keymat_len(const struct transform *t);
