#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/fragment_out.h"
#include "dataplane/fragment_steer.h"
#include "dataplane/reassembly.h"
#include "tests/unit/spd/packets.h"

/* Fragments: cut, steered, put together; each byte compared. */

static struct burst b;

static struct ipc_flow port_flow(uint8_t direction, uint8_t family)
{
	struct ipc_flow f = {.flow = {.handle = 1 + family, .generation = 1},
		.direction = direction,
		.type = IPC_FLOW_REQUIRE,
		.proto = 17,
		.dst_port = 53};
	const char *src = family == 4 ? "10.0.1.0/24" : "2001:db8:1::/48";
	const char *dst = family == 4 ? "10.0.2.0/24" : "2001:db8:2::/48";

	assert_int_equal(prefix_parse(src, &f.src), 0);
	assert_int_equal(prefix_parse(dst, &f.dst), 0);
	return f;
}

/* A datagram of 2800 bytes in pieces of at most 1400, each a frame. */
static uint32_t cut(uint8_t family, uint8_t *ip, struct rte_mbuf *out[])
{
	if (family == 4) {
		v4_udp(ip, 2800, 53);
		return fragment_out_v4(
			frame_of(ip, 2800), ETH, 1400, packets_pool, out, FRAGMENT_OUT_MAX);
	}
	v6_udp(ip, 2800, 53);
	return fragment_out_v6(frame_of(ip, 2800), ETH, 40, 6, 0x12345678, 1400, packets_pool, out,
		FRAGMENT_OUT_MAX);
}

static struct reassembly *reassembly_make(void)
{
	struct reassembly_config config = {.big_pool = packets_big_pool};
	struct reassembly *r = reassembly_create(&config);

	assert_non_null(r);
	return r;
}

/* RFC 4301 7: steered only with a flow that has ports; whole again it is at the SPD. */
static void test_steer(void **state)
{
	static const struct {
		uint8_t family, direction;
		enum burst_next from;
		uint16_t flags;
		bool is_steered;
		const char *why;
	} rows[] = {
		{4, 0, NEXT_SPD_IN, 0, false, "no flow has ports"},
		{4, IPC_DIR_OUT, NEXT_SPD_IN, 0, true, "needed when it goes out"},
		{4, IPC_DIR_IN, NEXT_SPD_IN, 0, true, "needed when it comes in"},
		{4, IPC_DIR_IN, NEXT_SPD_OUT, 0, false, "only out is left"},
		{4, IPC_DIR_OUT, NEXT_SPD_OUT, PKT_FROM_HOST, true, "the host's own"},
		{4, IPC_DIR_OUT, NEXT_SPD_IN, PKT_FROM_SA | PKT_TUNNELLED, true, "out of a tunnel"},
		{4, IPC_DIR_IN, NEXT_SPD_IN, PKT_FROM_SA | PKT_TUNNELLED, false,
			"out of a tunnel it sees no flow of inbound"},
		{6, IPC_DIR_OUT, NEXT_SPD_IN, 0, true, "IPv6"},
		{6, IPC_DIR_OUT, NEXT_SPD_OUT, PKT_FROM_HOST, true, "IPv6 of the host"},
	};
	struct worker_ctx *w = calloc(1, sizeof(*w));

	(void)state;
	for (unsigned k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		struct spd_config config = {.n_workers = 1, .seed = 3};
		struct spd *spd = spd_create(&config);
		struct reassembly *r = reassembly_make();
		struct rte_mbuf *piece[FRAGMENT_OUT_MAX];
		static uint8_t ip[2800];
		uint32_t n = cut(rows[k].family, ip, piece), last;
		struct ipc_flow f = port_flow(rows[k].direction, rows[k].family);

		assert_int_equal(n, 3);
		if (rows[k].direction != 0)
			assert_int_equal(spd_flow_add(spd, spd_owner(IPC_OWNER_ENGINE, 0), &f), 0);
		memset(&b, 0, sizeof(b));
		for (unsigned i = 0; i < n; i++) {
			burst_put(&b, i, piece[(i + k) % n], rows[k].from);
			b.pkt[i].flags |= rows[k].flags;
		}
		fragment_steer(spd, &b);
		for (unsigned i = 0; i < n; i++) {
			if (b.next[i] != (rows[k].is_steered ? NEXT_REASM : rows[k].from))
				fail_msg("row %u: %s", k, rows[k].why);
		}
		reassembly_burst(w, r, &b);
		last = n - 1;
		assert_int_equal(b.next[last], rows[k].from);
		if (rows[k].is_steered) {
			assert_int_equal(b.pkt[last].len, 2800);
			assert_int_equal(b.pkt[last].dport, 53);
			assert_int_equal(b.pkt[last].flags & rows[k].flags, rows[k].flags);
			assert_int_equal(b.pkt[last].flags & (PKT_FRAG | PKT_DF), 0);
			assert_true(b.pkt[last].flags & PKT_REJOIN);
			if (rows[k].family == 4)
				v4_sum(ip);
			assert_memory_equal(burst_l3(&b, last), ip, 2800);
		}
		for (unsigned i = 0; i < n; i++)
			if (b.next[i] != NEXT_NONE)
				rte_pktmbuf_free(b.m[i]);
		reassembly_destroy(r);
		spd_destroy(spd);
	}
	free(w);
	packets_assert_none_used();
}

/* A fragment in clear must not complete a datagram out of a tunnel, nor transit one to us. */
static void test_origins_apart(void **state)
{
	static const uint16_t flags[] = {0, PKT_REJOIN, PKT_REJOIN | PKT_FROM_SA,
		PKT_REJOIN | PKT_FROM_SA | PKT_TUNNELLED, PKT_REJOIN | PKT_FROM_HOST};
	struct worker_ctx *w = calloc(1, sizeof(*w));

	(void)state;
	for (unsigned x = 0; x < 5; x++) {
		for (unsigned y = 0; y < 5; y++) {
			struct reassembly *r = reassembly_make();
			struct rte_mbuf *piece[FRAGMENT_OUT_MAX];
			static uint8_t ip[2800];

			assert_int_equal(cut(4, ip, piece), 3);
			memset(&b, 0, sizeof(b));
			for (unsigned i = 0; i < 3; i++) {
				burst_put(&b, i, piece[i], NEXT_REASM);
				b.pkt[i].flags |= i == 2 ? flags[y] : flags[x];
			}
			reassembly_burst(w, r, &b);
			assert_int_equal(reassembly_count(r), x == y ? 0 : 2);
			if (x == y)
				rte_pktmbuf_free(b.m[2]);
			reassembly_destroy(r);
		}
	}
	free(w);
	packets_assert_none_used();
}

/*
 * Field case B53: for an MTU of 1400 each size from 1300 to 1500 arrives whole, no piece is
 * longer than the MTU, and what fits is not cut.
 */
static void sizes(uint8_t family)
{
	struct worker_ctx *w = calloc(1, sizeof(*w));
	struct reassembly *r = reassembly_make();
	static uint8_t ip[1500];

	for (uint16_t size = 1300; size <= 1500; size++) {
		struct rte_mbuf *piece[FRAGMENT_OUT_MAX];
		uint32_t n, last;

		if (family == 4) {
			v4_udp(ip, size, 500);
			n = fragment_out_v4(frame_of(ip, size), ETH, 1400, packets_pool, piece,
				FRAGMENT_OUT_MAX);
			assert_int_equal(n, size <= 1400 ? 1 : 2);
		} else {
			v6_udp(ip, size, 500);
			n = fragment_out_v6(frame_of(ip, size), ETH, 40, 6, size, 1400,
				packets_pool, piece, FRAGMENT_OUT_MAX);
			/* 48 bytes of headers leave 1352 a piece */
			assert_int_equal(n, size <= 40 + 1352 ? 1 : 2);
		}
		memset(&b, 0, sizeof(b));
		for (unsigned i = 0; i < n; i++) {
			burst_put(&b, i, piece[n - 1 - i], NEXT_REASM);
			assert_true(b.pkt[i].len <= 1400);
			if (family == 4)
				assert_int_equal(sum_of(burst_l3(&b, i), 20), 0);
		}
		last = n - 1;
		if (n > 1) {
			reassembly_burst(w, r, &b);
			assert_int_equal(b.next[last], NEXT_PARSE);
			assert_int_equal(b.m[last]->data_len, ETH + size);
			assert_memory_equal(burst_l3(&b, last), ip, size);
		}
		rte_pktmbuf_free(b.m[last]);
	}
	reassembly_destroy(r);
	free(w);
	packets_assert_none_used();
}

static void test_sizes_v4(void **state)
{
	(void)state;
	sizes(4);
}

static void test_sizes_v6(void **state)
{
	(void)state;
	sizes(6);
}

/* What is not cut is left as it was, and none of its pieces is lost. */
static void test_not_cut(void **state)
{
	struct rte_mbuf *piece[FRAGMENT_OUT_MAX], *m;
	static uint8_t ip[1500];

	(void)state;
	v4_udp(ip, 1500, 500);
	ip[6] = 0x40;
	v4_sum(ip);
	m = frame_of(ip, 1500);
	assert_int_equal(fragment_out_v4(m, ETH, 1400, packets_pool, piece, 64), 0); /* DF */
	rte_pktmbuf_mtod(m, uint8_t *)[ETH + 6] = 0;
	assert_int_equal(fragment_out_v4(m, ETH, 27, packets_pool, piece, 64), 0);
	assert_int_equal(fragment_out_v4(m, ETH, 300, packets_pool, piece, 5), 0); /* cap */
	assert_int_equal(fragment_out_v4(m, ETH, 300, packets_pool, piece, 6), 6);
	for (unsigned i = 0; i < 6; i++)
		rte_pktmbuf_free(piece[i]);
	v6_udp(ip, 1500, 500);
	m = frame_of(ip, 1500);
	assert_int_equal(fragment_out_v6(m, ETH, 40, 6, 1, 55, packets_pool, piece, 64), 0);
	assert_int_equal(fragment_out_v6(m, ETH, 39, 6, 1, 1280, packets_pool, piece, 64), 0);
	assert_int_equal(fragment_out_v6(m, ETH, 40, 6, 1, 1280, packets_pool, piece, 1), 0);
	assert_memory_equal(rte_pktmbuf_mtod_offset(m, uint8_t *, ETH), ip, 1500);
	rte_pktmbuf_free(m);
	packets_assert_none_used();
}

/* RFC 791 3.1: options with the copied bit are in all pieces, others in the first. */
static void test_options(void **state)
{
	/* record route (7, not copied) of 7 bytes, router alert (148, copied), end */
	static const uint8_t options[12] = {7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0};
	struct rte_mbuf *piece[FRAGMENT_OUT_MAX];
	static uint8_t ip[512];
	const uint8_t *second;

	(void)state;
	v4_udp(ip, 512, 500);
	ip[0] = 0x48;
	memcpy(ip + 20, options, sizeof(options));
	v4_sum(ip);
	assert_int_equal(fragment_out_v4(frame_of(ip, 512), ETH, 300, packets_pool, piece, 64), 2);
	second = rte_pktmbuf_mtod_offset(piece[1], const uint8_t *, ETH);
	assert_memory_equal(rte_pktmbuf_mtod_offset(piece[0], uint8_t *, ETH + 20), options, 12);
	assert_int_equal(second[0], 0x46);
	assert_memory_equal(second + 20, options + 7, 4);
	assert_int_equal(sum_of(second, 24), 0);
	rte_pktmbuf_free(piece[0]);
	rte_pktmbuf_free(piece[1]);
	packets_assert_none_used();
}

/* An IPv6 fragment of len bytes of payload at off. */
static struct rte_mbuf *v6_fragment(uint16_t off, uint16_t len, bool more)
{
	static uint8_t ip[1500];

	v6_udp(ip, 48 + len, 500);
	ip[6] = 44;
	memset(ip + 40, 0, 8);
	ip[40] = 17;
	put16(ip + 42, off | more);
	ip[47] = 9;
	memset(ip + 48, off == 0 ? 0 : off >> 3, len);
	if (off == 0) {
		put16(ip + 48, 1000);
		put16(ip + 50, 500);
	}
	return frame_of(ip, 48 + len);
}

/* RFC 5722 4, RFC 8200 4.5: an overlap ends the whole datagram; an exact double is dropped. */
static void test_overlap_v6(void **state)
{
	static const struct {
		struct {
			uint16_t off, len;
			bool more;
			enum drop_reason want;
		} f[4];
		bool is_whole;
		const char *why;
	} rows[] = {
		{{{0, 64, true, 0}, {64, 64, true, 0}, {128, 20, false, 0}}, true, "in order"},
		{{{128, 20, false, 0}, {64, 64, true, 0}, {0, 64, true, 0}}, true, "backwards"},
		{{{0, 64, true, 0}, {0, 64, true, DROP_FRAG_OVERLAP}, {64, 20, false, 0}}, true,
			"a double"},
		{{{0, 64, true, 0}, {56, 64, true, DROP_FRAG_OVERLAP},
			 {64, 20, false, DROP_FRAG_OVERLAP}},
			false, "8 bytes"},
		{{{0, 64, true, 0}, {8, 8, true, DROP_FRAG_OVERLAP},
			 {64, 20, false, DROP_FRAG_OVERLAP}},
			false, "inside another"},
		{{{64, 8, true, 0}, {0, 128, true, DROP_FRAG_OVERLAP},
			 {128, 8, false, DROP_FRAG_OVERLAP}},
			false, "around another"},
		{{{0, 64, true, 0}, {64, 20, false, 0}}, true, "two pieces"},
		{{{128, 20, false, 0}, {256, 8, false, DROP_FRAG_BAD}}, false, "two ends"},
		{{{128, 20, false, 0}, {192, 8, true, DROP_FRAG_BAD}}, false, "beyond the end"},
		{{{192, 8, true, 0}, {128, 20, false, DROP_FRAG_BAD}}, false, "end before others"},
	};
	struct worker_ctx *w = calloc(1, sizeof(*w));

	(void)state;
	for (unsigned k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		struct reassembly *r = reassembly_make();
		bool is_whole = false;

		memset(&b, 0, sizeof(b));
		for (unsigned i = 0; i < 4 && rows[k].f[i].len != 0; i++)
			burst_put(&b, i,
				v6_fragment(rows[k].f[i].off, rows[k].f[i].len, rows[k].f[i].more),
				NEXT_REASM);
		reassembly_burst(w, r, &b);
		for (unsigned i = 0; i < b.n; i++) {
			enum drop_reason got = b.next[i] == NEXT_DROP ? b.drop[i] : DROP_NONE;

			if (got != rows[k].f[i].want)
				fail_msg("%s: fragment %u: %s", rows[k].why, i, drop_name(got));
			is_whole |= b.next[i] == NEXT_PARSE;
			if (b.next[i] == NEXT_PARSE)
				assert_int_equal(
					rte_pktmbuf_mtod_offset(b.m[i], uint8_t *, ETH)[6], 17);
			if (b.next[i] != NEXT_NONE)
				rte_pktmbuf_free(b.m[i]);
		}
		assert_int_equal(is_whole, rows[k].is_whole);
		reassembly_destroy(r);
	}
	free(w);
	packets_assert_none_used();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steer),
		cmocka_unit_test(test_origins_apart),
		cmocka_unit_test(test_sizes_v4),
		cmocka_unit_test(test_sizes_v6),
		cmocka_unit_test(test_not_cut),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_overlap_v6),
	};

	if (packets_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
