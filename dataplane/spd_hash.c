#include "dataplane/spd_hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define N_FIRST 16  /* buckets */
#define MORE_PART 8 /* one bucket for chains for so many */
#define HUGE_PAGE ((size_t)2 << 20)

static uint32_t object_hash(const struct spd_hash *h, const void *object)
{
	uint32_t hash;

	memcpy(&hash, (const char *)object + h->hash_offset, sizeof(hash));
	return hash;
}

/* Large tables ask for huge pages: a look-up then misses the TLB less often than the cache. */
static struct spd_bucket *bucket_alloc(size_t size)
{
	struct spd_bucket *b = aligned_alloc(size >= HUGE_PAGE ? HUGE_PAGE : 64, size);

	if (b == NULL)
		return NULL;
#ifdef MADV_HUGEPAGE
	if (size >= HUGE_PAGE)
		(void)madvise(b, size, MADV_HUGEPAGE);
#endif
	memset(b, 0, size);
	return b;
}

static struct spd_buckets *buckets_create(uint32_t n)
{
	struct spd_buckets *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->mask = n - 1;
	b->n_more = n / MORE_PART;
	b->size = ((size_t)n + b->n_more) * sizeof(*b->base) + n * sizeof(*b->filter);
	b->size = (b->size + sizeof(*b->base) - 1) / sizeof(*b->base) * sizeof(*b->base);
	if (b->size > HUGE_PAGE)
		b->size = (b->size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	b->base = bucket_alloc(b->size);
	if (b->base == NULL) {
		free(b);
		return NULL;
	}
	b->filter = (_Atomic uint64_t *)(b->base + n + b->n_more);
	return b;
}

static void buckets_destroy(void *arg)
{
	struct spd_buckets *b = arg;

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

static uint16_t slot_tag(const struct spd_bucket *b, unsigned slot)
{
	return atomic_load_explicit(&b->tags[slot / 4], memory_order_relaxed) >> slot % 4 * 16;
}

static void slot_tag_set(struct spd_bucket *b, unsigned slot, uint16_t tag)
{
	uint64_t word = atomic_load_explicit(&b->tags[slot / 4], memory_order_relaxed);
	unsigned shift = slot % 4 * 16;

	word = (word & ~((uint64_t)0xffff << shift)) | (uint64_t)tag << shift;
	atomic_store_explicit(&b->tags[slot / 4], word, memory_order_release);
}

static uint32_t bucket_more(const struct spd_bucket *b)
{
	return atomic_load_explicit(&b->tags[1], memory_order_relaxed) >> 32;
}

static void slot_fill(struct spd_bucket *b, unsigned slot, uint32_t hash, void *object)
{
	atomic_store_explicit(&b->objects[slot], object, memory_order_release);
	slot_tag_set(b, slot, spd_hash_tag(hash));
}

/* Before the object can be found, and after it cannot be found any more. */
static void filter_set(struct spd_buckets *b, uint32_t hash, uint64_t word)
{
	atomic_store_explicit(&b->filter[hash & b->mask], word, memory_order_release);
}

static void filter_add(struct spd_buckets *b, uint32_t hash)
{
	filter_set(b, hash,
		atomic_load_explicit(&b->filter[hash & b->mask], memory_order_relaxed) |
			spd_filter_bit(hash));
}

/* Tags are the upper half of hashes, but 1 for 0. */
static void filter_remake(struct spd_buckets *b, uint32_t hash)
{
	const struct spd_bucket *at = spd_bucket_at(b, hash);
	uint64_t word = 0;

	for (;; at = &b->base[b->mask + bucket_more(at)]) {
		for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++) {
			uint16_t tag = slot_tag(at, i);

			if (tag != 0)
				word |= spd_filter_bit((uint32_t)tag << 16);
			if (tag == 1)
				word |= spd_filter_bit(0);
		}
		if (bucket_more(at) == 0)
			break;
	}
	filter_set(b, hash, word);
}

/* A further bucket with the object in it. 0, or 1 when there is none left. */
static int chain_extend(struct spd_buckets *b, struct spd_bucket *last, uint32_t hash, void *object)
{
	struct spd_bucket *fresh;
	uint64_t word;

	if (b->n_more_used == b->n_more)
		return 1;
	filter_add(b, hash);
	fresh = &b->base[b->mask + ++b->n_more_used];
	slot_fill(fresh, 0, hash, object);
	word = atomic_load_explicit(&last->tags[1], memory_order_relaxed);
	atomic_store_explicit(
		&last->tags[1], word | (uint64_t)b->n_more_used << 32, memory_order_release);
	return 0;
}

/* 0, or 1 if a probe of the chain could become too long. */
static int bucket_add(struct spd_buckets *b, uint32_t hash, void *object)
{
	struct spd_bucket *at = spd_bucket_at(b, hash), *room = NULL;
	unsigned chain = 1, same_tag = 0, room_slot = 0;

	for (;; at = &b->base[b->mask + bucket_more(at)], chain++) {
		for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++) {
			uint16_t tag = slot_tag(at, i);

			same_tag += tag == spd_hash_tag(hash);
			if (tag == 0 && room == NULL) {
				room = at;
				room_slot = i;
			}
		}
		if (bucket_more(at) == 0)
			break;
	}
	if (same_tag >= SPD_TAG_MAX)
		return 1;
	if (room != NULL) {
		filter_add(b, hash);
		slot_fill(room, room_slot, hash, object);
		return 0;
	}
	return chain >= SPD_CHAIN_MAX ? 1 : chain_extend(b, at, hash, object);
}

/* All objects of `from` go to `to`: 0, or 1 (a chain too long). */
static int buckets_copy(
	const struct spd_hash *h, const struct spd_buckets *from, struct spd_buckets *to)
{
	for (size_t i = 0; i < (size_t)from->mask + 1 + from->n_more_used; i++) {
		for (unsigned s = 0; s < SPD_BUCKET_SLOTS; s++) {
			void *object = atomic_load(&from->base[i].objects[s]);

			if (slot_tag(&from->base[i], s) != 0 &&
				bucket_add(to, object_hash(h, object), object) != 0)
				return 1;
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
		/* Objects whose whole hashes are equal are not parted by any number of buckets. */
		if (n > 1u << 28 || n / 4 > h->n + N_FIRST)
			return -1;
		fresh = buckets_create(n);
		if (fresh == NULL)
			return -1;
		if (buckets_copy(h, old, fresh) == 0 &&
			bucket_add(fresh, object_hash(h, object), object) == 0)
			break;
		buckets_destroy(fresh);
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
	if (h->n < (b->mask + 1) * (SPD_BUCKET_SLOTS / 2))
		rc = bucket_add(b, object_hash(h, object), object);
	if (rc > 0)
		rc = hash_grow(h, object);
	if (rc == 0)
		h->n++;
	return rc;
}

static struct spd_bucket *bucket_of(struct spd_hash *h, const void *object, unsigned *slot)
{
	struct spd_buckets *b = atomic_load(&h->buckets);
	struct spd_bucket *at = spd_bucket_at(b, object_hash(h, object));

	for (;; at = &b->base[b->mask + bucket_more(at)]) {
		for (unsigned i = 0; i < SPD_BUCKET_SLOTS; i++) {
			if (slot_tag(at, i) != 0 && atomic_load(&at->objects[i]) == object) {
				*slot = i;
				return at;
			}
		}
		if (bucket_more(at) == 0)
			return NULL;
	}
}

void spd_hash_remove(struct spd_hash *h, void *object)
{
	unsigned slot = 0;
	struct spd_bucket *b = bucket_of(h, object, &slot);

	assert(b != NULL);
	slot_tag_set(b, slot, 0);
	filter_remake(atomic_load(&h->buckets), object_hash(h, object));
	h->n--;
}

void spd_hash_replace(struct spd_hash *h, void *before, void *now)
{
	unsigned slot = 0;
	struct spd_bucket *b = bucket_of(h, before, &slot);

	assert(b != NULL && object_hash(h, before) == object_hash(h, now));
	atomic_store_explicit(&b->objects[slot], now, memory_order_release);
}

uint64_t spd_hash_memory(const struct spd_hash *h)
{
	return atomic_load(&h->buckets)->size;
}
