#include "dataplane/kernel_private.h"

#include <stdlib.h>
#include <string.h>

static uint32_t bytes_hash(const struct ip_addr *a, uint32_t seed)
{
	uint32_t h = seed * 0x9e3779b1u + a->family;

	for (size_t i = 0; i < sizeof(a->b); i++)
		h = (h ^ a->b[i]) * 0x01000193u;
	return (h ^ h >> 15) % KERNEL_BUCKETS;
}

static struct route_entry **route_bucket(struct kernel *k, const struct ip_prefix *p)
{
	return &k->routes[bytes_hash(&p->addr, p->len)];
}

static bool is_same_route(const struct netlink_route *a, const struct netlink_route *b)
{
	return prefix_equal(&a->dst, &b->dst) && a->metric == b->metric &&
	       a->ifindex == b->ifindex && addr_equal(&a->gateway, &b->gateway) &&
	       a->kind == b->kind;
}

/* The entry that the router shall have: of equal prefixes the one with the lowest metric. */
static void best_publish(struct kernel *k, const struct ip_prefix *dst)
{
	struct route_entry *best = NULL;

	for (struct route_entry *e = *route_bucket(k, dst); e; e = e->next) {
		if (prefix_equal(&e->r.dst, dst) && (!best || e->r.metric < best->r.metric))
			best = e;
	}
	if (!best)
		(void)!route_delete(k->dp->router, dst);
	else if (route_add(k->dp->router, dst, best->nh) < 0)
		log_warn(k->log, "the table of routes is full");
	k->routes_dirty = true;
}

static struct nexthop *route_nexthop(struct kernel *k, const struct netlink_route *r)
{
	/* Routes without an interface have a next hop of their own, told apart by kind. */
	uint32_t ifindex = r->kind == NETLINK_ROUTE_UNICAST ? r->ifindex
							    : UINT32_MAX - (uint32_t)r->kind;
	struct nexthop *nh = nexthop_get(k->dp->router, ifindex, &r->gateway);

	if (nh && r->kind == NETLINK_ROUTE_BLACKHOLE)
		nexthop_set_state(nh, NEXTHOP_BLACKHOLE);
	else if (nh && r->kind == NETLINK_ROUTE_UNREACH)
		nexthop_set_state(nh, NEXTHOP_UNREACHABLE);
	return nh;
}

static void neighs_route(struct kernel *k, const struct netlink_route *r);

static void route_insert(struct kernel *k, const struct netlink_route *r)
{
	struct route_entry **b = route_bucket(k, &r->dst), *e;

	for (e = *b; e; e = e->next) {
		if (is_same_route(&e->r, r))
			return;
	}
	e = calloc(1, sizeof(*e));
	if (e)
		e->nh = route_nexthop(k, r);
	if (!e || !e->nh) {
		log_warn(k->log, "no room for a route or its next hop");
		free(e);
		return;
	}
	e->r = *r;
	e->next = *b;
	*b = e;
	best_publish(k, &r->dst);
	neighs_route(k, r);
}

/* IPv4's netlink replaces without a delete: same prefix and metric, another way. */
static void route_replaced_remove(struct kernel *k, const struct netlink_route *r)
{
	struct route_entry **p = route_bucket(k, &r->dst);

	while (*p) {
		struct route_entry *e = *p;

		if (prefix_equal(&e->r.dst, &r->dst) && e->r.metric == r->metric &&
			!is_same_route(&e->r, r) && r->dst.addr.family == 4) {
			*p = e->next;
			nexthop_put(k->dp->router, e->nh);
			free(e);
		} else {
			p = &e->next;
		}
	}
}

static void route_remove(struct kernel *k, const struct netlink_route *r)
{
	struct route_entry **p = route_bucket(k, &r->dst);

	while (*p && !is_same_route(&(*p)->r, r))
		p = &(*p)->next;
	if (*p) {
		struct route_entry *e = *p;

		*p = e->next;
		best_publish(k, &r->dst);
		nexthop_put(k->dp->router, e->nh);
		free(e);
	}
}

void kernel_route_change(struct kernel *k, const struct netlink_route *r, bool is_new)
{
	if (!is_new) {
		route_remove(k, r);
		return;
	}
	route_insert(k, r);
	route_replaced_remove(k, r);
	best_publish(k, &r->dst);
}

static struct neigh_entry **neigh_bucket(
	struct kernel *k, uint32_t ifindex, const struct ip_addr *a)
{
	return &k->neighs[bytes_hash(a, ifindex)];
}

static struct neigh_entry *neigh_find(struct kernel *k, uint32_t ifindex, const struct ip_addr *a)
{
	struct neigh_entry *n = *neigh_bucket(k, ifindex, a);

	while (n && !(n->ifindex == ifindex && addr_equal(&n->addr, a)))
		n = n->next;
	return n;
}

struct nexthop *kernel_neigh_make(struct kernel *k, uint32_t ifindex, const struct ip_addr *a)
{
	struct neigh_entry *n = neigh_find(k, ifindex, a), **b = neigh_bucket(k, ifindex, a);

	if (n)
		return n->nh;
	n = calloc(1, sizeof(*n));
	if (n)
		n->nh = nexthop_get(k->dp->router, ifindex, a);
	if (!n || !n->nh) {
		free(n);
		return NULL;
	}
	n->ifindex = ifindex;
	n->addr = *a;
	n->next = *b;
	*b = n;
	return n->nh;
}

/* Is the address in a network on link at this interface? Then its host route is the neighbour. */
static bool is_on_link(struct kernel *k, uint32_t ifindex, const struct ip_addr *a)
{
	const struct nexthop *nh = route_lookup(k->dp->router, a->family, a->b);

	return nh && nh->ifindex == ifindex &&
	       (atomic_load(&((struct nexthop *)(uintptr_t)nh)->state) == NEXTHOP_ON_LINK ||
		       addr_equal(&nh->addr, a));
}

void kernel_neigh_set(
	struct kernel *k, uint32_t ifindex, const struct ip_addr *a, const uint8_t *mac)
{
	struct ip_prefix host = {.addr = *a, .len = addr_bits(a->family)};
	struct neigh_entry *n = neigh_find(k, ifindex, a);

	if (!n && !mac)
		return;
	if (!n) {
		if (!kernel_neigh_make(k, ifindex, a))
			return;
		n = neigh_find(k, ifindex, a);
	}
	nexthop_set_mac(n->nh, mac);
	if (mac && !n->is_routed && is_on_link(k, ifindex, a)) {
		n->is_routed = route_add(k->dp->router, &host, n->nh) == 0;
	} else if (!mac && n->is_routed) {
		n->is_routed = false;
		best_publish(k, &host);
	}
}

/* A network came on link whose neighbours were known already. */
static void neighs_route(struct kernel *k, const struct netlink_route *r)
{
	if (r->kind != NETLINK_ROUTE_UNICAST || r->gateway.family || !kernel_is_port(k, r->ifindex))
		return;
	for (unsigned int i = 0; i < KERNEL_BUCKETS; i++) {
		for (struct neigh_entry *n = k->neighs[i]; n; n = n->next) {
			struct ip_prefix host = {.addr = n->addr, .len = addr_bits(n->addr.family)};

			if (n->ifindex == r->ifindex && !n->is_routed &&
				prefix_contains(&r->dst, &n->addr) &&
				atomic_load(&n->nh->state) == NEXTHOP_VALID)
				n->is_routed = route_add(k->dp->router, &host, n->nh) == 0;
		}
	}
}

void kernel_routes_clear(struct kernel *k)
{
	for (unsigned int i = 0; i < KERNEL_BUCKETS; i++) {
		while (k->routes[i]) {
			struct route_entry *e = k->routes[i];

			k->routes[i] = e->next;
			nexthop_put(k->dp->router, e->nh);
			free(e);
		}
		while (k->neighs[i]) {
			struct neigh_entry *n = k->neighs[i];

			k->neighs[i] = n->next;
			nexthop_put(k->dp->router, n->nh);
			free(n);
		}
	}
	route_flush(k->dp->router);
	k->routes_dirty = true;
}
