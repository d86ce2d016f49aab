#pragma once

#include <stddef.h>
#include <stdint.h>

/* Where unpredictable bytes come from; 0 or -1. A NULL struct means OpenSSL's RNG. */
struct ike_random {
	int (*fn)(void *ctx, uint8_t *out, size_t len);
	void *ctx; /* not owned */
};

/* 0 or -IKE_WIRE_E_CRYPTO. */
int ike_random_bytes(const struct ike_random *rng, uint8_t *out, size_t len)
	__attribute__((warn_unused_result));
