#include "controlplane/ike/cookie.h"

#include <string.h>

#include "controlplane/ike/prf.h"
#include "controlplane/ike/wire_error.h"
#include "shared/wipe.h"

void ike_cookie_rotate(struct ike_cookie_keys *k, const uint8_t fresh[32])
{
	memcpy(k->previous, k->current, sizeof(k->previous));
	memcpy(k->current, fresh, sizeof(k->current));
	k->has_previous = true;
	k->version++;
}

/* RFC 7296 2.6: <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>), here as an HMAC. The
 * fields of varying length come last. */
static int cookie_make(uint8_t version, const uint8_t key[32], struct bytes nonce,
	const struct ip_addr *peer, uint64_t spi_i, uint8_t out[IKE_COOKIE_LEN])
{
	uint8_t fixed[32], mac[IKE_PRF_MAX_LEN];
	struct writer w = writer_init(fixed, sizeof(fixed));
	struct bytes parts[2];
	size_t len;
	int rc;

	write_u8(&w, peer->family);
	write_bytes(&w, peer->b, sizeof(peer->b));
	write_u64(&w, spi_i);
	parts[0] = (struct bytes){fixed, w.len};
	parts[1] = nonce;
	rc = ike_hmac("SHA256", (struct bytes){key, 32}, parts, 2, mac, &len);
	if (rc < 0)
		return rc;
	out[0] = version;
	memcpy(out + 1, mac, IKE_COOKIE_LEN - 1);
	return 0;
}

int ike_cookie_make(const struct ike_cookie_keys *k, struct bytes nonce, const struct ip_addr *peer,
	uint64_t spi_i, uint8_t out[IKE_COOKIE_LEN])
{
	return cookie_make(k->version, k->current, nonce, peer, spi_i, out);
}

bool ike_cookie_check(const struct ike_cookie_keys *k, struct bytes cookie, struct bytes nonce,
	const struct ip_addr *peer, uint64_t spi_i)
{
	uint8_t expected[IKE_COOKIE_LEN];
	const uint8_t *key = k->current;

	if (cookie.len != IKE_COOKIE_LEN)
		return false;
	if (cookie.data[0] != k->version) {
		if (!k->has_previous || cookie.data[0] != (uint8_t)(k->version - 1))
			return false;
		key = k->previous;
	}
	if (cookie_make(cookie.data[0], key, nonce, peer, spi_i, expected) < 0)
		return false;
	return ct_equal(expected, cookie.data, IKE_COOKIE_LEN);
}
