#pragma once

#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

/*
 * Keys in PEM. Private: RSA or ECDSA as PKCS#1, SEC1 or unencrypted PKCS#8. Public:
 * SubjectPublicKeyInfo, or PKCS#1 for RSA. Other kinds, and RSA keys below 1024 bits, are refused.
 * Results are freed with EVP_PKEY_free; NULL if it is not such a key.
 */
EVP_PKEY *keyfile_private_parse(const void *pem, size_t len);
EVP_PKEY *keyfile_public_parse(const void *pem, size_t len);

/* DER SubjectPublicKeyInfo; bytes written, or 0. */
size_t keyfile_spki_write(const EVP_PKEY *key, uint8_t *out, size_t cap);

/* PEM of either half; bytes written, or 0. */
size_t keyfile_private_write(const EVP_PKEY *key, char *out, size_t cap);
size_t keyfile_public_write(const EVP_PKEY *key, char *out, size_t cap);
