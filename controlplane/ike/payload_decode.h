#pragma once

#include <stdbool.h>

#include "controlplane/ike/payload.h"

/*
 * One decoder a payload type, used by message.c through the table in payload.c. Each gets the
 * body without generic header and fills its member of the union: 0 or -IKE_WIRE_E_SYNTAX.
 */
int ike_payload_ke_decode(struct bytes body, struct ike_payload *out);
int ike_payload_nonce_decode(struct bytes body, struct ike_payload *out);
int ike_payload_id_decode(struct bytes body, struct ike_payload *out);
int ike_payload_cert_decode(struct bytes body, struct ike_payload *out);
int ike_payload_auth_decode(struct bytes body, struct ike_payload *out);
int ike_payload_eap_decode(struct bytes body, struct ike_payload *out);
int ike_payload_notify_decode(struct bytes body, struct ike_payload *out);
int ike_payload_delete_decode(struct bytes body, struct ike_payload *out);
int ike_payload_vendor_decode(struct bytes body, struct ike_payload *out);
int ike_payload_cp_decode(struct bytes body, struct ike_payload *out);
/* RFC 7296 3.14: an opaque body. first_payload is set by the caller. */
int ike_payload_sk_decode(struct bytes body, struct ike_payload *out);
int ike_payload_skf_decode(struct bytes body, struct ike_payload *out);

bool ike_payload_is_known(uint8_t type);
/* SA, TSi and TSr only keep their body here; message.c decodes them into its lists. */
int ike_payload_decode(uint8_t type, struct bytes body, struct ike_payload *out);
