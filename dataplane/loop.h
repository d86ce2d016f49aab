#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Main's event loop: descriptors and timers on epoll. One thread; handlers may add and remove
 * any descriptor or timer, their own included.
 */
struct loop;

typedef void (*loop_fd_fn)(void *ctx, int fd, uint32_t events);
typedef void (*loop_timer_fn)(void *ctx, uint64_t now_ms);

struct loop *loop_create(void); /* NULL: no memory or descriptors */
void loop_destroy(struct loop *l);

/* Watches fd for EPOLL* `events` (level-triggered). 0 or -errno. */
int loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *ctx);
int loop_fd_change(struct loop *l, int fd, uint32_t events);
void loop_fd_remove(struct loop *l, int fd);

/* Calls fn every interval_ms, first after one interval. Returns an id >= 0, or -1. */
int loop_timer_add(struct loop *l, uint32_t interval_ms, loop_timer_fn fn, void *ctx);

/*
 * Called at each turn, before sleeping: `poll` does work that no descriptor announces and
 * returns whether it did any; `sleep` true tells that the loop is about to wait (so that
 * producers must wake it), false that it is awake. If work came after `sleep` true was told,
 * poll returns true and the loop does not wait.
 */
struct loop_hook {
	bool (*poll)(void *ctx);
	void (*sleep)(void *ctx, bool sleeping);
	void *ctx;
};
void loop_hook_set(struct loop *l, const struct loop_hook *hook);

void loop_run(struct loop *l); /* until loop_stop */
void loop_stop(struct loop *l);
uint64_t loop_now_ms(void); /* CLOCK_MONOTONIC */
