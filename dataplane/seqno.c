#include "dataplane/seqno.h"

#include <stdatomic.h>

void seqno_init(struct seqno *s, bool has_esn, uint64_t first, uint64_t reserved_end)
{
	s->next = first ? first : 1;
	s->last = has_esn ? UINT64_MAX - 1 : UINT32_MAX;
	/* An eighth of the short space is 54 s at ten million packets a second. */
	s->near_wrap = has_esn ? s->last - UINT32_MAX : s->last - s->last / 8;
	s->block = has_esn ? SEQNO_BLOCK : SEQNO_BLOCK_SHORT;
	seqno_set_reserved(s, reserved_end);
}

uint64_t seqno_next_end(const struct seqno *s)
{
	uint64_t end = atomic_load_explicit(&s->reserved_end, memory_order_relaxed);
	if (end < s->next)
		end = s->next - 1;
	return s->last - end < s->block ? s->last : end + s->block;
}

void seqno_set_reserved(struct seqno *s, uint64_t end)
{
	atomic_store_explicit(
		&s->reserved_end, end > s->last ? s->last : end, memory_order_release);
}
