#include "dataplane/spd_hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define N_FIRST 16 /* buckets */

static uint32_t object_hash(const struct spd_hash *h, const void *object)
{
	uint32_t hash;

	memcpy(&hash, (const char *)object + h->hash_offset, sizeof(hash));
	return hash;
}

static uint64_t slot_make(uint32_t hash, const void *object)
{
	assert(((uintptr_t)object >> 48) == 0);
	return (uint64_t)(hash >> 16) << 48 | (uintptr_t)object;
}

static struct spd_bucket *bucket_alloc(size_t n)
{
	struct spd_bucket *b = aligned_alloc(64, n * sizeof(*b));

	if (b != NULL)
		memset(b, 0, n * sizeof(*b));
	return b;
}

static struct spd_buckets *buckets_create(uint32_t n)
{
	struct spd_buckets *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->base = bucket_alloc(n);
	if (b->base == NULL) {
		free(b);
		return NULL;
	}
	b->mask = n - 1;
	return b;
}

static void buckets_destroy(void *arg)
{
	struct spd_buckets *b = arg;

	for (uint32_t i = 0; i <= b->mask; i++) {
		struct spd_bucket *o = atomic_load(&b->base[i].next);

		while (o != NULL) {
			struct spd_bucket *next = atomic_load(&o->next);

			free(o);
			o = next;
		}
	}
	free(b->base);
	free(b);
}

int spd_hash_init(struct spd_hash *h, size_t hash_offset, spd_defer_fn defer, void *defer_ctx)
{
	struct spd_buckets *b = buckets_create(N_FIRST);

	if (b == NULL)
		return -1;
	atomic_init(&h->buckets, b);
	h->n = 0;
	h->hash_offset = hash_offset;
	h->defer = defer;
	h->defer_ctx = defer_ctx;
	return 0;
}

void spd_hash_fini(struct spd_hash *h)
{
	struct spd_buckets *b = atomic_load(&h->buckets);

	if (b != NULL)
		buckets_destroy(b);
	atomic_store(&h->buckets, NULL);
}

/* 0, 1 if a probe of the chain could become too long, or -1 (memory). */
static int bucket_add(struct spd_buckets *b, uint32_t hash, const void *object)
{
	struct spd_bucket *at = &b->base[hash & b->mask], *last = NULL, *fresh;
	_Atomic uint64_t *room = NULL;
	unsigned chain = 0, same_tag = 0;

	for (; at != NULL; last = at, at = atomic_load_explicit(&at->next, memory_order_relaxed)) {
		chain++;
		for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++) {
			uint64_t slot = atomic_load_explicit(&at->slots[i], memory_order_relaxed);

			if (slot != 0)
				same_tag += SPD_SLOT_TAG(slot) == (uint16_t)(hash >> 16);
			else if (room == NULL)
				room = &at->slots[i];
		}
	}
	if (same_tag >= SPD_TAG_MAX)
		return 1;
	if (room != NULL) {
		atomic_store_explicit(room, slot_make(hash, object), memory_order_release);
		return 0;
	}
	if (chain >= SPD_CHAIN_MAX)
		return 1;
	fresh = bucket_alloc(1);
	if (fresh == NULL)
		return -1;
	atomic_store_explicit(&fresh->slots[0], slot_make(hash, object), memory_order_relaxed);
	atomic_store_explicit(&last->next, fresh, memory_order_release);
	b->n_overflow++;
	return 0;
}

/* All objects of `from` go to `to`: 0, 1 (a chain too long), -1 (memory). */
static int buckets_copy(
	const struct spd_hash *h, const struct spd_buckets *from, struct spd_buckets *to)
{
	for (uint32_t i = 0; i <= from->mask; i++) {
		for (struct spd_bucket *b = &from->base[i]; b != NULL; b = atomic_load(&b->next)) {
			for (unsigned s = 0; s < SPD_BUCKET_SLOTS; s++) {
				uint64_t slot = atomic_load(&b->slots[s]);
				int rc;

				if (slot == 0)
					continue;
				rc = bucket_add(
					to, object_hash(h, SPD_SLOT_PTR(slot)), SPD_SLOT_PTR(slot));
				if (rc != 0)
					return rc;
			}
		}
	}
	return 0;
}

/* Readers that are in the old buckets see the table as it was; they are freed after them. */
static int hash_grow(struct spd_hash *h, void *object)
{
	struct spd_buckets *old = atomic_load(&h->buckets), *fresh;
	uint32_t n = (old->mask + 1) * 2;

	for (;; n *= 2) {
		int rc;

		/* Objects whose whole hashes are equal are not parted by any number of buckets. */
		if (n > 1u << 28 || n / 4 > h->n + N_FIRST)
			return -1;
		fresh = buckets_create(n);
		if (fresh == NULL)
			return -1;
		rc = buckets_copy(h, old, fresh);
		if (rc == 0)
			rc = bucket_add(fresh, object_hash(h, object), object);
		if (rc == 0)
			break;
		buckets_destroy(fresh);
		if (rc < 0)
			return -1;
	}
	atomic_store_explicit(&h->buckets, fresh, memory_order_release);
	h->defer(h->defer_ctx, buckets_destroy, old);
	return 0;
}

int spd_hash_add(struct spd_hash *h, void *object)
{
	struct spd_buckets *b = atomic_load(&h->buckets);
	int rc = 1;

	/* At most half of the slots: then nearly all is found in the first bucket. */
	if (h->n < (b->mask + 1) * SPD_BUCKET_SLOTS / 2)
		rc = bucket_add(b, object_hash(h, object), object);
	if (rc > 0)
		rc = hash_grow(h, object);
	if (rc == 0)
		h->n++;
	return rc;
}

static _Atomic uint64_t *slot_of(struct spd_hash *h, const void *object)
{
	struct spd_buckets *buckets = atomic_load(&h->buckets);
	uint32_t hash = object_hash(h, object);

	for (struct spd_bucket *b = &buckets->base[hash & buckets->mask]; b != NULL;
		b = atomic_load(&b->next))
		for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++)
			if (atomic_load(&b->slots[i]) == slot_make(hash, object))
				return &b->slots[i];
	return NULL;
}

void spd_hash_remove(struct spd_hash *h, void *object)
{
	_Atomic uint64_t *slot = slot_of(h, object);

	assert(slot != NULL);
	atomic_store_explicit(slot, 0, memory_order_release);
	h->n--;
}

void spd_hash_replace(struct spd_hash *h, void *before, void *now)
{
	_Atomic uint64_t *slot = slot_of(h, before);

	assert(slot != NULL && object_hash(h, before) == object_hash(h, now));
	atomic_store_explicit(slot, slot_make(object_hash(h, now), now), memory_order_release);
}

uint64_t spd_hash_memory(const struct spd_hash *h)
{
	const struct spd_buckets *b = atomic_load(&h->buckets);

	return ((uint64_t)b->mask + 1 + b->n_overflow) * sizeof(struct spd_bucket);
}
