#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/conf/policy.h"
#include "controlplane/ike/payload_sa.h"
#include "shared/transform.h"
#include "shared/wire/ike.h"

/*
 * Offers from the policy, the choice among an offer by *our* order, and the check of an answer.
 */

/* What was agreed. integ and dh are NULL or the NONE rows where there is none. */
struct ike_suite {
	const struct transform *encr, *prf, *integ, *dh, *esn;
	uint8_t proposal_number; /* the initiator's */
	uint8_t protocol;
	uint8_t spi_len; /* the peer's SPI of that proposal */
	uint8_t spi[8];
};

enum ike_suite_use {
	IKE_SUITE_IKE,        /* IKE_SA_INIT, and rekey of the IKE SA: ENCR PRF (INTEG) DH */
	IKE_SUITE_AUTH_CHILD, /* child in IKE_AUTH: no DH, whatever is offered (see below) */
	IKE_SUITE_CHILD,      /* child in CREATE_CHILD_SA: ENCR (INTEG) ESN, DH as policy says */
};

/*
 * The proposals to send, numbered from 1. A policy's proposal that mixes AEAD with other
 * ciphers becomes two (RFC 5282 8). Transforms marked KNOWN_ONLY are left out. spi_len is 0, 4
 * or 8; spi in host order. The result depends on its arguments alone: build it again to check
 * an answer instead of keeping it. -IKE_WIRE_E_LIMIT if it does not fit,
 * -IKE_WIRE_E_PROPOSAL if nothing is left.
 */
int ike_offer_build(const struct ike_proposal *ours, size_t n_ours, enum ike_suite_use use,
	uint8_t spi_len, uint64_t spi, struct ike_offer *out) __attribute__((warn_unused_result));

/* The group for KE: the first of the first proposal that has one, else 0. */
uint16_t ike_offer_first_group(const struct ike_offer *offer);
/* True if some proposal of the offer has this group (INVALID_KE_PAYLOAD's data is checked with
 * it: RFC 7296 1.2, 2.7). */
bool ike_offer_has_group(const struct ike_offer *offer, uint16_t group);

/*
 * Chooses from the peer's offer. Order: our proposals as the policy lists them; in each the best
 * ENCR by our order, then INTEG, PRF, DH, ESN, over all of the peer's proposals (B08). If
 * ke_group is not 0, combinations with that group are looked for first in all our proposals,
 * so that a KE that is acceptable never leads to INVALID_KE_PAYLOAD (B12); if the answer's
 * out->dh->id differs from ke_group, the caller sends INVALID_KE_PAYLOAD with out->dh->id.
 *
 * RFC 7296 3.3.6: a proposal with an unknown transform type is refused as a whole; an unknown
 * transform or one with an unknown attribute is passed over. AEAD with an INTEG other than NONE
 * is refused (RFC 5282 8). In IKE_SUITE_AUTH_CHILD a DH transform is ignored: it is neither
 * needed nor answered (RFC 7296 1.2 leaves no KE to use it with; B10).
 *
 * 0 or -IKE_WIRE_E_PROPOSAL.
 */
int ike_offer_select(const struct ike_offer *offer, const struct ike_proposal *ours, size_t n_ours,
	enum ike_suite_use use, uint16_t ke_group, struct ike_suite *out)
	__attribute__((warn_unused_result));

/* The answer as a one-proposal offer with our SPI (host order; 0 with spi_len 0). */
void ike_suite_answer(
	const struct ike_suite *suite, uint8_t spi_len, uint64_t spi, struct ike_offer *out);

/*
 * RFC 7296 2.7, 3.3.6: the answer is exactly one proposal with one transform a type, all of them
 * in the proposal of that number in `sent`. ke_group: the group whose KE we sent, 0 if none; an
 * answer with another is refused. 0 or -IKE_WIRE_E_PROPOSAL.
 */
int ike_offer_check_answer(const struct ike_offer *sent, const struct ike_offer *answer,
	enum ike_suite_use use, uint16_t ke_group, struct ike_suite *out)
	__attribute__((warn_unused_result));

/* INTEG that takes a key, or NULL (AEAD). */
const struct transform *ike_suite_integ(const struct ike_suite *suite);
/* DH group number, 0 if none. */
uint16_t ike_suite_group(const struct ike_suite *suite);

#define IKE_SUITE_STRLEN 160
/* "AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048" */
const char *ike_suite_str(const struct ike_suite *suite, char buf[IKE_SUITE_STRLEN]);
