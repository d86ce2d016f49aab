#include "shared/secret.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/wipe.h"

/* An address sanitizer shall see what is done with freed objects here too. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_WATCHED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define IS_WATCHED 1
#endif
#ifdef IS_WATCHED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, len) ((void)(p), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(p, len) ((void)(p), (void)(len))
#endif

#define STEP 16          /* object sizes are multiples of it */
#define CLASSES 256      /* of up to 4096 bytes; longer ones have pages of their own */
#define SLAB_LEN 65536   /* taken at a time; what is not used yet costs addresses only */
#define SLAB_HEADER STEP /* a slab begins with the link to the next one */

struct object {
	struct object *next;
};

struct slab {
	struct slab *next;
};

struct secrets {
	struct slab *slabs;
	struct object *first[CLASSES], *last[CLASSES]; /* unused, longest unused first */
	uint8_t *fresh; /* what no object has used yet, of the newest slab */
	size_t fresh_len;
};

static size_t pages_len(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (len + page - 1) / page * page;
}

void *secret_pages_alloc(size_t len)
{
	size_t all = pages_len(len);
	void *p;

	if (len == 0 || all < len)
		return NULL;
	p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, all, MADV_DONTDUMP) < 0) {
		munmap(p, all);
		return NULL;
	}
	/* Beyond RLIMIT_MEMLOCK keys are not worth less: they may then be swapped out. */
	(void)mlock2(p, all, MLOCK_ONFAULT);
	return p;
}

void secret_pages_free(void *p, size_t len)
{
	if (!p)
		return;
	wipe(p, len);
	munmap(p, pages_len(len));
}

void secret_pages_hide(void *p, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)p + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)p + len) / page * page;

	if (from < to)
		(void)madvise((void *)from, to - from, MADV_DONTDUMP);
}

struct secrets *secrets_create(void)
{
	return calloc(1, sizeof(struct secrets));
}

void secrets_destroy(struct secrets *s)
{
	if (!s)
		return;
	while (s->slabs) {
		struct slab *slab = s->slabs;

		s->slabs = slab->next;
		ASAN_UNPOISON_MEMORY_REGION(slab, SLAB_LEN);
		secret_pages_free(slab, SLAB_LEN);
	}
	free(s);
}

static size_t class_of(size_t len)
{
	return len == 0 ? 0 : (len - 1) / STEP;
}

/* The rest of the slab before is lost: less than one object. */
static void *fresh_take(struct secrets *s, size_t size)
{
	uint8_t *at;

	if (s->fresh_len < size) {
		struct slab *slab = secret_pages_alloc(SLAB_LEN);

		if (!slab)
			return NULL;
		slab->next = s->slabs;
		s->slabs = slab;
		s->fresh = (uint8_t *)slab + SLAB_HEADER;
		s->fresh_len = SLAB_LEN - SLAB_HEADER;
		ASAN_POISON_MEMORY_REGION(s->fresh, s->fresh_len);
	}
	at = s->fresh;
	s->fresh += size;
	s->fresh_len -= size;
	return at;
}

void *secrets_alloc(struct secrets *s, size_t len)
{
	size_t class = class_of(len);
	struct object *o;

	if (class >= CLASSES)
		return secret_pages_alloc(len);
	o = s->first[class];
	if (!o) {
		o = fresh_take(s, (class + 1) * STEP);
		if (o)
			ASAN_UNPOISON_MEMORY_REGION(o, len);
		return o;
	}
	ASAN_UNPOISON_MEMORY_REGION(o, sizeof(*o));
	s->first[class] = o->next;
	o->next = NULL;
	ASAN_POISON_MEMORY_REGION(o, sizeof(*o));
	ASAN_UNPOISON_MEMORY_REGION(o, len);
	return o;
}

static void unused_append(struct secrets *s, size_t class, struct object *o)
{
	struct object *last = s->last[class];

	if (s->first[class]) {
		ASAN_UNPOISON_MEMORY_REGION(last, sizeof(*last));
		last->next = o;
		ASAN_POISON_MEMORY_REGION(last, sizeof(*last));
	} else {
		s->first[class] = o;
	}
	s->last[class] = o;
	ASAN_POISON_MEMORY_REGION(o, (class + 1) * STEP);
}

void secrets_free(struct secrets *s, void *p, size_t len)
{
	size_t class = class_of(len);

	if (!p)
		return;
	if (class >= CLASSES) {
		secret_pages_free(p, len);
		return;
	}
	wipe(p, len);
	unused_append(s, class, p);
}
