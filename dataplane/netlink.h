#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/addr.h"

/*
 * Main's view of the kernel over rtnetlink: addresses, routes of the main table, neighbours and
 * links of this network namespace are told to the caller as they are found and as they change.
 * Requests go over a socket of their own and are answered by the kernel at once.
 */
struct netlink;

enum netlink_route_kind { NETLINK_ROUTE_UNICAST, NETLINK_ROUTE_BLACKHOLE, NETLINK_ROUTE_UNREACH };

struct netlink_route {
	struct ip_prefix dst;
	struct ip_addr gateway; /* family 0: on link */
	uint32_t ifindex;       /* of the first next hop, if there are several */
	uint32_t metric;
	uint32_t mtu; /* 0: the link's */
	enum netlink_route_kind kind;
};

struct netlink_link {
	uint32_t ifindex;
	char name[16];
	uint8_t mac[6];
	uint32_t mtu;
	bool is_up; /* administratively */
	bool has_carrier;
	bool is_gone;
	uint32_t vlan_parent; /* a VLAN interface (802.1Q) over this one; 0: it is none */
	uint16_t vlan;        /* its VLAN identifier */
};

/* What the caller hears. `is_new` false: removed. */
struct netlink_ops {
	void *ctx;
	void (*addr)(void *ctx, const struct ip_prefix *p, const struct ip_addr *a,
		uint32_t ifindex, bool is_new);
	void (*route)(void *ctx, const struct netlink_route *r, bool is_new);
	/* mac NULL: not (or no longer) known; failed: the kernel gave up asking. */
	void (*neigh)(void *ctx, uint32_t ifindex, const struct ip_addr *a, const uint8_t *mac,
		bool failed);
	void (*link)(void *ctx, const struct netlink_link *l);
	/* Events were lost: forget all routes and neighbours, they are told again. */
	void (*restart)(void *ctx);
};

/* NULL with errno set. No event is told before netlink_dump. */
struct netlink *netlink_create(const struct netlink_ops *ops);
/* For requests alone: no events are read. */
struct netlink *netlink_create_requests(void);
void netlink_destroy(struct netlink *nl);
int netlink_fd(const struct netlink *nl); /* readable: call netlink_read */
/* Tells all there is: links, addresses, neighbours, routes. 0 or -errno. */
int netlink_dump(struct netlink *nl);
void netlink_read(struct netlink *nl);

/* Asks the kernel to resolve a neighbour; the answer comes as an event. 0 or -errno. */
int netlink_neigh_probe(struct netlink *nl, uint32_t ifindex, const struct ip_addr *a);

struct netlink_route_answer {
	struct ip_addr src; /* family 0: no route */
	uint32_t ifindex;
	uint32_t mtu; /* 0: the link's */
};
/* Which source address and interface the kernel takes to dst. 0 or -errno (no route). */
int netlink_route_get(struct netlink *nl, const struct ip_addr *dst, const struct ip_addr *src,
	struct netlink_route_answer *out);

/*
 * The kernel must neither see nor send frames on a port's own device: a clsact qdisc whose
 * filters drop everything, in and (with is_egress) out. It outlives the process. 0 or -errno.
 */
int netlink_drop_all(struct netlink *nl, uint32_t ifindex, bool is_egress);
int netlink_drop_all_remove(struct netlink *nl, uint32_t ifindex);
int netlink_link_set_up(struct netlink *nl, uint32_t ifindex);
/* Takes an XDP program off the device. 0 or -errno. */
int netlink_xdp_detach(struct netlink *nl, uint32_t ifindex);
