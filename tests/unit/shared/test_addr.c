#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "shared/addr.h"

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void test_text(void **state)
{
	static const char *const good[] = {"0.0.0.0", "192.0.2.255", "::", "::1", "2001:db8::5",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	static const char *const bad[] = {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "host", ":", "::g",
		"1.2.3.4/32", " 1.2.3.4"};
	char buf[ADDR_STRLEN];
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		a = addr(good[i]);
		assert_string_equal(addr_str(&a, buf), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(addr_parse(bad[i], &a), -1);
	assert_string_equal(addr_str(&(struct ip_addr){0}, buf), "any");
}

static void test_order(void **state)
{
	struct ip_addr v4 = addr("255.255.255.255"), v6 = addr("::"), low = addr("1.0.0.0");

	(void)state;
	assert_true(addr_compare(&v4, &v6) < 0);
	assert_true(addr_compare(&low, &v4) < 0);
	assert_true(addr_compare(&v4, &low) > 0);
	assert_true(addr_equal(&v4, &v4));
	assert_true(addr_is_any(&v6));
	assert_true(addr_is_any(&(struct ip_addr){0}));
	assert_false(addr_is_any(&low));
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1"};
	static const char *const printed[] = {"192.0.2.1:500", "[2001:db8::1]:500"};
	char buf[ENDPOINT_STRLEN];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct endpoint e = {addr(texts[i]), 500}, back;
		struct sockaddr_storage ss;

		assert_true(endpoint_to_sockaddr(&e, &ss) > 0);
		assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&ss, &back), 0);
		assert_true(endpoint_equal(&e, &back));
		assert_string_equal(endpoint_str(&e, buf), printed[i]);
	}
	assert_int_equal(endpoint_from_sockaddr(
				 &(struct sockaddr){.sa_family = AF_UNIX}, &(struct endpoint){0}),
		-1);
}

static const struct {
	const char *text, *printed; /* printed NULL: refused */
} prefixes[] = {
	{"10.0.1.0/24", "10.0.1.0/24"},
	{"10.0.1.77/24", "10.0.1.0/24"},
	{"10.0.1.77", "10.0.1.77/32"},
	{"0.0.0.0/0", "0.0.0.0/0"},
	{"255.255.255.255/1", "128.0.0.0/1"},
	{"::/0", "::/0"},
	{"2001:db8::ffff/113", "2001:db8::8000/113"},
	{"2001:db8::1", "2001:db8::1/128"},
	{"10.0.0.0/33", NULL},
	{"::/129", NULL},
	{"10.0.0.0/", NULL},
	{"10.0.0.0/-1", NULL},
	{"10.0.0.0/ 8", NULL},
	{"10.0.0.0/8x", NULL},
	{"10.0.0.0/99999999999999999999", NULL},
	{"10.0.0/8", NULL},
};

static void test_prefix_text(void **state)
{
	char buf[PREFIX_STRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct ip_prefix p;
		int rc = prefix_parse(prefixes[i].text, &p);

		assert_int_equal(rc, prefixes[i].printed ? 0 : -1);
		if (rc == 0)
			assert_string_equal(prefix_str(&p, buf), prefixes[i].printed);
	}
}

static const struct {
	const char *lo, *hi, *prefixes;
} splits[] = {
	{"10.0.0.0", "10.0.0.255", "10.0.0.0/24"},
	{"10.0.0.1", "10.0.0.1", "10.0.0.1/32"},
	{"10.0.0.1", "10.0.0.2", "10.0.0.1/32 10.0.0.2/32"},
	{"10.0.0.1", "10.0.0.6", "10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32"},
	{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
	{"0.0.0.0", "255.255.255.254",
		"0.0.0.0/1 128.0.0.0/2 192.0.0.0/3 224.0.0.0/4 240.0.0.0/5 248.0.0.0/6 "
		"252.0.0.0/7 254.0.0.0/8 255.0.0.0/9 255.128.0.0/10 255.192.0.0/11 "
		"255.224.0.0/12 255.240.0.0/13 255.248.0.0/14 255.252.0.0/15 255.254.0.0/16 "
		"255.255.0.0/17 255.255.128.0/18 255.255.192.0/19 255.255.224.0/20 "
		"255.255.240.0/21 255.255.248.0/22 255.255.252.0/23 255.255.254.0/24 "
		"255.255.255.0/25 255.255.255.128/26 255.255.255.192/27 255.255.255.224/28 "
		"255.255.255.240/29 255.255.255.248/30 255.255.255.252/31 255.255.255.254/32"},
	{"255.255.255.255", "255.255.255.255", "255.255.255.255/32"},
	{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
	{"2001:db8::", "2001:db8::ffff", "2001:db8::/112"},
};

static void test_range_to_prefixes_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
		struct ip_range r = {addr(splits[i].lo), addr(splits[i].hi)};
		struct ip_prefix out[256];
		size_t n = range_to_prefixes(&r, out, 256);
		char text[2048] = "", one[PREFIX_STRLEN];
		struct ip_prefix single;

		for (size_t j = 0; j < n; j++) {
			strcat(text, j ? " " : "");
			strcat(text, prefix_str(&out[j], one));
		}
		assert_string_equal(text, splits[i].prefixes);
		assert_true(range_to_prefix(&r, &single) == (n == 1));
	}
}

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static struct ip_addr random_addr(uint64_t *seed, uint8_t family, unsigned int free_bits)
{
	struct ip_addr a = {.family = family, .b = {10}};

	for (unsigned int i = 0; i < free_bits; i++)
		if (splitmix(seed) & 1)
			a.b[addr_len(family) - 1 - i / 8] |= (uint8_t)(1 << i % 8);
	return a;
}

static bool next_addr(struct ip_addr *a)
{
	for (size_t i = addr_len(a->family); i-- > 0;)
		if (++a->b[i] != 0)
			return true;
	return false;
}

/* Whole, in order, without gap or overlap, and no two neighbours could be one: the fewest. */
static void check_cover(const struct ip_range *r)
{
	struct ip_prefix out[256];
	size_t n = range_to_prefixes(r, out, 256), few = range_to_prefixes(r, out, 0);
	struct ip_addr expect = r->lo;

	assert_int_equal(n, few);
	assert_true(n >= 1 && n <= (r->lo.family == 4 ? 62u : 254u));
	assert_int_equal(range_to_prefixes(r, out, 256), n);
	for (size_t i = 0; i < n; i++) {
		struct ip_range part = prefix_range(&out[i]);

		assert_true(addr_equal(&part.lo, &expect));
		assert_true(addr_equal(&out[i].addr, &part.lo));
		expect = part.hi;
		if (i + 1 < n)
			assert_true(next_addr(&expect));
		if (i > 0 && out[i].len == out[i - 1].len) {
			struct ip_prefix wider = {out[i - 1].addr, (uint8_t)(out[i].len - 1)};

			prefix_mask(&wider);
			assert_false(addr_equal(&wider.addr, &out[i - 1].addr) &&
				     prefix_contains(&wider, &out[i].addr));
		}
	}
	assert_true(addr_equal(&expect, &r->hi));
}

static void test_range_to_prefixes_random(void **state)
{
	uint64_t seed = 9;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t family = round % 2 ? 4 : 6;
		unsigned int bits = 1 + (unsigned int)(splitmix(&seed) % (family == 4 ? 24 : 120));
		struct ip_range r = {
			random_addr(&seed, family, bits), random_addr(&seed, family, bits)};

		if (addr_compare(&r.lo, &r.hi) > 0) {
			struct ip_addr t = r.lo;

			r.lo = r.hi;
			r.hi = t;
		}
		check_cover(&r);
	}
}

static struct traffic_selector ts(
	const char *lo, const char *hi, uint8_t proto, uint16_t port_lo, uint16_t port_hi)
{
	return (struct traffic_selector){{addr(lo), addr(hi)}, proto, port_lo, port_hi};
}

static void test_selectors(void **state)
{
	struct traffic_selector any = ts("0.0.0.0", "255.255.255.255", 0, 0, 65535);
	struct traffic_selector net = ts("10.0.0.0", "10.0.0.255", 17, 0, 65535);
	struct traffic_selector web = ts("10.0.0.128", "10.0.1.255", 0, 80, 443), out;
	struct traffic_selector tcp = ts("10.0.0.0", "10.0.0.255", 6, 0, 65535);
	struct traffic_selector v6 = ts("::", "::ffff", 0, 0, 65535);

	(void)state;
	assert_true(ts_intersect(&any, &net, &out) && ts_equal(&out, &net));
	assert_true(ts_intersect(&net, &web, &out));
	assert_true(ts_equal(&out,
		&(struct traffic_selector){{addr("10.0.0.128"), addr("10.0.0.255")}, 17, 80, 443}));
	assert_false(ts_intersect(&net, &tcp, &out));
	assert_false(ts_intersect(&any, &v6, &out));
	assert_true(ts_contains(&any, &net));
	assert_false(ts_contains(&net, &any));
	assert_false(ts_contains(&net, &web));
	assert_true(ts_contains(&net, &net));
}

static void test_range_functions(void **state)
{
	struct ip_range r = {addr("10.0.0.5"), addr("10.0.0.9")}, common;
	struct ip_range other = {addr("10.0.0.9"), addr("10.0.0.20")};
	struct ip_range apart = {addr("10.0.0.10"), addr("10.0.0.20")};
	struct ip_addr in = addr("10.0.0.5"), out = addr("10.0.0.10"), v6 = addr("::5");

	(void)state;
	assert_true(range_contains(&r, &in));
	assert_false(range_contains(&r, &out));
	assert_false(range_contains(&r, &v6));
	assert_true(range_intersect(&r, &other, &common));
	assert_true(addr_equal(&common.lo, &common.hi));
	assert_false(range_intersect(&r, &apart, &common));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_prefix_text),
		cmocka_unit_test(test_range_to_prefixes_rows),
		cmocka_unit_test(test_range_to_prefixes_random),
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_range_functions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
