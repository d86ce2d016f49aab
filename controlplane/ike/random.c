#include "controlplane/ike/random.h"

#include <limits.h>

#include <openssl/rand.h>

#include "controlplane/ike/wire_error.h"

int ike_random_bytes(const struct ike_random *rng, uint8_t *out, size_t len)
{
	if (rng && rng->fn)
		return rng->fn(rng->ctx, out, len) == 0 ? 0 : -IKE_WIRE_E_CRYPTO;
	if (len > INT_MAX || RAND_priv_bytes(out, (int)len) != 1)
		return -IKE_WIRE_E_CRYPTO;
	return 0;
}
