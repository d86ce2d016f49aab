#pragma once

#include <stdbool.h>
#include <stdint.h>

struct port;

/*
 * What a worker may sleep on until frames wait at a queue of a port: the packet or XDP socket that
 * DPDK's driver opened for it, or the descriptor of the device's interrupt.
 */

#define PORT_FDS_MAX                                                                 \
	4096 /* descriptors beyond are not looked at: such a queue is polled blindly \
	      */

/* XDP sockets that were open at a moment: bit n is descriptor n. */
struct port_fds {
	uint64_t bits[PORT_FDS_MAX / 64];
};

/*
 * The kernel names the device of a packet socket, but not that of an XDP socket: the one that is
 * new after a queue was set up is the queue's.
 */
void port_fds_before(struct port_fds *seen);
/* The XDP socket that was not there before, -1 if there is none. */
int port_fds_new(const struct port_fds *before);

/*
 * After the port's start, with the sockets of its queues that port_fds_new found already in
 * p->rx_fd: finds packet sockets and interrupts.
 */
void port_fds_find(struct port *p);

/*
 * Frames lost since the start because a socket's ring was full: DPDK's drivers do not read that
 * counter, so a worker that is too slow would lose frames unseen. For main alone.
 */
uint64_t port_ring_drops(struct port *p);
