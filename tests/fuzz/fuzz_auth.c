#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/alg_id.h"

/*
 * What an unauthenticated peer sends as AlgorithmIdentifier and as raw public key. An identifier
 * that is read is one that we can write.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct bytes in = {data, size};
	struct alg_id alg;
	uint8_t out[ALG_ID_MAX];

	if (alg_id_parse(in, &alg) == 0 && alg.salt_len <= 127 &&
		alg_id_write(&alg, out, sizeof(out)) == 0)
		abort();
	EVP_PKEY_free(auth_pubkey_from_cert(IKE_CERT_RSA_KEY, in));
	EVP_PKEY_free(auth_pubkey_from_cert(IKE_CERT_RAW_PUBLIC_KEY, in));
	return 0;
}
