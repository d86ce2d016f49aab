#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"
#include "shared/bytes.h"

/*
 * RFC 7296 2.6: stateless cookies, bound to the initiator's nonce, address and SPI. The keys
 * are handed in (all engines share them); the previous one stays valid until the next rotation.
 */
#define IKE_COOKIE_LEN 33 /* key version, HMAC-SHA-256 */

struct ike_cookie_keys {
	uint8_t version; /* of `current`; the previous one's is one less, modulo 256 */
	bool has_previous;
	uint8_t current[32], previous[32];
};

void ike_cookie_rotate(struct ike_cookie_keys *k, const uint8_t fresh[32]);
/* 0 or -IKE_WIRE_E_CRYPTO. */
int ike_cookie_make(const struct ike_cookie_keys *k, struct bytes nonce, const struct ip_addr *peer,
	uint64_t spi_i, uint8_t out[IKE_COOKIE_LEN]) __attribute__((warn_unused_result));
bool ike_cookie_check(const struct ike_cookie_keys *k, struct bytes cookie, struct bytes nonce,
	const struct ip_addr *peer, uint64_t spi_i) __attribute__((warn_unused_result));
