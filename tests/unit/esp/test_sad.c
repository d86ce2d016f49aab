#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_ring.h>

#include "dataplane/esp_wire.h"
#include "tests/unit/esp/esp_bench.h"

static struct bench bench;

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	if (addr_parse(text, &a) != 0)
		abort();
	return a;
}

static const uint8_t key[64] = {1, 2, 3};

static struct sa_params params(uint32_t spi, struct path *path)
{
	return (struct sa_params){
		.spi = spi,
		.is_tunnel = true,
		.suite = suite_find(ENCR_AES_GCM_16, 16, INTEG_NONE),
		.enc_key = key,
		.enc_key_len = 20,
		.integ_key = key,
		.window = 64,
		.path = path,
	};
}

static struct path *path_to(const char *local, uint32_t flags)
{
	struct ip_addr a = addr(local);
	struct endpoint l = {.addr = a, .port = 4500};
	struct endpoint r = {
		.addr = addr(a.family == 4 ? "192.0.2.99" : "2001:db8::99"), .port = 4500};
	struct path *p = path_create(&l, &r, flags, 1500);
	assert_non_null(p);
	return p;
}

static int add(struct sad *s, const struct sa_params *p, struct sa_hot **out)
{
	int err = sa_create(p, crypto_mb_manager(bench.w.crypto), out);
	if (err != SAD_OK)
		return err;
	err = sad_publish(s, *out);
	if (err != SAD_OK) {
		sa_destroy(*out);
		*out = NULL;
	}
	return err;
}

static void take(struct sad *s, struct sa_hot *sa)
{
	sad_unpublish(s, sa);
	sad_free(s, sa);
}

/* B61: reserved SPIs, extreme ones, index 0, and SPIs that share an index. */
static void test_spis(void **state)
{
	(void)state;
	struct sad *s = bench.w.sad; /* 10 bits */
	struct path *p = path_to("192.0.2.1", 0);
	struct ip_addr dst = addr("192.0.2.1");
	struct sa_hot *sa;
	static const struct {
		uint32_t spi;
		int err;
	} rows[] = {{0, SAD_E_INVALID}, {1, SAD_E_INVALID}, {0x80, SAD_E_INVALID},
		{255, SAD_E_INVALID}, {256, SAD_OK}, {0x80000000, SAD_OK}, {0xffffffff, SAD_OK},
		{0x400, SAD_OK}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sa_params sp = params(rows[i].spi, p);
		assert_null(sad_find_in(s, rows[i].spi, &dst, false));
		assert_int_equal(add(s, &sp, &sa), rows[i].err);
		if (rows[i].err != SAD_OK)
			continue;
		assert_ptr_equal(sad_find_in(s, rows[i].spi, &dst, false), sa);
		/* same index, other SPI: neither found nor accepted beside it */
		assert_null(sad_find_in(s, rows[i].spi ^ 0x40000000, &dst, false));
		struct sa_hot *other = NULL;
		sp.spi ^= 0x40000000;
		assert_int_equal(add(s, &sp, &other), SAD_E_EXISTS);
		take(s, sa);
		assert_null(sad_find_in(s, rows[i].spi, &dst, false));
	}
	path_destroy(p);
}

/* Which packets an SA takes: destination, encapsulation, and where its path was before. */
static void test_destination_and_encapsulation(void **state)
{
	(void)state;
	static const struct {
		const char *why, *local, *old, *dst;
		uint32_t flags;
		bool is_udp, is_found;
	} rows[] = {
		{"plain", "192.0.2.1", NULL, "192.0.2.1", 0, false, true},
		{"other address", "192.0.2.1", NULL, "192.0.2.2", 0, false, false},
		{"other family", "192.0.2.1", NULL, "2001:db8::1", 0, false, false},
		{"IPv6", "2001:db8::1", NULL, "2001:db8::1", 0, false, true},
		{"UDP though no NAT was seen (RFC 7296 2.23)", "192.0.2.1", NULL, "192.0.2.1", 0,
			true, true},
		{"UDP as agreed", "192.0.2.1", NULL, "192.0.2.1", PATH_UDP, true, true},
		{"plain ESP where there is a NAT", "192.0.2.1", NULL, "192.0.2.1",
			PATH_UDP | PATH_PEER_NATTED, false, false},
		{"the address of before the move", "192.0.2.1", "192.0.2.7", "192.0.2.7", 0, false,
			true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct path *p = path_to(rows[i].local, rows[i].flags);
		if (rows[i].old)
			p->old_local = addr(rows[i].old);
		struct sa_params sp = params(0x5000, p);
		struct sa_hot *sa;
		struct ip_addr dst = addr(rows[i].dst);
		assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_OK);
		bool found = sad_find_in(bench.w.sad, 0x5000, &dst, rows[i].is_udp) == sa;
		if (found != rows[i].is_found)
			fail_msg("%s", rows[i].why);
		take(bench.w.sad, sa);
		path_destroy(p);
	}
}

static void test_path_moves(void **state)
{
	(void)state;
	struct path *a = path_to("192.0.2.1", 0), *b = path_to("2001:db8::5", PATH_UDP);
	struct ip_addr at_a = addr("192.0.2.1"), at_b = addr("2001:db8::5");
	struct sa_params sp = params(0x6000, a);
	struct sa_hot *sa;
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_OK);
	assert_null(sad_find_in(bench.w.sad, 0x6000, &at_b, true));
	b->old_local = at_a;
	sa_set_path(sa, b);
	assert_ptr_equal(sad_find_in(bench.w.sad, 0x6000, &at_b, true), sa);
	assert_ptr_equal(sad_find_in(bench.w.sad, 0x6000, &at_a, false), sa);
	take(bench.w.sad, sa);
	path_destroy(a);
	path_destroy(b);
}

/* Manual SAs: SPIs that somebody chose, also such that differ in destination alone. */
static void test_manual(void **state)
{
	(void)state;
	struct sad *s = sad_create("manual", 8, 8);
	struct path *p1 = path_to("192.0.2.1", 0), *p2 = path_to("192.0.2.2", 0);
	struct ip_addr d1 = addr("192.0.2.1"), d2 = addr("192.0.2.2"), d3 = addr("192.0.2.3");
	struct sa_params sp = params(0x12345, p1);
	struct sa_hot *leased, *m1, *m2, *again = NULL;
	assert_int_equal(add(s, &sp, &leased), SAD_OK);
	sp.is_manual = true;
	sp.spi = 0x99945; /* the index of the leased one */
	assert_int_equal(add(s, &sp, &m1), SAD_OK);
	assert_int_equal(add(s, &sp, &again), SAD_E_EXISTS);
	sp.path = p2;
	assert_int_equal(add(s, &sp, &m2), SAD_OK);
	assert_ptr_equal(sad_find_in(s, 0x12345, &d1, false), leased);
	assert_ptr_equal(sad_find_in(s, 0x99945, &d1, false), m1);
	assert_ptr_equal(sad_find_in(s, 0x99945, &d2, false), m2);
	assert_null(sad_find_in(s, 0x99945, &d3, false));
	assert_null(sad_find_in(s, 0x99945, &d1, true));
	assert_ptr_equal(sad_by_ref(s, sa_ref(m2)), m2);
	uint64_t gone = sa_ref(m2);
	take(s, m2);
	assert_null(sad_by_ref(s, gone));
	assert_null(sad_find_in(s, 0x99945, &d2, false));
	/* many times over: no slot or key place is lost */
	for (uint32_t i = 0; i < 200; i++) {
		struct sa_hot *sa;
		sp.spi = 0x1000 + i;
		assert_int_equal(add(s, &sp, &sa), SAD_OK);
		assert_ptr_equal(sad_find_in(s, sp.spi, &d2, false), sa);
		take(s, sa);
	}
	take(s, m1);
	take(s, leased);
	/* full */
	struct sa_hot *all[9] = {NULL};
	for (uint32_t i = 0; i < 9; i++) {
		sp.spi = 0x2000 + i;
		assert_int_equal(add(s, &sp, &all[i]), i < 8 ? SAD_OK : SAD_E_FULL);
	}
	sad_destroy(s); /* with the SAs that are in it */
	path_destroy(p1);
	path_destroy(p2);
}

/* Outbound indices: all can be had, are found by reference, and come back after sad_free. */
static void test_outbound(void **state)
{
	(void)state;
	enum { N = 256 };
	struct sad *s = sad_create("outbound", 8, 0);
	struct path *p = path_to("192.0.2.1", 0);
	struct sa_hot *sa[N] = {NULL};
	struct sa_params sp = params(0x7000, p);
	sp.is_outbound = true;
	for (uint32_t i = 0; i < N; i++) {
		sp.spi = 0x7000 + i;
		assert_int_equal(add(s, &sp, &sa[i]), i < N - 1 ? SAD_OK : SAD_E_FULL);
	}
	for (uint32_t i = 0; i < N - 1; i++) {
		assert_ptr_equal(sad_by_ref(s, sa_ref(sa[i])), sa[i]);
		assert_true(sa[i]->id & SA_ID_OUT);
		assert_ptr_equal(sad_find_out(s, 0x7000 + i, &p->remote.addr), sa[i]);
	}
	assert_null(sad_find_out(s, 0x7000, &p->local.addr));
	uint64_t ref = sa_ref(sa[5]);
	take(s, sa[5]);
	assert_null(sad_by_ref(s, ref));
	assert_int_equal(add(s, &sp, &sa[5]), SAD_OK);
	assert_null(sad_by_ref(s, ref));
	sad_destroy(s);
	path_destroy(p);
}

static void test_owners(void **state)
{
	(void)state;
	struct path *p = path_to("192.0.2.1", 0);
	struct sa_params sp = params(0x8033, p);
	struct sa_hot *sa;
	static struct burst b;
	uint8_t packet[64] = {0x45, 0, 0, 64, [8] = 64, [9] = PROTO_ESP, [12] = 192, 0, 2, 99, 192,
		0, 2, 1, 0, 0, 0x80, 0x33, 0, 0, 0, 1};
	put_u16(packet + 10, ip4_checksum(packet, 20));
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_OK);
	assert_int_equal(sa->bucket, 0x33);
	bench_set_in(&bench, &b, packet, sizeof(packet));
	sad_lookup(&bench.w, &b);
	assert_int_equal(b.next[0], NEXT_ESP_IN);
	assert_ptr_equal(b.sa[0], sa);
	sad_owner_set(bench.w.sad, 0x33, 3);
	bench_clear(&b);
	bench_set_in(&bench, &b, packet, sizeof(packet));
	sad_lookup(&bench.w, &b);
	assert_int_equal(b.next[0], NEXT_HANDOFF);
	assert_ptr_equal(b.sa[0], sa);
	sad_owner_set(bench.w.sad, 0x33, 0);
	sa_set_state(sa, SA_LARVAL);
	bench_clear(&b);
	bench_set_in(&bench, &b, packet, sizeof(packet));
	sad_lookup(&bench.w, &b);
	assert_int_equal(b.drop[0], DROP_SA_STATE);
	bench_clear(&b);
	take(bench.w.sad, sa);
	path_destroy(p);
}

/* An event is told once until it is taken; a full ring is noticed. */
static void test_events(void **state)
{
	(void)state;
	struct path *p = path_to("192.0.2.1", 0);
	struct sa_params sp = params(0x9000, p);
	struct sa_hot *sa;
	void *ref = NULL;
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_OK);
	bench.w.sa_events = rte_ring_create("events", 2, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	sa_event_raise(&bench.w, sa, SA_EV_NAT);
	sa_event_raise(&bench.w, sa, SA_EV_NAT);
	assert_int_equal(rte_ring_count(bench.w.sa_events), 1);
	assert_int_equal(bench.w.sa_events_lost, 0);
	sa_event_raise(&bench.w, sa, SA_EV_SOFT);
	assert_int_equal(bench.w.sa_events_lost, 1);
	assert_int_equal(rte_ring_dequeue(bench.w.sa_events, &ref), 0);
	assert_ptr_equal(sad_by_ref(bench.w.sad, (uintptr_t)ref), sa);
	assert_int_equal(sa_events_take(sa), SA_EV_NAT | SA_EV_SOFT);
	/* limits are told once; new limits may be told again */
	sa_event_raise(&bench.w, sa, SA_EV_SOFT);
	assert_int_equal(sa_events_take(sa), 0);
	sa_set_life(sa, 1, 2);
	sa_event_raise(&bench.w, sa, SA_EV_SOFT);
	assert_int_equal(sa_events_take(sa), SA_EV_SOFT);
	rte_ring_free(bench.w.sa_events);
	bench.w.sa_events = NULL;
	take(bench.w.sad, sa);
	path_destroy(p);
}

struct ts_row {
	const char *why, *src, *dst; /* prefixes */
	uint8_t proto;
	uint16_t sport_lo, sport_hi, dport_lo, dport_hi;
	bool is_inside;
};

/* Against one UDP packet 192.0.2.1:5001 -> 192.0.2.2:5002. */
static void test_selectors(void **state)
{
	(void)state;
	static const struct ts_row rows[] = {
		{"any", "0.0.0.0/0", "0.0.0.0/0", 0, 0, 65535, 0, 65535, true},
		{"both networks", "192.0.2.0/24", "192.0.2.0/24", 0, 0, 65535, 0, 65535, true},
		{"hosts", "192.0.2.1/32", "192.0.2.2/32", 17, 5001, 5001, 5002, 5002, true},
		{"source outside", "192.0.2.2/32", "192.0.2.2/32", 0, 0, 65535, 0, 65535, false},
		{"destination outside", "192.0.2.1/32", "192.0.2.1/32", 0, 0, 65535, 0, 65535,
			false},
		{"other family", "::/0", "::/0", 0, 0, 65535, 0, 65535, false},
		{"other protocol", "0.0.0.0/0", "0.0.0.0/0", 6, 0, 65535, 0, 65535, false},
		{"port range", "0.0.0.0/0", "0.0.0.0/0", 17, 5000, 5001, 5002, 6000, true},
		{"source port below", "0.0.0.0/0", "0.0.0.0/0", 17, 5002, 6000, 0, 65535, false},
		{"destination port above", "0.0.0.0/0", "0.0.0.0/0", 17, 0, 65535, 1, 5001, false},
		{"OPAQUE is for packets without ports", "0.0.0.0/0", "0.0.0.0/0", 17, 65535, 0, 0,
			65535, false},
	};
	static struct burst b;
	uint8_t packet[100];
	struct path *p = path_to("192.0.2.1", 0);
	bench_inner(packet, 4, sizeof(packet), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_prefix src, dst;
		const struct ts_row *r = &rows[i];
		assert_int_equal(prefix_parse(r->src, &src), 0);
		assert_int_equal(prefix_parse(r->dst, &dst), 0);
		/* A second pair that never fits, so that the list is walked. */
		struct sa_selector_pair pairs[2] = {
			[1] = {.src = {prefix_range(&src), r->proto, r->sport_lo, r->sport_hi},
				.dst = {prefix_range(&dst), r->proto, r->dport_lo, r->dport_hi}}};
		pairs[0] = pairs[1];
		pairs[0].src.proto = pairs[0].dst.proto = 99;
		struct sa_params sp = params(0xa000, p);
		sp.selectors = pairs;
		sp.n_selectors = 2;
		struct sa_hot *sa;
		assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_OK);
		bench_set_out(&bench, &b, sa, packet, sizeof(packet));
		if (sa_selectors_match(sa, &b, 0) != r->is_inside)
			fail_msg("%s", r->why);
		bench_clear(&b);
		take(bench.w.sad, sa);
	}
	path_destroy(p);
}

/* RFC 4301 4.4.1.1: ICMP type and code as a port; later fragments have none. */
static void test_selectors_without_ports(void **state)
{
	(void)state;
	static struct burst b;
	struct path *p = path_to("192.0.2.1", 0);
	struct ip_prefix all;
	assert_int_equal(prefix_parse("0.0.0.0/0", &all), 0);
	struct traffic_selector echo = {prefix_range(&all), 1, 0x0800, 0x08ff};
	struct sa_selector_pair pair = {.src = echo, .dst = echo};
	struct sa_params sp = params(0xb000, p);
	sp.selectors = &pair;
	sp.n_selectors = 1;
	struct sa_hot *sa;
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_OK);
	uint8_t icmp[28] = {0x45, 0, 0, 28, [8] = 64, [9] = 1, [12] = 1, 2, 3, 4, 5, 6, 7, 8, 8, 0};
	put_u16(icmp + 10, ip4_checksum(icmp, 20));
	bench_set_out(&bench, &b, sa, icmp, sizeof(icmp));
	assert_true(sa_selectors_match(sa, &b, 0));
	icmp[20] = 0; /* echo reply */
	bench_set_out(&bench, &b, sa, icmp, sizeof(icmp));
	assert_false(sa_selectors_match(sa, &b, 1));
	icmp[20] = 8;
	icmp[7] = 10; /* a later fragment, whose first bytes look like an echo request */
	put_u16(icmp + 10, 0);
	put_u16(icmp + 10, ip4_checksum(icmp, 20));
	bench_set_out(&bench, &b, sa, icmp, sizeof(icmp));
	assert_false(sa_selectors_match(sa, &b, 2));
	bench_clear(&b);
	take(bench.w.sad, sa);
	path_destroy(p);
}

static void test_refused(void **state)
{
	(void)state;
	struct path *p = path_to("192.0.2.1", 0);
	struct ip_prefix v4, v6;
	struct sa_hot *sa = NULL;
	assert_int_equal(prefix_parse("0.0.0.0/0", &v4), 0);
	assert_int_equal(prefix_parse("::/0", &v6), 0);
	struct sa_params sp = params(0xc000, p);
	sp.enc_key_len = 19;
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_E_KEY);
	sp = params(0xc000, NULL);
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_E_INVALID);
	struct sa_selector_pair mixed = {
		.src = {prefix_range(&v4), 0, 0, 65535}, .dst = {prefix_range(&v6), 0, 0, 65535}};
	sp = params(0xc000, p);
	sp.selectors = &mixed;
	sp.n_selectors = 1;
	assert_int_equal(add(bench.w.sad, &sp, &sa), SAD_E_INVALID);
	assert_null(sad_create("small", 7, 0));
	assert_null(sad_create("large", 23, 0));
	struct endpoint a = {.addr = addr("192.0.2.1")}, b = {.addr = addr("::1")};
	assert_null(path_create(&a, &b, 0, 1500));
	path_destroy(p);
}

static int set_up(void **state)
{
	(void)state;
	return bench_init(&bench, "auto");
}

static int tear_down(void **state)
{
	(void)state;
	bench_fini(&bench);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spis),
		cmocka_unit_test(test_destination_and_encapsulation),
		cmocka_unit_test(test_path_moves),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_outbound),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_selectors_without_ports),
		cmocka_unit_test(test_refused),
	};
	char prefix[32];
	snprintf(prefix, sizeof(prefix), "sadtest%d", (int)getpid());
	if (bench_eal_init(prefix) != 0)
		return 1;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
