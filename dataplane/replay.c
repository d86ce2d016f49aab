#include "dataplane/replay.h"

#include <string.h>

uint32_t replay_window_round(uint32_t window)
{
	uint32_t w = REPLAY_WINDOW_MIN;
	while (w < window && w < REPLAY_WINDOW_MAX)
		w *= 2;
	return w;
}

/* Twice the window: a power of two for the mask, and at least one word to spare. */
uint32_t replay_words(uint32_t window)
{
	return window == 0 ? 0 : replay_window_round(window) / 64 * 2;
}

uint32_t replay_store_interval(uint32_t window)
{
	return window == 0 ? 0 : replay_window_round(window) / 2;
}

void replay_init(struct replay *r, uint32_t window, bool has_esn, uint64_t *words, uint64_t floor,
	uint64_t *stored_top)
{
	memset(r, 0, sizeof(*r));
	r->window = window == 0 ? 0 : replay_window_round(window);
	r->word_mask = window == 0 ? 0 : replay_words(window) - 1;
	r->words = words;
	r->has_esn = has_esn;
	/* The window stands at the floor, so that the high half is inferred from it. */
	r->floor = r->top = floor;
	r->stored_top = window == 0 ? NULL : stored_top;
	r->stored = r->stored_top ? *stored_top : 0;
}

uint64_t replay_infer(const struct replay *r, uint32_t seq_lo)
{
	if (!r->has_esn)
		return seq_lo;
	uint32_t window = r->window ? r->window : REPLAY_WINDOW_MAX;
	uint32_t top_lo = (uint32_t)r->top, top_hi = (uint32_t)(r->top >> 32);
	uint32_t bottom = top_lo - window + 1; /* modulo 2^32 */
	uint32_t hi;
	if (top_lo >= window - 1) {
		/* RFC 4303 A2.2 case A: the window lies in one subspace. */
		hi = seq_lo >= bottom ? top_hi : top_hi + 1;
		if (hi < top_hi)
			return 0; /* beyond the last number: never acceptable */
	} else {
		/* RFC 4303 A2.2 case B: the window spans two subspaces. */
		if (seq_lo < bottom)
			hi = top_hi;
		else if (top_hi > 0)
			hi = top_hi - 1;
		else
			return 0; /* before the first number */
	}
	return (uint64_t)hi << 32 | seq_lo;
}

enum replay_verdict replay_check(const struct replay *r, uint64_t seq)
{
	if (r->window == 0)
		return REPLAY_OK;
	/* RFC 4303 3.3.3: the first number is 1, so 0 is never sent. */
	if (seq == 0)
		return REPLAY_OLD;
	if (seq <= r->floor)
		return REPLAY_HELD;
	if (seq > r->top)
		return REPLAY_OK;
	if (r->top - seq >= r->window)
		return REPLAY_OLD;
	uint64_t word = r->words[seq / 64 & r->word_mask];
	return word >> (seq & 63) & 1 ? REPLAY_SEEN : REPLAY_OK;
}

/* Clears the words that the window enters when its top moves to seq. */
static void window_move(struct replay *r, uint64_t seq)
{
	uint64_t from = r->top / 64, to = seq / 64;
	if (to - from > r->word_mask)
		from = to - r->word_mask - 1;
	while (from < to)
		r->words[++from & r->word_mask] = 0;
	r->top = seq;
}

enum replay_verdict replay_update(struct replay *r, uint64_t seq, bool *advanced)
{
	*advanced = false;
	enum replay_verdict v = replay_check(r, seq);
	if (v != REPLAY_OK)
		return v;
	*advanced = seq > r->top;
	if (r->window == 0) {
		if (*advanced)
			r->top = seq;
		return REPLAY_OK;
	}
	if (*advanced)
		window_move(r, seq);
	r->words[seq / 64 & r->word_mask] |= UINT64_C(1) << (seq & 63);
	/* Before the packet leaves this stage: what was accepted is always below the stored top
	 * plus the interval, whenever the process dies. */
	if (r->stored_top && r->top - r->stored >= r->window / 2) {
		r->stored = r->top;
		__atomic_store_n(r->stored_top, r->top, __ATOMIC_RELEASE);
	}
	return REPLAY_OK;
}
