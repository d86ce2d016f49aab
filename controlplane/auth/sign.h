#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "shared/bytes.h"
#include "shared/wire/ike.h"

/*
 * Signatures in AUTH: method 1 (RSA PKCS#1 v1.5 with SHA-1), 9 to 11 (RFC 4754: ECDSA as r | s),
 * 14 (RFC 7427: AlgorithmIdentifier and signature). auth_sign runs in the key process, all else
 * in the engine. Codes are those of controlplane/ike/wire_error.h.
 */

enum auth_key_kind { AUTH_KEY_UNKNOWN = 0, AUTH_KEY_RSA, AUTH_KEY_ECDSA };

/* How an AUTH payload is signed. */
struct auth_scheme {
	uint8_t method; /* enum ike_auth_number: 1, 9, 10, 11 or 14 */
	uint16_t hash;  /* enum ike_hash */
	bool is_pss;    /* RSA with method 14 only */
};

#define AUTH_HASH_BIT(hash) (1u << (hash))
#define AUTH_HASHES_DEFAULT                                                    \
	(AUTH_HASH_BIT(IKE_HASH_SHA2_256) | AUTH_HASH_BIT(IKE_HASH_SHA2_384) | \
		AUTH_HASH_BIT(IKE_HASH_SHA2_512))

#define AUTH_SIGNATURE_MAX 2200 /* bytes of AUTH data: RSA up to 16384 bits, and its identifier */

enum auth_key_kind auth_key_kind(const EVP_PKEY *key);

/* What may be chosen or accepted. */
struct auth_rules {
	enum auth_key_kind kind; /* AUTH_KEY_UNKNOWN: any */
	uint8_t method;          /* 9, 10, 11 or 14: only that one; 0: any */
	uint32_t hashes;         /* AUTH_HASH_BIT set for method 14, ours */
	bool allow_rsa_sha1;     /* method 1 (the policy says `rsa`) */
	uint16_t curve_bits;     /* of the key to verify with, 256, 384, 521; 0: any */
};

/*
 * The scheme to sign with. peer_hashes: the set from the peer's SIGNATURE_HASH_ALGORITHMS, 0 if
 * it sent none; with it method 14 is taken (strongest hash up to what the key's size suggests),
 * else methods 9 to 11 by curve, or 1 if allowed. peer_used: scheme of the peer's own AUTH if
 * already seen, or NULL; PSS or PKCS#1 v1.5 is mirrored, else PKCS#1 v1.5 is used.
 * 0 or -IKE_WIRE_E_AUTH_ALG: nothing in common.
 */
int auth_scheme_choose(const EVP_PKEY *key, const struct auth_rules *rules, uint32_t peer_hashes,
	const struct auth_scheme *peer_used, struct auth_scheme *out)
	__attribute__((warn_unused_result));

/* The set of hashes in a SIGNATURE_HASH_ALGORITHMS notify; unknown ones are left out. */
uint32_t auth_hashes_parse(struct bytes data);

/*
 * AUTH's data (for method 14 with its AlgorithmIdentifier). 0, -IKE_WIRE_E_AUTH_ALG (key and
 * scheme do not fit), _SPACE, _CRYPTO.
 */
int auth_sign(EVP_PKEY *key, const struct auth_scheme *scheme, struct bytes octets, uint8_t *out,
	size_t cap, size_t *out_len) __attribute__((warn_unused_result));

/*
 * Verifies AUTH data of `method` over octets. *used, if not NULL, is set as soon as the scheme
 * is known. 0, -IKE_WIRE_E_AUTH (wrong), _AUTH_ALG (method, hash or key not allowed), _SYNTAX.
 */
int auth_verify(EVP_PKEY *key, uint8_t method, struct bytes auth, struct bytes octets,
	const struct auth_rules *rules, struct auth_scheme *used)
	__attribute__((warn_unused_result));

/*
 * A raw public key in a CERT payload: encoding 11 (RFC 7296 3.6: PKCS#1 RSAPublicKey;
 * SubjectPublicKeyInfo is accepted too), 15 (RFC 7670: SubjectPublicKeyInfo) or 201
 * (OpenIKED's: SubjectPublicKeyInfo of an ECDSA key). NULL if it is none of these, has trailing
 * bytes, or a key that is not RSA of 1024 to 16384 bits or ECDSA on P-256, P-384, P-521. Freed
 * with EVP_PKEY_free.
 */
EVP_PKEY *auth_pubkey_from_cert(uint8_t encoding, struct bytes data);
/*
 * The same the other way: encoding 11 gives PKCS#1, 15 and 201 SubjectPublicKeyInfo. Bytes written,
 * or 0 (wrong kind of key, no room).
 */
size_t auth_pubkey_to_cert(EVP_PKEY *key, uint8_t encoding, uint8_t *out, size_t cap);

#define AUTH_SCHEME_STRLEN 48
/* "RSA_PKCS1 SHA2_256 (method 14)", for logs. */
const char *auth_scheme_str(
	const struct auth_scheme *s, enum auth_key_kind kind, char buf[AUTH_SCHEME_STRLEN]);
