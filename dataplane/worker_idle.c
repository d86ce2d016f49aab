#include "dataplane/worker_idle.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_pause.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "dataplane/worker.h"

/*
 * A sleep costs some microseconds of the CPU and delays the next packet as much: a worker that
 * waits in vain for a few times as long loses little, and a stream of packets that come faster
 * finds it awake.
 */
#define IDLE_SPIN_US 10
#define IDLE_PAUSE_US 50
#define IDLE_PAUSE_LOOPS 8
#define SLEEP_POLL_NS 200000000
#define SLEEP_INTR_NS 10000000 /* an interrupt that a device did not send costs this much */
#define SLEEP_BLIND_NS 100000  /* where nothing tells of frames; and ever longer, up to */
#define SLEEP_BLIND_MAX_NS 1000000
#define SLEEP_BLIND_SHARE 64 /* a 64th of the time without packets */

/* Where a queue's interrupt is watched through epoll, which also reads its counter back. */
static bool interrupt_watch(struct worker *w, uint16_t p)
{
	struct worker_idle *idle = &w->idle;

	if (idle->intr_fd < 0 || rte_eth_dev_rx_intr_ctl_q(w->dp->ports[p].id, w->id, idle->intr_fd,
					 RTE_INTR_EVENT_ADD, NULL) < 0)
		return false;
	idle->intr_ports |= 1u << p;
	return true;
}

int worker_idle_init(struct worker *w)
{
	struct worker_idle *idle = &w->idle;

	idle->spin_tsc = rte_get_tsc_hz() / 1000000 * IDLE_SPIN_US;
	idle->pause_tsc = rte_get_tsc_hz() / 1000000 * IDLE_PAUSE_US;
	idle->can_poll = true;
	idle->intr_fd = -1;
	for (uint16_t p = 0; p < w->dp->n_ports; p++) {
		const struct port *port = &w->dp->ports[p];

		if (w->id >= port->n_rxq)
			continue;
		if (port->has_rx_intr && idle->intr_fd < 0) {
			idle->intr_fd = epoll_create1(EPOLL_CLOEXEC);
			if (idle->intr_fd < 0)
				return -1;
		}
		if (port->has_rx_intr)
			idle->can_poll &= interrupt_watch(w, p);
		else if (port->rx_fd[w->id] >= 0)
			idle->fds[idle->n_fds++] = port->rx_fd[w->id];
		else
			idle->can_poll = false;
	}
	return 0;
}

void worker_idle_fini(struct worker *w)
{
	if (w->idle.intr_fd >= 0)
		close(w->idle.intr_fd);
}

static bool rings_have_work(const struct worker *w)
{
	if (!rte_ring_empty(w->from_main))
		return true;
	for (unsigned int from = 0; from < w->dp->n_workers; from++) {
		if (w->handoff[from] && !rte_ring_empty(w->handoff[from]))
			return true;
	}
	return false;
}

/* False if a frame came meanwhile: a device may tell only of those that come from now on. */
static bool interrupts_arm(struct worker *w)
{
	bool is_empty = true;

	for (uint32_t left = w->idle.intr_ports; left; left &= left - 1) {
		uint16_t id = w->dp->ports[__builtin_ctz(left)].id;

		/* A driver without this call needs none: its descriptor tells by itself. */
		(void)rte_eth_dev_rx_intr_enable(id, w->id);
		is_empty &= rte_eth_rx_queue_count(id, w->id) <= 0;
	}
	return is_empty;
}

static void interrupts_disarm(struct worker *w)
{
	struct rte_epoll_event events[PORTS_MAX];

	if (!w->idle.intr_ports)
		return;
	(void)rte_epoll_wait(w->idle.intr_fd, events, PORTS_MAX, 0);
	for (uint32_t left = w->idle.intr_ports; left; left &= left - 1)
		(void)rte_eth_dev_rx_intr_disable(w->dp->ports[__builtin_ctz(left)].id, w->id);
}

/*
 * A device that was set down leaves an error in its packet sockets, and poll(2) returns at once
 * until somebody took it: a worker would spin on it for as long as the device is down.
 */
static void errors_take(const struct pollfd *fds, nfds_t n)
{
	static const struct timespec blind = {.tv_nsec = SLEEP_BLIND_NS};
	bool any = false;

	for (nfds_t i = 0; i < n; i++) {
		if (!(fds[i].revents & (POLLERR | POLLHUP | POLLNVAL)) || fds[i].revents & POLLIN)
			continue;
		(void)recvfrom(fds[i].fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
		any = true;
	}
	if (any)
		nanosleep(&blind, NULL);
}

static long blind_ns(const struct worker *w)
{
	uint64_t idle_us = (rte_rdtsc() - w->idle.since_tsc) / (w->ctx.tsc_hz / 1000000);
	uint64_t ns = idle_us * (1000 / SLEEP_BLIND_SHARE);

	return ns < SLEEP_BLIND_NS       ? SLEEP_BLIND_NS
	       : ns > SLEEP_BLIND_MAX_NS ? SLEEP_BLIND_MAX_NS
					 : (long)ns;
}

/* Whether there may be packets now. */
static bool sleep_on_fds(struct worker *w)
{
	const struct worker_idle *idle = &w->idle;
	struct timespec limit = {.tv_nsec = !idle->can_poll    ? blind_ns(w)
					    : idle->intr_ports ? SLEEP_INTR_NS
							       : SLEEP_POLL_NS};
	struct pollfd fds[PORTS_MAX + 2];
	nfds_t n = 0;
	int n_ready;

	fds[n++] = (struct pollfd){.fd = w->wake_fd, .events = POLLIN};
	if (idle->intr_fd >= 0)
		fds[n++] = (struct pollfd){.fd = idle->intr_fd, .events = POLLIN};
	for (uint16_t i = 0; i < idle->n_fds; i++)
		fds[n++] = (struct pollfd){.fd = idle->fds[i], .events = POLLIN};
	n_ready = ppoll(fds, n, &limit, NULL);
	if (n_ready <= 0)
		return false;
	errors_take(fds, n);
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].revents & POLLIN)
			return true;
	}
	return false;
}

static void sleep_until_work(struct worker *w)
{
	bool is_ready = true;
	uint64_t count;

	atomic_store(&w->is_asleep, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (interrupts_arm(w) && !rings_have_work(w) && !atomic_load(&w->dp->stop)) {
		rte_rcu_qsbr_thread_offline(w->dp->qsbr, w->id);
		is_ready = sleep_on_fds(w);
		rte_rcu_qsbr_thread_online(w->dp->qsbr, w->id);
		w->sleeps++;
	}
	interrupts_disarm(w);
	/* A driver may see the frame a moment after its descriptor told of it. */
	if (is_ready)
		worker_idle_end(&w->idle);
	if (!atomic_exchange(&w->is_asleep, false)) {
		if (read(w->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return;
	}
}

void worker_idle_wait(struct worker *w)
{
	struct worker_idle *idle = &w->idle;
	uint64_t now = rte_rdtsc();

	if (idle->since_tsc == 0)
		idle->since_tsc = now;
	if (atomic_load_explicit(&w->dp->is_spinning, memory_order_relaxed) ||
		now - idle->since_tsc < idle->spin_tsc) {
		rte_pause();
	} else if (now - idle->since_tsc < idle->pause_tsc) {
		for (int i = 0; i < IDLE_PAUSE_LOOPS; i++)
			rte_pause();
	} else {
		sleep_until_work(w);
	}
}
