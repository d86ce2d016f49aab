#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_spinlock.h>

#include "dataplane/tap.h"

struct rte_mempool;

#define PORTS_MAX 16
#define PORT_QUEUES_MAX 16
#define PORT_RX_DESC 512
#define PORT_TX_DESC 512
#define PORT_XDP_DESC 2048 /* the driver's own: 512 frames are 25 ms at 20,000 a second */
#define PORT_MAC_LEN 6
#define PORT_VLANS 4096

/* Room in a packet buffer besides the frame: tunnel headers in front, ESP's trailer behind. */
#define PORT_TAILROOM 128

/* What a port is wanted to be; strings are not owned. */
struct port_config {
	const char *name;   /* espd.conf's */
	const char *device; /* a --vdev string or a PCI address */
	const char *tap;
	bool has_mac;
	uint8_t mac[PORT_MAC_LEN];
	uint16_t mtu;    /* 0: the device's */
	uint16_t queues; /* 0: one a worker, as far as it has them */
	bool wants_intr; /* workers sleep: interrupts for frames, where the device has them */
};

enum port_kind { PORT_OTHER, PORT_AF_PACKET, PORT_AF_XDP };

/* A DPDK port and its mirror. Workers read; main writes the link state. */
struct port {
	uint16_t id;     /* DPDK's */
	uint16_t number; /* index in espd.conf */
	char name[16];
	char netdev[16]; /* the kernel's device beneath, "" if there is none */
	uint32_t netdev_ifindex;
	uint8_t mac[PORT_MAC_LEN];
	uint16_t mtu;
	uint16_t n_rxq, n_txq;
	uint64_t rss_types; /* RTE_ETH_RSS_*: what the device chooses a queue by, 0: it does not */
	bool is_up;         /* carrier */
	uint64_t link_changes;
	uint32_t speed_mbps;         /* 0: not known */
	_Atomic bool has_link_event; /* the driver told that the link changed */
	int link_wake_fd;
	_Atomic bool is_disabled; /* the TAP is set down: so is the port. Main writes. */
	enum port_kind kind;
	bool has_rx_intr; /* interrupts tell of frames; a worker arms them before it sleeps */
	/* What poll(2) waits on until frames are in a queue, -1: nothing; see port_fds.h. */
	int rx_fd[PORT_QUEUES_MAX];
	uint16_t n_packet_fds;
	uint64_t ring_drops;                     /* of packet sockets, until now */
	rte_spinlock_t tx_lock[PORT_QUEUES_MAX]; /* taken where workers share a queue */
	/* A bit a VLAN: it has an interface over the TAP that is up. Main writes. */
	_Atomic uint64_t vlans[PORT_VLANS / 64];
	struct tap tap;
};

static inline bool port_has_vlan(const struct port *p, uint16_t vlan)
{
	uint64_t some = atomic_load_explicit(
		&p->vlans[vlan % PORT_VLANS / 64], memory_order_relaxed);

	return some >> vlan % 64 & 1;
}

/*
 * The EAL argument of a port: the device as written, with what this program needs added
 * (af_packet: as many queues as workers, and qdisc_bypass so that the drop filter on the way
 * out stops the kernel's frames and not ours; af_xdp: no busy polling where workers sleep).
 * Written to buf. Returns buf.
 */
const char *port_device_arg(
	const struct port_config *c, unsigned int n_workers, char *buf, size_t cap);
bool port_is_af_xdp(const char *device);
/* True if the device is a PCI address ("0000:03:00.0"). */
bool port_is_pci(const struct port_config *c);
/* The kernel's device in an af_packet or af_xdp argument ("iface=veth0"): "" if none. */
void port_netdev_name(const char *device, char out[16]);

/* Finds the port that EAL made of c->device. 0 or -1 with a text. */
int port_find(struct port *p, const struct port_config *c, uint16_t number, char *err, size_t cap)
	__attribute__((warn_unused_result));
/* The MTU that the port shall have: configured, else the netdev's, else 1500. */
uint16_t port_mtu_wanted(const struct port_config *c);
/* Queues, MTU, multicast; starts it. 0 or -1 with a text. */
int port_start(struct port *p, const struct port_config *c, unsigned int n_workers,
	struct rte_mempool *pool, char *err, size_t cap) __attribute__((warn_unused_result));
void port_stop(struct port *p);
struct netlink;
/*
 * Shuts the kernel out of the port's device, if it has one of the kernel's, and sets that up: a
 * packet socket joins no fanout group while it is down. 0 or -1 with a text.
 */
int port_netdev_take(const struct port_config *c, struct netlink *nl, char *err, size_t cap)
	__attribute__((warn_unused_result));
/* Takes TAP and drop filter of a port away. 0 or -errno. */
int port_release(const char *device, const char *tap, struct netlink *nl);
/* Bytes that a received frame may have: a packet buffer must hold them. */
uint16_t port_frame_max(const struct port_config *c);
/* One pool for all ports: every frame is one segment. NULL: no memory. */
struct rte_mempool *port_pool_create(unsigned int n_mbufs, uint16_t max_frame, uint16_t priv_size);
/* Packet buffers that a port and that n_workers workers can hold at most. */
unsigned int port_mbufs_of(const struct port_config *c, unsigned int n_workers);
unsigned int port_mbufs_of_workers(unsigned int n_workers);
