#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/random.h"
#include "controlplane/ike/wire_error.h"

/*
 * One Diffie-Hellman exchange: a private key and its public value in the form of KE. Groups:
 * all DH rows of shared/transform.c that are not KNOWN_ONLY.
 */
struct ike_dh;

#define IKE_DH_MAX_LEN 1024 /* bytes: public value and shared secret of MODP_8192 */

/*
 * rng NULL: OpenSSL's private RNG. With a deterministic rng the key is deterministic.
 * 0, -IKE_WIRE_E_UNSUPPORTED (group), _CRYPTO, _MEMORY.
 */
int ike_dh_create(uint16_t group, const struct ike_random *rng, struct ike_dh **out)
	__attribute__((warn_unused_result));
void ike_dh_destroy(struct ike_dh *dh); /* wipes; NULL is allowed */

uint16_t ike_dh_group(const struct ike_dh *dh);
/* Our value for KE; owned by dh. */
const uint8_t *ike_dh_public(const struct ike_dh *dh, size_t *len);

/*
 * The shared secret, g^ir, of fixed length for its group: *out_len <= IKE_DH_MAX_LEN; the caller
 * wipes it. The peer's value is checked: exact length (RFC 7296 3.4, RFC 5903 7), range
 * (RFC 6989 2.1), on the curve (2.3), X25519 result not zero (RFC 8031 2).
 * 0, -IKE_WIRE_E_KE, _CRYPTO, _SPACE.
 */
int ike_dh_shared(const struct ike_dh *dh, const uint8_t *peer, size_t peer_len, uint8_t *out,
	size_t cap, size_t *out_len) __attribute__((warn_unused_result));
