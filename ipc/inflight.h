#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Which command numbers are under way: a window over ascending numbers that begins at the oldest
 * unfinished one. Finishing may come in any order; each number finishes once. Used by both ends.
 */
#define INFLIGHT_FAILED_KEPT 1024

struct inflight {
	uint8_t *slot; /* by number & mask: 0 free, else 1 + type (types are below 255) */
	uint32_t mask;
	uint64_t low, next; /* low: oldest unfinished; next: the number after the newest */
	uint32_t count;
	uint64_t failed[INFLIGHT_FAILED_KEPT]; /* the last numbers that failed */
	uint32_t n_failed;
};

enum inflight_state { INFLIGHT_DONE, INFLIGHT_PENDING, INFLIGHT_FAILED };

/* The window is four times max (rounded up): one slow command does not stop the others soon. */
int inflight_init(struct inflight *f, uint32_t max) __attribute__((warn_unused_result));
void inflight_fini(struct inflight *f);
void inflight_reset(struct inflight *f); /* forgets all */
bool inflight_has_room(const struct inflight *f);
uint32_t inflight_count(const struct inflight *f);
/* number is the first ever after init or reset, or the one after the last. Needs room. */
void inflight_start(struct inflight *f, uint64_t number, uint32_t type);
/* False: not under way (unknown, or finished before). */
bool inflight_finish(struct inflight *f, uint64_t number, bool is_failed, uint32_t *type);
/* Of a number a datagram waits for; beyond last (the newest taken) it is still to come. */
enum inflight_state inflight_state(const struct inflight *f, uint64_t number, uint64_t last);
