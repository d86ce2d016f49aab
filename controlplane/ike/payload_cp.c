#include "controlplane/ike/payload_decode.h"
#include "controlplane/ike/wire_error.h"

/* RFC 7296 3.15.1: the top bit of an attribute's type is reserved and ignored. */
bool ike_cp_next(struct reader *at, struct ike_cp_attr *out)
{
	uint16_t len;

	if (reader_left(at) == 0)
		return false;
	out->type = read_u16(at) & 0x7fff;
	len = read_u16(at);
	out->value = read_bytes(at, len);
	return !at->failed;
}

int ike_payload_cp_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len), attrs;
	struct ike_cp_attr attr;

	out->cp.cfg_type = read_u8(&r);
	read_bytes(&r, 3);
	out->cp.attrs = read_bytes(&r, reader_left(&r));
	if (r.failed)
		return -IKE_WIRE_E_SYNTAX;
	attrs = reader_init(out->cp.attrs.data, out->cp.attrs.len);
	while (ike_cp_next(&attrs, &attr))
		continue;
	return attrs.failed ? -IKE_WIRE_E_SYNTAX : 0;
}
