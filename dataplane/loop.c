#include "dataplane/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define TIMERS_MAX 16
#define EVENTS_A_TURN 64

struct loop_fd {
	int fd;
	loop_fd_fn fn;
	void *ctx;
	bool removed; /* freed after the turn: epoll_wait may have returned it already */
	struct loop_fd *next;
};

struct loop_timer {
	uint64_t due_ms;
	uint32_t interval_ms;
	loop_timer_fn fn;
	void *ctx;
};

struct loop {
	int epfd;
	bool stop;
	struct loop_fd *fds;
	struct loop_timer timers[TIMERS_MAX];
	int n_timers;
	struct loop_hook hook;
};

struct loop *loop_create(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		free(l);
		return NULL;
	}
	return l;
}

static void removed_free(struct loop *l, bool all)
{
	struct loop_fd **p = &l->fds;

	while (*p) {
		struct loop_fd *f = *p;

		if (all || f->removed) {
			*p = f->next;
			free(f);
		} else {
			p = &f->next;
		}
	}
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	removed_free(l, true);
	close(l->epfd);
	free(l);
}

static struct loop_fd *fd_find(struct loop *l, int fd)
{
	for (struct loop_fd *f = l->fds; f; f = f->next) {
		if (f->fd == fd && !f->removed)
			return f;
	}
	return NULL;
}

int loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *ctx)
{
	struct loop_fd *f = calloc(1, sizeof(*f));
	struct epoll_event ev = {.events = events, .data.ptr = f};

	if (!f)
		return -ENOMEM;
	*f = (struct loop_fd){.fd = fd, .fn = fn, .ctx = ctx, .next = l->fds};
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int err = errno;

		free(f);
		return -err;
	}
	l->fds = f;
	return 0;
}

int loop_fd_change(struct loop *l, int fd, uint32_t events)
{
	struct loop_fd *f = fd_find(l, fd);
	struct epoll_event ev = {.events = events, .data.ptr = f};

	if (!f)
		return -ENOENT;
	return epoll_ctl(l->epfd, EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
}

void loop_fd_remove(struct loop *l, int fd)
{
	struct loop_fd *f = fd_find(l, fd);

	if (!f)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, fd, NULL);
	f->removed = true;
}

int loop_timer_add(struct loop *l, uint32_t interval_ms, loop_timer_fn fn, void *ctx)
{
	if (l->n_timers == TIMERS_MAX || interval_ms == 0)
		return -1;
	l->timers[l->n_timers] = (struct loop_timer){
		.due_ms = loop_now_ms() + interval_ms,
		.interval_ms = interval_ms,
		.fn = fn,
		.ctx = ctx,
	};
	return l->n_timers++;
}

void loop_hook_set(struct loop *l, const struct loop_hook *hook)
{
	l->hook = *hook;
}

/* Runs what is due; returns the milliseconds until the next, -1 without timers. */
static int timers_run(struct loop *l)
{
	uint64_t now = loop_now_ms(), next = UINT64_MAX;

	for (int i = 0; i < l->n_timers; i++) {
		struct loop_timer *t = &l->timers[i];

		if (now >= t->due_ms) {
			t->fn(t->ctx, now);
			t->due_ms += t->interval_ms;
			if (t->due_ms <= now) /* fell behind: no burst of catching up */
				t->due_ms = now + t->interval_ms;
		}
		if (t->due_ms < next)
			next = t->due_ms;
	}
	now = loop_now_ms();
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)(next - now);
}

/* Tells the hook that the loop sleeps and returns the timeout that is right after that. */
static int sleep_enter(struct loop *l, int timeout_ms)
{
	if (!l->hook.poll)
		return timeout_ms;
	if (l->hook.poll(l->hook.ctx))
		return 0;
	l->hook.sleep(l->hook.ctx, true);
	return l->hook.poll(l->hook.ctx) ? 0 : timeout_ms;
}

void loop_run(struct loop *l)
{
	struct epoll_event ev[EVENTS_A_TURN];

	while (!l->stop) {
		int timeout = sleep_enter(l, timers_run(l));
		int n = l->stop ? 0 : epoll_wait(l->epfd, ev, EVENTS_A_TURN, timeout);

		if (l->hook.sleep)
			l->hook.sleep(l->hook.ctx, false);
		for (int i = 0; i < n; i++) {
			struct loop_fd *f = ev[i].data.ptr;

			if (!f->removed)
				f->fn(f->ctx, f->fd, ev[i].events);
		}
		removed_free(l, false);
	}
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

uint64_t loop_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
