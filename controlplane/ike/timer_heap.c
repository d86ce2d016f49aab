#include "controlplane/ike/timer_heap.h"

#include <stdlib.h>

void timer_heap_fini(struct timer_heap *timers)
{
	free(timers->heap);
	*timers = (struct timer_heap){0};
}

static void place(struct timer_heap *timers, struct ike_timer *timer, uint32_t pos)
{
	timers->heap[pos] = timer;
	timer->pos = pos;
}

static void sift(struct timer_heap *timers, struct ike_timer *timer, uint32_t pos)
{
	while (pos > 1 && timers->heap[pos / 2]->at_ms > timer->at_ms) {
		place(timers, timers->heap[pos / 2], pos);
		pos /= 2;
	}
	for (;;) {
		uint32_t child = pos * 2;

		if (child > timers->n)
			break;
		if (child < timers->n &&
			timers->heap[child + 1]->at_ms < timers->heap[child]->at_ms)
			child++;
		if (timers->heap[child]->at_ms >= timer->at_ms)
			break;
		place(timers, timers->heap[child], pos);
		pos = child;
	}
	place(timers, timer, pos);
}

int timer_set(struct timer_heap *timers, struct ike_timer *timer, uint64_t at_ms)
{
	if (at_ms == UINT64_MAX) {
		timer_clear(timers, timer);
		return 0;
	}
	timer->at_ms = at_ms;
	if (timer->pos) {
		sift(timers, timer, timer->pos);
		return 0;
	}
	if (timers->n + 2 > timers->cap) {
		uint32_t cap = timers->cap ? timers->cap * 2 : 64;
		struct ike_timer **heap = realloc(timers->heap, cap * sizeof(struct ike_timer *));

		if (!heap)
			return -1;
		timers->heap = heap;
		timers->cap = cap;
	}
	sift(timers, timer, ++timers->n);
	return 0;
}

void timer_clear(struct timer_heap *timers, struct ike_timer *timer)
{
	if (!timer->pos)
		return;
	uint32_t pos = timer->pos;
	struct ike_timer *last = timers->heap[timers->n--];

	timer->pos = 0;
	if (last != timer)
		sift(timers, last, pos);
}

struct ike_timer *timer_heap_first(const struct timer_heap *timers)
{
	return timers->n ? timers->heap[1] : NULL;
}
