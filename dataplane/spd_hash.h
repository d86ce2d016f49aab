#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * Hash table of the SPD: one writer, readers without locks. A bucket is one cache line: six tags
 * of 16 bits, the number of a further bucket, six pointers. An object appears and goes with its
 * tag, in one store. Objects hold their full 32-bit hash; equality is the caller's. When an
 * insertion would chain more than SPD_CHAIN_MAX buckets, or put more than SPD_TAG_MAX equal tags
 * in a chain, the table grows: a probe reads at most SPD_PROBE_MAX cache lines: filter, buckets
 * and objects together.
 *
 * The filter is one word a bucket, a bit for each tag in its chain: where most probes are in
 * vain, it tells so in an eighth of the memory (spd_hash_maybe).
 */

#define SPD_CHAIN_MAX 2
#define SPD_TAG_MAX 2
#define SPD_PROBE_MAX (1 + SPD_CHAIN_MAX + SPD_TAG_MAX)
#define SPD_BUCKET_SLOTS 6

struct spd_bucket {
	/* Tags of slots 0 to 3; of 4 and 5, and above them the further bucket's number, 0 none. */
	_Atomic uint64_t tags[2];
	_Atomic(void *) objects[SPD_BUCKET_SLOTS]; /* valid where the tag is not 0 */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct spd_bucket) == 64, "a bucket is one cache line");

struct spd_buckets {
	struct spd_bucket *base;  /* mask + 1 of them, then n_more for chains (number 1 is first) */
	_Atomic uint64_t *filter; /* mask + 1 words, behind the buckets */
	uint32_t mask;
	uint32_t n_more, n_more_used;
	size_t size; /* bytes at base */
};

typedef void (*spd_defer_fn)(void *ctx, void (*fn)(void *), void *arg);

struct spd_hash {
	_Atomic(struct spd_buckets *) buckets;
	uint32_t n;
	uint32_t hash_offset; /* of the uint32_t hash in an object */
	spd_defer_fn defer;
	void *defer_ctx;
};

int spd_hash_init(struct spd_hash *h, size_t hash_offset, spd_defer_fn defer, void *defer_ctx)
	__attribute__((warn_unused_result));
void spd_hash_fini(struct spd_hash *h);
/* The object must not be there yet. 0 or -1 (memory); then nothing has changed. */
int spd_hash_add(struct spd_hash *h, void *object) __attribute__((warn_unused_result));
/* The object must be there. */
void spd_hash_remove(struct spd_hash *h, void *object);
/* Puts `now` where `before` (of the same hash) is. */
void spd_hash_replace(struct spd_hash *h, void *before, void *now);
uint64_t spd_hash_memory(const struct spd_hash *h);

/* 0 is the tag of an empty slot. */
static inline uint16_t spd_hash_tag(uint32_t hash)
{
	uint16_t tag = hash >> 16;

	return tag + (tag == 0);
}

static inline const struct spd_buckets *spd_hash_buckets(const struct spd_hash *h)
{
	return atomic_load_explicit(&h->buckets, memory_order_acquire);
}

static inline struct spd_bucket *spd_bucket_at(const struct spd_buckets *b, uint32_t hash)
{
	return &b->base[hash & b->mask];
}

static inline uint64_t spd_filter_bit(uint32_t hash)
{
	return 1ULL << (hash >> 16 & 63);
}

/* False: no object has that hash. */
static inline bool spd_hash_maybe(const struct spd_buckets *b, uint32_t hash)
{
	return atomic_load_explicit(&b->filter[hash & b->mask], memory_order_acquire) &
	       spd_filter_bit(hash);
}

static inline void spd_hash_prefetch(const struct spd_hash *h, uint32_t hash)
{
	__builtin_prefetch(spd_bucket_at(spd_hash_buckets(h), hash));
}

/* Slots whose tag is that one: bit 2 * i for slot i. *more: the further bucket's number. */
static inline uint32_t spd_bucket_match(const struct spd_bucket *b, uint16_t tag, uint32_t *more)
{
	uint64_t low = atomic_load_explicit(&b->tags[0], memory_order_acquire);
	uint64_t high = atomic_load_explicit(&b->tags[1], memory_order_acquire);

	*more = high >> 32;
#ifdef __SSE2__
	__m128i tags = _mm_set_epi64x((long long)high, (long long)low);
	__m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag));

	return (uint32_t)_mm_movemask_epi8(same) & 0x555;
#else
	uint32_t bits = 0;

	for (unsigned i = 0; i < 4; i++)
		bits |= (uint32_t)((uint16_t)(low >> 16 * i) == tag) << 2 * i;
	for (unsigned i = 0; i < 2; i++)
		bits |= (uint32_t)((uint16_t)(high >> 16 * i) == tag) << (8 + 2 * i);
	return bits;
#endif
}

/*
 * The first object of the bucket with that tag, which may be another's; NULL: none. *is_unsure:
 * the object may be in the further bucket.
 */
static inline void *spd_hash_candidate(const struct spd_buckets *b, uint32_t hash, bool *is_unsure)
{
	const struct spd_bucket *at = spd_bucket_at(b, hash);
	uint32_t more, bits = spd_bucket_match(at, spd_hash_tag(hash), &more);

	*is_unsure = bits == 0 && more != 0;
	if (bits == 0)
		return NULL;
	return atomic_load_explicit(
		&at->objects[(unsigned)__builtin_ctz(bits) / 2], memory_order_acquire);
}

/* *touches, if given, grows by one for each bucket and each object that is looked at. */
static inline __attribute__((always_inline)) void *spd_hash_find(const struct spd_hash *h,
	uint32_t hash, const void *key, bool (*equal)(const void *object, const void *key),
	uint32_t *touches)
{
	const struct spd_buckets *b = spd_hash_buckets(h);
	const struct spd_bucket *at = spd_bucket_at(b, hash);
	const uint16_t tag = spd_hash_tag(hash);

	for (;;) {
		uint32_t more, bits = spd_bucket_match(at, tag, &more);

		if (touches != NULL)
			(*touches)++;
		for (; bits != 0; bits &= bits - 1) {
			void *object = atomic_load_explicit(
				&at->objects[(unsigned)__builtin_ctz(bits) / 2],
				memory_order_acquire);

			if (touches != NULL)
				(*touches)++;
			if (equal(object, key))
				return object;
		}
		if (__builtin_expect(more == 0, 1))
			return NULL;
		at = &b->base[b->mask + more];
	}
}

/*
 * A product of both words, folded: each bit of the key moves each bit of the hash. Both are
 * masked by secrets, so that nobody can choose words that make a factor zero.
 */
static inline uint64_t spd_hash_mix64(uint64_t a, uint64_t b, const uint64_t seed[2])
{
	unsigned __int128 m = (unsigned __int128)(a ^ seed[0]) * (b ^ seed[1]);
	uint64_t x = (uint64_t)(m >> 64) ^ (uint64_t)m;

	return (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ULL;
}

static inline uint32_t spd_hash_mix(uint64_t a, uint64_t b, const uint64_t seed[2])
{
	uint64_t x = spd_hash_mix64(a, b, seed);

	return (uint32_t)(x >> 32) ^ (uint32_t)x;
}
