#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Hash table of the SPD: one writer, readers without locks. A slot is one 64-bit word, a 16-bit
 * tag and a 48-bit pointer, so an object appears and goes in one store. Objects hold their full
 * 32-bit hash; equality is the caller's. When an insertion would chain more than SPD_CHAIN_MAX
 * buckets, or put more than SPD_TAG_MAX equal tags in a chain, the table grows: a probe reads at
 * most SPD_PROBE_MAX cache lines, buckets and objects together.
 */

#define SPD_CHAIN_MAX 2
#define SPD_TAG_MAX 2
#define SPD_PROBE_MAX (SPD_CHAIN_MAX + SPD_TAG_MAX)
#define SPD_BUCKET_SLOTS 7

struct spd_bucket {
	_Atomic uint64_t slots[SPD_BUCKET_SLOTS];
	_Atomic(struct spd_bucket *) next;
} __attribute__((aligned(64)));

struct spd_buckets {
	uint32_t mask;
	uint32_t n_overflow;
	struct spd_bucket *base; /* mask + 1 of them */
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

#define SPD_SLOT_PTR(slot) ((void *)(uintptr_t)((slot)&0xffffffffffffULL))
#define SPD_SLOT_TAG(slot) ((uint16_t)((slot) >> 48))

static inline struct spd_bucket *spd_hash_bucket(const struct spd_hash *h, uint32_t hash)
{
	const struct spd_buckets *b = atomic_load_explicit(&h->buckets, memory_order_acquire);

	return &b->base[hash & b->mask];
}

static inline void spd_hash_prefetch(const struct spd_hash *h, uint32_t hash)
{
	__builtin_prefetch(spd_hash_bucket(h, hash));
}

/* *touches, if given, grows by one for each bucket and each object that is looked at. */
static inline __attribute__((always_inline)) void *spd_hash_find(const struct spd_hash *h,
	uint32_t hash, const void *key, bool (*equal)(const void *object, const void *key),
	uint32_t *touches)
{
	const uint16_t tag = hash >> 16;

	for (struct spd_bucket *b = spd_hash_bucket(h, hash); b != NULL;
		b = atomic_load_explicit(&b->next, memory_order_acquire)) {
		if (touches != NULL)
			(*touches)++;
		for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++) {
			uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_acquire);

			if (slot == 0 || SPD_SLOT_TAG(slot) != tag)
				continue;
			if (touches != NULL)
				(*touches)++;
			if (equal(SPD_SLOT_PTR(slot), key))
				return SPD_SLOT_PTR(slot);
		}
	}
	return NULL;
}

/* A product of both words, folded: each bit of the key moves each bit of the hash. */
static inline uint32_t spd_hash_mix(uint64_t a, uint64_t b, uint64_t seed)
{
	unsigned __int128 m = (unsigned __int128)(a ^ seed ^ 0x9e3779b97f4a7c15ULL) *
			      (b ^ 0xe7037ed1a0b428dbULL);
	uint64_t x = (uint64_t)(m >> 64) ^ (uint64_t)m;

	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ULL;
	return (uint32_t)(x >> 32) ^ (uint32_t)x;
}
