#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Deadlines in a binary heap. A timer is embedded in its owner, which knows its kind. */
struct ike_timer {
	uint64_t at_ms;
	uint32_t pos; /* in the heap, from 1; 0: not set */
	uint32_t kind;
};

struct timer_heap {
	struct ike_timer **heap; /* heap[1..n] */
	uint32_t n, cap;
};

void timer_heap_fini(struct timer_heap *timers);
/* Sets, moves or (at_ms UINT64_MAX) clears. 0, -1 without memory (only when not set before). */
int timer_set(struct timer_heap *timers, struct ike_timer *timer, uint64_t at_ms)
	__attribute__((warn_unused_result));
void timer_clear(struct timer_heap *timers, struct ike_timer *timer);
struct ike_timer *timer_heap_first(const struct timer_heap *timers); /* NULL if none */
