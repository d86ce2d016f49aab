#include "shared/transform.h"

#include <string.h>
#include <strings.h>

#define IKE TRANSFORM_F_IKE
#define ESP TRANSFORM_F_ESP
#define AEAD (TRANSFORM_F_AEAD | TRANSFORM_F_COUNTER)
#define CTR TRANSFORM_F_COUNTER
#define WEAK TRANSFORM_F_WEAK
#define KNOWN TRANSFORM_F_KNOWN_ONLY
#define ATTR TRANSFORM_F_KEYLEN_ATTR

/* id, key, salt, iv, icv, block, flags, names... */
#define ENCR(id_, key, salt, iv, icv, block, fl, n, al, ctl, iana, ossl, rfc_)             \
	{                                                                                  \
		.type = TRANSFORM_ENCR, .id = (id_), .key_len = (key), .salt_len = (salt), \
		.iv_len = (iv), .icv_len = (icv), .block_len = (block), .flags = (fl),     \
		.name = (n), .alias = (al), .ipsecctl_name = (ctl), .iana_name = (iana),   \
		.openssl_name = (ossl), .rfc = (rfc_)                                      \
	}
#define PRF(id_, len, fl, n, iana, ossl, rfc_)                                          \
	{                                                                               \
		.type = TRANSFORM_PRF, .id = (id_), .key_len = (len), .out_len = (len), \
		.block_len = 1, .flags = IKE | (fl), .name = (n), .ipsecctl_name = (n), \
		.iana_name = (iana), .openssl_name = (ossl), .rfc = (rfc_)              \
	}
#define INTEG(id_, key, icv, fl, n, iana, ossl, rfc_)                                         \
	{                                                                                     \
		.type = TRANSFORM_INTEG, .id = (id_), .key_len = (key), .icv_len = (icv),     \
		.block_len = 1, .flags = IKE | ESP | (fl), .name = (n), .ipsecctl_name = (n), \
		.iana_name = (iana), .openssl_name = (ossl), .rfc = (rfc_)                    \
	}
#define DH(id_, len, fl, n, al, iana, ossl, rfc_)                                            \
	{                                                                                    \
		.type = TRANSFORM_DH, .id = (id_), .out_len = (len), .block_len = 1,         \
		.flags = IKE | ESP | (fl), .name = (n), .alias = (al), .ipsecctl_name = (n), \
		.iana_name = (iana), .openssl_name = (ossl), .rfc = (rfc_)                   \
	}

static const struct transform transforms[] = {
	ENCR(ENCR_AES_CBC, 32, 0, 16, 0, 16, IKE | ESP | ATTR, "aes-256", NULL, "aes-256",
		"AES_CBC-256", "AES-256-CBC", "RFC 3602"),
	ENCR(ENCR_AES_CBC, 24, 0, 16, 0, 16, IKE | ESP | ATTR, "aes-192", NULL, "aes-192",
		"AES_CBC-192", "AES-192-CBC", "RFC 3602"),
	ENCR(ENCR_AES_CBC, 16, 0, 16, 0, 16, IKE | ESP | ATTR, "aes-128", "aes", "aes",
		"AES_CBC-128", "AES-128-CBC", "RFC 3602"),
	ENCR(ENCR_AES_GCM_16, 16, 4, 8, 16, 1, IKE | ESP | AEAD | ATTR, "aes-128-gcm", NULL,
		"aes-128-gcm", "AES_GCM_16-128", "AES-128-GCM", "RFC 4106"),
	ENCR(ENCR_AES_GCM_16, 24, 4, 8, 16, 1, IKE | ESP | AEAD | ATTR, "aes-192-gcm", NULL,
		"aes-192-gcm", "AES_GCM_16-192", "AES-192-GCM", "RFC 4106"),
	ENCR(ENCR_AES_GCM_16, 32, 4, 8, 16, 1, IKE | ESP | AEAD | ATTR, "aes-256-gcm", NULL,
		"aes-256-gcm", "AES_GCM_16-256", "AES-256-GCM", "RFC 4106"),
	ENCR(ENCR_AES_GCM_12, 16, 4, 8, 12, 1, IKE | ESP | AEAD | ATTR, "aes-128-gcm-12", NULL,
		"aes-128-gcm-12", "AES_GCM_12-128", "AES-128-GCM", "RFC 4106"),
	ENCR(ENCR_AES_GCM_12, 32, 4, 8, 12, 1, IKE | ESP | AEAD | ATTR, "aes-256-gcm-12", NULL,
		"aes-256-gcm-12", "AES_GCM_12-256", "AES-256-GCM", "RFC 4106"),
	ENCR(ENCR_AES_CTR, 16, 4, 8, 0, 1, IKE | ESP | CTR | ATTR, "aes-128-ctr", "aesctr",
		"aesctr", "AES_CTR-128", "AES-128-CTR", "RFC 3686"),
	ENCR(ENCR_AES_CTR, 24, 4, 8, 0, 1, IKE | ESP | CTR | ATTR, "aes-192-ctr", NULL,
		"aes-192-ctr", "AES_CTR-192", "AES-192-CTR", "RFC 3686"),
	ENCR(ENCR_AES_CTR, 32, 4, 8, 0, 1, IKE | ESP | CTR | ATTR, "aes-256-ctr", NULL,
		"aes-256-ctr", "AES_CTR-256", "AES-256-CTR", "RFC 3686"),
	ENCR(ENCR_CHACHA20_POLY1305, 32, 4, 8, 16, 1, IKE | ESP | AEAD, "chacha20-poly1305", NULL,
		"chacha20-poly1305", "CHACHA20_POLY1305", "ChaCha20-Poly1305", "RFC 7634"),
	ENCR(ENCR_3DES, 24, 0, 8, 0, 8, IKE | ESP | WEAK, "3des-cbc", "3des", "3des-cbc", "3DES",
		"DES-EDE3-CBC", "RFC 2451"),
	ENCR(ENCR_NULL, 0, 0, 0, 0, 1, ESP | WEAK, "null", NULL, "null", "NULL", NULL, "RFC 2410"),
	ENCR(21, 16, 4, 8, 16, 1, ESP | KNOWN | AEAD | ATTR, "aes-128-gmac", NULL, "aes-128-gmac",
		"AES_GMAC-128", NULL, "RFC 4543"),
	ENCR(21, 24, 4, 8, 16, 1, ESP | KNOWN | AEAD | ATTR, "aes-192-gmac", NULL, "aes-192-gmac",
		"AES_GMAC-192", NULL, "RFC 4543"),
	ENCR(21, 32, 4, 8, 16, 1, ESP | KNOWN | AEAD | ATTR, "aes-256-gmac", NULL, "aes-256-gmac",
		"AES_GMAC-256", NULL, "RFC 4543"),
	ENCR(7, 20, 0, 8, 0, 8, ESP | KNOWN | WEAK | ATTR, "blowfish", NULL, "blowfish",
		"BLOWFISH-160", NULL, "RFC 2451"),
	ENCR(6, 16, 0, 8, 0, 8, ESP | KNOWN | WEAK | ATTR, "cast", "cast128", "cast128", "CAST-128",
		NULL, "RFC 2451"),
	ENCR(2, 8, 0, 8, 0, 8, KNOWN | WEAK, "des", NULL, "des", "DES", NULL, "RFC 2405"),
	ENCR(ENCR_AES_GCM_8, 16, 4, 8, 8, 1, KNOWN | AEAD | ATTR, "aes-128-gcm-8", NULL,
		"aes-128-gcm-8", "AES_GCM_8-128", NULL, "RFC 4106"),
	ENCR(ENCR_AES_GCM_8, 32, 4, 8, 8, 1, KNOWN | AEAD | ATTR, "aes-256-gcm-8", NULL,
		"aes-256-gcm-8", "AES_GCM_8-256", NULL, "RFC 4106"),

	PRF(PRF_HMAC_SHA2_256, 32, 0, "hmac-sha2-256", "HMAC_SHA2_256", "SHA256", "RFC 4868"),
	PRF(PRF_HMAC_SHA2_384, 48, 0, "hmac-sha2-384", "HMAC_SHA2_384", "SHA384", "RFC 4868"),
	PRF(PRF_HMAC_SHA2_512, 64, 0, "hmac-sha2-512", "HMAC_SHA2_512", "SHA512", "RFC 4868"),
	PRF(PRF_HMAC_SHA1, 20, WEAK, "hmac-sha1", "HMAC_SHA1", "SHA1", "RFC 2104"),
	PRF(PRF_HMAC_MD5, 16, WEAK | KNOWN, "hmac-md5", "HMAC_MD5", NULL, "RFC 2104"),

	INTEG(INTEG_HMAC_SHA2_256_128, 32, 16, 0, "hmac-sha2-256", "HMAC_SHA2_256_128", "SHA256",
		"RFC 4868"),
	INTEG(INTEG_HMAC_SHA2_384_192, 48, 24, 0, "hmac-sha2-384", "HMAC_SHA2_384_192", "SHA384",
		"RFC 4868"),
	INTEG(INTEG_HMAC_SHA2_512_256, 64, 32, 0, "hmac-sha2-512", "HMAC_SHA2_512_256", "SHA512",
		"RFC 4868"),
	INTEG(INTEG_HMAC_SHA1_96, 20, 12, WEAK, "hmac-sha1", "HMAC_SHA1_96", "SHA1", "RFC 2404"),
	INTEG(INTEG_HMAC_MD5_96, 16, 12, WEAK | KNOWN, "hmac-md5", "HMAC_MD5_96", NULL, "RFC 2403"),
	INTEG(INTEG_NONE, 0, 0, 0, "none", "NONE", NULL, "RFC 7296"),

	DH(DH_CURVE25519, 32, 0, "curve25519", "grp31", "CURVE25519", "X25519", "RFC 8031"),
	DH(DH_ECP_521, 132, 0, "ecp521", "grp21", "ECP_521", "P-521", "RFC 5903"),
	DH(DH_ECP_384, 96, 0, "ecp384", "grp20", "ECP_384", "P-384", "RFC 5903"),
	DH(DH_ECP_256, 64, 0, "ecp256", "grp19", "ECP_256", "P-256", "RFC 5903"),
	DH(DH_MODP_4096, 512, 0, "modp4096", "grp16", "MODP_4096", "modp_4096", "RFC 3526"),
	DH(DH_MODP_3072, 384, 0, "modp3072", "grp15", "MODP_3072", "modp_3072", "RFC 3526"),
	DH(DH_MODP_2048, 256, 0, "modp2048", "grp14", "MODP_2048", "modp_2048", "RFC 3526"),
	DH(DH_MODP_6144, 768, WEAK, "modp6144", "grp17", "MODP_6144", "modp_6144", "RFC 3526"),
	DH(DH_MODP_8192, 1024, WEAK, "modp8192", "grp18", "MODP_8192", "modp_8192", "RFC 3526"),
	DH(DH_MODP_1536, 192, WEAK, "modp1536", "grp5", "MODP_1536", "modp_1536", "RFC 3526"),
	DH(DH_MODP_1024, 128, WEAK, "modp1024", "grp2", "MODP_1024", NULL, "RFC 2409"),
	DH(DH_MODP_768, 96, WEAK | KNOWN, "modp768", "grp1", "MODP_768", NULL, "RFC 2409"),
	DH(25, 48, WEAK | KNOWN, "ecp192", "grp25", "ECP_192", NULL, "RFC 5114"),
	DH(26, 56, WEAK | KNOWN, "ecp224", "grp26", "ECP_224", NULL, "RFC 5114"),
	DH(27, 56, WEAK | KNOWN, "brainpool224", "grp27", "BRAINPOOL_224", NULL, "RFC 6954"),
	DH(28, 64, WEAK | KNOWN, "brainpool256", "grp28", "BRAINPOOL_256", NULL, "RFC 6954"),
	DH(29, 96, WEAK | KNOWN, "brainpool384", "grp29", "BRAINPOOL_384", NULL, "RFC 6954"),
	DH(30, 128, WEAK | KNOWN, "brainpool512", "grp30", "BRAINPOOL_512", NULL, "RFC 6954"),
	DH(1035, 1190, WEAK | KNOWN, "sntrup761x25519", NULL, "SNTRUP761X25519", NULL, "private"),
	DH(DH_NONE, 0, 0, "none", NULL, "NONE", NULL, "RFC 7296"),

	{.type = TRANSFORM_ESN,
		.id = ESN_YES,
		.block_len = 1,
		.flags = ESP,
		.name = "esn",
		.ipsecctl_name = "esn",
		.iana_name = "ESN",
		.rfc = "RFC 4304"},
	{.type = TRANSFORM_ESN,
		.id = ESN_NO,
		.block_len = 1,
		.flags = ESP,
		.name = "noesn",
		.ipsecctl_name = "noesn",
		.iana_name = "NO_ESN",
		.rfc = "RFC 7296"},
};

#define N_TRANSFORMS (sizeof(transforms) / sizeof(transforms[0]))

const struct transform *transform_at(size_t index)
{
	return index < N_TRANSFORMS ? &transforms[index] : NULL;
}

const struct transform *transform_find(enum transform_type type, uint16_t id, uint16_t key_len)
{
	for (size_t i = 0; i < N_TRANSFORMS; i++) {
		const struct transform *t = &transforms[i];

		if (t->type == type && t->id == id && (key_len == 0 || t->key_len == key_len))
			return t;
	}
	return NULL;
}

const struct transform *transform_by_name(enum transform_type type, const char *name)
{
	for (size_t i = 0; i < N_TRANSFORMS; i++) {
		const struct transform *t = &transforms[i];

		if (t->type == type && (strcasecmp(t->name, name) == 0 ||
					       (t->alias && strcasecmp(t->alias, name) == 0)))
			return t;
	}
	return NULL;
}

size_t transform_keymat_len(const struct transform *t)
{
	return (size_t)t->key_len + t->salt_len;
}
