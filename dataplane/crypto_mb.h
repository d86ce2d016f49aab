#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/suite.h"

/*
 * The narrow door to intel-ipsec-mb: a burst of operations over any mix of SAs goes in and is
 * complete on return, nothing stays in the manager. (A cryptodev could stand behind the same
 * two functions.) Operations are sorted by suite, so that the multi-buffer code has full lanes.
 */
struct crypto_mb;

enum crypto_arch { CRYPTO_ARCH_AUTO = 0, CRYPTO_ARCH_SSE, CRYPTO_ARCH_AVX2, CRYPTO_ARCH_AVX512 };

/* One packet. The text is ciphered in place. */
struct crypto_op {
	const struct suite *suite;
	const struct sa_keys *keys;
	uint8_t *esp;      /* ESP header: first byte that the ICV covers */
	uint8_t *text;     /* first byte of the cipher text, after the IV */
	uint32_t text_len; /* payload, padding, trailer; a multiple of suite->align */
	uint32_t seq_hi;   /* ESN: high half, host order */
	bool has_esn;
	bool is_ok; /* decrypt: the ICV was right, and the text is clear now */
};

/*
 * One a worker (or thread). arch AUTO takes the best of the CPU; another one that the CPU
 * does not have fails. NULL and a text in *error on failure. Takes
 * its seed for IVs from the system.
 */
struct crypto_mb *crypto_mb_create(enum crypto_arch arch, const char **error);
void crypto_mb_destroy(struct crypto_mb *c);
/* "sse", "avx2", "avx512", "auto"; -1 for another word. */
int crypto_arch_parse(const char *name, enum crypto_arch *out) __attribute__((warn_unused_result));
IMB_MGR *crypto_mb_manager(struct crypto_mb *c);

/*
 * Encrypts the texts and writes the ICVs behind them. ESP header and IV are in place. At most
 * CRYPTO_BURST_MAX operations.
 */
#define CRYPTO_BURST_MAX 64
void crypto_mb_encrypt(struct crypto_mb *c, struct crypto_op *ops, unsigned int n);
/*
 * Verifies the ICVs (in constant time) and decrypts what was right; sets is_ok. The bytes of a
 * packet that was not right are undefined afterwards.
 */
void crypto_mb_decrypt(struct crypto_mb *c, struct crypto_op *ops, unsigned int n);
/* Unpredictable bytes for CBC IVs, from the worker's own generator; len at most 16. */
void crypto_mb_iv(struct crypto_mb *c, uint8_t *out, size_t len);
