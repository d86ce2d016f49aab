#include "controlplane/ike/payload_decode.h"

#include <stddef.h>

#include "controlplane/ike/wire_error.h"

static int body_keep(struct bytes body, struct ike_payload *out)
{
	(void)body;
	(void)out;
	return 0;
}

static const struct decoder {
	uint8_t type;
	int (*decode)(struct bytes body, struct ike_payload *out);
} decoders[] = {
	{IKE_PAYLOAD_SA, body_keep},
	{IKE_PAYLOAD_KE, ike_payload_ke_decode},
	{IKE_PAYLOAD_IDI, ike_payload_id_decode},
	{IKE_PAYLOAD_IDR, ike_payload_id_decode},
	{IKE_PAYLOAD_CERT, ike_payload_cert_decode},
	{IKE_PAYLOAD_CERTREQ, ike_payload_cert_decode},
	{IKE_PAYLOAD_AUTH, ike_payload_auth_decode},
	{IKE_PAYLOAD_NONCE, ike_payload_nonce_decode},
	{IKE_PAYLOAD_NOTIFY, ike_payload_notify_decode},
	{IKE_PAYLOAD_DELETE, ike_payload_delete_decode},
	{IKE_PAYLOAD_VENDOR, ike_payload_vendor_decode},
	{IKE_PAYLOAD_TSI, body_keep},
	{IKE_PAYLOAD_TSR, body_keep},
	{IKE_PAYLOAD_SK, ike_payload_sk_decode},
	{IKE_PAYLOAD_CP, ike_payload_cp_decode},
	{IKE_PAYLOAD_EAP, ike_payload_eap_decode},
	{IKE_PAYLOAD_SKF, ike_payload_skf_decode},
};

static const struct decoder *decoder_find(uint8_t type)
{
	for (size_t i = 0; i < sizeof(decoders) / sizeof(decoders[0]); i++)
		if (decoders[i].type == type)
			return &decoders[i];
	return NULL;
}

bool ike_payload_is_known(uint8_t type)
{
	return decoder_find(type) != NULL;
}

int ike_payload_decode(uint8_t type, struct bytes body, struct ike_payload *out)
{
	const struct decoder *d = decoder_find(type);

	out->type = type;
	out->body = body;
	return d ? d->decode(body, out) : -IKE_WIRE_E_SYNTAX;
}
