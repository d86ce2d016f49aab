#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Outbound sequence numbers. They are the IV of counter modes too, so no number may be used
 * twice under a key, not even across a crash: main reserves blocks in a file before any
 * number of a block is used, and a new process starts above the reserved end.
 */
#define SEQNO_BLOCK (UINT64_C(1) << 20)       /* with ESN */
#define SEQNO_BLOCK_SHORT (UINT64_C(1) << 16) /* without */

struct seqno {
	uint64_t next;                 /* first number not used yet; starts at 1 */
	_Atomic uint64_t reserved_end; /* main writes: numbers up to this one may be used */
	uint64_t last;                 /* highest number there is: 2^32-1, or 2^64-1 with ESN */
	uint64_t near_wrap;            /* above this the SA asks to be rekeyed */
	uint64_t block;                /* SEQNO_BLOCK or SEQNO_BLOCK_SHORT */
};

enum seqno_result { SEQNO_OK = 0, SEQNO_EXHAUSTED, SEQNO_NOT_RESERVED };

/* first is 1 for a new SA, or reserved end + 1 of the earlier process. */
void seqno_init(struct seqno *s, bool has_esn, uint64_t first, uint64_t reserved_end);
/* RFC 4303 3.3.3: numbers never cycle. */
static inline enum seqno_result seqno_take(struct seqno *s, uint64_t *out)
{
	uint64_t n = s->next;
	if (n > atomic_load_explicit(&s->reserved_end, memory_order_acquire))
		return n > s->last ? SEQNO_EXHAUSTED : SEQNO_NOT_RESERVED;
	s->next = n + 1;
	*out = n;
	return SEQNO_OK;
}

/* Fewer than half a block is left: main shall reserve the next one. */
static inline bool seqno_wants_block(const struct seqno *s)
{
	uint64_t end = atomic_load_explicit(&s->reserved_end, memory_order_relaxed);
	return end < s->last && s->next + s->block / 2 > end;
}

/* The reserved end to store (first in the file, then by seqno_set_reserved). */
uint64_t seqno_next_end(const struct seqno *s);
void seqno_set_reserved(struct seqno *s, uint64_t end);
