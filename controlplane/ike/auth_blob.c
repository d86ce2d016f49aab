#include "controlplane/ike/auth_blob.h"

#include <string.h>

#include "controlplane/ike/wire_error.h"
#include "shared/wipe.h"

size_t ike_auth_octets_len(const struct ike_auth_input *in)
{
	return in->real_message.len + in->nonce.len + in->prf->out_len;
}

static int maced_id(const struct ike_auth_input *in, uint8_t out[IKE_PRF_MAX_LEN])
{
	return ike_prf(in->prf, in->sk_p, &in->id_body, 1, out);
}

int ike_auth_octets(const struct ike_auth_input *in, uint8_t *out, size_t cap, size_t *out_len)
{
	struct writer w = writer_init(out, cap);
	uint8_t mac[IKE_PRF_MAX_LEN];
	int rc = maced_id(in, mac);

	if (rc < 0)
		return rc;
	write_bytes(&w, in->real_message.data, in->real_message.len);
	write_bytes(&w, in->nonce.data, in->nonce.len);
	write_bytes(&w, mac, in->prf->out_len);
	*out_len = w.len;
	return w.failed ? -IKE_WIRE_E_SPACE : 0;
}

/* RFC 7296 2.15: AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <octets> ). */
int ike_auth_psk_pad(const struct transform *prf, struct bytes psk, uint8_t *out)
{
	static const char text[] = "Key Pad for IKEv2";
	const struct bytes pad = {(const uint8_t *)text, sizeof(text) - 1};

	return ike_prf(prf, psk, &pad, 1, out);
}

int ike_auth_psk(const struct ike_auth_input *in, struct bytes pad, uint8_t *out)
{
	uint8_t mac[IKE_PRF_MAX_LEN];
	int rc = maced_id(in, mac);

	if (rc == 0) {
		const struct bytes parts[] = {in->real_message, in->nonce, {mac, in->prf->out_len}};

		rc = ike_prf(in->prf, pad, parts, 3, out);
	}
	return rc;
}

int ike_auth_psk_verify(const struct ike_auth_input *in, struct bytes pad, struct bytes auth)
{
	uint8_t expected[IKE_PRF_MAX_LEN];
	int rc = ike_auth_psk(in, pad, expected);

	if (rc == 0 && (auth.len != in->prf->out_len || !ct_equal(expected, auth.data, auth.len)))
		rc = -IKE_WIRE_E_AUTH;
	wipe(expected, sizeof(expected));
	return rc;
}
