#include "dataplane/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <rte_version.h>

/*
 * The tables hold indices of next hops; index 0 is "no route". An array turns them into objects.
 * An index is used again only after the grace period, with its object.
 *
 * rte_lpm and not rte_fib: it leaves its tables' zero pages alone until a route needs them. rte_fib
 * writes 115 MiB when it is made, more than half of all the time that espd needs to start. A route
 * of length 0 is none of theirs and lives beside them.
 */

#define N_BUCKETS 4096
#define BURST 64
#define INTERFACES_MAX 256

#define N_TBL8 (1 << 14)
#define LPM4_INDEX 0x00ffffffu       /* of what rte_lpm answers; above it flags and the depth */
#define NEXTHOPS_MAX ((1 << 21) - 1) /* an entry of rte_lpm6 holds 21 bits of index */

#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
typedef struct rte_ipv6_addr lpm6_addr;
#define LPM6_ARG(a) (&(a))
#else
typedef struct {
	uint8_t a[16];
} lpm6_addr;
#define LPM6_ARG(a) ((a).a)
#endif

struct hop {
	struct nexthop nh; /* first: the objects are cast */
	struct router *router;
	LIST_ENTRY(hop) next;
};

struct route {
	struct ip_prefix dst;
	struct nexthop *nh;
	LIST_ENTRY(route) next;
};

struct interface {
	uint32_t ifindex;
	uint16_t port, vlan, mtu;
	uint8_t mac[6];
};

LIST_HEAD(hop_list, hop);
LIST_HEAD(route_list, route);

struct router {
	struct router_config config;
	struct rte_lpm *lpm4;
	struct rte_lpm6 *lpm6;
	_Atomic uint32_t default4, default6; /* index of the route of length 0 */
	_Atomic(struct nexthop *) *table;    /* by index */
	uint32_t *free_indices;
	uint32_t n_free;
	struct hop_list hops[N_BUCKETS];
	struct route_list routes[N_BUCKETS];
	struct interface interfaces[INTERFACES_MAX];
	uint32_t n_interfaces;
	/* Apart from what main writes more often: workers read it at each burst. */
	uint8_t before[64];
	_Atomic uint64_t version;
	uint8_t behind[56];
};

static void free_now(void *ctx, void (*fn)(void *), void *arg)
{
	(void)ctx;
	fn(arg);
}

static int tables_create(struct router *r)
{
	const struct rte_lpm_config c4 = {
		.max_rules = r->config.max_routes,
		.number_tbl8s = N_TBL8,
	};
	const struct rte_lpm6_config c6 = {
		.max_rules = r->config.max_routes,
		.number_tbl8s = N_TBL8,
	};
	char name[32];

	snprintf(name, sizeof(name), "%.20s-4", r->config.name);
	r->lpm4 = rte_lpm_create(name, r->config.numa_node, &c4);
	snprintf(name, sizeof(name), "%.20s-6", r->config.name);
	r->lpm6 = rte_lpm6_create(name, r->config.numa_node, &c6);
	return r->lpm4 == NULL || r->lpm6 == NULL ? -1 : 0;
}

struct router *router_create(const struct router_config *config)
{
	struct router *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->config = *config;
	if (r->config.max_routes == 0)
		r->config.max_routes = 65536;
	if (r->config.max_nexthops == 0)
		r->config.max_nexthops = 16384;
	if (r->config.max_nexthops > NEXTHOPS_MAX)
		r->config.max_nexthops = NEXTHOPS_MAX;
	if (r->config.defer == NULL)
		r->config.defer = free_now;
	r->table = calloc(r->config.max_nexthops + 1, sizeof(*r->table));
	r->free_indices = calloc(r->config.max_nexthops, sizeof(*r->free_indices));
	if (r->table == NULL || r->free_indices == NULL || tables_create(r) != 0) {
		router_destroy(r);
		return NULL;
	}
	for (uint32_t i = r->config.max_nexthops; i >= 1; i--)
		r->free_indices[r->n_free++] = i;
	return r;
}

void router_destroy(struct router *r)
{
	struct hop *h;

	if (r == NULL)
		return;
	route_flush(r);
	for (uint32_t i = 0; i < N_BUCKETS; i++) {
		while ((h = LIST_FIRST(&r->hops[i])) != NULL) {
			LIST_REMOVE(h, next);
			free(h);
		}
	}
	rte_lpm_free(r->lpm4);
	rte_lpm6_free(r->lpm6);
	free(r->table);
	free(r->free_indices);
	free(r);
}

static uint32_t bucket_of(const struct router *r, const struct ip_addr *a, uint32_t more)
{
	uint64_t w[2];

	memcpy(w, a->b, sizeof(w));
	w[0] = (w[0] ^ r->config.seed ^ more) * 0x9e3779b97f4a7c15ULL;
	w[0] = (w[0] ^ w[0] >> 32 ^ w[1]) * 0xbf58476d1ce4e5b9ULL;
	return (w[0] >> 40) % N_BUCKETS;
}

static struct interface *interface_find(struct router *r, uint32_t ifindex)
{
	for (uint32_t i = 0; i < r->n_interfaces; i++)
		if (r->interfaces[i].ifindex == ifindex)
			return &r->interfaces[i];
	return NULL;
}

static void hop_apply(struct nexthop *nh, const struct interface *i)
{
	nh->port = i->port;
	nh->vlan = i->vlan;
	memcpy(nh->src_mac, i->mac, sizeof(nh->src_mac));
	atomic_store_explicit(&nh->mtu, i->mtu, memory_order_relaxed);
}

int router_set_interface(struct router *r, uint32_t ifindex, uint16_t port, uint16_t vlan,
	uint16_t mtu, const uint8_t mac[6])
{
	struct interface *i = interface_find(r, ifindex);
	struct hop *h;

	if (i == NULL && r->n_interfaces == INTERFACES_MAX)
		return -1;
	if (i == NULL)
		i = &r->interfaces[r->n_interfaces++];
	i->ifindex = ifindex;
	i->port = port;
	i->vlan = vlan;
	i->mtu = mtu;
	memcpy(i->mac, mac, sizeof(i->mac));
	for (uint32_t b = 0; b < N_BUCKETS; b++)
		LIST_FOREACH(h, &r->hops[b], next)
	if (h->nh.ifindex == ifindex)
		hop_apply(&h->nh, i);
	return 0;
}

struct nexthop *nexthop_find(struct router *r, uint32_t ifindex, const struct ip_addr *addr)
{
	struct hop *h;

	LIST_FOREACH(h, &r->hops[bucket_of(r, addr, ifindex)], next)
	if (h->nh.ifindex == ifindex && addr_equal(&h->nh.addr, addr))
		return &h->nh;
	return NULL;
}

struct nexthop *nexthop_get(struct router *r, uint32_t ifindex, const struct ip_addr *addr)
{
	struct nexthop *nh = nexthop_find(r, ifindex, addr);
	const struct interface *i = interface_find(r, ifindex);
	struct hop *h;

	if (nh != NULL) {
		nh->n_refs++;
		return nh;
	}
	if (r->n_free == 0)
		return NULL;
	h = aligned_alloc(64, (sizeof(*h) + 63) / 64 * 64);
	if (h == NULL)
		return NULL;
	memset(h, 0, sizeof(*h));
	h->router = r;
	h->nh.family = addr->family;
	h->nh.addr = *addr;
	h->nh.ifindex = ifindex;
	h->nh.n_refs = 1;
	h->nh.index = r->free_indices[--r->n_free];
	if (addr->family == 0)
		atomic_store(&h->nh.state, NEXTHOP_ON_LINK);
	if (i != NULL)
		hop_apply(&h->nh, i);
	atomic_store_explicit(&r->table[h->nh.index], &h->nh, memory_order_release);
	LIST_INSERT_HEAD(&r->hops[bucket_of(r, addr, ifindex)], h, next);
	return &h->nh;
}

uint64_t router_version(const struct router *r)
{
	return atomic_load_explicit(&r->version, memory_order_acquire);
}

static void changed(struct router *r)
{
	atomic_fetch_add_explicit(&r->version, 1, memory_order_release);
}

/* After the grace period: nobody can hold the index any more. */
static void hop_free(void *arg)
{
	struct hop *h = arg;
	struct router *r = h->router;

	atomic_store(&r->table[h->nh.index], NULL);
	r->free_indices[r->n_free++] = h->nh.index;
	free(h);
}

void nexthop_put(struct router *r, struct nexthop *nh)
{
	struct hop *h = (struct hop *)nh;

	if (--nh->n_refs > 0)
		return;
	LIST_REMOVE(h, next);
	changed(r);
	r->config.defer(r->config.defer_ctx, hop_free, h);
}

void nexthop_set_mac(struct nexthop *nh, const uint8_t *mac)
{
	uint64_t v = 0;

	if (mac == NULL) {
		atomic_store_explicit(&nh->state, NEXTHOP_INCOMPLETE, memory_order_release);
		return;
	}
	memcpy(&v, mac, 6);
	atomic_store_explicit(&nh->dst_mac, v, memory_order_relaxed);
	atomic_store_explicit(&nh->state, NEXTHOP_VALID, memory_order_release);
}

void nexthop_set_state(struct nexthop *nh, enum nexthop_state state)
{
	atomic_store_explicit(&nh->state, state, memory_order_release);
}

static uint32_t v4_host(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static int table_add(struct router *r, const struct ip_prefix *dst, uint32_t index)
{
	lpm6_addr a;

	if (dst->len == 0) {
		atomic_store_explicit(dst->addr.family == 4 ? &r->default4 : &r->default6, index,
			memory_order_release);
		return 0;
	}
	if (dst->addr.family == 4)
		return rte_lpm_add(r->lpm4, v4_host(dst->addr.b), dst->len, index);
	memcpy(&a, dst->addr.b, 16);
	return rte_lpm6_add(r->lpm6, LPM6_ARG(a), dst->len, index);
}

static void table_delete(struct router *r, const struct ip_prefix *dst)
{
	lpm6_addr a;

	if (dst->len == 0) {
		atomic_store(dst->addr.family == 4 ? &r->default4 : &r->default6, 0);
		return;
	}
	if (dst->addr.family == 4) {
		rte_lpm_delete(r->lpm4, v4_host(dst->addr.b), dst->len);
		return;
	}
	memcpy(&a, dst->addr.b, 16);
	rte_lpm6_delete(r->lpm6, LPM6_ARG(a), dst->len);
}

static struct route *route_find(struct router *r, const struct ip_prefix *dst)
{
	struct route *route;

	LIST_FOREACH(route, &r->routes[bucket_of(r, &dst->addr, dst->len)], next)
	if (prefix_equal(&route->dst, dst))
		return route;
	return NULL;
}

int route_add(struct router *r, const struct ip_prefix *dst, struct nexthop *nh)
{
	struct ip_prefix p = *dst;
	struct route *route;
	struct nexthop *before;

	prefix_mask(&p);
	route = route_find(r, &p);
	if (route != NULL) {
		if (table_add(r, &p, nh->index) != 0)
			return -1;
		changed(r);
		before = route->nh;
		route->nh = nh;
		nh->n_refs++;
		nexthop_put(r, before);
		return 0;
	}
	route = calloc(1, sizeof(*route));
	if (route == NULL || table_add(r, &p, nh->index) != 0) {
		free(route);
		return -1;
	}
	changed(r);
	route->dst = p;
	route->nh = nh;
	nh->n_refs++;
	LIST_INSERT_HEAD(&r->routes[bucket_of(r, &p.addr, p.len)], route, next);
	return 0;
}

static void route_remove(struct router *r, struct route *route)
{
	table_delete(r, &route->dst);
	changed(r);
	LIST_REMOVE(route, next);
	nexthop_put(r, route->nh);
	free(route);
}

int route_delete(struct router *r, const struct ip_prefix *dst)
{
	struct ip_prefix p = *dst;
	struct route *route;

	prefix_mask(&p);
	route = route_find(r, &p);
	if (route == NULL)
		return -1;
	route_remove(r, route);
	return 0;
}

void route_flush(struct router *r)
{
	struct route *route;

	for (uint32_t i = 0; i < N_BUCKETS; i++)
		while ((route = LIST_FIRST(&r->routes[i])) != NULL)
			route_remove(r, route);
}

static void lookup4(
	const struct router *r, const uint8_t *const addrs[], uint32_t n, uint32_t index[])
{
	uint32_t addr[BURST], found[BURST];
	uint32_t otherwise = atomic_load_explicit(&r->default4, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++)
		addr[i] = v4_host(addrs[i]);
	rte_lpm_lookup_bulk(r->lpm4, addr, found, n);
	for (uint32_t i = 0; i < n; i++)
		index[i] = found[i] & RTE_LPM_LOOKUP_SUCCESS ? found[i] & LPM4_INDEX : otherwise;
}

static void lookup6(
	const struct router *r, const uint8_t *const addrs[], uint32_t n, uint32_t index[])
{
	uint32_t otherwise = atomic_load_explicit(&r->default6, memory_order_acquire);
	lpm6_addr addr[BURST];
	int32_t found[BURST];

	for (uint32_t i = 0; i < n; i++)
		memcpy(&addr[i], addrs[i], 16);
#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
	rte_lpm6_lookup_bulk_func(r->lpm6, addr, found, n);
#else
	rte_lpm6_lookup_bulk_func(r->lpm6, (uint8_t(*)[16])addr, found, n);
#endif
	for (uint32_t i = 0; i < n; i++)
		index[i] = found[i] >= 0 ? (uint32_t)found[i] : otherwise;
}

void route_lookup_burst(const struct router *r, uint8_t family, const uint8_t *const addrs[],
	uint32_t n, struct nexthop *out[])
{
	uint32_t index[BURST];

	if (n == 0)
		return;
	if (n > BURST)
		n = BURST;
	if (family == 4)
		lookup4(r, addrs, n, index);
	else
		lookup6(r, addrs, n, index);
	for (uint32_t i = 0; i < n; i++)
		out[i] = index[i] == 0 || index[i] > r->config.max_nexthops
				 ? NULL
				 : atomic_load_explicit(&r->table[index[i]], memory_order_acquire);
}

struct nexthop *route_lookup(const struct router *r, uint8_t family, const uint8_t *addr)
{
	struct nexthop *nh;

	route_lookup_burst(r, family, &addr, 1, &nh);
	return nh;
}
