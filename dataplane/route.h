#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"

/*
 * Routes and next hops. Look-ups by workers, without locks (rte_lpm, rte_lpm6); changes by main.
 * A next hop is one object that all routes and SAs through it share: when its link address
 * becomes known, all of them have it. Objects live until no route and no holder refers to them,
 * then a grace period.
 */
struct router;

enum nexthop_state {
	NEXTHOP_INCOMPLETE = 0, /* link address unknown: ask the kernel */
	NEXTHOP_VALID,
	NEXTHOP_BLACKHOLE,   /* drop in silence */
	NEXTHOP_UNREACHABLE, /* drop, ICMP */
	NEXTHOP_ON_LINK,     /* the destination itself is the neighbour, and not known yet */
};

/* What a worker reads is in the first line. Main writes. */
struct nexthop {
	_Atomic uint8_t state;
	uint8_t family; /* of addr */
	uint16_t port;  /* that it goes out by */
	_Atomic uint16_t mtu;
	uint16_t vlan; /* 0: untagged */
	/* Destination (8 bytes, the last two 0) is stored whole, so never half an address. */
	_Atomic uint64_t dst_mac; /* as it lies in memory, first six bytes */
	uint8_t src_mac[6];
	uint8_t reserved[2];
	uint32_t ifindex;
	_Atomic uint32_t asked_s; /* when a worker last asked for the neighbour */
	uint32_t n_refs;          /* main's */
	uint32_t index;
	struct ip_addr addr; /* gateway or neighbour */
} __attribute__((aligned(64)));

struct router_config {
	uint32_t max_routes;   /* 0: 65536; each family */
	uint32_t max_nexthops; /* 0: 16384; neighbours included */
	uint64_t seed;
	int numa_node;                                           /* for rte_lpm; -1: any */
	const char *name;                                        /* unique a process */
	void (*defer)(void *ctx, void (*fn)(void *), void *arg); /* NULL: at once */
	void *defer_ctx;
};

/* NULL: no memory. */
struct router *router_create(const struct router_config *config)
	__attribute__((warn_unused_result));
void router_destroy(struct router *r);

/* Main. The object of (ifindex, addr): made if there is none; the caller gets a reference.
 * addr of family 0 and state ON_LINK is a connected network. NULL: table full. */
struct nexthop *nexthop_get(struct router *r, uint32_t ifindex, const struct ip_addr *addr)
	__attribute__((warn_unused_result));
/* The object if there is one; no reference is given. */
struct nexthop *nexthop_find(struct router *r, uint32_t ifindex, const struct ip_addr *addr);
void nexthop_put(struct router *r, struct nexthop *nh);
/* Which port, MTU and source address the interface has; for new and present next hops. */
int router_set_interface(struct router *r, uint32_t ifindex, uint16_t port, uint16_t vlan,
	uint16_t mtu, const uint8_t mac[6]);
/* mac NULL: not known any more. */
void nexthop_set_mac(struct nexthop *nh, const uint8_t *mac);
void nexthop_set_state(struct nexthop *nh, enum nexthop_state state);

/* Main. Add or replace; takes a reference of its own. 0 or -1 (full). */
int route_add(struct router *r, const struct ip_prefix *dst, struct nexthop *nh)
	__attribute__((warn_unused_result));
/* 0, or -1 if there is no such route. */
int route_delete(struct router *r, const struct ip_prefix *dst);
void route_flush(struct router *r);

/*
 * Rises with each change of a route: after the change can be seen, and before the grace period of
 * what it took out. What a look-up returned is still right while it stands.
 */
uint64_t router_version(const struct router *r);

/*
 * Workers. addr: 4 or 16 bytes. NULL: no route. For each neighbour of a connected network main
 * adds a host route to its object; without one the answer is the network's ON_LINK object.
 */
struct nexthop *route_lookup(const struct router *r, uint8_t family, const uint8_t *addr);
/* The same for many of one family; addrs are pointers into the packets. n <= 64. */
void route_lookup_burst(const struct router *r, uint8_t family, const uint8_t *const addrs[],
	uint32_t n, struct nexthop *out[]);
