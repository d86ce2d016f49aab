#include "dataplane/port_fds.h"

#include <ctype.h>
#include <dirent.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_ethdev.h>

#include "dataplane/port.h"

/* Calls fn for each open descriptor, ascending, until it returns false. */
static void fds_walk(bool (*fn)(void *ctx, int fd), void *ctx)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (isdigit((unsigned char)e->d_name[0]) && !fn(ctx, atoi(e->d_name)))
			break;
	}
	if (dir)
		closedir(dir);
}

static bool xdp_note(void *ctx, int fd)
{
	struct port_fds *seen = ctx;
	int domain;
	socklen_t len = sizeof(domain);

	if (fd < PORT_FDS_MAX && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
		domain == AF_XDP)
		seen->bits[fd / 64] |= UINT64_C(1) << fd % 64;
	return true;
}

void port_fds_before(struct port_fds *seen)
{
	memset(seen, 0, sizeof(*seen));
	fds_walk(xdp_note, seen);
}

int port_fds_new(const struct port_fds *before)
{
	struct port_fds now;

	port_fds_before(&now);
	for (int i = 0; i < PORT_FDS_MAX / 64; i++) {
		uint64_t fresh = now.bits[i] & ~before->bits[i];

		if (fresh)
			return i * 64 + __builtin_ctzll(fresh);
	}
	return -1;
}

/* DPDK's driver opens packet sockets in the order of the queues. */
static bool packet_note(void *ctx, int fd)
{
	struct port *p = ctx;
	struct sockaddr_ll ll = {0};
	socklen_t len = sizeof(ll);

	if (getsockname(fd, (struct sockaddr *)&ll, &len) == 0 && ll.sll_family == AF_PACKET &&
		ll.sll_ifindex == (int)p->netdev_ifindex)
		p->rx_fd[p->n_packet_fds++] = fd;
	return p->n_packet_fds < p->n_rxq;
}

static void interrupts_find(struct port *p)
{
	for (uint16_t q = 0; q < p->n_rxq; q++)
		p->rx_fd[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, q);
}

void port_fds_find(struct port *p)
{
	if (p->kind == PORT_AF_PACKET)
		fds_walk(packet_note, p);
	else if (p->has_rx_intr)
		interrupts_find(p);
}

static uint64_t packet_drops(int fd)
{
	struct tpacket_stats stats = {0};
	socklen_t len = sizeof(stats);

	/* Reading sets the kernel's counter back to zero. */
	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0 ? stats.tp_drops
										: 0;
}

/*
 * What found the receive ring full. What found no buffer is in rx_dropped, which the driver reports
 * as missed; rx_fill_ring_empty_descs counts looks into the empty ring and no frames, and a
 * device in zero-copy mode looks without having one.
 */
static uint64_t xdp_drops(int fd)
{
	struct xdp_statistics stats = {0};
	socklen_t len = sizeof(stats);

	return getsockopt(fd, SOL_XDP, XDP_STATISTICS, &stats, &len) == 0 ? stats.rx_ring_full : 0;
}

uint64_t port_ring_drops(struct port *p)
{
	uint64_t xdp = 0;

	for (uint16_t q = 0; q < p->n_rxq; q++) {
		if (p->rx_fd[q] < 0)
			continue;
		if (p->kind == PORT_AF_PACKET)
			p->ring_drops += packet_drops(p->rx_fd[q]);
		else if (p->kind == PORT_AF_XDP)
			xdp += xdp_drops(p->rx_fd[q]);
	}
	return p->kind == PORT_AF_XDP ? xdp : p->ring_drops;
}
