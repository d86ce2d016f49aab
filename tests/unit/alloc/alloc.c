#include "tests/unit/alloc/alloc.h"

#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The linker's names: __wrap_X is what our objects call, __real_X the C library's. */
void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_aligned_alloc(size_t alignment, size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_reallocarray(void *p, size_t n, size_t len);
void *__wrap_aligned_alloc(size_t alignment, size_t len);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);
void __wrap_free(void *p);

#define SLOTS (1u << 17)

static struct {
	uint64_t count, fail_at;
	size_t n_live;
	bool is_active, has_failed;
} state;
static uintptr_t slots[SLOTS]; /* open hash of live blocks; 1: a removed one */

static size_t slot_of(uintptr_t p)
{
	return (size_t)((p >> 4) * 0x9e3779b97f4a7c15ull >> 40) % SLOTS;
}

static void live_add(void *block)
{
	uintptr_t p = (uintptr_t)block;
	size_t at = slot_of(p);

	while (slots[at] > 1)
		at = (at + 1) % SLOTS;
	slots[at] = p;
	if (++state.n_live > SLOTS / 2) {
		fputs("alloc: too many blocks\n", stderr);
		abort();
	}
}

static void live_remove(void *block)
{
	uintptr_t p = (uintptr_t)block;

	for (size_t at = slot_of(p); slots[at] != 0; at = (at + 1) % SLOTS) {
		if (slots[at] != p)
			continue;
		slots[at] = slots[(at + 1) % SLOTS] == 0 ? 0 : 1;
		state.n_live--;
		return;
	}
}

/* True: this one fails. */
static bool step(void)
{
	if (!state.is_active || ++state.count != state.fail_at)
		return false;
	state.has_failed = true;
	if (getenv("PENSTOCK_ALLOC_AT")) {
		void *frames[24];

		state.is_active = false;
		backtrace_symbols_fd(frames, backtrace(frames, 24), 2);
		state.is_active = true;
	}
	errno = ENOMEM;
	return true;
}

static void *made(void *p)
{
	if (p && state.is_active)
		live_add(p);
	return p;
}

void *__wrap_malloc(size_t len)
{
	return step() ? NULL : made(__real_malloc(len));
}

void *__wrap_calloc(size_t n, size_t len)
{
	return step() ? NULL : made(__real_calloc(n, len));
}

void *__wrap_aligned_alloc(size_t alignment, size_t len)
{
	return step() ? NULL : made(__real_aligned_alloc(alignment, len));
}

void *__wrap_realloc(void *p, size_t len)
{
	void *q;

	if (step())
		return NULL;
	if (p)
		live_remove(p);
	q = __real_realloc(p, len);
	return made(q);
}

void *__wrap_reallocarray(void *p, size_t n, size_t len)
{
	size_t total;

	if (__builtin_mul_overflow(n, len, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return __wrap_realloc(p, total);
}

char *__wrap_strndup(const char *text, size_t max)
{
	size_t len = strnlen(text, max);
	char *copy = __wrap_malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *__wrap_strdup(const char *text)
{
	return __wrap_strndup(text, strlen(text));
}

void __wrap_free(void *p)
{
	if (p)
		live_remove(p);
	__real_free(p);
}

void alloc_reset(uint64_t fail_at)
{
	memset(slots, 0, sizeof(slots));
	memset(&state, 0, sizeof(state));
	state.fail_at = fail_at;
}

void alloc_begin(void)
{
	state.is_active = true;
}

void alloc_end(void)
{
	state.is_active = false;
}

bool alloc_failed(void)
{
	return state.has_failed;
}

uint64_t alloc_count(void)
{
	return state.count;
}

size_t alloc_live(void)
{
	return state.n_live;
}
