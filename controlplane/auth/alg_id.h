#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/sign.h"
#include "shared/bytes.h"

/*
 * RFC 7427 3: the signature algorithm as an ASN.1 AlgorithmIdentifier in DER, read and written
 * without an ASN.1 library, as it comes from a peer that is not authenticated yet.
 */
struct alg_id {
	enum auth_key_kind kind;
	uint16_t hash; /* enum ike_hash */
	bool is_pss;
	uint16_t salt_len; /* PSS */
};

#define ALG_ID_MAX 96

/* RFC 7427 A. Bytes written, 0 if there is no such algorithm or no room. */
size_t alg_id_write(const struct alg_id *alg, uint8_t *out, size_t cap);

/*
 * PSS must use one hash for the message and for MGF1. 0, -IKE_WIRE_E_SYNTAX (not DER of an
 * AlgorithmIdentifier), -IKE_WIRE_E_AUTH_ALG (an algorithm that we don't have).
 */
int alg_id_parse(struct bytes der, struct alg_id *out) __attribute__((warn_unused_result));
