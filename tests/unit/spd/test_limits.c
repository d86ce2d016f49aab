#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/icmp_error.h"
#include "dataplane/mss.h"
#include "dataplane/parse.h"
#include "dataplane/pmtu.h"
#include "tests/unit/spd/packets.h"

/* MSS clamp, path MTU, the limit of ICMP errors. */

/* A TCP segment with these options, in a buffer of just its length; *pkt is parsed. */
static uint8_t *tcp_make(bool is_v6, uint8_t flags, const uint8_t *options, uint8_t options_len,
	uint8_t data_off_words, struct pkt_info *pkt)
{
	const uint16_t hdr = is_v6 ? 40 : 20, len = hdr + 20 + options_len;
	uint8_t *ip = malloc(len), *tcp = ip + hdr;

	assert_non_null(ip);
	if (is_v6)
		v6_udp(ip, 48, 80);
	else
		v4_udp(ip, 28, 80);
	memset(tcp, 0, 20);
	put16(tcp, 1000);
	put16(tcp + 2, 80);
	tcp[12] = data_off_words << 4;
	tcp[13] = flags;
	memcpy(tcp + 20, options, options_len);
	if (is_v6) {
		ip[6] = 6;
		put16(ip + 4, len - 40);
	} else {
		ip[9] = 6;
		put16(ip + 2, len);
		v4_sum(ip);
	}
	put16(tcp + 16, transport_sum(ip, hdr, len, 6));
	memset(pkt, 0, sizeof(*pkt));
	assert_int_equal(parse_ip(ip, len, pkt), DROP_NONE);
	return ip;
}

static void test_mss(void **state)
{
	static const struct {
		const char *why;
		bool is_v6;
		uint8_t flags, n, words;
		uint8_t options[12];
		uint16_t mtu;
		uint8_t at;    /* of the MSS value in the options */
		uint16_t want; /* 0: the packet stays as it is */
	} rows[] = {
		{"lowered", false, 2, 4, 6, {2, 4, 5, 180}, 1400, 2, 1360},
		{"SYN and ACK", false, 0x12, 4, 6, {2, 4, 5, 180}, 1400, 2, 1360},
		{"not a SYN", false, 0x10, 4, 6, {2, 4, 5, 180}, 1400, 0, 0},
		{"low enough", false, 2, 4, 6, {2, 4, 5, 80}, 1400, 0, 0},
		{"never raised", false, 2, 4, 6, {2, 4, 1, 0}, 1400, 0, 0},
		{"not below 536", false, 2, 4, 6, {2, 4, 5, 180}, 300, 2, 536},
		{"IPv6", true, 2, 4, 6, {2, 4, 5, 160}, 1400, 2, 1340},
		{"IPv6, not below 1220", true, 2, 4, 6, {2, 4, 5, 160}, 1200, 2, 1220},
		{"after no-operations, even", false, 2, 8, 7, {1, 1, 2, 4, 5, 180, 0, 0}, 1400, 4,
			1360},
		{"at an odd offset", false, 2, 8, 7, {1, 2, 4, 5, 180, 0, 0, 0}, 1400, 3, 1360},
		{"at an odd offset, IPv6", true, 2, 8, 7, {1, 2, 4, 5, 160, 0, 0, 0}, 1400, 3,
			1340},
		{"after another option", false, 2, 8, 7, {3, 3, 7, 2, 4, 5, 180, 0}, 1400, 5, 1360},
		{"behind the end of options", false, 2, 8, 7, {0, 0, 0, 0, 2, 4, 5, 180}, 1400, 0,
			0},
		{"option of length 0", false, 2, 8, 7, {3, 0, 2, 4, 5, 180, 0, 0}, 1400, 0, 0},
		{"option of length 1", false, 2, 8, 7, {3, 1, 2, 4, 5, 180, 0, 0}, 1400, 0, 0},
		{"option beyond the header", false, 2, 4, 6, {3, 200, 2, 4}, 1400, 0, 0},
		{"kind in the last byte", false, 2, 4, 6, {1, 1, 1, 2}, 1400, 0, 0},
		{"MSS cut off", false, 2, 4, 6, {1, 1, 2, 4}, 1400, 0, 0},
		{"MSS of length 3", false, 2, 4, 6, {2, 3, 5, 1}, 1400, 0, 0},
		{"header of 20, option is data", false, 2, 4, 5, {2, 4, 5, 180}, 1400, 0, 0},
		{"before TCP-AO, which covers it", false, 2, 12, 8,
			{2, 4, 5, 180, 29, 8, 1, 1, 0, 0, 0, 0}, 1400, 0, 0},
		{"the first of two", false, 2, 8, 7, {2, 4, 5, 180, 2, 4, 5, 180}, 1400, 2, 1360},
		{"MTU below the headers", false, 2, 4, 6, {2, 4, 5, 180}, 40, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pkt_info pkt;
		uint8_t *ip = tcp_make(rows[i].is_v6, rows[i].flags, rows[i].options, rows[i].n,
			rows[i].words, &pkt);
		uint8_t *copy = malloc(pkt.len), *tcp = ip + pkt.l4_off;
		bool changed;

		memcpy(copy, ip, pkt.len);
		changed = mss_clamp(ip, &pkt, rows[i].mtu);
		if (changed != (rows[i].want != 0))
			fail_msg("%s: changed %d", rows[i].why, changed);
		if (!changed)
			assert_memory_equal(ip, copy, pkt.len);
		else if ((tcp[20 + rows[i].at] << 8 | tcp[21 + rows[i].at]) != rows[i].want)
			fail_msg("%s", rows[i].why);
		if (transport_sum(ip, pkt.l4_off, pkt.len, 6) != 0)
			fail_msg("%s: checksum", rows[i].why);
		free(copy);
		free(ip);
	}
}

/* Every value and every limit leaves a right checksum. */
static void test_mss_checksum(void **state)
{
	(void)state;
	for (unsigned mss = 0; mss < 65536; mss += 13) {
		const uint8_t odd[8] = {1, 2, 4, mss >> 8, mss & 0xff, 0, 0, 0};
		struct pkt_info pkt;
		uint8_t *ip = tcp_make(mss & 1, 2, odd, 8, 7, &pkt);

		mss_clamp(ip, &pkt, 576 + mss % 2000);
		assert_int_equal(transport_sum(ip, pkt.l4_off, pkt.len, 6), 0);
		free(ip);
	}
}

static void test_pmtu(void **state)
{
	struct pmtu p;

	(void)state;
	pmtu_init(&p, 1500);
	assert_int_equal(pmtu_get(&p), 1500);
	assert_false(pmtu_learn(&p, 4, 1600, 10)); /* never raises */
	assert_false(pmtu_learn(&p, 4, 1500, 10));
	assert_int_equal(pmtu_get(&p), 1500);
	assert_true(pmtu_learn(&p, 4, 1400, 10));
	assert_int_equal(pmtu_get(&p), 1400);
	assert_false(pmtu_learn(&p, 4, 1450, 20));
	assert_int_equal(pmtu_get(&p), 1400);
	assert_true(pmtu_learn(&p, 4, 68, 30)); /* the floor */
	assert_int_equal(pmtu_get(&p), 576);
	assert_false(pmtu_learn(&p, 4, 0, 40)); /* the same again: lasts longer */
	assert_false(pmtu_age(&p, 40 + PMTU_AGE_S - 1));
	assert_int_equal(pmtu_get(&p), 576);
	assert_true(pmtu_age(&p, 40 + PMTU_AGE_S));
	assert_int_equal(pmtu_get(&p), 1500);
	assert_false(pmtu_age(&p, 5000));
	assert_true(pmtu_learn(&p, 6, 600, 6000));
	assert_int_equal(pmtu_get(&p), 1280);
	assert_false(pmtu_set_route(&p, 9000)); /* what was told stays below it */
	assert_true(pmtu_set_route(&p, 1000));
	assert_int_equal(pmtu_get(&p), 1000);
	assert_false(pmtu_learn(&p, 6, 1280, 6001)); /* no floor above the route */
	assert_int_equal(pmtu_get(&p), 1000);
	assert_false(pmtu_age(&p, 6000 + PMTU_AGE_S));
	assert_true(pmtu_set_route(&p, 1500));
	assert_int_equal(pmtu_get(&p), 1500);
}

/* RFC 4443 2.4 f: a burst at once, then no more than the rate, at any clock. */
static void test_limit(void **state)
{
	static const uint64_t clocks[] = {1000, 1000000, 2400000000};

	(void)state;
	for (unsigned c = 0; c < 3; c++) {
		struct icmp_limit l = {0};
		uint64_t now = UINT64_MAX / 2;
		unsigned n = 0;

		while (icmp_limit_take(&l, now, clocks[c], 10, 5))
			n++;
		assert_int_equal(n, 5);
		n = 0;
		for (unsigned i = 0; i < 1000; i++) { /* ten seconds */
			now += clocks[c] / 100;
			n += icmp_limit_take(&l, now, clocks[c], 10, 5);
		}
		assert_in_range(n, 99, 100);
		now += clocks[c] * 1000000; /* long idle: the burst, no more */
		n = 0;
		while (icmp_limit_take(&l, now, clocks[c], 10, 5))
			n++;
		assert_int_equal(n, 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mss),
		cmocka_unit_test(test_mss_checksum),
		cmocka_unit_test(test_pmtu),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
