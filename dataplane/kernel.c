#include "dataplane/kernel.h"
#include "dataplane/kernel_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_random.h>

#include "dataplane/grace.h"
#include "dataplane/path.h"
#include "dataplane/pmtu.h"
#include "dataplane/port_link.h"

#define MTU_UNKNOWN 1500
#define PORT_OF_KERNEL 0xffff /* next hops over interfaces that are no ports of ours */

static const struct kernel_vlan *vlan_find(const struct kernel *k, uint32_t ifindex)
{
	for (unsigned int i = 0; i < KERNEL_VLANS_MAX; i++) {
		if (k->vlans[i].ifindex == ifindex)
			return &k->vlans[i];
	}
	return NULL;
}

/* The port whose TAP the interface is, or is a VLAN over. */
static uint16_t port_of(const struct kernel *k, uint32_t ifindex)
{
	const struct kernel_vlan *v;

	for (uint16_t i = 0; i < k->dp->n_ports; i++) {
		if (k->dp->ports[i].tap.ifindex == ifindex)
			return i;
	}
	v = ifindex ? vlan_find(k, ifindex) : NULL;
	return v ? v->port : PORT_OF_KERNEL;
}

static uint16_t vlan_of(const struct kernel *k, uint32_t ifindex)
{
	const struct kernel_vlan *v = vlan_find(k, ifindex);

	return v ? v->vlan : 0;
}

bool kernel_is_port(const struct kernel *k, uint32_t ifindex)
{
	return port_of(k, ifindex) != PORT_OF_KERNEL;
}

static void addr_changed(void *ctx, const struct ip_prefix *p, const struct ip_addr *a,
	uint32_t ifindex, bool is_new)
{
	struct kernel *k = ctx;
	size_t i = 0;

	while (i < k->n_addrs &&
		!(k->addrs[i].ifindex == ifindex && addr_equal(&k->addrs[i].local.addr, a)))
		i++;
	if (is_new == (i < k->n_addrs))
		return;
	if (!is_new) {
		k->addrs[i] = k->addrs[--k->n_addrs];
	} else if (k->n_addrs < KERNEL_ADDRS_MAX) {
		k->addrs[k->n_addrs].ifindex = ifindex;
		k->addrs[k->n_addrs].local.addr = *a;
		k->addrs[k->n_addrs++].local.prefix_len = p->len;
	} else {
		log_warn(k->log, "more than %d local addresses: one is not known to the data plane",
			KERNEL_ADDRS_MAX);
		return;
	}
	k->addrs_dirty = true;
	k->ops.addr(k->ops.ctx, a, ifindex, is_new);
}

/* Frames of a VLAN are taken while it has an interface that is up. */
static void vlan_accept(struct kernel *k, const struct kernel_vlan *v, bool is_on)
{
	_Atomic uint64_t *some = &k->dp->ports[v->port].vlans[v->vlan / 64];
	uint64_t bit = 1ULL << v->vlan % 64;

	if (is_on)
		atomic_fetch_or(some, bit);
	else
		atomic_fetch_and(some, ~bit);
}

/* A VLAN interface over a TAP came, changed or went. */
static void vlan_changed(struct kernel *k, const struct netlink_link *l)
{
	struct kernel_vlan *v = (struct kernel_vlan *)(uintptr_t)vlan_find(k, l->ifindex);
	uint16_t port = l->vlan_parent ? port_of(k, l->vlan_parent) : PORT_OF_KERNEL;

	if (l->is_gone || port == PORT_OF_KERNEL) {
		if (v) {
			vlan_accept(k, v, false);
			v->ifindex = 0;
		}
		return;
	}
	if (!v)
		v = (struct kernel_vlan *)(uintptr_t)vlan_find(k, 0);
	if (!v) {
		log_warn(k->log, "%s: more than %d VLAN interfaces: not known to the data plane",
			l->name, KERNEL_VLANS_MAX);
		return;
	}
	if (v->ifindex == 0)
		log_info(k->log, "%s: VLAN %u of port %s", l->name, l->vlan,
			k->dp->ports[port].name);
	*v = (struct kernel_vlan){.ifindex = l->ifindex, .port = port, .vlan = l->vlan};
	vlan_accept(k, v, l->is_up);
}

/* The mirror follows the device beneath: carrier. The port follows its mirror: set down or up. */
static void netdev_changed(struct kernel *k, const struct netlink_link *l)
{
	for (uint16_t i = 0; i < k->dp->n_ports; i++) {
		struct port *p = &k->dp->ports[i];

		if (p->tap.ifindex == l->ifindex)
			atomic_store_explicit(
				&p->is_disabled, l->is_gone || !l->is_up, memory_order_relaxed);
		if (p->netdev_ifindex != l->ifindex)
			continue;
		(void)port_link_set(p, l->has_carrier && !l->is_gone, k->log);
		if (l->is_gone)
			log_error(k->log, "port %s: %s is gone; a start with a new one is needed",
				p->name, p->netdev);
	}
}

static void link_changed(void *ctx, const struct netlink_link *l)
{
	struct kernel *k = ctx;
	uint16_t port;
	static const uint8_t no_mac[6];

	vlan_changed(k, l);
	port = port_of(k, l->ifindex);
	netdev_changed(k, l);
	if (l->is_gone)
		return;
	(void)router_set_interface(k->dp->router, l->ifindex, port, vlan_of(k, l->ifindex),
		(uint16_t)(l->mtu > UINT16_MAX ? UINT16_MAX : l->mtu),
		port == PORT_OF_KERNEL ? no_mac : k->dp->ports[port].mac);
	k->routes_dirty = true;
	if (port != PORT_OF_KERNEL)
		k->ops.link(k->ops.ctx, l->ifindex, l->name, l->is_up && l->has_carrier);
}

static void neigh_changed(
	void *ctx, uint32_t ifindex, const struct ip_addr *a, const uint8_t *mac, bool failed)
{
	struct kernel *k = ctx;

	if (!kernel_is_port(k, ifindex))
		return;
	kernel_neigh_set(k, ifindex, a, mac);
	if (mac || failed)
		k->ops.neigh(k->ops.ctx, ifindex, a, mac != NULL);
}

static void all_again(void *ctx)
{
	struct kernel *k = ctx;

	log_warn(k->log, "netlink: events were lost, reading all again");
	kernel_routes_clear(k);
	k->n_addrs = 0;
	k->addrs_dirty = true;
}

static void route_changed(void *ctx, const struct netlink_route *r, bool is_new)
{
	kernel_route_change(ctx, r, is_new);
}

struct kernel *kernel_create(struct dataplane *dp, struct grace *grace,
	const struct kernel_ops *ops, const struct logger *log, char *err, size_t cap)
{
	struct kernel *k = calloc(1, sizeof(*k));
	struct netlink_ops nops = {
		.ctx = k,
		.addr = addr_changed,
		.route = route_changed,
		.neigh = neigh_changed,
		.link = link_changed,
		.restart = all_again,
	};
	int rc;

	if (!k) {
		snprintf(err, cap, "no memory");
		return NULL;
	}
	k->dp = dp;
	k->grace = grace;
	k->ops = *ops;
	k->log = log;
	k->nl = netlink_create(&nops);
	if (!k->nl) {
		snprintf(err, cap, "netlink: %s", strerror(errno));
		kernel_destroy(k);
		return NULL;
	}
	rc = netlink_dump(k->nl);
	if (rc < 0) {
		snprintf(err, cap, "netlink: reading the kernel's tables: %s", strerror(-rc));
		kernel_destroy(k);
		return NULL;
	}
	k->addrs_dirty = true;
	kernel_flush(k);
	return k;
}

static void addresses_free(void *arg)
{
	struct dp_addresses *a = arg;

	if (!a)
		return;
	local_addrs_destroy((struct local_addrs *)(uintptr_t)a->parse.local);
	free((struct punt_set *)(uintptr_t)a->parse.punts);
	free(a);
}

void kernel_destroy(struct kernel *k)
{
	if (!k)
		return;
	kernel_routes_clear(k);
	netlink_destroy(k->nl);
	addresses_free(atomic_exchange(&k->dp->addresses, NULL));
	free(k);
}

int kernel_fd(const struct kernel *k)
{
	return netlink_fd(k->nl);
}

void kernel_read(struct kernel *k)
{
	netlink_read(k->nl);
}

struct netlink *kernel_netlink(struct kernel *k)
{
	return k->nl;
}

/* A whole new set, so that a worker never sees half of one. */
static void addresses_publish(struct kernel *k)
{
	struct dp_addresses *a = calloc(1, sizeof(*a)), *old;
	struct punt_set *punts = calloc(1, sizeof(*punts));
	struct local_addr set[KERNEL_ADDRS_MAX];

	for (size_t i = 0; i < k->n_addrs; i++)
		set[i] = k->addrs[i].local;
	if (a)
		a->parse.local = local_addrs_create(set, k->n_addrs);
	if (!a || !punts || !a->parse.local) {
		log_error(k->log, "no memory for the table of local addresses: it is out of date");
		free(punts);
		free(a);
		return;
	}
	*punts = k->punts;
	a->parse.punts = punts;
	for (size_t i = 0; i < k->n_addrs && a->n_icmp_sources < 64; i++) {
		uint16_t port = port_of(k, k->addrs[i].ifindex);
		const struct ip_addr *addr = &set[i].addr;

		if (port == PORT_OF_KERNEL || (addr->family == 6 && addr->b[0] == 0xfe))
			continue; /* link-local addresses are no source for an error sent onward */
		a->icmp_sources[a->n_icmp_sources].addr = *addr;
		a->icmp_sources[a->n_icmp_sources].vlan = vlan_of(k, k->addrs[i].ifindex);
		a->icmp_sources[a->n_icmp_sources++].port = port;
	}
	old = atomic_exchange(&k->dp->addresses, a);
	atomic_fetch_add(&k->dp->version, 1);
	if (old)
		grace_defer(k->grace, addresses_free, old);
}

void kernel_flush(struct kernel *k)
{
	if (k->addrs_dirty)
		addresses_publish(k);
	k->addrs_dirty = false;
	if (k->routes_dirty) {
		k->routes_dirty = false;
		k->ops.routes_changed(k->ops.ctx);
	}
}

void kernel_punts_set(
	struct kernel *k, const struct endpoint *local, const bool *is_nat_t, unsigned int n)
{
	k->punts.n = n > PARSE_PUNTS_MAX ? PARSE_PUNTS_MAX : n;
	for (unsigned int i = 0; i < k->punts.n; i++) {
		k->punts.entries[i].local = local[i];
		k->punts.entries[i].is_nat_t = is_nat_t[i];
	}
	addresses_publish(k);
}

void kernel_path_resolve(struct kernel *k, struct path *p, struct pmtu *pmtu)
{
	struct nexthop *nh = route_lookup(k->dp->router, p->remote.addr.family, p->remote.addr.b);
	uint16_t mtu;

	if (nh && atomic_load(&nh->state) == NEXTHOP_ON_LINK && nh->port != PORT_OF_KERNEL) {
		/* The peer is a neighbour: its own object, which a MAC is filled into. */
		nh = kernel_neigh_make(k, nh->ifindex, &p->remote.addr);
	}
	atomic_store(&p->nexthop, nh);
	mtu = nh ? atomic_load(&nh->mtu) : MTU_UNKNOWN;
	pmtu_set_route(pmtu, mtu ? mtu : MTU_UNKNOWN);
}

void kernel_addrs_each(struct kernel *k,
	void (*fn)(void *ctx, const struct ip_addr *a, uint32_t ifindex), void *ctx)
{
	for (size_t i = 0; i < k->n_addrs; i++)
		fn(ctx, &k->addrs[i].local.addr, k->addrs[i].ifindex);
}
