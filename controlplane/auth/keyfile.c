#include "controlplane/auth/keyfile.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "shared/wipe.h"

#define RSA_BITS_MIN 1024

/* A key that asks for a passphrase is not one that a daemon can use. */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)u;
	return -1;
}

static EVP_PKEY *key_if_usable(EVP_PKEY *key)
{
	if (key && EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
		return key;
	if (key && EVP_PKEY_is_a(key, "EC"))
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

EVP_PKEY *keyfile_private_parse(const void *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return key_if_usable(key);
}

EVP_PKEY *keyfile_public_parse(const void *pem, size_t len)
{
	EVP_PKEY *key = NULL;
	const unsigned char *data = pem;
	size_t left = len;
	/* No structure named: SubjectPublicKeyInfo and RSA's own form are both taken. */
	OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(
		&key, "PEM", NULL, NULL, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, NULL, NULL);

	if (ctx && !OSSL_DECODER_from_data(ctx, &data, &left)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	OSSL_DECODER_CTX_free(ctx);
	ERR_clear_error();
	return key_if_usable(key);
}

size_t keyfile_spki_write(const EVP_PKEY *key, uint8_t *out, size_t cap)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY((EVP_PKEY *)(uintptr_t)key, &der);

	if (len <= 0 || (size_t)len > cap) {
		OPENSSL_free(der);
		return 0;
	}
	memcpy(out, der, (size_t)len);
	OPENSSL_free(der);
	return (size_t)len;
}

static size_t bio_take(BIO *bio, char *out, size_t cap)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	size_t written = 0;

	if (len > 0 && (size_t)len <= cap) {
		memcpy(out, data, (size_t)len);
		written = (size_t)len;
	}
	if (len > 0)
		wipe(data, (size_t)len);
	return written;
}

size_t keyfile_private_write(const EVP_PKEY *key, char *out, size_t cap)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	size_t len = 0;

	/* PKCS#8, no encryption: what `openssl pkey` writes, read by all. */
	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		len = bio_take(bio, out, cap);
	BIO_free(bio);
	return len;
}

size_t keyfile_public_write(const EVP_PKEY *key, char *out, size_t cap)
{
	BIO *bio = BIO_new(BIO_s_mem());
	size_t len = 0;

	if (bio && PEM_write_bio_PUBKEY(bio, (EVP_PKEY *)(uintptr_t)key))
		len = bio_take(bio, out, cap);
	BIO_free(bio);
	return len;
}
