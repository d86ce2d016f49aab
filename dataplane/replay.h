#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * RFC 4303 3.4.3 and appendix A: the anti-replay window, and the inference of the high half of
 * extended sequence numbers. Pure: one owner worker calls it, no time, no allocation.
 *
 * The window is a ring of 64-bit words, one word more than the window needs, so that moving it
 * clears whole words.
 */
#define REPLAY_WINDOW_MIN 64
#define REPLAY_WINDOW_MAX 4096
#define REPLAY_WINDOW_DEFAULT 1024

struct replay {
	uint64_t top;    /* highest number accepted; 0: none yet */
	uint64_t floor;  /* numbers up to this one are refused: what an earlier process of espd may
			  * have accepted (0: none) */
	uint64_t *words; /* replay_words(window) of them, by the caller */
	/* Where the top is kept beyond the process; written at least every half window (the store
	 * interval), before the packet that moved it goes on. NULL: nowhere. */
	uint64_t *stored_top;
	uint64_t stored; /* last value written there */
	uint32_t window; /* packets; 0: no check at all (manual SAs) */
	uint32_t word_mask;
	bool has_esn;
};

/* What the check says. */
enum replay_verdict { REPLAY_OK = 0, REPLAY_OLD, REPLAY_SEEN, REPLAY_HELD };

/* Rounds a configured window to one that can be had: a power of two, 64 to 4096. */
uint32_t replay_window_round(uint32_t window);
/* How many words replay.words needs. */
uint32_t replay_words(uint32_t window);
/*
 * words: zeroed memory for replay_words(window). After a restart `floor` is the stored top plus
 * the store interval; else 0. stored_top may be NULL.
 */
void replay_init(struct replay *r, uint32_t window, bool has_esn, uint64_t *words, uint64_t floor,
	uint64_t *stored_top);
/* How much the stored top may lag behind: what is added to it after a restart. */
uint32_t replay_store_interval(uint32_t window);

/* Asks for the words where the window moves. */
static inline void replay_prefetch(const struct replay *r)
{
	if (r->window)
		__builtin_prefetch(&r->words[r->top / 64 & r->word_mask], 1);
}
/* RFC 4303 A2.2: the full number that a packet with these low 32 bits must have. */
uint64_t replay_infer(const struct replay *r, uint32_t seq_lo);
/* Before the ICV: is the number acceptable? Changes nothing. */
enum replay_verdict replay_check(const struct replay *r, uint64_t seq);
/*
 * After the ICV was right: checks again (the burst may have held a copy), marks the number and
 * moves the window. *advanced: the number is the new top.
 */
enum replay_verdict replay_update(struct replay *r, uint64_t seq, bool *advanced);
