#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/parse.h"
#include "tests/unit/spd/packets.h"

/* Received frames: tags, chains, IPv6 and its extension headers. */

static struct burst b;

static void parse_frame(struct rte_mbuf *m)
{
	struct parse_ctx ctx = {0};

	memset(&b, 0, sizeof(b));
	b.n = 1;
	b.m[0] = m;
	b.next[0] = NEXT_PARSE;
	parse_burst(NULL, &ctx, &b);
}

/* The frame of a packet with these bytes between the addresses and the EtherType. */
static struct rte_mbuf *tagged(const uint8_t *ip, uint16_t len, const uint8_t *tags, uint16_t n)
{
	struct rte_mbuf *m = frame_of(ip, len);
	uint8_t *at = (uint8_t *)rte_pktmbuf_prepend(m, n);

	assert_non_null(at);
	memmove(at, at + n, 12);
	memcpy(at + 12, tags, n);
	return m;
}

static void test_vlan(void **state)
{
	static const struct {
		const char *why;
		uint8_t tags[12];
		uint8_t n;
		enum burst_next next;
	} rows[] = {
		{"no tag", {0}, 0, NEXT_SPD_IN},
		{"one tag", {0x81, 0, 0, 5}, 4, NEXT_SPD_IN},
		{"two tags", {0x88, 0xa8, 0, 5, 0x81, 0, 0, 6}, 8, NEXT_SPD_IN},
		{"two C-tags", {0x81, 0, 0, 5, 0x81, 0, 0, 6}, 8, NEXT_SPD_IN},
		{"three tags are no IP for us", {0x81, 0, 0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7}, 12,
			NEXT_HOST},
	};
	static uint8_t ip[100];

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			if (v6)
				v6_udp(ip, 100, 53);
			else
				v4_udp(ip, 100, 53);
			parse_frame(tagged(ip, 100, rows[i].tags, rows[i].n));
			if (b.next[0] != rows[i].next)
				fail_msg("%s: next %u", rows[i].why, b.next[0]);
			if (rows[i].next == NEXT_SPD_IN) {
				assert_int_equal(b.pkt[0].l3_off, ETH + rows[i].n);
				assert_int_equal(b.pkt[0].dport, 53);
				assert_int_equal(b.pkt[0].l4_off, ETH + rows[i].n + (v6 ? 40 : 20));
			}
			rte_pktmbuf_free(b.m[0]);
		}
	}
	/* Cut off inside a tag or the type: never read beyond. */
	v4_udp(ip, 100, 53);
	for (uint16_t len = 0; len < 22; len++) {
		struct rte_mbuf *m = tagged(ip, 100, rows[2].tags, 8);

		rte_pktmbuf_trim(m, rte_pktmbuf_data_len(m) - len);
		parse_frame(m);
		assert_int_equal(b.next[0], NEXT_DROP);
		assert_int_equal(b.drop[0], DROP_MALFORMED);
		rte_pktmbuf_free(m);
	}
	packets_assert_none_used();
}

/* Field case B53: jumbo frames on small buffers come as chains. */
static void test_chained(void **state)
{
	static uint8_t ip[9000];
	struct rte_mbuf *head, *tail;

	(void)state;
	v4_udp(ip, 1500, 53);
	head = frame_of(ip, 600);
	tail = rte_pktmbuf_alloc(packets_pool);
	memcpy(rte_pktmbuf_append(tail, 900), ip + 600, 900);
	assert_int_equal(rte_pktmbuf_chain(head, tail), 0);
	parse_frame(head);
	assert_int_equal(b.next[0], NEXT_SPD_IN);
	assert_int_equal(b.m[0]->nb_segs, 1);
	assert_int_equal(b.pkt[0].len, 1500);
	assert_memory_equal(burst_l3(&b, 0), ip, 1500);
	rte_pktmbuf_free(b.m[0]);

	v4_udp(ip, 9000, 53); /* no room for it in one small buffer */
	head = frame_of(ip, 1900);
	for (unsigned at = 1900; at < 9000; at += 1775) {
		tail = rte_pktmbuf_alloc(packets_pool);
		memcpy(rte_pktmbuf_append(tail, 1775), ip + at, 1775);
		assert_int_equal(rte_pktmbuf_chain(head, tail), 0);
	}
	parse_frame(head);
	assert_int_equal(b.next[0], NEXT_DROP);
	assert_int_equal(b.drop[0], DROP_CHAINED);
	rte_pktmbuf_free(b.m[0]);
	parse_frame(frame_of(ip, 9000)); /* and in a buffer that is large enough */
	assert_int_equal(b.next[0], NEXT_SPD_IN);
	assert_int_equal(b.pkt[0].len, 9000);
	rte_pktmbuf_free(b.m[0]);
	packets_assert_none_used();
}

/* Padding of a short frame is cut off; a packet that claims more than came is dropped. */
static void test_padding(void **state)
{
	static uint8_t ip[64];

	(void)state;
	v4_udp(ip, 30, 53);
	parse_frame(frame_of(ip, 46));
	assert_int_equal(b.next[0], NEXT_SPD_IN);
	assert_int_equal(b.m[0]->data_len, ETH + 30);
	rte_pktmbuf_free(b.m[0]);
	v4_udp(ip, 64, 53);
	parse_frame(frame_of(ip, 63));
	assert_int_equal(b.drop[0], DROP_MALFORMED);
	rte_pktmbuf_free(b.m[0]);
	v6_udp(ip, 64, 53); /* EtherType of the other family */
	b.m[0] = frame_of(ip, 64);
	put16(rte_pktmbuf_mtod_offset(b.m[0], uint8_t *, 12), 0x0800);
	parse_frame(b.m[0]);
	assert_int_equal(b.drop[0], DROP_MALFORMED);
	rte_pktmbuf_free(b.m[0]);
	packets_assert_none_used();
}

static void test_v6_malformed(void **state)
{
	static const struct {
		const char *why;
		unsigned at;
		uint8_t value;
		uint32_t avail;
		enum drop_reason want;
	} rows[] = {
		{"as built", 7, 64, 100, DROP_NONE},
		{"version 5", 0, 0x50, 100, DROP_MALFORMED},
		{"39 bytes", 7, 64, 39, DROP_MALFORMED},
		{"length beyond the buffer", 5, 61, 100, DROP_MALFORMED},
		{"one byte short", 7, 64, 99, DROP_MALFORMED},
		{"group as source", 8, 0xff, 100, DROP_BAD_SOURCE},
		{"UDP length below its header", 45, 7, 100, DROP_MALFORMED},
		{"UDP length beyond the packet", 45, 61, 100, DROP_MALFORMED},
		{"no next header", 6, 59, 100, DROP_NONE},
		{"hop-by-hop runs beyond the end", 6, 0, 100, DROP_MALFORMED},
	};
	static uint8_t ip[100];

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pkt_info pkt = {0};
		enum drop_reason got;
		uint8_t *copy = malloc(rows[i].avail);

		v6_udp(ip, 100, 53);
		ip[41] = 255; /* as length of an extension header */
		ip[rows[i].at] = rows[i].value;
		memcpy(copy, ip, rows[i].avail);
		got = parse_ip(copy, rows[i].avail, &pkt);
		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].why, drop_name(got));
		free(copy);
	}
	v6_udp(ip, 100, 53);
	memset(ip + 8, 0, 16);
	ip[23] = 1;
	assert_int_equal(parse_ip(ip, 100, &(struct pkt_info){0}), DROP_BAD_SOURCE);
}

/* Extension headers as (type, length in 8-byte units beyond the first), then UDP. */
static void test_v6_extensions(void **state)
{
	static const struct {
		const char *why;
		uint8_t n;
		uint8_t types[10], units[10];
		enum drop_reason want;
		uint8_t proto; /* 0: UDP */
	} rows[] = {
		{"none", 0, {0}, {0}, DROP_NONE, 0},
		{"hop-by-hop", 1, {0}, {0}, DROP_NONE, 0},
		{"hop-by-hop, options, routing", 3, {0, 60, 43}, {0, 1, 2}, DROP_NONE, 0},
		{"AH counts in 4 bytes", 1, {51}, {4}, DROP_NONE, 0},
		{"hop-by-hop not first", 2, {60, 0}, {0, 0}, DROP_MALFORMED, 0},
		{"hop-by-hop twice", 2, {0, 0}, {0, 0}, DROP_MALFORMED, 0},
		{"eight", 8, {60, 60, 60, 60, 60, 60, 60, 60}, {0}, DROP_NONE, 0},
		{"nine", 9, {60, 60, 60, 60, 60, 60, 60, 60, 60}, {0}, DROP_MALFORMED, 0},
		{"mobility, HIP, shim6", 3, {135, 139, 140}, {0}, DROP_NONE, 0},
		{"ESP ends the walk", 1, {60}, {0}, DROP_NONE, 50},
		{"no next header ends it", 1, {60}, {0}, DROP_NONE, 59},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t ip[400], udp[60], *exact;
		uint16_t at = 40, named = 6, len;
		struct pkt_info pkt = {0};
		enum drop_reason got;

		v6_udp(ip, 100, 53);
		memcpy(udp, ip + 40, 60);
		for (unsigned k = 0; k < rows[i].n; k++) {
			uint16_t l = rows[i].types[k] == 51 ? (rows[i].units[k] + 2) * 4
							    : (rows[i].units[k] + 1) * 8;

			memset(ip + at, 0, l);
			ip[named] = rows[i].types[k];
			ip[at + 1] = rows[i].units[k];
			named = at;
			at += l;
		}
		ip[named] = rows[i].proto == 0 ? 17 : rows[i].proto;
		memcpy(ip + at, udp, 60);
		len = at + 60;
		put16(ip + 4, len - 40);
		exact = malloc(len);
		memcpy(exact, ip, len);
		got = parse_ip(exact, len, &pkt);
		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].why, drop_name(got));
		if (got == DROP_NONE) {
			assert_int_equal(pkt.proto, rows[i].proto == 0 ? 17 : rows[i].proto);
			assert_int_equal(pkt.l4_off, at);
			assert_int_equal(pkt.nh_off, named);
			assert_int_equal(pkt.dport, rows[i].proto == 0 ? 53 : 0);
		}
		free(exact);
	}
}

/* RFC 5095 3: a routing header of type 0 with segments left. */
static void test_v6_routing(void **state)
{
	uint8_t ip[100];
	struct pkt_info pkt = {0};

	(void)state;
	v6_udp(ip, 100, 53);
	memmove(ip + 48, ip + 40, 52);
	memset(ip + 40, 0, 8);
	put16(ip + 52, 52);
	ip[6] = 43;
	ip[40] = 17;
	assert_int_equal(parse_ip(ip, 100, &pkt), DROP_NONE);
	ip[43] = 1;
	assert_int_equal(parse_ip(ip, 100, &pkt), DROP_MALFORMED);
	ip[42] = 2; /* another type is not ours to follow nor to drop */
	assert_int_equal(parse_ip(ip, 100, &pkt), DROP_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_chained),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_v6_malformed),
		cmocka_unit_test(test_v6_extensions),
		cmocka_unit_test(test_v6_routing),
	};

	if (packets_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
