#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/ike/payload_sa.h"
#include "controlplane/ike/payload_ts.h"
#include "shared/bytes.h"
#include "shared/ids.h"
#include "shared/wire/ike.h"

/*
 * The payloads as structs. Every `struct bytes` is a view of the datagram (or of the decrypted
 * text) that was decoded: it lives as long as that buffer.
 */

struct ike_ke { /* RFC 7296 3.4 */
	uint16_t group;
	struct bytes value;
};

struct ike_id_payload { /* RFC 7296 3.5 */
	uint8_t type;   /* enum ike_id_type, or one that we don't know */
	struct bytes data;
	struct bytes body; /* the payload without its header, reserved bytes as received: what
			    * AUTH covers (RFC 7296 2.15, RestOfIDPayload) */
};

struct ike_cert { /* RFC 7296 3.6, 3.7: CERT and CERTREQ */
	uint8_t encoding;
	struct bytes data; /* CERTREQ: 20-byte hashes of SubjectPublicKeyInfo, one after another */
};

struct ike_auth { /* RFC 7296 3.8 */
	uint8_t method;
	struct bytes data;
};

struct ike_notify { /* RFC 7296 3.10 */
	uint16_t type;
	uint8_t protocol;
	struct bytes spi;
	struct bytes data;
};

struct ike_delete { /* RFC 7296 3.11 */
	uint8_t protocol;
	uint8_t spi_len; /* 0 (IKE) or 4; checked */
	uint16_t n_spis; /* fits spis */
	struct bytes spis;
};

struct ike_sk {                         /* RFC 7296 3.14, RFC 7383 2.5 */
	uint8_t first_payload;          /* type of the first payload inside */
	uint16_t fragment, n_fragments; /* SKF: from 1; SK: both 0 */
	struct bytes body;              /* IV, ciphertext, ICV: up to the end of the message */
};

struct ike_cp { /* RFC 7296 3.15 */
	uint8_t cfg_type;
	struct bytes attrs; /* well formed: ike_cp_next walks them */
};

struct ike_cp_attr {
	uint16_t type;
	struct bytes value;
};

struct ike_eap { /* RFC 7296 3.16, RFC 3748 4 */
	uint8_t code, identifier;
	uint8_t type;        /* first byte of the data; 0 in Success and Failure */
	struct bytes packet; /* the whole EAP packet; its length field equals packet.len */
};

struct ike_payload {
	uint8_t type;      /* enum ike_payload_type; unknown ones are not kept */
	bool is_critical;  /* as received; of no meaning for the types known here */
	bool is_encrypted; /* came out of SK */
	struct bytes body; /* without the generic header */
	union {
		struct ike_ke ke;
		struct ike_id_payload id;
		struct ike_cert cert;
		struct ike_auth auth;
		struct bytes nonce;
		struct ike_notify notify;
		struct ike_delete del;
		struct bytes vendor;
		struct ike_sk sk;
		struct ike_cp cp;
		struct ike_eap eap;
	};
};

/* Copies an identity; -IKE_WIRE_E_SYNTAX if it is too long for struct ike_id or of no length. */
int ike_id_from_payload(const struct ike_id_payload *p, struct ike_id *out)
	__attribute__((warn_unused_result));
/* SPI number `i` (< n_spis) of a Delete of ESP or AH, in host order. */
uint32_t ike_delete_spi(const struct ike_delete *d, uint16_t i);
/* SPI of a notify in host order, 0 if it has none of 4 bytes. */
uint32_t ike_notify_spi(const struct ike_notify *n);
/* The next attribute of cp->attrs; begin with reader_init(cp->attrs.data, cp->attrs.len). */
bool ike_cp_next(struct reader *at, struct ike_cp_attr *out);
