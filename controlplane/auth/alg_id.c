#include "controlplane/auth/alg_id.h"

#include <string.h>

#include "controlplane/ike/wire_error.h"

enum { /* DER tags */
	DER_INTEGER = 0x02,
	DER_NULL = 0x05,
	DER_OID = 0x06,
	DER_SEQUENCE = 0x30,
	DER_CONTEXT = 0xa0,
};

#define OID_MAX 9
struct oid {
	uint8_t len;
	uint8_t b[OID_MAX];
};

static const struct oid oid_pss = {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a}};
static const struct oid oid_mgf1 = {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8}};

/* RFC 7427 A.1 to A.3; hashes: RFC 4055 2.1. */
static const struct hash_row {
	uint16_t hash;
	uint8_t len; /* of the digest: PSS salt */
	struct oid rsa, ecdsa, digest;
} hash_rows[] = {
	{IKE_HASH_SHA1, 20, {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5}},
		{7, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}}, {5, {0x2b, 0x0e, 3, 2, 0x1a}}},
	{IKE_HASH_SHA2_256, 32, {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b}},
		{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}},
		{9, {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1}}},
	{IKE_HASH_SHA2_384, 48, {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0c}},
		{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3}},
		{9, {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2}}},
	{IKE_HASH_SHA2_512, 64, {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0d}},
		{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4}},
		{9, {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3}}},
};

#define N_ROWS (sizeof(hash_rows) / sizeof(hash_rows[0]))

/* A reader of the contents of the next element, which must have this tag. One length byte is
 * enough for everything here (RFC 7427 3: the identifier is at most 255 bytes), two at most. */
static struct reader der_open(struct reader *r, uint8_t tag)
{
	uint8_t found = read_u8(r);
	size_t len = read_u8(r);

	if (len == 0x81) {
		len = read_u8(r);
		if (len < 0x80) /* DER: the shortest form */
			r->failed = true;
	} else if (len >= 0x80) {
		r->failed = true;
	}
	if (found != tag)
		r->failed = true;
	return read_sub(r, len);
}

static bool is_at_end(const struct reader *r)
{
	return !r->failed && reader_left(r) == 0;
}

static struct bytes oid_read(struct reader *r)
{
	struct reader sub = der_open(r, DER_OID);

	return read_bytes(&sub, reader_left(&sub));
}

static bool oid_equal(struct bytes found, const struct oid *want)
{
	return found.len == want->len && memcmp(found.data, want->b, want->len) == 0;
}

/* Parameters that must be absent or NULL (RFC 4055 2.1: both are accepted). */
static bool null_read(struct reader *r)
{
	struct reader sub;

	if (r->failed || reader_left(r) == 0)
		return !r->failed;
	sub = der_open(r, DER_NULL);
	return is_at_end(&sub) && is_at_end(r);
}

static const struct hash_row *digest_read(struct reader *r)
{
	struct reader seq = der_open(r, DER_SEQUENCE);
	struct bytes oid = oid_read(&seq);

	if (!null_read(&seq))
		return NULL;
	for (size_t i = 0; i < N_ROWS; i++)
		if (oid_equal(oid, &hash_rows[i].digest))
			return &hash_rows[i];
	return NULL;
}

static const struct hash_row *mgf_read(struct reader *r)
{
	struct reader seq = der_open(r, DER_SEQUENCE);
	struct bytes oid = oid_read(&seq);
	const struct hash_row *row;

	if (seq.failed || !oid_equal(oid, &oid_mgf1))
		return NULL;
	row = digest_read(&seq);
	return is_at_end(&seq) ? row : NULL;
}

static int small_integer_read(struct reader *r)
{
	struct reader sub = der_open(r, DER_INTEGER);
	size_t len = reader_left(&sub);
	int v = 0;

	if (len == 0 || len > 2)
		return -1;
	while (reader_left(&sub) > 0)
		v = v << 8 | read_u8(&sub);
	return sub.failed || v > 0x7fff ? -1 : v;
}

/*
 * RFC 4055 3.1: [0] hash, [1] mask generation, [2] salt length, [3] trailer field. Left out means
 * SHA-1 and 20, which nobody should use: all three are demanded.
 */
static int pss_parse(struct reader *r, struct alg_id *out)
{
	struct reader seq = der_open(r, DER_SEQUENCE), hash, mgf, salt, trailer;
	const struct hash_row *row;
	int salt_len;

	if (seq.failed)
		return -IKE_WIRE_E_SYNTAX;
	if (reader_left(&seq) == 0)
		return -IKE_WIRE_E_AUTH_ALG;
	hash = der_open(&seq, DER_CONTEXT);
	mgf = der_open(&seq, DER_CONTEXT + 1);
	salt = der_open(&seq, DER_CONTEXT + 2);
	row = digest_read(&hash);
	salt_len = small_integer_read(&salt);
	if (seq.failed || !row || salt_len < 0 || !is_at_end(&hash) || !is_at_end(&salt))
		return -IKE_WIRE_E_AUTH_ALG;
	if (mgf_read(&mgf) != row || !is_at_end(&mgf))
		return -IKE_WIRE_E_AUTH_ALG;
	if (reader_left(&seq) > 0) {
		trailer = der_open(&seq, DER_CONTEXT + 3);
		if (small_integer_read(&trailer) != 1 || !is_at_end(&trailer))
			return -IKE_WIRE_E_AUTH_ALG;
	}
	if (!is_at_end(&seq) || !is_at_end(r))
		return -IKE_WIRE_E_SYNTAX;
	*out = (struct alg_id){AUTH_KEY_RSA, row->hash, true, (uint16_t)salt_len};
	return 0;
}

int alg_id_parse(struct bytes der, struct alg_id *out)
{
	struct reader r = reader_init(der.data, der.len);
	struct reader seq = der_open(&r, DER_SEQUENCE);
	struct bytes oid = oid_read(&seq);

	memset(out, 0, sizeof(*out));
	if (seq.failed || !is_at_end(&r) || !oid.data)
		return -IKE_WIRE_E_SYNTAX;
	if (oid_equal(oid, &oid_pss))
		return pss_parse(&seq, out);
	for (size_t i = 0; i < N_ROWS; i++) {
		bool is_rsa = oid_equal(oid, &hash_rows[i].rsa);

		if (!is_rsa && !oid_equal(oid, &hash_rows[i].ecdsa))
			continue;
		if (!null_read(&seq))
			return -IKE_WIRE_E_SYNTAX;
		out->kind = is_rsa ? AUTH_KEY_RSA : AUTH_KEY_ECDSA;
		out->hash = hash_rows[i].hash;
		return 0;
	}
	return -IKE_WIRE_E_AUTH_ALG;
}

static const struct hash_row *row_find(uint16_t hash)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (hash_rows[i].hash == hash)
			return &hash_rows[i];
	return NULL;
}

/* Writes an element's head; der_close fills in the length, which stays below 128. */
static size_t der_begin(struct writer *w, uint8_t tag)
{
	write_u8(w, tag);
	write_u8(w, 0);
	return w->len;
}

static void der_close(struct writer *w, size_t start)
{
	if (!w->failed)
		w->data[start - 1] = (uint8_t)(w->len - start);
}

static void oid_write(struct writer *w, const struct oid *oid)
{
	write_u8(w, DER_OID);
	write_u8(w, oid->len);
	write_bytes(w, oid->b, oid->len);
}

static void digest_write(struct writer *w, const struct hash_row *row)
{
	size_t seq = der_begin(w, DER_SEQUENCE);

	oid_write(w, &row->digest);
	write_u16(w, DER_NULL << 8);
	der_close(w, seq);
}

static void pss_write(struct writer *w, const struct hash_row *row, uint16_t salt_len)
{
	size_t params, part, mgf;

	oid_write(w, &oid_pss);
	params = der_begin(w, DER_SEQUENCE);
	part = der_begin(w, DER_CONTEXT);
	digest_write(w, row);
	der_close(w, part);
	part = der_begin(w, DER_CONTEXT + 1);
	mgf = der_begin(w, DER_SEQUENCE);
	oid_write(w, &oid_mgf1);
	digest_write(w, row);
	der_close(w, mgf);
	der_close(w, part);
	part = der_begin(w, DER_CONTEXT + 2);
	write_u8(w, DER_INTEGER);
	write_u8(w, 1);
	write_u8(w, (uint8_t)salt_len);
	der_close(w, part);
	der_close(w, params);
}

size_t alg_id_write(const struct alg_id *alg, uint8_t *out, size_t cap)
{
	const struct hash_row *row = row_find(alg->hash);
	struct writer w = writer_init(out, cap);
	size_t seq;

	if (!row || alg->kind == AUTH_KEY_UNKNOWN || alg->salt_len > 127)
		return 0;
	seq = der_begin(&w, DER_SEQUENCE);
	if (alg->is_pss) {
		pss_write(&w, row, alg->salt_len ? alg->salt_len : row->len);
	} else if (alg->kind == AUTH_KEY_RSA) {
		oid_write(&w, &row->rsa);
		write_u16(&w, DER_NULL << 8);
	} else {
		oid_write(&w, &row->ecdsa);
	}
	der_close(&w, seq);
	return w.failed ? 0 : w.len;
}
