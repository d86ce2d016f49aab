#include "controlplane/ike/wire_error.h"

#include <stddef.h>

static const char *const texts[] = {
	[IKE_WIRE_OK] = "no error",
	[IKE_WIRE_E_SHORT] = "message too short or its length field differs",
	[IKE_WIRE_E_VERSION] = "major version is not 2",
	[IKE_WIRE_E_SYNTAX] = "malformed payload",
	[IKE_WIRE_E_CRITICAL] = "unknown payload with the critical bit",
	[IKE_WIRE_E_LIMIT] = "more payloads or bytes than are accepted",
	[IKE_WIRE_E_RULES] = "payload missing, repeated or out of place",
	[IKE_WIRE_E_ICV] = "integrity check failed",
	[IKE_WIRE_E_PADDING] = "impossible padding",
	[IKE_WIRE_E_KE] = "public value refused",
	[IKE_WIRE_E_PROPOSAL] = "no proposal acceptable",
	[IKE_WIRE_E_AUTH] = "AUTH does not verify",
	[IKE_WIRE_E_AUTH_ALG] = "authentication method, hash or key not allowed",
	[IKE_WIRE_E_KEY] = "public key cannot be read",
	[IKE_WIRE_E_FRAGMENT] = "fragment contradicts the others",
	[IKE_WIRE_E_SPACE] = "buffer too small",
	[IKE_WIRE_E_CRYPTO] = "cryptographic operation failed",
	[IKE_WIRE_E_MEMORY] = "out of memory",
	[IKE_WIRE_E_UNSUPPORTED] = "algorithm not supported",
};

const char *ike_wire_error_str(int code)
{
	size_t i = (size_t)(code < 0 ? -(long)code : code);

	if (i >= sizeof(texts) / sizeof(texts[0]))
		return "unknown error";
	return texts[i];
}
