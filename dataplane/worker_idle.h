#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/port.h"

struct worker;

/*
 * A worker without packets first polls at full speed, so that a packet of a stream is never late;
 * then with pauses; then it sleeps: on descriptors where its queues all have one (sockets,
 * interrupts), else for short times. It is offline for RCU while it sleeps, so that main never
 * waits for it.
 */
struct worker_idle {
	uint64_t since_tsc;           /* of the first empty turn, 0: the last one had packets */
	uint64_t spin_tsc, pause_tsc; /* how long each way of waiting lasts */
	bool can_poll;                /* every queue has a descriptor */
	uint16_t n_fds;
	int fds[PORTS_MAX];  /* sockets */
	uint32_t intr_ports; /* bit n: port n tells of frames by interrupts, through intr_fd */
	int intr_fd;         /* epoll's, -1: there are none */
};

/* After the start of the ports. 0 or -1: no descriptor was left. */
int worker_idle_init(struct worker *w) __attribute__((warn_unused_result));
void worker_idle_fini(struct worker *w);

/* After a turn without packets. */
void worker_idle_wait(struct worker *w);
/* After one with packets. */
static inline void worker_idle_end(struct worker_idle *idle)
{
	idle->since_tsc = 0;
}
