#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include <cmocka.h>

#include "dataplane/forward.h"
#include "dataplane/fragment_out.h"
#include "dataplane/icmp_error.h"
#include "dataplane/icmp_input.h"
#include "dataplane/parse.h"
#include "dataplane/reassembly.h"

#define ETH 14

static struct rte_mempool *pool, *big_pool;

static void put16(uint8_t *b, uint16_t v)
{
	b[0] = v >> 8;
	b[1] = v & 0xff;
}

static uint16_t sum_of(const uint8_t *b, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void v4_sum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, sum_of(ip, (ip[0] & 15) * 4u));
}

/* A UDP packet 10.0.1.1:1000 -> 10.0.2.1:dport of total bytes. */
static void v4_udp(uint8_t *ip, uint16_t total, uint16_t dport)
{
	static const uint8_t start[28] = {
		0x45, 0, 0, 0, 0, 7, 0, 0, 64, 17, 0, 0, 10, 0, 1, 1, 10, 0, 2, 1, 3, 232};

	memset(ip, 0, total);
	memcpy(ip, start, sizeof(start));
	put16(ip + 2, total);
	put16(ip + 22, dport);
	put16(ip + 24, total - 20);
	for (unsigned i = 28; i < total; i++)
		ip[i] = i * 31 + (i >> 8);
	v4_sum(ip);
}

static void test_parse_ip(void **state)
{
	struct {
		unsigned at;
		uint8_t value;
		bool mend;
		uint32_t avail;
		enum drop_reason want;
		const char *why;
	} rows[] = {
		{1, 0, true, 64, DROP_NONE, "as built"},
		{0, 0x35, true, 64, DROP_MALFORMED, "version 3"},
		{0, 0x44, false, 64, DROP_MALFORMED, "header of 16 bytes"},
		{0, 0x4f, false, 40, DROP_MALFORMED, "header beyond the buffer"},
		{3, 19, true, 64, DROP_MALFORMED, "length below the header"},
		{3, 65, true, 64, DROP_MALFORMED, "length beyond the buffer"},
		{3, 64, true, 19, DROP_MALFORMED, "buffer below a header"},
		{8, 63, false, 64, DROP_BAD_CHECKSUM, "a changed byte"},
		{12, 224, true, 64, DROP_BAD_SOURCE, "group as source"},
		{12, 127, true, 64, DROP_BAD_SOURCE, "loopback as source"},
		{6, 0x20, true, 64, DROP_FRAG_BAD, "more to come, not whole 8 bytes"},
		{25, 7, true, 64, DROP_MALFORMED, "UDP length below its header"},
		{25, 45, true, 64, DROP_MALFORMED, "UDP length beyond the packet"},
	};
	uint8_t ip[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pkt_info pkt = {0};
		enum drop_reason got;

		v4_udp(ip, rows[i].at == 6 ? 60 : 64, 53);
		if (rows[i].at == 6)
			put16(ip + 2, 61);
		ip[rows[i].at] = rows[i].value;
		if (rows[i].mend)
			v4_sum(ip);
		got = parse_ip(ip, rows[i].avail, &pkt);
		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].why, drop_name(got));
	}
}

static struct rte_mbuf *frame_of(const uint8_t *ip, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *at;

	assert_non_null(m);
	at = (uint8_t *)rte_pktmbuf_append(m, ETH + len);
	assert_non_null(at);
	memset(at, 0, ETH);
	put16(at + 12, ip[0] >> 4 == 4 ? 0x0800 : 0x86dd);
	memcpy(at + ETH, ip, len);
	return m;
}

/* RFC 3948 2.1 to 2.3, field case B32. */
static void test_classify(void **state)
{
	struct {
		uint16_t dport, payload;
		uint8_t first;
		enum burst_next next;
		enum drop_reason drop;
	} rows[] = {
		{4500, 0, 0, NEXT_DROP, DROP_MALFORMED},
		{4500, 1, 0xff, NEXT_DROP, DROP_KEEPALIVE},
		{4500, 1, 0, NEXT_DROP, DROP_MALFORMED},
		{4500, 2, 0xff, NEXT_DROP, DROP_MALFORMED},
		{4500, 3, 0, NEXT_DROP, DROP_MALFORMED},
		{4500, 4, 0, NEXT_PUNT, 0},
		{4500, 8, 1, NEXT_ESP_IN, 0},
		{4500, 4, 1, NEXT_DROP, DROP_BAD_ESP},
		{500, 1, 0xff, NEXT_PUNT, 0},
		{500, 28, 9, NEXT_PUNT, 0},
		{53, 8, 1, NEXT_LOCAL, 0},
	};
	struct local_addr ours = {.addr = {.family = 4, .b = {10, 0, 2, 1}}, .prefix_len = 24};
	struct punt_set punts = {.n = 2,
		.entries = {{.local = {.port = 500}}, {.local = {.port = 4500}, .is_nat_t = true}}};
	struct parse_ctx ctx = {.local = local_addrs_create(&ours, 1), .punts = &punts};
	static struct burst b;
	struct worker_ctx *w = calloc(1, sizeof(*w));
	uint8_t ip[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&b, 0, sizeof(b));
		v4_udp(ip, 28 + rows[i].payload, rows[i].dport);
		memset(ip + 28, 0, rows[i].payload < 4 ? rows[i].payload : 4);
		if (rows[i].payload > 0)
			ip[28] = rows[i].first;
		b.n = 1;
		b.m[0] = frame_of(ip, 28 + rows[i].payload);
		b.next[0] = NEXT_PARSE;
		parse_burst(w, &ctx, &b);
		assert_int_equal(b.next[0], rows[i].next);
		if (rows[i].next == NEXT_DROP)
			assert_int_equal(b.drop[0], rows[i].drop);
		rte_pktmbuf_free(b.m[0]);
	}
	local_addrs_destroy((struct local_addrs *)ctx.local);
	free(w);
}

/* Lowering must leave the checksum that a new calculation gives. */
static void test_ttl(void **state)
{
	uint8_t ip[28], want[28];

	(void)state;
	for (unsigned n = 0; n < 65536; n++) {
		v4_udp(ip, 28, 53);
		put16(ip + 4, n);
		ip[8] = n % 255 + 1;
		v4_sum(ip);
		memcpy(want, ip, sizeof(want));
		assert_int_equal(forward_ttl_lower(ip, 4), want[8] > 1);
		if (want[8] == 1)
			continue;
		want[8]--;
		v4_sum(want);
		assert_int_equal(sum_of(ip, 20), 0);
		assert_int_equal(ip[8], want[8]);
	}
}

/* Cut, shuffled, put together: the same bytes. An overlap and a full share give their reasons. */
static void test_fragments(void **state)
{
	struct reassembly_config config = {.big_pool = big_pool, .max_per_source = 2};
	struct reassembly *r = reassembly_create(&config);
	struct worker_ctx *w = calloc(1, sizeof(*w));
	static struct burst b;
	static uint8_t ip[1500];
	struct rte_mbuf *cut[FRAGMENT_OUT_MAX];
	uint32_t n;

	(void)state;
	assert_non_null(r);
	for (unsigned shift = 0; shift < 6; shift++) {
		v4_udp(ip, 1500, 500);
		n = fragment_out_v4(frame_of(ip, 1500), ETH, 300, pool, cut, FRAGMENT_OUT_MAX);
		assert_int_equal(n, 6);
		memset(&b, 0, sizeof(b));
		b.n = n;
		for (unsigned i = 0; i < n; i++) {
			b.m[i] = cut[(i * 5 + shift) % n];
			b.next[i] = NEXT_REASM;
			b.pkt[i].l3_off = ETH;
			assert_int_equal(
				parse_ip(burst_l3(&b, i), b.m[i]->data_len - ETH, &b.pkt[i]),
				DROP_NONE);
			assert_int_equal(sum_of(burst_l3(&b, i), 20), 0);
		}
		reassembly_burst(w, r, &b);
		assert_int_equal(b.next[n - 1], NEXT_PARSE);
		assert_int_equal(b.m[n - 1]->data_len, ETH + 1500);
		assert_memory_equal(rte_pktmbuf_mtod_offset(b.m[n - 1], uint8_t *, ETH), ip, 1500);
		assert_int_equal(reassembly_count(r), 0);
		rte_pktmbuf_free(b.m[n - 1]);
	}
	memset(&b, 0, sizeof(b));
	for (unsigned i = 0; i < 4; i++) { /* two datagrams, an overlap, one too many */
		v4_udp(ip, 84, 500);
		put16(ip + 4, i == 2 ? 0 : i);
		put16(ip + 6, 0x2000 | (i == 2));
		v4_sum(ip);
		b.m[i] = frame_of(ip, 84);
		b.next[i] = NEXT_REASM;
		b.pkt[i].l3_off = ETH;
		assert_int_equal(parse_ip(ip, 84, &b.pkt[i]), DROP_NONE);
	}
	b.n = 4;
	reassembly_burst(w, r, &b);
	assert_int_equal(b.next[1], NEXT_NONE);
	assert_int_equal(b.drop[2], DROP_FRAG_OVERLAP);
	assert_int_equal(b.drop[3], DROP_FRAG_LIMIT);
	rte_pktmbuf_free(b.m[2]);
	rte_pktmbuf_free(b.m[3]);
	w->now_s = 31;
	assert_int_equal(reassembly_expire(w, r), 2);
	assert_int_equal(w->drops[DROP_FRAG_TIMEOUT], 1); /* the spoilt one's went before */
	reassembly_destroy(r);
	free(w);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	assert_int_equal(rte_mempool_in_use_count(big_pool), 0);
}

static void test_icmp(void **state)
{
	static const uint8_t us[4] = {10, 0, 1, 254};
	uint8_t ip[1500], out[ICMP_ERROR_MAX];
	struct pkt_info pkt = {0}, error = {0};
	struct icmp_error e = {.kind = ICMP_ERROR_MTU, .mtu = 1400, .src = us};
	struct icmp_pmtu got;
	size_t len;

	(void)state;
	v4_udp(ip, 1500, 4500);
	assert_int_equal(parse_ip(ip, sizeof(ip), &pkt), DROP_NONE);
	len = icmp_error_build(ip, &pkt, &e, out, sizeof(out));
	assert_int_equal(len, 576);
	assert_int_equal(sum_of(out, 20), 0);
	assert_int_equal(sum_of(out + 20, len - 20), 0);
	assert_int_equal(parse_ip(out, len, &error), DROP_NONE);
	assert_true(icmp_input_pmtu(out, &error, &got));
	assert_int_equal(got.mtu, 1400);
	assert_true(got.is_udp);
	assert_int_equal(got.dst_port, 4500);
	assert_memory_equal(got.dst.b, ip + 16, 4);
	/* never about an error */
	assert_int_equal(icmp_error_build(out, &error, &e, ip, sizeof(ip)), 0);
	out[30] ^= 1;
	assert_false(icmp_input_pmtu(out, &error, &got));
}

int main(void)
{
	char *args[] = {"test", "--no-huge", "--no-shconf", "--no-pci", "--iova-mode=va", "-m",
		"64", "--no-telemetry", "--log-level=4", "-l", "0", NULL};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_ip),
		cmocka_unit_test(test_classify),
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_icmp),
	};

	if (rte_eal_init(11, args) < 0)
		return 1;
	pool = rte_pktmbuf_pool_create("pool", 511, 0, 0, 2176, SOCKET_ID_ANY);
	big_pool = rte_pktmbuf_pool_create("big", 31, 0, 0, 65535, SOCKET_ID_ANY);
	if (pool == NULL || big_pool == NULL)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
