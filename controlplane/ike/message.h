#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/payload.h"
#include "controlplane/ike/wire_error.h"
#include "shared/bytes.h"
#include "shared/wire/ike.h"

/*
 * One IKE message as a struct. Decoding fills it or fails; it never acts, allocates nothing and
 * its work is linear in the bytes. The struct is large (about 50 KiB): have one an engine, not
 * one an SA. Its pointers point into itself, so it must not be copied.
 */

#define IKE_PAYLOADS_MAX 128

struct ike_header {
	uint64_t spi_i, spi_r; /* host order */
	uint8_t next_payload;
	uint8_t version; /* major in the high four bits */
	uint8_t exchange;
	uint8_t flags; /* IKE_FLAG_* */
	uint32_t message_id;
	uint32_t length; /* bytes, header included; set by the encoder */
};

struct ike_message {
	struct ike_header hdr;
	struct bytes raw; /* the datagram without marker; of a fragment, the last one's */
	uint8_t n_payloads;
	struct ike_payload payloads[IKE_PAYLOADS_MAX]; /* known ones, in the order received */
	uint16_t n_skipped;                            /* unknown ones without critical bit */
	uint8_t unsupported; /* type of the first unknown one with the critical bit, or 0 */
	bool has_repeat;     /* a payload that may be there once came twice */

	/* The first payload of each kind that may appear once, or NULL. */
	const struct ike_payload *sa, *ke, *idi, *idr, *auth, *nonce, *tsi, *tsr, *cp, *eap, *sk;
	struct ike_offer offer;                /* valid if sa */
	struct ike_ts_list tsi_list, tsr_list; /* valid if tsi, tsr */
};

/*
 * The fixed header alone, for steering and for messages that cannot be decoded.
 * -IKE_WIRE_E_SHORT if there are fewer than 28 bytes. Does not check version or length.
 */
int ike_header_decode(const void *data, size_t len, struct ike_header *out)
	__attribute__((warn_unused_result));

/*
 * Decodes header and outer payloads of a datagram (marker already cut off). If it holds SK or
 * SKF, out->sk is set and that payload ends the chain (RFC 7296 3.14); the inner payloads come
 * from ike_message_decode_inner after ike_sk_open.
 * 0, -IKE_WIRE_E_SHORT (also: header's length is not len), _VERSION, _SYNTAX, _LIMIT,
 * _CRITICAL (decoded to the end, `unsupported` is set). The header is filled in all cases but
 * fewer than 28 bytes.
 */
int ike_message_decode(const void *data, size_t len, struct ike_message *out)
	__attribute__((warn_unused_result));

/*
 * Appends the payloads inside SK: `plain` begins with one of type `first_payload`, and is kept
 * as long as the message is used. SK within SK is a syntax error. Codes as above.
 */
int ike_message_decode_inner(struct ike_message *m, uint8_t first_payload, const void *plain,
	size_t len) __attribute__((warn_unused_result));

/* The payload of this type after `prev` (NULL: the first), or NULL. */
const struct ike_payload *ike_message_next(
	const struct ike_message *m, const struct ike_payload *prev, uint8_t type);
/* The first notify of this type, or NULL, wherever it stands. */
const struct ike_notify *ike_message_notify(const struct ike_message *m, uint16_t type);
/* The first notify with an error type (up to 16383), or NULL. */
const struct ike_notify *ike_message_error(const struct ike_message *m);
/* The raw keys that CERTREQ payloads ask for (RFC 7296 3.7): a set of IKE_WANTS_*. */
enum { IKE_WANTS_RSA_KEY = 1, IKE_WANTS_RAW_KEY = 2, IKE_WANTS_OPENIKED_ECDSA = 4 };
uint8_t ike_message_wanted_keys(const struct ike_message *m);

static inline bool ike_header_is_response(const struct ike_header *h)
{
	return h->flags & IKE_FLAG_RESPONSE;
}

/* Sent by the original initiator of the IKE SA (RFC 7296 3.1, flag I). */
static inline bool ike_header_from_initiator(const struct ike_header *h)
{
	return h->flags & IKE_FLAG_INITIATOR;
}

#define IKE_MESSAGE_STRLEN 512
/* "IKE_AUTH request 1 [ IDi AUTH SA TSi TSr N(MOBIKE_SUPPORTED) ]", for logs. */
const char *ike_message_str(const struct ike_message *m, char buf[IKE_MESSAGE_STRLEN]);

/*
 * Writing. A builder makes a whole clear message (IKE_SA_INIT), or a chain without a header that
 * ike_seal then protects. Errors are kept in the writer: build all, then ask once with
 * ike_builder_finish.
 */
struct ike_builder {
	struct writer w;
	size_t next_at;        /* offset of the last written "next payload" field, or SIZE_MAX */
	uint8_t first_payload; /* type of the first payload, 0 if there is none */
	bool has_header;
};

/* The header's next_payload and length are filled in later. */
void ike_builder_init(struct ike_builder *b, void *buf, size_t cap, const struct ike_header *hdr);
/* A chain of payloads for the inside of SK. */
void ike_builder_init_inner(struct ike_builder *b, void *buf, size_t cap);
/* 0 or -IKE_WIRE_E_SPACE. *len: bytes of the message or of the chain. */
int ike_builder_finish(struct ike_builder *b, size_t *len) __attribute__((warn_unused_result));

void ike_put_sa(struct ike_builder *b, const struct ike_offer *offer);
void ike_put_ke(struct ike_builder *b, uint16_t group, const void *value, size_t len);
/* type is IKE_PAYLOAD_IDI or _IDR. */
void ike_put_id(struct ike_builder *b, uint8_t type, const struct ike_id *id);
/* The body of that payload (type, reserved, data) for AUTH; returns its length, 0 if cap is
 * too small. */
size_t ike_id_body(const struct ike_id *id, uint8_t *out, size_t cap);
/* type is IKE_PAYLOAD_CERT or _CERTREQ. */
void ike_put_cert(
	struct ike_builder *b, uint8_t type, uint8_t encoding, const void *data, size_t len);
void ike_put_auth(struct ike_builder *b, uint8_t method, const void *data, size_t len);
void ike_put_nonce(struct ike_builder *b, const void *nonce, size_t len);
/* A notify about the IKE SA or the message: no protocol, no SPI. */
void ike_put_notify(struct ike_builder *b, uint16_t type, const void *data, size_t len);
/* A notify about a child SA (REKEY_SA, CHILD_SA_NOT_FOUND, ...). */
void ike_put_notify_spi(struct ike_builder *b, uint16_t type, uint8_t protocol, uint32_t spi,
	const void *data, size_t len);
void ike_put_notify_u16(struct ike_builder *b, uint16_t type, uint16_t value);
/* RFC 7427 4: SIGNATURE_HASH_ALGORITHMS, hashes in order of preference. */
void ike_put_notify_hashes(struct ike_builder *b, const uint16_t *hashes, size_t n);
void ike_put_delete_ike(struct ike_builder *b);
void ike_put_delete_esp(struct ike_builder *b, const uint32_t *spis, size_t n);
void ike_put_vendor(struct ike_builder *b, const void *data, size_t len);
/* type is IKE_PAYLOAD_TSI or _TSR. */
void ike_put_ts(struct ike_builder *b, uint8_t type, const struct ike_ts_list *list);
void ike_put_cp(struct ike_builder *b, uint8_t cfg_type, const struct ike_cp_attr *attrs, size_t n);
void ike_put_eap(struct ike_builder *b, const void *packet, size_t len);
/* Any body under any type; what the functions above are made of. */
void ike_put_raw(struct ike_builder *b, uint8_t type, const void *body, size_t len);
