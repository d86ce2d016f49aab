#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/addr.h"
#include "shared/bytes.h"
#include "shared/transform.h"

#define IKE_PRF_MAX_LEN 64

/* HMAC with a digest by its OpenSSL name, not truncated. 0 or -IKE_WIRE_E_CRYPTO. */
int ike_hmac(const char *digest, struct bytes key, const struct bytes *parts, size_t n_parts,
	uint8_t out[IKE_PRF_MAX_LEN], size_t *out_len) __attribute__((warn_unused_result));

/* prf(key, parts joined); out has t->out_len bytes. 0 or -IKE_WIRE_E_CRYPTO. */
int ike_prf(const struct transform *t, struct bytes key, const struct bytes *parts, size_t n_parts,
	uint8_t *out) __attribute__((warn_unused_result));

/*
 * RFC 7296 2.13: prf+(key, seed) to out_len bytes, at most 255 blocks.
 * 0, -IKE_WIRE_E_CRYPTO or _LIMIT.
 */
int ike_prf_plus(const struct transform *t, struct bytes key, const struct bytes *seed,
	size_t n_seed, uint8_t *out, size_t out_len) __attribute__((warn_unused_result));

/* RFC 7296 2.23: SHA-1(SPIi | SPIr | address | port), for NAT_DETECTION_*_IP. */
int ike_nat_hash(uint64_t spi_i, uint64_t spi_r, const struct endpoint *at, uint8_t out[20])
	__attribute__((warn_unused_result));
