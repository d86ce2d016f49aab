#include "controlplane/ike/payload_decode.h"
#include "controlplane/ike/wire_error.h"

int ike_payload_ke_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);

	out->ke.group = read_u16(&r);
	read_u16(&r);
	out->ke.value = read_bytes(&r, reader_left(&r));
	return r.failed || out->ke.value.len == 0 ? -IKE_WIRE_E_SYNTAX : 0;
}

/* RFC 7296 3.9: between 16 and 256 bytes. */
int ike_payload_nonce_decode(struct bytes body, struct ike_payload *out)
{
	out->nonce = body;
	return body.len < IKE_NONCE_MIN || body.len > IKE_NONCE_MAX ? -IKE_WIRE_E_SYNTAX : 0;
}
