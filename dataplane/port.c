#include "dataplane/port.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
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

	if (!is_driver(c->device, "net_af_packet") || n < 0 || (size_t)n >= cap)
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
	p->is_af_packet = is_driver(device, "net_af_packet");
	port_netdev_name(c->device, p->netdev);
	p->netdev_ifindex = p->netdev[0] ? if_nametoindex(p->netdev) : 0;
	p->tap.fd = -1;
	for (int q = 0; q < PORT_QUEUES_MAX; q++)
		rte_spinlock_init(&p->tx_lock[q]);
	if (rte_eth_dev_get_port_by_name(device, &p->id) == 0)
		return 0;
	snprintf(err, cap, "port %s: DPDK made no device of \"%s\"", c->name, c->device);
	return -1;
}

static uint16_t queues_choose(
	const struct port_config *c, unsigned int n_workers, uint16_t device_max)
{
	unsigned int n = c->queues ? c->queues : n_workers;

	if (n > n_workers)
		n = n_workers; /* a queue without a worker would never be read */
	if (n > device_max)
		n = device_max;
	if (n > PORT_QUEUES_MAX)
		n = PORT_QUEUES_MAX;
	return (uint16_t)(n ? n : 1);
}

static int queues_setup(struct port *p, const struct rte_eth_dev_info *info,
	struct rte_mempool *pool, char *err, size_t cap)
{
	uint16_t n_rxd = PORT_RX_DESC, n_txd = PORT_TX_DESC;
	int socket = rte_eth_dev_socket_id(p->id);
	int rc;

	/* Drivers of virtual devices may not implement this: the wish is then taken as it is. */
	(void)rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &n_rxd, &n_txd);
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		rc = rte_eth_rx_queue_setup(
			p->id, q, n_rxd, (unsigned int)socket, &info->default_rxconf, pool);
		if (rc < 0)
			goto fail;
	}
	for (uint16_t q = 0; q < p->n_txq; q++) {
		rc = rte_eth_tx_queue_setup(
			p->id, q, n_txd, (unsigned int)socket, &info->default_txconf);
		if (rc < 0)
			goto fail;
	}
	return 0;
fail:
	snprintf(err, cap, "port %s: queues: %s", p->name, rte_strerror(-rc));
	return -1;
}

/* Multicast (ND, MLD, routing protocols) must reach the host; the pipeline filters unicast. */
static void multicast_enable(struct port *p)
{
	if (rte_eth_allmulticast_enable(p->id) < 0)
		(void)rte_eth_promiscuous_enable(p->id);
}

/* Virtual drivers name limits that they do not have, and ethdev checks them; ours is
 * port_mtu_wanted's. */
static uint16_t mtu_allowed(const struct rte_eth_dev_info *info)
{
	const uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t mtu = info->max_mtu ? info->max_mtu : UINT16_MAX;

	if (info->max_rx_pktlen > overhead && info->max_rx_pktlen - overhead < mtu)
		mtu = info->max_rx_pktlen - overhead;
	return (uint16_t)mtu;
}

static int device_configure(struct port *p, const struct port_config *c, unsigned int n_workers,
	char *err, size_t cap, struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf = {0};
	int rc;

	rc = rte_eth_dev_info_get(p->id, info);
	if (rc == 0) {
		p->n_rxq = queues_choose(c, n_workers, info->max_rx_queues);
		p->n_txq = queues_choose(c, n_workers, info->max_tx_queues);
		if (is_driver(c->device, "net_af_packet")) /* its queues come in pairs */
			p->n_txq = p->n_rxq = RTE_MIN(p->n_rxq, p->n_txq);
		conf.rxmode.mtu = RTE_MIN(port_mtu_wanted(c), mtu_allowed(info));
		rc = rte_eth_dev_configure(p->id, p->n_rxq, p->n_txq, &conf);
	}
	if (rc < 0)
		snprintf(err, cap, "port %s: configuration: %s", p->name, rte_strerror(-rc));
	return rc;
}

int port_start(struct port *p, const struct port_config *c, unsigned int n_workers,
	struct rte_mempool *pool, char *err, size_t cap)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int rc;

	if (device_configure(p, c, n_workers, err, cap, &info) < 0)
		return -1;
	p->mtu = port_mtu_wanted(c);
	if (queues_setup(p, &info, pool, err, cap) < 0)
		return -1;
	if (c->has_mac) {
		memcpy(mac.addr_bytes, c->mac, PORT_MAC_LEN);
		rc = rte_eth_dev_default_mac_addr_set(p->id, &mac);
		/* Drivers without that call (ring, memif) have no filter either. */
		if (rc < 0 && rc != -ENOTSUP) {
			snprintf(err, cap, "port %s: MAC: %s", p->name, rte_strerror(-rc));
			return -1;
		}
	} else {
		rte_eth_macaddr_get(p->id, &mac);
	}
	if (rte_is_zero_ether_addr(&mac))
		rte_eth_random_addr(mac.addr_bytes);
	memcpy(p->mac, mac.addr_bytes, PORT_MAC_LEN);
	rc = rte_eth_dev_start(p->id);
	if (rc < 0) {
		snprintf(err, cap, "port %s: start: %s", p->name, rte_strerror(-rc));
		return -1;
	}
	multicast_enable(p);
	if (p->is_af_packet)
		p->n_ring_fds = port_poll_fds(p->netdev_ifindex, p->ring_fds, PORT_QUEUES_MAX);
	return 0;
}

void port_stop(struct port *p)
{
	(void)rte_eth_dev_stop(p->id);
	(void)rte_eth_dev_close(p->id);
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

unsigned int port_mbufs_needed(unsigned int n_ports, unsigned int n_workers)
{
	unsigned int queues = n_ports * n_workers * (PORT_RX_DESC + PORT_TX_DESC);

	/* Rings to and from main, hand-off rings, per-core caches, what waits for neighbours. */
	return queues + n_workers * (4096 + n_workers * 512) + 2048;
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

static bool fd_is_of_device(int fd, uint32_t ifindex)
{
	union {
		struct sockaddr sa;
		struct sockaddr_ll ll;
		struct sockaddr_xdp xdp;
	} u;
	socklen_t len = sizeof(u);

	memset(&u, 0, sizeof(u));
	if (getsockname(fd, &u.sa, &len) < 0)
		return false;
	if (u.sa.sa_family == AF_PACKET)
		return u.ll.sll_ifindex == (int)ifindex;
	return u.sa.sa_family == AF_XDP && u.xdp.sxdp_ifindex == ifindex;
}

unsigned int port_poll_fds(uint32_t ifindex, int *fds, unsigned int cap)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;
	struct dirent *e;

	if (!dir)
		return 0;
	while (ifindex && n < cap && (e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (isdigit((unsigned char)e->d_name[0]) && fd_is_of_device(fd, ifindex))
			fds[n++] = fd;
	}
	closedir(dir);
	return n;
}

uint64_t port_ring_drops(struct port *p)
{
	for (uint16_t i = 0; i < p->n_ring_fds; i++) {
		struct tpacket_stats stats = {0};
		socklen_t len = sizeof(stats);

		/* Reading sets the kernel's counter back to zero. */
		if (getsockopt(p->ring_fds[i], SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
			p->ring_drops += stats.tp_drops;
	}
	return p->ring_drops;
}
