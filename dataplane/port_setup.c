#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mempool.h>

#include "dataplane/port.h"
#include "dataplane/port_fds.h"

/* What of a frame a NIC may choose its queue by: ESP's SPI, UDP's ports, else addresses. */
#define RSS_WANTED (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_ESP)

static bool is_driver(const struct port_config *c, const char *driver)
{
	return strncmp(c->device, driver, strlen(driver)) == 0;
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
	uint16_t n_rxd = p->kind == PORT_AF_XDP ? PORT_XDP_DESC : PORT_RX_DESC;
	uint16_t n_txd = PORT_TX_DESC;
	int socket = rte_eth_dev_socket_id(p->id);
	struct port_fds seen;
	int rc;

	/* Drivers of virtual devices may not implement this: the wish is then taken as it is. */
	(void)rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &n_rxd, &n_txd);
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		port_fds_before(&seen);
		rc = rte_eth_rx_queue_setup(
			p->id, q, n_rxd, (unsigned int)socket, &info->default_rxconf, pool);
		if (rc < 0)
			goto fail;
		if (p->kind == PORT_AF_XDP)
			p->rx_fd[q] = port_fds_new(&seen);
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

static uint16_t mtu_allowed(const struct rte_eth_dev_info *info)
{
	const uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t mtu = info->max_mtu ? info->max_mtu : UINT16_MAX;

	if (info->max_rx_pktlen > overhead && info->max_rx_pktlen - overhead < mtu)
		mtu = info->max_rx_pktlen - overhead;
	return (uint16_t)mtu;
}

/*
 * Virtual drivers name limits that they do not have, and ethdev checks them; those of NICs, and
 * of XDP sockets, whose frames lie in one page, are real.
 */
static int mtu_choose(const struct port *p, const struct port_config *c,
	const struct rte_eth_dev_info *info, struct rte_eth_conf *conf, char *err, size_t cap)
{
	uint16_t wanted = port_mtu_wanted(c), allowed = mtu_allowed(info);

	conf->rxmode.mtu = RTE_MIN(wanted, allowed);
	if (wanted <= allowed || !(p->kind == PORT_AF_XDP || port_is_pci(c)))
		return 0;
	snprintf(err, cap, "port %s: MTU %u: the device takes %u at most; set `mtu`", p->name,
		wanted, allowed);
	return -1;
}

/* Without this a NIC with several queues may put all into the first. */
static void rss_choose(
	struct port *p, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	p->rss_types = p->n_rxq > 1 ? info->flow_type_rss_offloads & RSS_WANTED : 0;
	if (p->rss_types == 0)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf.rss_hf = p->rss_types;
}

/* Drivers that poll a memory of their own have none; asking them is in vain or an error. */
static bool has_interrupts(const struct port_config *c)
{
	return port_is_pci(c) || is_driver(c, "net_tap") || is_driver(c, "net_virtio_user");
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
		if (p->kind != PORT_OTHER) /* its queues come in pairs */
			p->n_txq = p->n_rxq = RTE_MIN(p->n_rxq, p->n_txq);
		if (mtu_choose(p, c, info, &conf, err, cap) < 0)
			return -1;
		rss_choose(p, info, &conf);
		conf.intr_conf.lsc = *info->dev_flags & RTE_ETH_DEV_INTR_LSC ? 1 : 0;
		conf.intr_conf.rxq = p->has_rx_intr;
		rc = rte_eth_dev_configure(p->id, p->n_rxq, p->n_txq, &conf);
	}
	if (rc < 0)
		snprintf(err, cap, "port %s: configuration: %s", p->name, rte_strerror(-rc));
	return rc;
}

static int mac_choose(struct port *p, const struct port_config *c, char *err, size_t cap)
{
	struct rte_ether_addr mac;
	int rc;

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
	return 0;
}

static int device_start(struct port *p, const struct port_config *c, unsigned int n_workers,
	struct rte_mempool *pool, char *err, size_t cap)
{
	struct rte_eth_dev_info info;
	int rc;

	if (device_configure(p, c, n_workers, err, cap, &info) < 0 ||
		queues_setup(p, &info, pool, err, cap) < 0 || mac_choose(p, c, err, cap) < 0)
		return -1;
	rc = rte_eth_dev_start(p->id);
	if (rc < 0)
		snprintf(err, cap, "port %s: start: %s", p->name, rte_strerror(-rc));
	return rc;
}

/* XDP sockets and the driver share the buffers, each of which must lie in one page. */
static int buffers_check(
	const struct port *p, const struct rte_mempool *pool, char *err, size_t cap)
{
	unsigned int len = pool->header_size + pool->elt_size + pool->trailer_size;

	if (p->kind != PORT_AF_XDP || len <= (unsigned int)getpagesize())
		return 0;
	snprintf(err, cap,
		"port %s: the largest MTU of all ports makes packet buffers of %u bytes, and those "
		"of an XDP socket have a page at most: lower it, or use net_af_packet",
		p->name, len);
	return -1;
}

int port_start(struct port *p, const struct port_config *c, unsigned int n_workers,
	struct rte_mempool *pool, char *err, size_t cap)
{
	int rc;

	if (buffers_check(p, pool, err, cap) < 0)
		return -1;
	p->mtu = port_mtu_wanted(c);
	p->has_rx_intr = c->wants_intr && has_interrupts(c);
	rc = device_start(p, c, n_workers, pool, err, cap);
	if (rc < 0 && p->has_rx_intr) {
		/* A device may have no vector left, or none at all: it is looked at instead. */
		p->has_rx_intr = false;
		rc = device_start(p, c, n_workers, pool, err, cap);
	}
	if (rc < 0)
		return -1;
	multicast_enable(p);
	port_fds_find(p);
	return 0;
}

void port_stop(struct port *p)
{
	(void)rte_eth_dev_stop(p->id);
	(void)rte_eth_dev_close(p->id);
}
