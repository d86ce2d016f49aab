#include <string.h>

#include "controlplane/ike/payload_decode.h"
#include "controlplane/ike/wire_error.h"

int ike_payload_id_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);

	out->id.body = body;
	out->id.type = read_u8(&r);
	read_bytes(&r, 3);
	out->id.data = read_bytes(&r, reader_left(&r));
	return r.failed ? -IKE_WIRE_E_SYNTAX : 0;
}

int ike_payload_cert_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);

	out->cert.encoding = read_u8(&r);
	out->cert.data = read_bytes(&r, reader_left(&r));
	return r.failed ? -IKE_WIRE_E_SYNTAX : 0;
}

int ike_payload_auth_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);

	out->auth.method = read_u8(&r);
	read_bytes(&r, 3);
	out->auth.data = read_bytes(&r, reader_left(&r));
	return r.failed ? -IKE_WIRE_E_SYNTAX : 0;
}

/* RFC 7296 3.16, RFC 3748 4: the packet's own length must be what the payload holds. */
int ike_payload_eap_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);
	uint16_t len;

	out->eap.code = read_u8(&r);
	out->eap.identifier = read_u8(&r);
	len = read_u16(&r);
	if (r.failed || len != body.len)
		return -IKE_WIRE_E_SYNTAX;
	out->eap.type = reader_left(&r) > 0 ? read_u8(&r) : 0;
	out->eap.packet = body;
	return 0;
}

int ike_id_from_payload(const struct ike_id_payload *p, struct ike_id *out)
{
	memset(out, 0, sizeof(*out));
	if (p->data.len == 0 || p->data.len > IKE_ID_MAXLEN)
		return -IKE_WIRE_E_SYNTAX;
	/* RFC 7296 3.5: addresses have exactly their length. */
	if ((p->type == IKE_ID_IPV4 && p->data.len != 4) ||
		(p->type == IKE_ID_IPV6 && p->data.len != 16))
		return -IKE_WIRE_E_SYNTAX;
	out->type = p->type;
	out->len = (uint16_t)p->data.len;
	memcpy(out->data, p->data.data, p->data.len);
	return 0;
}
