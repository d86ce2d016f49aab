#include "dataplane/port.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/netlink.h"

#define LINK_HEADERS (RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN)
#define RING_HEADERS 96 /* TPACKET2_HDRLEN and room that the kernel aligns with */
#define RING_SMALL_SLOT 2048
#define RING_SMALL_MTU 1900
#define RING_BYTES (8u << 20) /* of each of the two rings of a queue */

static bool is_driver(const char *device, const char *driver)
{
	return strncmp(device, driver, strlen(driver)) == 0;
}

bool port_is_af_xdp(const char *device)
{
	return is_driver(device, "net_af_xdp");
}

bool port_is_pci(const struct port_config *c)
{
	return isxdigit((unsigned char)c->device[0]) && strchr(c->device, ':') != NULL;
}

/* Slots of af_packet's ring: one holds the kernel's headers and a frame, whole pages a big one. */
static unsigned int ring_slot_len(const struct port_config *c)
{
	const char *own = strstr(c->device, "framesz=");
	unsigned int mtu = port_mtu_wanted(c);

	if (own)
		return (unsigned int)strtoul(own + strlen("framesz="), NULL, 10);
	return mtu <= RING_SMALL_MTU ? RING_SMALL_SLOT
				     : RTE_ALIGN_CEIL(mtu + LINK_HEADERS + RING_HEADERS, 4096u);
}

uint16_t port_frame_max(const struct port_config *c)
{
	unsigned int len = port_mtu_wanted(c) + LINK_HEADERS;

	/* The driver wants buffers for its slots, not for what comes in them. */
	if (is_driver(c->device, "net_af_packet"))
		len = ring_slot_len(c);
	return (uint16_t)RTE_MIN(len, UINT16_MAX);
}

const char *port_device_arg(
	const struct port_config *c, unsigned int n_workers, char *buf, size_t cap)
{
	unsigned int queues = c->queues ? c->queues : n_workers;
	int n = snprintf(buf, cap, "%s", c->device);

	if (n < 0 || (size_t)n >= cap)
		return buf;
	/*
	 * A socket that prefers busy polling is not always woken by a frame that came before it
	 * slept: the frame then waits for the next one.
	 */
	if (port_is_af_xdp(c->device) && c->wants_intr && !strstr(c->device, "busy_budget="))
		snprintf(buf + n, cap - (size_t)n, ",busy_budget=0");
	if (!is_driver(c->device, "net_af_packet"))
		return buf;
	if (queues > 1 && !strstr(c->device, "qpairs="))
		n += snprintf(buf + n, cap - (size_t)n, ",qpairs=%u", queues);
	if ((size_t)n < cap && !strstr(c->device, "qdisc_bypass="))
		n += snprintf(buf + n, cap - (size_t)n, ",qdisc_bypass=1");
	/* The driver's 512 frames are 25 ms at 20,000 packets a second: a busy host needs more. */
	if ((size_t)n < cap && !strstr(c->device, "framesz=") && !strstr(c->device, "framecnt=")) {
		unsigned int len = ring_slot_len(c);

		snprintf(buf + n, cap - (size_t)n, ",framesz=%u,blocksz=%u,framecnt=%u", len,
			len < 4096 ? 4096 : len, RING_BYTES / len);
	}
	return buf;
}

void port_netdev_name(const char *device, char out[16])
{
	const char *p = strstr(device, "iface=");
	size_t n = 0;

	out[0] = '\0';
	if (!p || !(is_driver(device, "net_af_packet") || is_driver(device, "net_af_xdp")))
		return;
	p += strlen("iface=");
	while (p[n] && p[n] != ',' && n < 15) {
		out[n] = p[n];
		n++;
	}
	out[n] = '\0';
}

static uint16_t netdev_mtu(const char *netdev)
{
	struct ifreq ifr;
	uint16_t mtu = 0;
	int s;

	if (!netdev[0])
		return 0;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return 0;
	memset(&ifr, 0, sizeof(ifr));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", netdev);
	if (ioctl(s, SIOCGIFMTU, &ifr) == 0 && ifr.ifr_mtu > 0 && ifr.ifr_mtu <= UINT16_MAX)
		mtu = (uint16_t)ifr.ifr_mtu;
	close(s);
	return mtu;
}

uint16_t port_mtu_wanted(const struct port_config *c)
{
	char netdev[16];
	uint16_t mtu;

	if (c->mtu)
		return c->mtu;
	port_netdev_name(c->device, netdev);
	mtu = netdev_mtu(netdev);
	return mtu ? mtu : RTE_ETHER_MTU;
}

int port_find(struct port *p, const struct port_config *c, uint16_t number, char *err, size_t cap)
{
	char device[64];
	size_t n = strcspn(c->device, ",");

	snprintf(device, sizeof(device), "%.*s", (int)n, c->device);
	p->number = number;
	snprintf(p->name, sizeof(p->name), "%s", c->name);
	p->kind = is_driver(device, "net_af_packet") ? PORT_AF_PACKET
		  : port_is_af_xdp(device)           ? PORT_AF_XDP
						     : PORT_OTHER;
	port_netdev_name(c->device, p->netdev);
	p->netdev_ifindex = p->netdev[0] ? if_nametoindex(p->netdev) : 0;
	p->tap.fd = -1;
	for (int q = 0; q < PORT_QUEUES_MAX; q++) {
		rte_spinlock_init(&p->tx_lock[q]);
		p->rx_fd[q] = -1;
	}
	if (rte_eth_dev_get_port_by_name(device, &p->id) == 0)
		return 0;
	snprintf(err, cap, "port %s: DPDK made no device of \"%s\"", c->name, c->device);
	return -1;
}

struct rte_mempool *port_pool_create(unsigned int n_mbufs, uint16_t max_frame, uint16_t priv_size)
{
	unsigned int room = RTE_PKTMBUF_HEADROOM + max_frame + PORT_TAILROOM;

	room = RTE_ALIGN_CEIL(room, 64);
	if (room > UINT16_MAX)
		room = UINT16_MAX;
	if (room < RTE_MBUF_DEFAULT_BUF_SIZE)
		room = RTE_MBUF_DEFAULT_BUF_SIZE;
	return rte_pktmbuf_pool_create("packets", n_mbufs, 256,
		(uint16_t)RTE_ALIGN_CEIL(priv_size, RTE_MBUF_PRIV_ALIGN), (uint16_t)room,
		SOCKET_ID_ANY);
}

unsigned int port_mbufs_of(const struct port_config *c, unsigned int n_workers)
{
	unsigned int n = PORT_RX_DESC + PORT_TX_DESC;

	/* Of XDP sockets the fill ring holds buffers too, and what was sent stays for a while. */
	if (port_is_af_xdp(c->device))
		n = 3 * PORT_XDP_DESC;
	return n * n_workers;
}

unsigned int port_mbufs_of_workers(unsigned int n_workers)
{
	/* Rings to and from main, hand-off rings, per-core caches, what waits for neighbours. */
	return n_workers * (4096 + n_workers * 512) + 2048;
}

/* The kernel's own IPv6 on the port's device: off, it would only talk to itself. */
static int netdev_quiet(const char *netdev)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", netdev);
	f = fopen(path, "we");
	if (!f)
		return -errno;
	fputs("1\n", f);
	return fclose(f) == 0 ? 0 : -errno;
}

int port_netdev_take(const struct port_config *c, struct netlink *nl, char *err, size_t cap)
{
	char netdev[16];
	uint32_t ifindex;
	int rc;

	port_netdev_name(c->device, netdev);
	ifindex = netdev[0] ? if_nametoindex(netdev) : 0;
	if (!ifindex) /* none, or a name that the driver will complain of */
		return 0;
	rc = netlink_drop_all(nl, ifindex, is_driver(c->device, "net_af_packet"));
	if (rc < 0) {
		snprintf(err, cap,
			"port %s: the drop filter on %s: %s (needs clsact and cls_bpf in the "
			"kernel)",
			c->name, netdev, strerror(-rc));
		return -1;
	}
	(void)netdev_quiet(netdev);
	(void)netlink_link_set_up(nl, ifindex);
	return 0;
}

int port_release(const char *device, const char *tap, struct netlink *nl)
{
	char netdev[16];
	uint32_t ifindex;
	int rc;

	port_netdev_name(device, netdev);
	ifindex = netdev[0] ? if_nametoindex(netdev) : 0;
	rc = tap_remove(tap);
	if (ifindex && port_is_af_xdp(device))
		(void)netlink_xdp_detach(nl, ifindex);
	if (ifindex) {
		int drop = netlink_drop_all_remove(nl, ifindex);

		if (drop < 0 && drop != -ENOENT && drop != -EINVAL)
			rc = drop;
	}
	return rc;
}
