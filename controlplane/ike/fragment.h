#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/sk.h"

/*
 * RFC 7383. Sealing gives one datagram, or several fragments; they are kept together, for
 * retransmission with the same bytes.
 */
#define IKE_FRAGMENTS_MAX 512

struct ike_datagrams {
	uint16_t n;
	uint32_t *end; /* owned; end[i]: offset behind datagram i */
	uint8_t *data; /* owned; one allocation with `end` */
};

struct bytes ike_datagrams_at(const struct ike_datagrams *d, uint16_t i);
/* One clear message (IKE_SA_INIT), copied. 0 or -IKE_WIRE_E_MEMORY. */
int ike_datagrams_single(struct ike_datagrams *d, const void *data, size_t len)
	__attribute__((warn_unused_result));
void ike_datagrams_fini(struct ike_datagrams *d); /* frees; zeroed ones are allowed */

/*
 * Protects a chain of payloads. max_len: the longest IKE message (bytes after UDP header and
 * marker) before it is split, 0: never split (the peer does not do RFC 7383). *out is set, its
 * former contents are not freed. 0, -IKE_WIRE_E_LIMIT (too many fragments or longer than
 * 65535), _MEMORY, _CRYPTO.
 */
int ike_seal(struct ike_cipher *c, const struct ike_random *rng, const struct ike_header *hdr,
	uint8_t first_payload, struct bytes payloads, size_t max_len, struct ike_datagrams *out)
	__attribute__((warn_unused_result));

/*
 * RFC 7383 2.6: collects the decrypted fragments of one message. One for each direction of an
 * IKE SA, created at the first fragment; bounded to IKE_FRAGMENTS_MAX fragments and 64 KiB.
 */
struct ike_reassembly;

/*
 * Adds an authenticated fragment: sk from m->sk->sk, plain from ike_sk_open (copied). *r may be
 * NULL. Duplicates are ignored. A larger Total Fragments, or another message ID, starts anew; a
 * smaller one is refused.
 * 1: complete, see ike_reassembly_take. 0: more to come. -IKE_WIRE_E_FRAGMENT, _LIMIT, _MEMORY.
 */
int ike_reassembly_add(struct ike_reassembly **r, uint32_t message_id, const struct ike_sk *sk,
	const uint8_t *plain, size_t plain_len) __attribute__((warn_unused_result));
/*
 * The payloads of a complete message and the type of the first; owned by r until
 * ike_reassembly_destroy. Decode them with ike_message_decode_inner.
 */
struct bytes ike_reassembly_take(struct ike_reassembly *r, uint8_t *first_payload);
void ike_reassembly_destroy(struct ike_reassembly **r); /* wipes, sets NULL */
