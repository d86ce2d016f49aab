#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/esp_in.h"
#include "dataplane/esp_out.h"
#include "dataplane/esp_wire.h"
#include "tests/unit/esp/esp_bench.h"

static struct bench bench;
static struct burst burst;
static uint8_t inner[2048], outer[2048];

#define WITH_CBC suite_find(ENCR_AES_CBC, 32, INTEG_HMAC_SHA2_256_128)
#define WITH_GCM suite_find(ENCR_AES_GCM_16, 32, INTEG_NONE)
#define WITH_CHACHA suite_find(ENCR_CHACHA20_POLY1305, 32, INTEG_NONE)
#define WITH_NULL suite_find(ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128)

/* The burst as it is goes out; leaves the outer packet i in `outer`. */
static size_t take_outer(unsigned int i)
{
	assert_int_equal(burst.next[i], NEXT_TX);
	assert_ptr_equal(burst.nexthop[i], bench.hop);
	size_t len = burst.m[i]->pkt_len;
	assert_int_equal(len, burst.pkt[i].len);
	assert_true(len <= sizeof(outer));
	memcpy(outer, rte_pktmbuf_mtod(burst.m[i], uint8_t *), len);
	return len;
}

/* One inner packet through an SA; returns the length of what is in `outer`, or 0. */
static size_t send_one(struct sa_hot *sa, const uint8_t *ip, size_t len)
{
	bench_clear(&burst);
	bench_set_out(&bench, &burst, sa, ip, len);
	esp_out(&bench.w, &burst);
	return burst.next[0] == NEXT_TX ? take_outer(0) : 0;
}

static void receive(void)
{
	sad_lookup(&bench.w, &burst);
	esp_in(&bench.w, &burst);
}

static void set_checksum(uint8_t *ip)
{
	put_u16(ip + 10, 0);
	put_u16(ip + 10, ip4_checksum(ip, 20));
}

/* One outer packet in, its header's checksum made right; DROP_NONE if it went on to the SPD. */
static enum drop_reason receive_one(uint8_t *ip, size_t len)
{
	bench_clear(&burst);
	if (ip[0] >> 4 == 4)
		set_checksum(ip);
	bench_set_in(&bench, &burst, ip, len);
	receive();
	if (burst.next[0] == NEXT_SPD_IN)
		return DROP_NONE;
	assert_int_equal(burst.next[0], NEXT_DROP);
	return burst.drop[0];
}

/* What arrived is what was sent, and is described rightly. */
static void assert_arrived(unsigned int i, const struct sa_hot *sa, size_t len)
{
	assert_int_equal(burst.next[i], NEXT_SPD_IN);
	assert_int_equal(burst.m[i]->pkt_len, len);
	assert_int_equal(burst.m[i]->data_len, len);
	assert_memory_equal(rte_pktmbuf_mtod(burst.m[i], uint8_t *), inner, len);
	assert_int_equal(burst.pkt[i].len, len);
	assert_int_equal(burst.pkt[i].l3_off, 0);
	assert_true(burst.pkt[i].flags & PKT_FROM_SA);
	assert_ptr_equal(burst.in_sa[i], sa);
}

static void round_trip(const struct bench_sa *p, uint8_t inner_family, size_t step)
{
	struct sa_hot *out = bench_sa_out(&bench, p), *in = bench_sa_in(&bench, p);
	assert_non_null(out);
	assert_non_null(in);
	for (size_t len = inner_family == 4 ? 28 : 48; len <= 1360;
		len += len < 300 ? step : step + 36) {
		bench_inner(inner, inner_family, len, 0);
		size_t n = send_one(out, inner, len);
		assert_true(n > len && n <= 1500);
		assert_int_equal(receive_one(outer, n), DROP_NONE);
		assert_arrived(0, in, len);
		/* B55, for every cipher: the same bytes once more. */
		assert_int_equal(receive_one(outer, n), DROP_REPLAY);
	}
	assert_true(out->packets == in->packets);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, in);
}

/* Every suite, all sizes (so every alignment), tunnels of all families, in UDP or not. */
static void test_round_trips(void **state)
{
	(void)state;
	for (unsigned int i = 0; suite_at(i); i++) {
		for (unsigned int k = 0; k < 4; k++) {
			struct bench_sa p = {
				.suite = suite_at(i),
				.spi = 0x10000100 + i,
				.outer_family = k & 1 ? 6 : 4,
				.is_udp = k & 2,
				.has_esn = k == 3,
				.key_seed = (uint8_t)i,
			};
			/* all sizes to 300 and with them all alignments; then some */
			round_trip(&p, 4, k == 0 ? 1 : 37);
			round_trip(&p, 6, 41);
			p.is_transport = true;
			round_trip(&p, p.outer_family, k == 1 ? 3 : 43);
		}
	}
}

/* B55 as it stands there, through the whole of esp_in. */
static void test_replay_each_suite(void **state)
{
	(void)state;
	static const struct {
		uint64_t seq;
		bool is_taken;
	} steps[] = {{1, true}, {2, true}, {3, true}, {2, false}, {3, false}, {1, false},
		{100, true}, {37, true}, {36, false}, {35, false}};
	for (unsigned int i = 0; suite_at(i); i++) {
		struct bench_sa p = {.suite = suite_at(i), .spi = 0x20000200, .window = 64};
		struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
		bench_inner(inner, 4, 100, 0);
		unsigned int n_refused = 0;
		for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
			/* A forged packet far ahead must not move the window. */
			out->seqno.next = 50000;
			size_t n = send_one(out, inner, 100);
			outer[n - 1] ^= 1;
			assert_int_equal(receive_one(outer, n), DROP_BAD_ICV);
			out->seqno.next = steps[k].seq;
			n = send_one(out, inner, 100);
			enum drop_reason why = receive_one(outer, n);
			assert_int_equal(why, steps[k].is_taken ? DROP_NONE : DROP_REPLAY);
			n_refused += !steps[k].is_taken;
		}
		assert_int_equal(in->cold->drops[DROP_REPLAY], n_refused);
		assert_true(in->packets == 5);
		bench_sa_remove(&bench, out);
		bench_sa_remove(&bench, in);
	}
}

/* Design: a burst may hold two copies; both pass the first check. */
static void test_copies_in_one_burst(void **state)
{
	(void)state;
	struct bench_sa p = {.suite = WITH_GCM, .spi = 0x300};
	struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
	bench_inner(inner, 4, 200, 0);
	size_t n = send_one(out, inner, 200);
	bench_clear(&burst);
	for (int i = 0; i < 64; i++)
		bench_set_in(&bench, &burst, outer, n);
	receive();
	assert_arrived(0, in, 200);
	for (int i = 1; i < 64; i++) {
		assert_int_equal(burst.next[i], NEXT_DROP);
		assert_int_equal(burst.drop[i], DROP_REPLAY);
	}
	bench_clear(&burst);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, in);
}

/* A full burst over many SAs of all suites, in one call each way. */
static void test_mixed_burst(void **state)
{
	(void)state;
	struct sa_hot *out[64], *in[64];
	static uint8_t wire[64][2048];
	size_t len[64], n_suites = 0;
	while (suite_at((unsigned int)n_suites))
		n_suites++;
	for (unsigned int i = 0; i < 64; i++) {
		struct bench_sa p = {.suite = suite_at((unsigned int)(i * 5 % n_suites)),
			.spi = 0x40000100 + i,
			.outer_family = i & 1 ? 6 : 4,
			.has_esn = i & 2,
			.key_seed = (uint8_t)i};
		out[i] = bench_sa_out(&bench, &p);
		in[i] = bench_sa_in(&bench, &p);
	}
	bench_clear(&burst);
	for (unsigned int i = 0; i < 64; i++) {
		bench_inner(inner, 4, 60 + i * 13, 0);
		bench_set_out(&bench, &burst, out[i], inner, 60 + i * 13);
	}
	esp_out(&bench.w, &burst);
	for (unsigned int i = 0; i < 64; i++) {
		len[i] = take_outer(i);
		memcpy(wire[i], outer, len[i]);
	}
	bench_clear(&burst);
	for (unsigned int i = 0; i < 64; i++)
		bench_set_in(&bench, &burst, wire[i], len[i]);
	receive();
	for (unsigned int i = 0; i < 64; i++) {
		bench_inner(inner, 4, 60 + i * 13, 0);
		assert_arrived(i, in[i], 60 + i * 13);
	}
	bench_clear(&burst);
	for (unsigned int i = 0; i < 64; i++) {
		bench_sa_remove(&bench, out[i]);
		bench_sa_remove(&bench, in[i]);
	}
}

/*
 * B53: the inner MTU is exact. For every outer MTU the longest packet fits, and one byte
 * more does not: it is answered with that MTU (DF) or asked to be cut.
 */
static void test_inner_mtu_is_exact(void **state)
{
	(void)state;
	for (unsigned int i = 0; suite_at(i); i++) {
		for (unsigned int k = 0; k < 8; k++) {
			struct bench_sa p = {.suite = suite_at(i),
				.spi = 0x500,
				.outer_family = k & 1 ? 6 : 4,
				.is_udp = k & 2,
				.is_transport = k & 4,
				.mtu = (uint16_t)(1400 + i + k * 7)};
			uint8_t family = p.is_transport ? p.outer_family : 4;
			struct sa_hot *out = bench_sa_out(&bench, &p);
			uint16_t hdr = p.is_transport ? (p.outer_family == 4 ? 20 : 40) : 0;
			uint16_t mtu = sa_inner_mtu(out, hdr);
			bench_inner(inner, family, mtu, 0);
			size_t n = send_one(out, inner, mtu);
			assert_true(n <= p.mtu && n + p.suite->align > p.mtu);
			bench_inner(inner, family, mtu + 1u, 0);
			inner[6] |= family == 4 ? 0x40 : 0;
			if (family == 4)
				set_checksum(inner);
			assert_int_equal(send_one(out, inner, mtu + 1u), 0);
			assert_int_equal(burst.next[0], NEXT_ICMP);
			assert_int_equal(burst.icmp[0], ICMP_ABOUT_MTU);
			assert_int_equal(burst.mtu[0], mtu);
			bench_sa_remove(&bench, out);
		}
	}
	bench_clear(&burst);
}

/* RFC 4301 8.2: what happens to a packet that is too big. */
static void test_too_big(void **state)
{
	(void)state;
	struct bench_sa p = {.suite = WITH_CBC, .spi = 0x600, .mtu = 1300};
	struct sa_hot *out = bench_sa_out(&bench, &p);
	uint16_t mtu = sa_inner_mtu(out, 0);
	/* DF clear, cut after: the ESP packet is made and needs fragments, so it has no DF. */
	bench_inner(inner, 4, 1290, 0);
	assert_int_equal(send_one(out, inner, 1290), 0);
	assert_int_equal(burst.next[0], NEXT_FRAGMENT);
	assert_true(burst.pkt[0].len > 1300 && !(burst.pkt[0].flags & PKT_DF));
	assert_int_equal(burst.mtu[0], 1300);
	assert_int_equal(burst.pkt[0].proto, PROTO_ESP);
	/* DF clear, cut before: still clear, with the inner MTU. */
	bench.config.fragment_before_esp = true;
	assert_int_equal(send_one(out, inner, 1290), 0);
	assert_int_equal(burst.next[0], NEXT_FRAGMENT);
	assert_int_equal(burst.mtu[0], mtu);
	assert_int_equal(burst.m[0]->pkt_len, 1290);
	assert_ptr_equal(burst.sa[0], out);
	bench.config.fragment_before_esp = false;
	/* RFC 8200 5: IPv6 of 1280 bytes passes, in fragments; one more is answered with 1280. */
	bench_inner(inner, 6, 1280, 0);
	assert_int_equal(send_one(out, inner, 1280), 0);
	assert_int_equal(burst.next[0], NEXT_FRAGMENT);
	bench_inner(inner, 6, 1281, 0);
	assert_int_equal(send_one(out, inner, 1281), 0);
	assert_int_equal(burst.next[0], NEXT_ICMP);
	assert_int_equal(burst.mtu[0], 1280);
	bench_sa_remove(&bench, out);
	bench_clear(&burst);
}

/* The outer IPv4 header's DSCP, ECN, DF, TTL (RFC 4301 5.1.2.1, RFC 6040 4.1). */
static void test_outer_header(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		uint8_t tos, df_policy;
		bool copy_dscp, inner_df;
		uint8_t outer_tos;
		bool outer_df;
	} rows[] = {
		{"copied", 0xb8, DP_DF_COPY, true, true, 0xb8, true},
		{"DF clear is copied too", 0xb8, DP_DF_COPY, true, false, 0xb8, false},
		{"DSCP kept inside, ECN copied", 0xb9, DP_DF_COPY, false, true, 0x01, true},
		{"CE is copied", 0x03, DP_DF_COPY, true, false, 0x03, false},
		{"DF set always", 0, DP_DF_SET, true, false, 0, true},
		{"DF clear always", 0, DP_DF_CLEAR, true, true, 0, false},
	};
	struct bench_sa p = {.suite = WITH_GCM, .spi = 0x700};
	struct sa_hot *out = bench_sa_out(&bench, &p);
	struct dp_config saved = bench.config;
	uint16_t last_id = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bench.config.copy_dscp = rows[i].copy_dscp;
		bench.config.df_policy = rows[i].df_policy;
		bench_inner(inner, 4, 100, rows[i].tos);
		inner[6] = rows[i].inner_df ? 0x40 : 0;
		set_checksum(inner);
		assert_true(send_one(out, inner, 100) > 0);
		if (outer[1] != rows[i].outer_tos || !!(outer[6] & 0x40) != rows[i].outer_df)
			fail_msg("%s: tos %02x flags %02x", rows[i].why, outer[1], outer[6]);
		assert_int_equal(outer[8], 64);
		uint16_t sum = get_u16(outer + 10);
		put_u16(outer + 10, 0);
		assert_int_equal(ip4_checksum(outer, 20), sum);
		assert_int_not_equal(get_u16(outer + 4), last_id);
		last_id = get_u16(outer + 4);
	}
	bench.config = saved;
	bench_sa_remove(&bench, out);
	bench_clear(&burst);
}

/* RFC 6040 4.2: all sixteen combinations, on IPv4 (with its checksum) and IPv6. */
static void test_ecn_decapsulation(void **state)
{
	(void)state;
	static const int want[4][4] = {/* [inner][outer], -1 drop */
		{0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
	for (unsigned int k = 0; k < 32; k++) {
		uint8_t family = k & 16 ? 6 : 4, in_ecn = k >> 2 & 3, out_ecn = k & 3;
		struct bench_sa p = {.suite = WITH_GCM, .spi = 0x800};
		struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
		bench_inner(inner, family, 100, 0xb8 | in_ecn);
		size_t n = send_one(out, inner, 100);
		outer[1] = (uint8_t)((outer[1] & 0xfc) | out_ecn);
		enum drop_reason why = receive_one(outer, n);
		assert_int_equal(why, want[in_ecn][out_ecn] < 0 ? DROP_ECN : DROP_NONE);
		if (why == DROP_NONE) {
			bench_inner(inner, family, 100, (uint8_t)(0xb8 | want[in_ecn][out_ecn]));
			assert_arrived(0, in, 100);
			assert_int_equal(burst.pkt[0].tos, 0xb8 | want[in_ecn][out_ecn]);
		}
		bench_sa_remove(&bench, out);
		bench_sa_remove(&bench, in);
	}
	bench_clear(&burst);
}

/* Re-signs a NULL-encrypted packet after its clear text was changed. */
static void sign_again(struct sa_hot *out, size_t len)
{
	struct crypto_op op = {.suite = out->suite,
		.keys = out->keys,
		.esp = outer + 20,
		.text = outer + 28,
		.text_len = (uint32_t)(len - 28 - out->suite->icv_len)};
	crypto_mb_encrypt(bench.w.crypto, &op, 1);
}

/* A peer that has the key but sends nonsense: the text (trailer included) of each row. */
static void test_nonsense_inside(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		uint8_t text[48];
		uint8_t len;
		int drop;
	} rows[] = {
		{"pad length beyond the text", {[6] = 200, [7] = 4}, 8, DROP_BAD_PADDING},
		{"pad length one too much", {[6] = 7, [7] = 4}, 8, DROP_BAD_PADDING},
		{"padding is zeros", {[6] = 2, [7] = 4}, 8, DROP_BAD_PADDING},
		{"dummy packet",
			{[0] = 1, [1] = 2, [2] = 3, [3] = 4, [4] = 5, [5] = 6, [6] = 6, [7] = 59},
			8, DROP_DUMMY},
		{"empty tunnel packet", {1, 2, 2, 4}, 4, DROP_BAD_INNER},
		{"IPv4 announced, IPv6 inside",
			{0x60, [6] = 59, [40] = 1, [41] = 2, [42] = 2, [43] = 4}, 44,
			DROP_BAD_INNER},
		{"TFC padding behind the inner packet is fine",
			{0x45, 0, 0, 20, [8] = 9, [9] = 253, [12] = 1, [22] = 0, [23] = 4}, 24,
			DROP_NONE},
		{"inner header length too small",
			{0x44, 0, 0, 20, [9] = 17, [20] = 1, [21] = 2, [22] = 2, [23] = 4}, 24,
			DROP_BAD_INNER},
		{"inner total length below the header",
			{0x45, 0, 0, 19, [9] = 17, [20] = 1, [21] = 2, [22] = 2, [23] = 4}, 24,
			DROP_BAD_INNER},
		{"inner total length above the payload",
			{0x45, 0, 0, 21, [9] = 17, [20] = 1, [21] = 2, [22] = 2, [23] = 4}, 24,
			DROP_BAD_INNER},
		{"not IP at all",
			{0x15, 0, 0, 20, [9] = 17, [20] = 1, [21] = 2, [22] = 2, [23] = 4}, 24,
			DROP_BAD_INNER},
		{"next header TCP in a tunnel",
			{0x45, 0, 0, 20, [9] = 17, [20] = 1, [21] = 2, [22] = 2, [23] = 6}, 24,
			DROP_BAD_INNER},
	};
	struct bench_sa p = {.suite = WITH_NULL, .spi = 0x900};
	struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bench_inner(inner, 4, 50, 0);
		assert_true(send_one(out, inner, 50) > 0);
		size_t len = 28u + rows[i].len + out->suite->icv_len;
		put_u16(outer + 2, (uint16_t)len);
		memcpy(outer + 28, rows[i].text, rows[i].len);
		if (outer[28] >> 4 == 4)
			set_checksum(outer + 28);
		sign_again(out, len);
		enum drop_reason why = receive_one(outer, len);
		if ((int)why != rows[i].drop)
			fail_msg("%s: %s", rows[i].why, drop_name(why));
	}
	assert_int_equal(in->cold->drops[DROP_DUMMY], 1);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, in);
	bench_clear(&burst);
}

/* Every truncation of a good packet is refused, with no byte read beyond it. */
static void test_truncated(void **state)
{
	(void)state;
	const struct suite *suites[] = {WITH_CBC, WITH_GCM, WITH_CHACHA, WITH_NULL};
	for (unsigned int k = 0; k < 8; k++) {
		struct bench_sa p = {.suite = suites[k & 3], .spi = 0xa00, .is_udp = k & 4};
		struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
		bench_inner(inner, 4, 100, 0);
		size_t n = send_one(out, inner, 100);
		for (size_t len = 20; len < n; len++) {
			put_u16(outer + 2, (uint16_t)len);
			if (k & 4 && len >= 28)
				put_u16(outer + 24, (uint16_t)(len - 20));
			assert_int_not_equal(receive_one(outer, len), DROP_NONE);
		}
		put_u16(outer + 2, (uint16_t)n);
		if (k & 4) {
			/* UDP lengths that lie */
			static const uint16_t lies[] = {0, 7, 8, 16, 0xffff};
			for (size_t j = 0; j < 5; j++) {
				put_u16(outer + 24, lies[j]);
				assert_int_not_equal(receive_one(outer, n), DROP_NONE);
			}
			put_u16(outer + 24, (uint16_t)(n - 20));
		}
		assert_int_equal(receive_one(outer, n), DROP_NONE);
		bench_sa_remove(&bench, out);
		bench_sa_remove(&bench, in);
	}
	bench_clear(&burst);
}

/* RFC 4303 2.7: TFC padding up to a length hides sizes and is taken off. */
static void test_tfc(void **state)
{
	(void)state;
	struct bench_sa p = {.suite = WITH_CBC, .spi = 0xb00, .tfc_pad = 1000};
	struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
	size_t all = 0;
	for (size_t len = 28; len <= 1000; len += 81) {
		bench_inner(inner, 4, len, 0);
		size_t n = send_one(out, inner, len);
		assert_true(all == 0 || n == all);
		all = n;
		assert_int_equal(receive_one(outer, n), DROP_NONE);
		assert_arrived(0, in, len);
	}
	bench_inner(inner, 4, 1200, 0);
	assert_true(send_one(out, inner, 1200) > all);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, in);
	bench_clear(&burst);
}

/* Limits and numbers reach main as flags, once, and stop the SA where they must. */
static void test_limits(void **state)
{
	(void)state;
	struct bench_sa p = {
		.suite = WITH_GCM, .spi = 0xc00, .soft_bytes = 500, .hard_bytes = 1000};
	struct sa_hot *out = bench_sa_out(&bench, &p);
	bench_inner(inner, 4, 100, 0);
	assert_true(send_one(out, inner, 100) > 0);
	assert_int_equal(sa_events_take(out), SA_EV_FIRST);
	for (int i = 0; i < 4; i++)
		assert_true(send_one(out, inner, 100) > 0);
	assert_int_equal(sa_events_take(out), SA_EV_SOFT);
	for (int i = 0; i < 5; i++)
		assert_true(send_one(out, inner, 100) > 0);
	assert_int_equal(sa_events_take(out), SA_EV_HARD);
	assert_int_equal(sa_state(out), SA_DEAD);
	assert_int_equal(send_one(out, inner, 100), 0);
	assert_int_equal(burst.drop[0], DROP_SA_STATE);
	bench_sa_remove(&bench, out);
	/* numbers */
	p = (struct bench_sa){.suite = WITH_GCM, .spi = 0xc00};
	out = bench_sa_out(&bench, &p);
	seqno_set_reserved(&out->seqno, 2);
	assert_true(send_one(out, inner, 100) > 0);
	assert_true(sa_events_take(out) & SA_EV_RESERVE);
	assert_true(send_one(out, inner, 100) > 0);
	assert_int_equal(send_one(out, inner, 100), 0);
	assert_int_equal(burst.drop[0], DROP_SEQ_RESERVED);
	seqno_set_reserved(&out->seqno, seqno_next_end(&out->seqno));
	assert_true(send_one(out, inner, 100) > 0);
	seqno_set_reserved(&out->seqno, UINT32_MAX);
	out->seqno.next = UINT32_MAX;
	assert_true(send_one(out, inner, 100) > 0);
	assert_true(sa_events_take(out) & SA_EV_WRAP);
	assert_int_equal(send_one(out, inner, 100), 0);
	assert_int_equal(burst.drop[0], DROP_SEQ_EXHAUSTED);
	bench_sa_remove(&bench, out);
	bench_clear(&burst);
}

/* RFC 7296 2.8: the responder's held outbound SA opens with the first valid inbound packet. */
static void test_first_packet_opens_partner(void **state)
{
	(void)state;
	struct bench_sa p = {.suite = WITH_GCM, .spi = 0xd00};
	struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
	p.spi = 0xd01;
	struct sa_hot *back = bench_sa_out(&bench, &p);
	sa_set_state(back, SA_LARVAL);
	sa_set_partner(in, back);
	bench_inner(inner, 4, 100, 0);
	assert_int_equal(send_one(back, inner, 100), 0);
	assert_int_equal(burst.drop[0], DROP_SA_STATE);
	size_t n = send_one(out, inner, 100);
	outer[n - 1] ^= 1;
	assert_int_equal(receive_one(outer, n), DROP_BAD_ICV);
	assert_int_equal(sa_state(back), SA_LARVAL);
	outer[n - 1] ^= 1;
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	assert_int_equal(sa_state(back), SA_LIVE);
	assert_int_equal(sa_events_take(in), SA_EV_FIRST);
	assert_true(send_one(back, inner, 100) > 0);
	bench_sa_remove(&bench, in);
	assert_null(back->partner);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, back);
	bench_clear(&burst);
}

/* B30: who may say that the peer's address changed, and how often. */
static void test_nat_change(void **state)
{
	(void)state;
	struct bench_sa p = {
		.suite = WITH_GCM, .spi = 0xe00, .is_udp = true, .path_flags = PATH_PEER_NATTED};
	struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
	bench_inner(inner, 4, 100, 0);
	size_t n = send_one(out, inner, 100);
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	assert_int_equal(sa_events_take(in), SA_EV_FIRST);
	/* a replayed or forged packet from elsewhere says nothing */
	put_u16(outer + 20, 61507);
	assert_int_equal(receive_one(outer, n), DROP_REPLAY);
	n = send_one(out, inner, 100);
	put_u16(outer + 20, 61507);
	outer[40] ^= 1;
	assert_int_equal(receive_one(outer, n), DROP_BAD_ICV);
	assert_int_equal(sa_events_take(in), 0);
	outer[40] ^= 1;
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	assert_int_equal(in->cold->nat_seen.port, 61507);
	assert_int_equal(sa_events_take(in), SA_EV_NAT);
	/* not again in the same second */
	n = send_one(out, inner, 100);
	put_u16(outer + 20, 61508);
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	assert_int_equal(sa_events_take(in), 0);
	/* a late packet, inside the window but not its top, is no news */
	bench.w.now_s++;
	out->seqno.next = 10;
	n = send_one(out, inner, 100);
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	out->seqno.next = 9;
	n = send_one(out, inner, 100);
	put_u16(outer + 20, 61509);
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	assert_int_equal(sa_events_take(in), 0);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, in);
	bench_clear(&burst);
}

/* RFC 3948 3.1.2: transport mode through a NAT; the checksum was made with other addresses. */
static void test_transport_through_nat(void **state)
{
	(void)state;
	struct bench_sa p = {.suite = WITH_GCM, .spi = 0xf00, .is_udp = true, .is_transport = true};
	struct sa_hot *out = bench_sa_out(&bench, &p), *in = bench_sa_in(&bench, &p);
	bench_inner(inner, 4, 100, 0);
	size_t n = send_one(out, inner, 100);
	memcpy(outer + 12, (uint8_t[]){203, 0, 113, 9}, 4); /* the NAT's address */
	memcpy(outer + 16, (uint8_t[]){192, 0, 2, 2}, 4);
	assert_int_equal(receive_one(outer, n), DROP_NONE);
	uint8_t *ip = rte_pktmbuf_mtod(burst.m[0], uint8_t *);
	assert_memory_equal(ip + 12, ((uint8_t[]){203, 0, 113, 9}), 4);
	uint16_t sum = get_u16(ip + 26);
	put_u16(ip + 26, 0);
	assert_int_equal(l4_checksum(ip, 4, PROTO_UDP, ip + 20, 80), sum);
	bench_sa_remove(&bench, out);
	bench_sa_remove(&bench, in);
	bench_clear(&burst);
}

/* Buffers without room: refused before a number is used up, and nothing is written. */
static void test_no_room(void **state)
{
	(void)state;
	struct bench_sa p = {.suite = WITH_CBC, .spi = 0x1000};
	struct sa_hot *out = bench_sa_out(&bench, &p);
	bench_inner(inner, 4, 100, 0);
	bench_clear(&burst);
	bench_set_out(&bench, &burst, out, inner, 100);
	burst.m[0]->data_off = 40; /* 20 + 8 + 16 are needed */
	memcpy(rte_pktmbuf_mtod(burst.m[0], uint8_t *), inner, 100);
	bench_set_out(&bench, &burst, out, inner, 100);
	burst.m[1]->buf_len = (uint16_t)(burst.m[1]->data_off + 100 + 20);
	esp_out(&bench.w, &burst);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(burst.next[i], NEXT_DROP);
		assert_int_equal(burst.drop[i], DROP_NO_ROOM);
	}
	assert_true(out->seqno.next == 1);
	burst.m[1]->buf_len = 128 + 10240;
	bench_clear(&burst);
	bench_sa_remove(&bench, out);
}

static int set_up(void **state)
{
	(void)state;
	const char *arch = getenv("ESP_ARCH");
	return bench_init(&bench, arch ? arch : "auto");
}

static int tear_down(void **state)
{
	(void)state;
	/* Every mbuf came back. */
	bench_clear(&burst);
	int leaked = rte_mempool_in_use_count(bench.pool) != 0;
	bench_fini(&bench);
	return leaked;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_replay_each_suite),
		cmocka_unit_test(test_copies_in_one_burst),
		cmocka_unit_test(test_mixed_burst),
		cmocka_unit_test(test_inner_mtu_is_exact),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_outer_header),
		cmocka_unit_test(test_ecn_decapsulation),
		cmocka_unit_test(test_nonsense_inside),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_tfc),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_first_packet_opens_partner),
		cmocka_unit_test(test_nat_change),
		cmocka_unit_test(test_transport_through_nat),
		cmocka_unit_test(test_no_room),
	};
	char prefix[32];
	snprintf(prefix, sizeof(prefix), "esptest%d", (int)getpid());
	if (bench_eal_init(prefix) != 0)
		return 1;
	struct crypto_mb *probe;
	enum crypto_arch arch = CRYPTO_ARCH_AUTO;
	const char *error, *name = getenv("ESP_ARCH");
	if (name && crypto_arch_parse(name, &arch) != 0)
		return 1;
	probe = crypto_mb_create(arch, &error);
	if (!probe)
		return 77;
	crypto_mb_destroy(probe);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
