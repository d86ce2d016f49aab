#include "bench/esp/bare.h"

#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/sad.h"

#define N_BUFFERS 256 /* as many as a pool's cache of one core keeps going round */

struct bare {
	const struct gateway *g;
	const struct lap *lap;
	IMB_MGR *mb;
	struct rte_mbuf *m[N_BUFFERS];
	uint8_t *esp[N_BUFFERS]; /* ESP header in the buffer */
	uint8_t nonce[N_BUFFERS][16];
	uint8_t tag[GATEWAY_BURST][64];
	IMB_JOB jobs[GATEWAY_BURST], hashes[GATEWAY_BURST];
	unsigned int at; /* next buffer */
};

static void jobs_init(struct bare *b)
{
	const struct suite *s = b->g->config.suite;
	bool is_in = b->g->config.is_inbound;

	for (unsigned int k = 0; k < GATEWAY_BURST; k++) {
		b->hashes[k] = (IMB_JOB){.auth_tag_output = b->tag[k],
			.auth_tag_output_len_in_bytes = s->icv_len,
			.hash_alg = s->hash};
		b->jobs[k] = b->hashes[k];
		b->jobs[k].key_len_in_bytes = s->key_len;
		b->jobs[k].cipher_mode = s->cipher;
		b->jobs[k].iv_len_in_bytes = s->kind == SUITE_CHACHA ? 12 : 16;
		b->jobs[k].cipher_direction = is_in ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT;
		b->jobs[k].chain_order = is_in ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
	}
}

struct bare *bare_create(const struct gateway *g, uint16_t worker, const struct lap *lap)
{
	struct bare *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);

	if (!b)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->g = g;
	b->lap = lap;
	b->mb = crypto_mb_manager(g->dp.workers[worker]->ctx.crypto);
	if (rte_pktmbuf_alloc_bulk(g->dp.pool, b->m, N_BUFFERS) != 0) {
		free(b);
		return NULL;
	}
	for (unsigned int k = 0; k < N_BUFFERS; k++) {
		memset(b->m[k]->buf_addr, (int)k, b->m[k]->buf_len);
		b->esp[k] = rte_pktmbuf_mtod_offset(b->m[k], uint8_t *, 34);
	}
	jobs_init(b);
	return b;
}

void bare_destroy(struct bare *b)
{
	if (!b)
		return;
	rte_pktmbuf_free_bulk(b->m, N_BUFFERS);
	free(b);
}

static const struct sa_keys *keys_of(const struct bare *b, uint32_t packet)
{
	return b->g->sa[b->lap->tunnel[packet]]->keys;
}

static void hash_burst(struct bare *b, uint32_t first)
{
	const struct suite *s = b->g->config.suite;

	for (unsigned int k = 0; k < GATEWAY_BURST; k++) {
		const struct sa_keys *keys = keys_of(b, first + k);
		IMB_JOB *job = &b->hashes[k];

		job->src = b->esp[b->at + k];
		job->msg_len_to_hash_in_bytes = 8u + s->iv_len +
						lap_text_len(s, b->lap->len[first + k]);
		job->u.HMAC._hashed_auth_key_xor_ipad = keys->ipad;
		job->u.HMAC._hashed_auth_key_xor_opad = keys->opad;
	}
	IMB_SUBMIT_HASH_BURST_NOCHECK(b->mb, b->hashes, GATEWAY_BURST, s->hash);
}

static void cipher_burst(struct bare *b, uint32_t first)
{
	const struct suite *s = b->g->config.suite;

	for (unsigned int k = 0; k < GATEWAY_BURST; k++) {
		IMB_JOB *job = &b->jobs[k];

		job->enc_keys = job->dec_keys = keys_of(b, first + k)->schedule;
		job->iv = b->esp[b->at + k] + 8;
		job->src = job->dst = b->esp[b->at + k] + 8 + s->iv_len;
		job->msg_len_to_cipher_in_bytes = lap_text_len(s, b->lap->len[first + k]);
	}
	IMB_SUBMIT_CIPHER_BURST_NOCHECK(b->mb, b->jobs, GATEWAY_BURST, s->cipher,
		b->g->config.is_inbound ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT,
		(IMB_KEY_SIZE_BYTES)s->key_len);
}

static void gcm_burst(struct bare *b, uint32_t first)
{
	const struct suite *s = b->g->config.suite;
	bool is_in = b->g->config.is_inbound;
	aes_gcm_enc_dec_t run = is_in ? b->mb->gcm256_dec : b->mb->gcm256_enc;
	struct gcm_context_data ctx;

	if (s->key_len == 16)
		run = is_in ? b->mb->gcm128_dec : b->mb->gcm128_enc;
	for (unsigned int k = 0; k < GATEWAY_BURST; k++) {
		uint8_t *esp = b->esp[b->at + k];

		run((const struct gcm_key_data *)keys_of(b, first + k)->schedule, &ctx, esp + 16,
			esp + 16, lap_text_len(s, b->lap->len[first + k]), b->nonce[b->at + k], esp,
			8, b->tag[k], 16);
	}
}

/* The job queue: many times faster than the direct calls of this algorithm. */
static void chacha_burst(struct bare *b, uint32_t first)
{
	const struct suite *s = b->g->config.suite;

	for (unsigned int k = 0; k < GATEWAY_BURST; k++) {
		uint8_t *esp = b->esp[b->at + k];
		IMB_JOB *job = IMB_GET_NEXT_JOB(b->mb);

		*job = b->jobs[k];
		job->enc_keys = job->dec_keys = keys_of(b, first + k)->schedule;
		job->src = job->dst = esp + 16;
		job->msg_len_to_cipher_in_bytes = job->msg_len_to_hash_in_bytes = lap_text_len(
			s, b->lap->len[first + k]);
		job->iv = b->nonce[b->at + k];
		job->u.CHACHA20_POLY1305.aad = esp;
		job->u.CHACHA20_POLY1305.aad_len_in_bytes = 8;
		IMB_SUBMIT_JOB_NOCHECK(b->mb);
	}
	while (IMB_FLUSH_JOB(b->mb))
		;
}

void bare_run(struct bare *b, uint32_t first, uint32_t n)
{
	const struct suite *s = b->g->config.suite;

	for (uint32_t end = first + n; first < end; first += GATEWAY_BURST) {
		if (s->kind == SUITE_GCM) {
			gcm_burst(b, first);
		} else if (s->kind == SUITE_CHACHA) {
			chacha_burst(b, first);
		} else if (b->g->config.is_inbound) {
			hash_burst(b, first);
			cipher_burst(b, first);
		} else {
			cipher_burst(b, first);
			hash_burst(b, first);
		}
		b->at = (b->at + GATEWAY_BURST) % N_BUFFERS;
	}
}
