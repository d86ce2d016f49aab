#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/forward.h"
#include "tests/unit/spd/packets.h"

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

/* Frees when told, as a grace period would. */
struct later {
	void (*fn[64])(void *);
	void *arg[64];
	unsigned n;
};

static void later_add(void *ctx, void (*fn)(void *), void *arg)
{
	struct later *l = ctx;

	assert_true(l->n < 64);
	l->fn[l->n] = fn;
	l->arg[l->n++] = arg;
}

static void later_run(struct later *l)
{
	for (unsigned i = 0; i < l->n; i++)
		l->fn[i](l->arg[i]);
	l->n = 0;
}

static struct router *make(const char *name, struct later *l)
{
	struct router_config config = {.max_routes = 1024,
		.max_nexthops = 64,
		.seed = 5,
		.numa_node = -1,
		.name = name,
		.defer = later_add,
		.defer_ctx = l};
	struct router *r = router_create(&config);

	assert_non_null(r);
	assert_int_equal(router_set_interface(r, 7, 1, 0, 1500, mac), 0);
	return r;
}

static struct nexthop *hop(struct router *r, const char *addr)
{
	struct ip_addr a = {0};
	struct nexthop *nh;

	if (addr != NULL)
		assert_int_equal(addr_parse(addr, &a), 0);
	nh = nexthop_get(r, 7, &a);
	assert_non_null(nh);
	return nh;
}

static void add(struct router *r, const char *prefix, struct nexthop *nh)
{
	struct ip_prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_int_equal(route_add(r, &p, nh), 0);
}

static int delete (struct router *r, const char *prefix)
{
	struct ip_prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	return route_delete(r, &p);
}

static struct nexthop *find(struct router *r, const char *addr)
{
	struct ip_addr a;

	assert_int_equal(addr_parse(addr, &a), 0);
	return route_lookup(r, a.family, a.b);
}

static void longest_prefix(const char *name, const char *const prefixes[4],
	const char *const inside[4], const char *outside, const char *via)
{
	struct later l = {.n = 0};
	struct router *r = make(name, &l);
	struct nexthop *hops[4];

	assert_null(find(r, inside[0]));
	for (unsigned i = 0; i < 4; i++) {
		struct ip_addr a;

		assert_int_equal(addr_parse(via, &a), 0);
		a.b[addr_len(a.family) - 1] = i + 1;
		hops[i] = nexthop_get(r, 7, &a);
		assert_non_null(hops[i]);
		add(r, prefixes[i], hops[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(find(r, inside[i]), hops[i]);
	assert_ptr_equal(find(r, outside), hops[0]); /* the default */
	/* Without the longest, the next longer answers; at last none. */
	for (unsigned i = 4; i-- > 0;) {
		assert_int_equal(delete (r, prefixes[i]), 0);
		assert_int_equal(delete (r, prefixes[i]), -1);
		assert_ptr_equal(find(r, inside[3]), i == 0 ? NULL : hops[i - 1]);
	}
	for (unsigned i = 0; i < 4; i++)
		nexthop_put(r, hops[i]);
	assert_int_equal(l.n, 4);
	later_run(&l);
	router_destroy(r);
}

static void test_v4(void **state)
{
	static const char *const prefixes[] = {
		"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"};
	static const char *const inside[] = {"192.0.2.1", "10.9.9.9", "10.1.2.4", "10.1.2.3"};

	(void)state;
	longest_prefix("v4", prefixes, inside, "255.255.255.255", "192.0.2.0");
}

static void test_v6(void **state)
{
	static const char *const prefixes[] = {
		"::/0", "2001:db8::/32", "2001:db8:1::/64", "2001:db8:1::3/128"};
	static const char *const inside[] = {
		"2001:db9::1", "2001:db8:2::1", "2001:db8:1::4", "2001:db8:1::3"};

	(void)state;
	longest_prefix("v6", prefixes, inside, "fd00::1", "fe80::");
}

/* A neighbour's host route over its connected network; what the interface tells reaches all. */
static void test_neighbour(void **state)
{
	struct later l = {.n = 0};
	struct router *r = make("neighbour", &l);
	struct nexthop *net = hop(r, NULL), *host = hop(r, "10.0.0.9"), *again;
	const uint8_t other[6] = {2, 0, 0, 0, 0, 9};
	uint64_t want = 0;

	(void)state;
	add(r, "10.0.0.0/24", net);
	assert_ptr_equal(find(r, "10.0.0.9"), net);
	assert_int_equal(net->state, NEXTHOP_ON_LINK);
	add(r, "10.0.0.9", host);
	assert_ptr_equal(find(r, "10.0.0.9"), host);
	assert_ptr_equal(find(r, "10.0.0.8"), net);
	assert_int_equal(host->state, NEXTHOP_INCOMPLETE);
	nexthop_set_mac(host, other);
	memcpy(&want, other, 6);
	assert_int_equal(host->state, NEXTHOP_VALID);
	assert_int_equal(host->dst_mac, want);
	again = hop(r, "10.0.0.9");
	assert_ptr_equal(again, host);
	nexthop_put(r, again);
	assert_int_equal(router_set_interface(r, 7, 2, 100, 1400, mac), 0);
	assert_int_equal(host->mtu, 1400);
	assert_int_equal(host->port, 2);
	assert_int_equal(host->vlan, 100);
	nexthop_set_mac(host, NULL);
	assert_int_equal(host->state, NEXTHOP_INCOMPLETE);
	nexthop_put(r, host); /* the route still holds it */
	assert_int_equal(l.n, 0);
	assert_int_equal(delete (r, "10.0.0.9"), 0);
	assert_int_equal(l.n, 1);
	nexthop_put(r, net);
	route_flush(r);
	assert_null(find(r, "10.0.0.8"));
	later_run(&l);
	router_destroy(r);
}

/* Indices come back after the grace period only; a full table says so. */
static void test_full(void **state)
{
	struct later l = {.n = 0};
	struct router *r = make("full", &l);
	struct nexthop *hops[64];
	struct ip_addr a = {.family = 4, .b = {10}};

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		a.b[3] = i;
		hops[i] = nexthop_get(r, 7, &a);
		assert_non_null(hops[i]);
	}
	a.b[3] = 64;
	assert_null(nexthop_get(r, 7, &a));
	nexthop_put(r, hops[5]);
	assert_null(nexthop_get(r, 7, &a)); /* a worker may still hold it */
	later_run(&l);
	hops[5] = nexthop_get(r, 7, &a);
	assert_non_null(hops[5]);
	for (unsigned i = 0; i < 64; i++) {
		nexthop_put(r, hops[i]);
		later_run(&l);
	}
	router_destroy(r);
}

struct reader {
	struct router *r;
	struct nexthop *a, *b;
	_Atomic bool stop;
	_Atomic uint64_t n;
	uint64_t n_bad;
};

static void *reader_main(void *arg)
{
	struct reader *x = arg;
	const uint8_t addr[4] = {10, 1, 2, 3};

	while (!atomic_load(&x->stop)) {
		struct nexthop *nh = route_lookup(x->r, 4, addr);

		x->n_bad += nh != x->a && nh != x->b;
		atomic_fetch_add(&x->n, 1);
	}
	return NULL;
}

/* While a route moves between two next hops a look-up gives one or the other, never none. */
static void test_change(void **state)
{
	struct later l = {.n = 0};
	struct router *r = make("change", &l);
	struct reader x = {.r = r, .a = hop(r, "192.0.2.1"), .b = hop(r, "192.0.2.2")};
	pthread_t thread;

	(void)state;
	add(r, "10.1.0.0/16", x.a);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &x), 0);
	while (atomic_load(&x.n) == 0)
		;
	for (unsigned i = 0; i < 20000; i++)
		add(r, "10.1.0.0/16", i & 1 ? x.a : x.b);
	atomic_store(&x.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(x.n_bad, 0);
	assert_ptr_equal(find(r, "10.1.2.3"), x.a);
	nexthop_put(r, x.a);
	nexthop_put(r, x.b);
	route_flush(r);
	later_run(&l);
	router_destroy(r);
}

/* Each outcome of the stage, by the state of the next hop and the packet's size. */
static void test_stage(void **state)
{
	static const struct {
		const char *why;
		enum nexthop_state state;
		uint16_t size;
		bool is_v6, has_df, has_route;
		enum burst_next next;
		uint8_t icmp;
		enum drop_reason drop;
	} rows[] = {
		{"valid", NEXTHOP_VALID, 1400, false, true, true, NEXT_TX, 0, 0},
		{"neighbour not known", NEXTHOP_INCOMPLETE, 100, false, true, true, NEXT_TX, 0, 0},
		{"on link", NEXTHOP_ON_LINK, 100, true, true, true, NEXT_TX, 0, 0},
		{"one too long, DF", NEXTHOP_VALID, 1401, false, true, true, NEXT_ICMP,
			ICMP_ABOUT_MTU, DROP_MTU},
		{"one too long", NEXTHOP_VALID, 1401, false, false, true, NEXT_FRAGMENT, 0, 0},
		{"IPv6 fits", NEXTHOP_VALID, 1400, true, true, true, NEXT_TX, 0, 0},
		{"IPv6 too long", NEXTHOP_VALID, 1401, true, true, true, NEXT_ICMP, ICMP_ABOUT_MTU,
			DROP_MTU},
		{"IPv6, came in pieces", NEXTHOP_VALID, 1401, true, false, true, NEXT_FRAGMENT, 0,
			0},
		{"black hole", NEXTHOP_BLACKHOLE, 100, false, true, true, NEXT_DROP, 0,
			DROP_NO_ROUTE},
		{"unreachable", NEXTHOP_UNREACHABLE, 100, false, true, true, NEXT_ICMP,
			ICMP_ABOUT_NO_ROUTE, DROP_NO_ROUTE},
		{"no route", NEXTHOP_VALID, 100, false, true, false, NEXT_ICMP, ICMP_ABOUT_NO_ROUTE,
			DROP_NO_ROUTE},
		{"no IPv6 route", NEXTHOP_VALID, 100, true, true, false, NEXT_ICMP,
			ICMP_ABOUT_NO_ROUTE, DROP_NO_ROUTE},
	};
	struct later l = {.n = 0};
	struct router *r = make("stage", &l);
	struct nexthop *nh4 = hop(r, "192.0.2.1"), *nh6 = hop(r, "fe80::1");
	static struct burst b;
	static uint8_t ip[1500];

	(void)state;
	assert_int_equal(router_set_interface(r, 7, 1, 0, 1400, mac), 0);
	for (unsigned k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		struct nexthop *nh = rows[k].is_v6 ? nh6 : nh4;

		if (rows[k].has_route)
			add(r, rows[k].is_v6 ? "2001:db8:2::/48" : "10.0.2.0/24", nh);
		nexthop_set_state(nh, rows[k].state);
		memset(&b, 0, sizeof(b));
		if (rows[k].is_v6)
			v6_udp(ip, rows[k].size, 53);
		else
			v4_udp(ip, rows[k].size, 53);
		burst_put(&b, 0, frame_of(ip, rows[k].size), NEXT_ROUTE);
		b.pkt[0].flags &= ~PKT_DF;
		b.pkt[0].flags |= rows[k].has_df ? PKT_DF : 0;
		forward_route(NULL, r, &b);
		if (b.next[0] != rows[k].next || b.icmp[0] != rows[k].icmp ||
			b.drop[0] != rows[k].drop)
			fail_msg("%s: next %u icmp %u drop %s", rows[k].why, b.next[0], b.icmp[0],
				drop_name(b.drop[0]));
		if (rows[k].next == NEXT_TX || rows[k].next == NEXT_FRAGMENT)
			assert_ptr_equal(b.nexthop[0], nh);
		if (rows[k].icmp == ICMP_ABOUT_MTU)
			assert_int_equal(b.mtu[0], 1400);
		rte_pktmbuf_free(b.m[0]);
		route_flush(r);
	}
	nexthop_put(r, nh4);
	nexthop_put(r, nh6);
	later_run(&l);
	router_destroy(r);
	packets_assert_none_used();
}

/* A full burst of both families, others untouched. */
static void test_burst(void **state)
{
	struct later l = {.n = 0};
	struct router *r = make("burst", &l);
	struct nexthop *nh4 = hop(r, "192.0.2.1"), *nh6 = hop(r, "fe80::1");
	static struct burst b;
	static uint8_t ip[100];

	(void)state;
	add(r, "0.0.0.0/0", nh4);
	add(r, "::/0", nh6);
	memset(&b, 0, sizeof(b));
	for (unsigned i = 0; i < BURST_MAX; i++) {
		if (i & 1)
			v6_udp(ip, 100, 53);
		else
			v4_udp(ip, 100, 53);
		burst_put(&b, i, frame_of(ip, 100), i % 7 == 0 ? NEXT_HOST : NEXT_ROUTE);
	}
	forward_route(NULL, r, &b);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		assert_int_equal(b.next[i], i % 7 == 0 ? NEXT_HOST : NEXT_TX);
		if (i % 7 != 0)
			assert_ptr_equal(b.nexthop[i], i & 1 ? nh6 : nh4);
		rte_pktmbuf_free(b.m[i]);
	}
	nexthop_put(r, nh4);
	nexthop_put(r, nh6);
	route_flush(r);
	later_run(&l);
	router_destroy(r);
	packets_assert_none_used();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v4),
		cmocka_unit_test(test_v6),
		cmocka_unit_test(test_neighbour),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_stage),
		cmocka_unit_test(test_burst),
	};

	if (packets_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
