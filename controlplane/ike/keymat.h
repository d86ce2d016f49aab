#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/prf.h"
#include "controlplane/ike/proposal.h"
#include "shared/bytes.h"

#define IKE_KEY_ENC_MAX 40 /* 32 and a salt */
#define IKE_KEY_INTEG_MAX 64

/* Keys of an IKE SA (RFC 7296 2.14). Lengths beside them; integ_len 0 with an AEAD. */
struct ike_sa_keys {
	uint8_t prf_len; /* of sk_d, sk_pi, sk_pr */
	uint8_t enc_len; /* of sk_ei, sk_er: key and salt */
	uint8_t integ_len;
	uint8_t sk_d[IKE_PRF_MAX_LEN];
	uint8_t sk_ai[IKE_KEY_INTEG_MAX], sk_ar[IKE_KEY_INTEG_MAX];
	uint8_t sk_ei[IKE_KEY_ENC_MAX], sk_er[IKE_KEY_ENC_MAX];
	uint8_t sk_pi[IKE_PRF_MAX_LEN], sk_pr[IKE_PRF_MAX_LEN];
};

/* Keys of a child SA (RFC 7296 2.17): `i` protects what the exchange's initiator sends. */
struct ike_child_keys {
	uint8_t enc_len; /* key and salt */
	uint8_t integ_len;
	uint8_t enc_i[IKE_KEY_ENC_MAX], integ_i[IKE_KEY_INTEG_MAX];
	uint8_t enc_r[IKE_KEY_ENC_MAX], integ_r[IKE_KEY_INTEG_MAX];
};

/* What enters a derivation; views of the caller's memory. SPIs of the new IKE SA, host order. */
struct ike_keymat_input {
	struct bytes ni, nr;   /* nonces of the exchange's initiator and responder */
	struct bytes shared;   /* g^ir; empty for a child without PFS */
	uint64_t spi_i, spi_r; /* not used for children */
};

/* RFC 7296 2.14: SKEYSEED = prf(Ni | Nr, g^ir). 0 or -IKE_WIRE_E_CRYPTO. */
int ike_keys_derive(const struct ike_suite *suite, const struct ike_keymat_input *in,
	struct ike_sa_keys *out) __attribute__((warn_unused_result));
/* RFC 7296 2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr) with the old SA's PRF; the
 * rest with the new one's. */
int ike_keys_derive_rekey(const struct ike_suite *suite, const struct transform *old_prf,
	const struct ike_sa_keys *old, const struct ike_keymat_input *in, struct ike_sa_keys *out)
	__attribute__((warn_unused_result));
/* RFC 7296 2.17: KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr). prf and sk_d are the IKE SA's. */
int ike_child_keys_derive(const struct ike_suite *child, const struct transform *prf,
	const struct ike_sa_keys *ike, const struct ike_keymat_input *in,
	struct ike_child_keys *out) __attribute__((warn_unused_result));
void ike_keys_wipe(struct ike_sa_keys *keys);
void ike_child_keys_wipe(struct ike_child_keys *keys);
