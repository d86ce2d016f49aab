#include "controlplane/ike/payload_decode.h"
#include "controlplane/ike/wire_error.h"

int ike_payload_sk_decode(struct bytes body, struct ike_payload *out)
{
	out->sk = (struct ike_sk){.body = body};
	return 0;
}

/* RFC 7383 2.5: Fragment Number from 1 to Total Fragments. */
int ike_payload_skf_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);

	out->sk = (struct ike_sk){.fragment = read_u16(&r)};
	out->sk.n_fragments = read_u16(&r);
	out->sk.body = read_bytes(&r, reader_left(&r));
	if (r.failed || out->sk.fragment == 0 || out->sk.fragment > out->sk.n_fragments)
		return -IKE_WIRE_E_SYNTAX;
	return 0;
}
