#pragma once

#include "dataplane/kernel.h"
#include "dataplane/local_addr.h"
#include "dataplane/parse.h"
#include "dataplane/route.h"

#define KERNEL_ADDRS_MAX 1024
#define KERNEL_BUCKETS 4096
#define KERNEL_VLANS_MAX 256

/* A route as the kernel has it; several of one prefix differ by metric, the lowest is used. */
struct route_entry {
	struct netlink_route r;
	struct nexthop *nh; /* a reference of ours */
	struct route_entry *next;
};

struct neigh_entry {
	uint32_t ifindex;
	struct ip_addr addr;
	struct nexthop *nh;
	bool is_routed; /* has a host route in the router */
	struct neigh_entry *next;
};

/* A VLAN interface over a port's TAP. */
struct kernel_vlan {
	uint32_t ifindex; /* 0: the place is free */
	uint16_t port, vlan;
};

struct kernel {
	struct dataplane *dp;
	struct grace *grace;
	struct kernel_ops ops;
	const struct logger *log;
	struct netlink *nl;
	struct {
		struct local_addr local;
		uint32_t ifindex;
	} addrs[KERNEL_ADDRS_MAX];
	size_t n_addrs;
	struct kernel_vlan vlans[KERNEL_VLANS_MAX];
	struct punt_set punts;
	bool addrs_dirty, routes_dirty;
	struct route_entry *routes[KERNEL_BUCKETS];
	struct neigh_entry *neighs[KERNEL_BUCKETS];
};

bool kernel_is_port(const struct kernel *k, uint32_t ifindex);
/* kernel_routes.c */
void kernel_route_change(struct kernel *k, const struct netlink_route *r, bool is_new);
void kernel_routes_clear(struct kernel *k);
void kernel_neigh_set(
	struct kernel *k, uint32_t ifindex, const struct ip_addr *a, const uint8_t *mac);
/* The next hop of a neighbour, made if there is none. NULL: the table is full. */
struct nexthop *kernel_neigh_make(struct kernel *k, uint32_t ifindex, const struct ip_addr *a);
