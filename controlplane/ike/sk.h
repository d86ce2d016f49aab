#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/keymat.h"
#include "controlplane/ike/message.h"
#include "controlplane/ike/random.h"

/* Protection of one direction of an IKE SA: RFC 7296 3.14, RFC 5282, RFC 7634. */
struct ike_cipher {
	const struct transform *encr, *integ; /* integ NULL with an AEAD */
	uint8_t enc_key[IKE_KEY_ENC_MAX];     /* salt at its end */
	uint8_t integ_key[IKE_KEY_INTEG_MAX];
	uint64_t next_iv; /* of counter modes: each seal takes one; never goes back */
};

/* For messages of the original initiator (use SK_ei, SK_ai) or of the responder. */
void ike_cipher_init(struct ike_cipher *c, const struct ike_suite *suite,
	const struct ike_sa_keys *keys, bool from_initiator);
void ike_cipher_wipe(struct ike_cipher *c);

/* Bytes of the whole message (header included) for plain_len bytes of payloads. */
size_t ike_sk_message_len(const struct ike_cipher *c, size_t plain_len, bool is_fragment);

/*
 * Protects a chain of payloads: writes header, SK (or SKF if n_fragments > 0), IV, ciphertext
 * and ICV to out. hdr's next_payload and length are set here. rng gives CBC IVs.
 * 0, -IKE_WIRE_E_SPACE, _CRYPTO.
 */
struct ike_sk_plain {
	uint8_t first_payload;
	uint16_t fragment, n_fragments; /* 0, 0: SK */
	struct bytes payloads;
};
int ike_sk_seal(struct ike_cipher *c, const struct ike_random *rng, const struct ike_header *hdr,
	const struct ike_sk_plain *plain, uint8_t *out, size_t cap, size_t *out_len)
	__attribute__((warn_unused_result));

/*
 * Verifies and decrypts m->sk (must be set) of a message decoded by ike_message_decode. plain
 * needs room for m->sk->sk.body.len bytes and may not overlap the datagram.
 * 0, -IKE_WIRE_E_ICV (drop in silence), -IKE_WIRE_E_PADDING, _SPACE, _CRYPTO.
 */
int ike_sk_open(const struct ike_cipher *c, const struct ike_message *m, uint8_t *plain, size_t cap,
	size_t *plain_len) __attribute__((warn_unused_result));
