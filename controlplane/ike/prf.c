#include "controlplane/ike/prf.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "controlplane/ike/wire_error.h"
#include "shared/addr.h"
#include "shared/wipe.h"

/* An HMAC keyed once; NULL on failure. */
static EVP_MAC_CTX *hmac_begin(const char *digest, struct bytes key)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(
			OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest, 0),
		OSSL_PARAM_construct_end(),
	};
	static const uint8_t empty[1];
	EVP_MAC *mac;
	EVP_MAC_CTX *ctx;

	if (!digest)
		return NULL;
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	EVP_MAC_free(mac);
	/* A key of no length still has to be set, hence not NULL. */
	if (ctx && EVP_MAC_init(ctx, key.data ? key.data : empty, key.len, params) != 1) {
		EVP_MAC_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static bool hmac_update(EVP_MAC_CTX *ctx, const struct bytes *parts, size_t n_parts)
{
	for (size_t i = 0; i < n_parts; i++)
		if (parts[i].len > 0 && EVP_MAC_update(ctx, parts[i].data, parts[i].len) != 1)
			return false;
	return true;
}

int ike_hmac(const char *digest, struct bytes key, const struct bytes *parts, size_t n_parts,
	uint8_t out[IKE_PRF_MAX_LEN], size_t *out_len)
{
	EVP_MAC_CTX *ctx = hmac_begin(digest, key);
	bool ok = ctx && hmac_update(ctx, parts, n_parts) &&
		  EVP_MAC_final(ctx, out, out_len, IKE_PRF_MAX_LEN) == 1;

	EVP_MAC_CTX_free(ctx);
	return ok ? 0 : -IKE_WIRE_E_CRYPTO;
}

int ike_prf(const struct transform *t, struct bytes key, const struct bytes *parts, size_t n_parts,
	uint8_t *out)
{
	uint8_t mac[IKE_PRF_MAX_LEN];
	size_t len = 0;
	int rc = ike_hmac(t->openssl_name, key, parts, n_parts, mac, &len);

	if (rc == 0 && len != t->out_len)
		rc = -IKE_WIRE_E_CRYPTO;
	if (rc == 0)
		memcpy(out, mac, len);
	wipe(mac, sizeof(mac));
	return rc;
}

/* RFC 7296 2.13: T1 = prf(K, S | 1), Tn = prf(K, Tn-1 | S | n). */
int ike_prf_plus(const struct transform *t, struct bytes key, const struct bytes *seed,
	size_t n_seed, uint8_t *out, size_t out_len)
{
	EVP_MAC_CTX *keyed;
	uint8_t block[IKE_PRF_MAX_LEN];
	struct bytes previous = {block, 0};
	size_t done = 0;
	int rc = 0;

	if (t->out_len == 0 || out_len > (size_t)255 * t->out_len)
		return -IKE_WIRE_E_LIMIT;
	keyed = hmac_begin(t->openssl_name, key);
	if (!keyed)
		return -IKE_WIRE_E_CRYPTO;
	for (uint8_t n = 1; done < out_len; n++) {
		EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(keyed);
		const struct bytes counter = {&n, 1};
		size_t len = 0, take;
		bool ok = ctx && hmac_update(ctx, &previous, 1) && hmac_update(ctx, seed, n_seed) &&
			  hmac_update(ctx, &counter, 1) &&
			  EVP_MAC_final(ctx, block, &len, sizeof(block)) == 1;

		EVP_MAC_CTX_free(ctx);
		if (!ok || len != t->out_len) {
			rc = -IKE_WIRE_E_CRYPTO;
			break;
		}
		previous.len = len;
		take = out_len - done < len ? out_len - done : len;
		memcpy(out + done, block, take);
		done += take;
	}
	EVP_MAC_CTX_free(keyed);
	wipe(block, sizeof(block));
	return rc;
}

int ike_nat_hash(uint64_t spi_i, uint64_t spi_r, const struct endpoint *at, uint8_t out[20])
{
	uint8_t buf[40];
	struct writer w = writer_init(buf, sizeof(buf));

	write_u64(&w, spi_i);
	write_u64(&w, spi_r);
	write_bytes(&w, at->addr.b, addr_len(at->addr.family));
	write_u16(&w, at->port);
	return EVP_Digest(buf, w.len, out, NULL, EVP_sha1(), NULL) == 1 ? 0 : -IKE_WIRE_E_CRYPTO;
}
