#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/prf.h"
#include "shared/bytes.h"

/*
 * What AUTH covers (RFC 7296 2.15), and AUTH by pre-shared key. Signatures over these octets are
 * in controlplane/auth/sign.h.
 *
 *   InitiatorSignedOctets = RealMessage1 | NonceRData | prf(SK_pi, RestOfInitIDPayload)
 *   ResponderSignedOctets = RealMessage2 | NonceIData | prf(SK_pr, RestOfRespIDPayload)
 */
struct ike_auth_input {
	const struct transform *prf;
	struct bytes real_message; /* signer's IKE_SA_INIT message, header included, no marker */
	struct bytes nonce;        /* the other side's nonce */
	struct bytes id_body;      /* signer's ID payload without generic header: ike_id_body or
				    * ike_id_payload.body */
	struct bytes sk_p;         /* signer's SK_pi or SK_pr */
};

/* Bytes of the octets. */
size_t ike_auth_octets_len(const struct ike_auth_input *in);
/* 0, -IKE_WIRE_E_SPACE, _CRYPTO. */
int ike_auth_octets(const struct ike_auth_input *in, uint8_t *out, size_t cap, size_t *out_len)
	__attribute__((warn_unused_result));

/*
 * prf(shared secret, "Key Pad for IKEv2"): what the key process gives out instead of the PSK.
 * out: prf->out_len bytes.
 */
int ike_auth_psk_pad(const struct transform *prf, struct bytes psk, uint8_t *out)
	__attribute__((warn_unused_result));
/* AUTH = prf(pad, octets). out: prf->out_len bytes. */
int ike_auth_psk(const struct ike_auth_input *in, struct bytes pad, uint8_t *out)
	__attribute__((warn_unused_result));
/* 0, -IKE_WIRE_E_AUTH, _CRYPTO. Constant time. */
int ike_auth_psk_verify(const struct ike_auth_input *in, struct bytes pad, struct bytes auth)
	__attribute__((warn_unused_result));
