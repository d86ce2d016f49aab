#include "dataplane/crypto_mb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dataplane/esp_wire.h"
#include "shared/secret.h"
#include "shared/wipe.h"

/*
 * Bytes for CBC IVs. RFC 3602 3 and NIST SP 800-38A appendix C want an IV that nobody can
 * predict before the packet is sent; a counter or the last cipher block (CVE-2022-46397) is not.
 * This is AES-256 in counter mode under a random key that no one else has: 16 bytes of key stream
 * are as hard to guess as the key. Each refill makes the next key from its own output, so a
 * counter block is never used twice under a key and old output cannot be computed later.
 */
#define IV_POOL 4096
#define IV_SEED 32

struct iv_source {
	uint8_t pool[IV_POOL] __attribute__((aligned(64)));
	uint8_t schedule[256] __attribute__((aligned(64)));
	uint8_t unused[256] __attribute__((aligned(64)));
	uint32_t at; /* next unused byte of pool */
};

struct crypto_mb {
	IMB_MGR *mb;
	void *mb_memory;
	IMB_JOB jobs[CRYPTO_BURST_MAX];
	uint8_t nonce[CRYPTO_BURST_MAX][16] __attribute__((aligned(64)));
	uint8_t aad[CRYPTO_BURST_MAX][16];
	uint8_t icv[CRYPTO_BURST_MAX][64] __attribute__((aligned(64)));
	struct iv_source iv;
};

static const struct {
	const char *name;
	enum crypto_arch arch;
} arch_names[] = {
	{"auto", CRYPTO_ARCH_AUTO},
	{"sse", CRYPTO_ARCH_SSE},
	{"avx2", CRYPTO_ARCH_AVX2},
	{"avx512", CRYPTO_ARCH_AVX512},
};

int crypto_arch_parse(const char *name, enum crypto_arch *out)
{
	for (size_t i = 0; i < sizeof(arch_names) / sizeof(arch_names[0]); i++) {
		if (strcmp(name, arch_names[i].name) == 0) {
			*out = arch_names[i].arch;
			return 0;
		}
	}
	return -1;
}

IMB_MGR *crypto_mb_manager(struct crypto_mb *c)
{
	return c->mb;
}

/* The library crashes on code that the CPU does not have, so it is asked first. */
static int manager_init(IMB_MGR *mb, enum crypto_arch arch)
{
	uint64_t have = mb->features;
	switch (arch) {
	case CRYPTO_ARCH_AUTO:
		init_mb_mgr_auto(mb, NULL);
		return 0;
	case CRYPTO_ARCH_SSE:
		init_mb_mgr_sse(mb);
		return 0;
	case CRYPTO_ARCH_AVX2:
		if ((have & IMB_CPUFLAGS_AVX2) != IMB_CPUFLAGS_AVX2)
			return -1;
		init_mb_mgr_avx2(mb);
		return 0;
	case CRYPTO_ARCH_AVX512:
		if ((have & IMB_CPUFLAGS_AVX512) != IMB_CPUFLAGS_AVX512)
			return -1;
		init_mb_mgr_avx512(mb);
		return 0;
	}
	return -1;
}

static void iv_refill(struct crypto_mb *c);

static int iv_seed(struct crypto_mb *c)
{
	uint8_t seed[IV_SEED];
	for (size_t got = 0; got < sizeof(seed);) {
		ssize_t n = getrandom(seed + got, sizeof(seed) - got, 0);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			got += (size_t)n;
	}
	IMB_AES_KEYEXP_256(c->mb, seed, c->iv.schedule, c->iv.unused);
	wipe(seed, sizeof(seed));
	iv_refill(c);
	return 0;
}

struct crypto_mb *crypto_mb_create(enum crypto_arch arch, const char **error)
{
	struct crypto_mb *c = secret_pages_alloc(sizeof(*c));
	if (!c) {
		*error = "out of memory";
		return NULL;
	}
	/* Digests under way and pointers to keys are in the manager. */
	c->mb_memory = secret_pages_alloc(imb_get_mb_mgr_size());
	if (c->mb_memory)
		c->mb = imb_set_pointers_mb_mgr(c->mb_memory, 0, 1);
	if (!c->mb)
		*error = "intel-ipsec-mb: no manager";
	else if (manager_init(c->mb, arch) != 0)
		*error = "the CPU does not have the instructions asked for";
	else if (imb_get_errno(c->mb) != 0)
		*error = "intel-ipsec-mb: self-test or initialisation failed";
	else if (iv_seed(c) != 0)
		*error = "no randomness from the system";
	else
		return c;
	crypto_mb_destroy(c);
	return NULL;
}

void crypto_mb_destroy(struct crypto_mb *c)
{
	if (!c)
		return;
	secret_pages_free(c->mb_memory, imb_get_mb_mgr_size());
	secret_pages_free(c, sizeof(*c));
}

static void iv_refill(struct crypto_mb *c)
{
	static const uint8_t nonce[12];
	struct iv_source *iv = &c->iv;
	memset(iv->pool, 0, sizeof(iv->pool));
	IMB_JOB job = {
		.enc_keys = iv->schedule,
		.dec_keys = iv->schedule,
		.key_len_in_bytes = 32,
		.src = iv->pool,
		.dst = iv->pool,
		.msg_len_to_cipher_in_bytes = sizeof(iv->pool),
		.iv = nonce,
		.iv_len_in_bytes = sizeof(nonce),
		.cipher_mode = IMB_CIPHER_CNTR,
		.cipher_direction = IMB_DIR_ENCRYPT,
	};
	IMB_SUBMIT_CIPHER_BURST_NOCHECK(
		c->mb, &job, 1, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, IMB_KEY_256_BYTES);
	IMB_AES_KEYEXP_256(c->mb, iv->pool, iv->schedule, iv->unused);
	wipe(iv->pool, IV_SEED);
	iv->at = IV_SEED;
}

void crypto_mb_iv(struct crypto_mb *c, uint8_t *out, size_t len)
{
	if (c->iv.at + len > IV_POOL)
		iv_refill(c);
	memcpy(out, c->iv.pool + c->iv.at, len);
	c->iv.at += (uint32_t)len;
}

/* A group: operations of one suite, as indices into ops. */
struct group {
	struct crypto_op *ops;
	const uint8_t *at;
	unsigned int n;
	const struct suite *suite;
};

static struct crypto_op *group_op(const struct group *g, unsigned int k)
{
	return &g->ops[g->at[k]];
}

/* salt, then the IV on the wire: RFC 4106 4, RFC 3686 4, RFC 7634 2. */
static uint8_t *nonce_make(struct crypto_mb *c, unsigned int k, const struct crypto_op *op)
{
	memcpy(c->nonce[k], op->keys->salt, 4);
	memcpy(c->nonce[k] + 4, op->text - 8, 8);
	return c->nonce[k];
}

/* RFC 4106 5, RFC 7634 2.1: SPI and sequence number, 8 bytes; with ESN all 64 bits of it, 12. */
static const uint8_t *aad_make(struct crypto_mb *c, unsigned int k, const struct crypto_op *op)
{
	if (!op->has_esn)
		return op->esp;
	memcpy(c->aad[k], op->esp, 4);
	put_u32(c->aad[k] + 4, op->seq_hi);
	memcpy(c->aad[k] + 8, op->esp + 4, 4);
	return c->aad[k];
}

/* In constant time; len is 12, 16, 24 or 32. */
static inline bool icv_equal(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint64_t x, y, wrong = 0;
	uint32_t v, w;
	for (uint32_t at = 0; at + 8 <= len; at += 8) {
		memcpy(&x, a + at, 8);
		memcpy(&y, b + at, 8);
		wrong |= x ^ y;
	}
	memcpy(&v, a + len - 4, 4);
	memcpy(&w, b + len - 4, 4);
	return (wrong | (v ^ w)) == 0;
}

/*
 * GCM is one call a packet: it is parallel inside, not over packets. Nonces are made for all
 * before: read by wide loads at once behind narrow stores, each call would wait for them.
 */
static void gcm_run(struct crypto_mb *c, const struct group *g, bool is_encrypt)
{
	const struct suite *s = g->suite;
	aes_gcm_enc_dec_t run;
	if (s->key_len == 16)
		run = is_encrypt ? c->mb->gcm128_enc : c->mb->gcm128_dec;
	else if (s->key_len == 24)
		run = is_encrypt ? c->mb->gcm192_enc : c->mb->gcm192_dec;
	else
		run = is_encrypt ? c->mb->gcm256_enc : c->mb->gcm256_dec;
	struct gcm_context_data ctx;
	const uint8_t *aad[CRYPTO_BURST_MAX];
	unsigned int aad_len = 0;
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		nonce_make(c, k, op);
		aad[k] = aad_make(c, k, op);
	}
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		aad_len = op->has_esn ? 12 : 8;
		run((const struct gcm_key_data *)op->keys->schedule, &ctx, op->text, op->text,
			op->text_len, c->nonce[k], aad[k], aad_len,
			is_encrypt ? op->text + op->text_len : c->icv[k], s->icv_len);
	}
	for (unsigned int k = 0; k < g->n && !is_encrypt; k++) {
		struct crypto_op *op = group_op(g, k);
		op->is_ok = icv_equal(c->icv[k], op->text + op->text_len, s->icv_len);
	}
}

static void jobs_flush(struct crypto_mb *c)
{
	while (IMB_FLUSH_JOB(c->mb))
		;
}

/*
 * ChaCha20-Poly1305 and 3DES have no burst call of their own in all versions: the job queue,
 * filled with the whole group and then flushed. Jobs are returned in order of submission, so
 * all that matters is that all have come back.
 */
static void jobs_run(struct crypto_mb *c, const struct group *g, bool is_encrypt)
{
	const struct suite *s = g->suite;
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		if (s->kind == SUITE_CBC && !op->is_ok)
			continue;
		IMB_JOB *job = IMB_GET_NEXT_JOB(c->mb);
		memset(job, 0, sizeof(*job));
		job->src = job->dst = op->text;
		job->msg_len_to_cipher_in_bytes = op->text_len;
		job->key_len_in_bytes = s->key_len;
		job->cipher_mode = s->cipher;
		job->cipher_direction = is_encrypt ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
		job->chain_order = is_encrypt ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
		if (s->kind == SUITE_CHACHA) {
			job->enc_keys = job->dec_keys = op->keys->schedule;
			job->iv = nonce_make(c, k, op);
			job->iv_len_in_bytes = 12;
			job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
			job->msg_len_to_hash_in_bytes = op->text_len;
			job->u.CHACHA20_POLY1305.aad = aad_make(c, k, op);
			job->u.CHACHA20_POLY1305.aad_len_in_bytes = op->has_esn ? 12 : 8;
			job->auth_tag_output = is_encrypt ? op->text + op->text_len : c->icv[k];
			job->auth_tag_output_len_in_bytes = 16;
		} else {
			job->enc_keys = job->dec_keys = op->keys->des;
			job->iv = op->text - s->iv_len;
			job->iv_len_in_bytes = s->iv_len;
			job->hash_alg = IMB_AUTH_NULL;
		}
		IMB_SUBMIT_JOB_NOCHECK(c->mb);
		/*
		 * intel-ipsec-mb 2.0's AVX-512 code mixes up two 3DES jobs of different length
		 * when it is flushed (one gets the other's text; seen in test_mixed_burst), so
		 * there is one at a time. 3DES is off by default.
		 */
		if (s->kind == SUITE_CBC)
			jobs_flush(c);
	}
	jobs_flush(c);
	for (unsigned int k = 0; k < g->n && s->kind == SUITE_CHACHA && !is_encrypt; k++) {
		struct crypto_op *op = group_op(g, k);
		op->is_ok = icv_equal(c->icv[k], op->text + op->text_len, s->icv_len);
	}
}

static void cipher_run(struct crypto_mb *c, const struct group *g, bool is_encrypt)
{
	const struct suite *s = g->suite;
	if (s->cipher == IMB_CIPHER_DES3) {
		jobs_run(c, g, is_encrypt);
		return;
	}
	unsigned int n = 0;
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		if (!op->is_ok)
			continue;
		IMB_JOB *job = &c->jobs[n];
		job->enc_keys = job->dec_keys = op->keys->schedule;
		job->key_len_in_bytes = s->key_len;
		job->src = job->dst = op->text;
		job->cipher_start_src_offset_in_bytes = 0;
		job->msg_len_to_cipher_in_bytes = op->text_len;
		job->cipher_mode = s->cipher;
		/* CTR: 12 bytes, the library starts the block counter at 1 (RFC 3686 4). */
		job->iv = s->kind == SUITE_CTR ? nonce_make(c, n, op) : op->text - s->iv_len;
		job->iv_len_in_bytes = s->kind == SUITE_CTR ? 12 : 16;
		n++;
	}
	/* Counter mode is its own inverse, and the library does it in one direction only. */
	bool is_forward = is_encrypt || s->kind == SUITE_CTR;
	if (n > 0)
		IMB_SUBMIT_CIPHER_BURST_NOCHECK(c->mb, c->jobs, n, s->cipher,
			is_forward ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT,
			(IMB_KEY_SIZE_BYTES)s->key_len);
}

/*
 * The ICV of each packet behind its text, or to c->icv where there is one to compare with. RFC
 * 4303 2.2.1: with ESN the high half is hashed behind the trailer though it is not sent; it
 * stands where the ICV belongs meanwhile.
 */
static void hash_run(struct crypto_mb *c, const struct group *g, bool is_encrypt)
{
	const struct suite *s = g->suite;
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		IMB_JOB *job = &c->jobs[k];
		uint8_t *end = op->text + op->text_len;
		if (op->has_esn)
			put_u32(end, op->seq_hi);
		job->src = op->esp;
		job->hash_start_src_offset_in_bytes = 0;
		job->msg_len_to_hash_in_bytes = (uint64_t)(end - op->esp) + (op->has_esn ? 4 : 0);
		job->auth_tag_output = is_encrypt ? end : c->icv[k];
		job->auth_tag_output_len_in_bytes = s->icv_len;
		job->hash_alg = s->hash;
		job->u.HMAC._hashed_auth_key_xor_ipad = op->keys->ipad;
		job->u.HMAC._hashed_auth_key_xor_opad = op->keys->opad;
	}
	IMB_SUBMIT_HASH_BURST_NOCHECK(c->mb, c->jobs, g->n, s->hash);
}

static void group_encrypt(struct crypto_mb *c, const struct group *g)
{
	const struct suite *s = g->suite;
	for (unsigned int k = 0; k < g->n; k++)
		group_op(g, k)->is_ok = true;
	if (s->kind == SUITE_GCM) {
		gcm_run(c, g, true);
		return;
	}
	if (s->kind == SUITE_CHACHA) {
		jobs_run(c, g, true);
		return;
	}
	if (s->kind != SUITE_NULL)
		cipher_run(c, g, true);
	hash_run(c, g, true);
}

static void group_decrypt(struct crypto_mb *c, const struct group *g)
{
	const struct suite *s = g->suite;
	if (s->kind == SUITE_GCM) {
		gcm_run(c, g, false);
		return;
	}
	if (s->kind == SUITE_CHACHA) {
		jobs_run(c, g, false);
		return;
	}
	uint8_t head[CRYPTO_BURST_MAX][4];
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		memcpy(head[k], op->text + op->text_len, 4);
	}
	hash_run(c, g, false);
	for (unsigned int k = 0; k < g->n; k++) {
		struct crypto_op *op = group_op(g, k);
		uint8_t *icv = op->text + op->text_len;
		memcpy(icv, head[k], 4);
		op->is_ok = icv_equal(c->icv[k], icv, s->icv_len);
	}
	if (s->kind != SUITE_NULL)
		cipher_run(c, g, false);
}

/* Cuts ops into groups of one suite, in the order in which the suites first appear. */
static void groups_run(struct crypto_mb *c, struct crypto_op *ops, unsigned int n,
	void (*run)(struct crypto_mb *c, const struct group *g))
{
	uint8_t order[CRYPTO_BURST_MAX];
	uint64_t todo = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
	while (todo) {
		const struct suite *s = ops[__builtin_ctzll(todo)].suite;
		struct group g = {.ops = ops, .at = order, .suite = s};
		for (uint64_t rest = todo; rest; rest &= rest - 1) {
			unsigned int i = (unsigned int)__builtin_ctzll(rest);
			if (ops[i].suite != s)
				continue;
			order[g.n++] = (uint8_t)i;
			todo &= ~(UINT64_C(1) << i);
		}
		run(c, &g);
	}
}

void crypto_mb_encrypt(struct crypto_mb *c, struct crypto_op *ops, unsigned int n)
{
	groups_run(c, ops, n, group_encrypt);
}

void crypto_mb_decrypt(struct crypto_mb *c, struct crypto_op *ops, unsigned int n)
{
	groups_run(c, ops, n, group_decrypt);
}
