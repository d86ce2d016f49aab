#pragma once

#include <event2/util.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds of the monotonic clock: the engine's time. */
static inline uint64_t clock_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* From now to a deadline of that clock; at least nothing, at most an hour. */
static inline struct timeval clock_until(uint64_t deadline_ms)
{
	const uint64_t now_ms = clock_now_ms();
	uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

	if (left_ms > 3600000)
		left_ms = 3600000;
	return (struct timeval){(time_t)(left_ms / 1000), (suseconds_t)(left_ms % 1000) * 1000};
}
