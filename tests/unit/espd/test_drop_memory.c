#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/burst.h"
#include "dataplane/drop_memory.h"
#include "dataplane/sad.h"

/* A burst of one packet over memory of the test. */
struct one {
	struct burst b;
	struct rte_mbuf m;
	struct sa_hot sa;
	uint8_t data[64];
};

static struct ip_addr address(const char *text)
{
	struct ip_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void packet(struct one *o, const char *src, const char *dst, enum drop_reason why)
{
	struct ip_addr s = address(src), d = address(dst);

	memset(o, 0, sizeof(*o));
	o->m.buf_addr = o->data;
	o->m.data_len = sizeof(o->data);
	o->b.n = 1;
	o->b.m[0] = &o->m;
	o->b.next[0] = NEXT_DROP;
	o->b.drop[0] = (uint8_t)why;
	o->b.pkt[0] = (struct pkt_info){
		.family = s.family, .proto = 17, .flags = PKT_PORTS, .sport = 1000, .dport = 53};
	o->data[0] = (uint8_t)(s.family << 4);
	memcpy(o->data + (s.family == 4 ? 12 : 8), s.b, addr_len(s.family));
	memcpy(o->data + (s.family == 4 ? 16 : 24), d.b, addr_len(d.family));
}

static struct one *one_create(void)
{
	struct one *o = aligned_alloc(64, (sizeof(*o) + 63) / 64 * 64);

	assert_non_null(o);
	return o;
}

static void the_last_drop_of_a_pair(void **state)
{
	static const char *const pairs[][2] = {
		{"10.0.1.2", "10.0.2.2"}, {"10.0.2.2", "10.0.1.2"}, {"fd01::2", "fd02::2"}};
	struct drop_memory *m = drop_memory_create();
	struct one *o = one_create();
	struct drop_note n;

	(void)state;
	assert_non_null(m);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct ip_addr src = address(pairs[i][0]), dst = address(pairs[i][1]);

		assert_false(drop_memory_pair(m, &src, &dst, &n));
		packet(o, pairs[i][0], pairs[i][1], DROP_DENY);
		drop_memory_note(m, &o->b, 0, 7);
		packet(o, pairs[i][0], pairs[i][1], DROP_NO_SA_FOR_FLOW);
		drop_memory_note(m, &o->b, 0, 9);
		assert_true(drop_memory_pair(m, &src, &dst, &n));
		assert_int_equal(n.reason, DROP_NO_SA_FOR_FLOW);
		assert_int_equal(n.at_s, 9);
		assert_int_equal(n.sport, 1000);
		assert_int_equal(n.dport, 53);
		assert_int_equal(n.spi, 0);
	}
	free(o);
	free(m);
}

static void the_last_drop_of_an_sa(void **state)
{
	struct drop_memory *m = drop_memory_create();
	struct one *o = one_create();
	struct drop_note n;

	(void)state;
	assert_non_null(m);
	assert_false(drop_memory_spi(m, 0x1000, &n));
	packet(o, "192.0.2.1", "198.51.100.1", DROP_REPLAY);
	o->sa.spi = 0x1000;
	o->b.sa[0] = &o->sa;
	drop_memory_note(m, &o->b, 0, 1);
	assert_true(drop_memory_spi(m, 0x1000, &n));
	assert_int_equal(n.reason, DROP_REPLAY);
	assert_false(drop_memory_spi(m, 0x1001, &n));
	/* Out of an SA: the one that it came in by. */
	packet(o, "10.0.1.2", "10.0.2.2", DROP_NO_ROUTE);
	o->sa.spi = 0x2000;
	o->b.in_sa[0] = &o->sa;
	drop_memory_note(m, &o->b, 0, 2);
	assert_true(drop_memory_spi(m, 0x2000, &n));
	assert_int_equal(n.reason, DROP_NO_ROUTE);
	free(o);
	free(m);
}

/* Rows where nothing about addresses is known: nothing may be noted, nothing read beyond. */
static void what_was_not_parsed_is_not_noted(void **state)
{
	static const struct {
		enum drop_reason why;
		uint8_t family, version;
		uint16_t len;
		const char *reason;
	} rows[] = {
		{DROP_MALFORMED, 4, 4, 64, "headers are wrong"},
		{DROP_OTHER_STATION, 4, 4, 64, "not parsed: what stands there is the last burst's"},
		{DROP_BAD_CHECKSUM, 4, 4, 64, "the addresses may be what is wrong"},
		{DROP_CHAINED, 4, 4, 64, "several segments"},
		{DROP_DENY, 0, 4, 64, "no IP packet"},
		{DROP_DENY, 4, 6, 64, "the packet is of the other family"},
		{DROP_DENY, 4, 4, 19, "cut"},
		{DROP_DENY, 6, 6, 39, "cut"},
	};
	struct drop_memory *m = drop_memory_create();
	struct one *o = one_create();

	(void)state;
	assert_non_null(m);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct drop_memory *empty = drop_memory_create();

		assert_non_null(empty);
		packet(o, "10.0.1.2", "10.0.2.2", rows[i].why);
		o->b.pkt[0].family = rows[i].family;
		o->data[0] = (uint8_t)(rows[i].version << 4);
		o->m.data_len = rows[i].len;
		drop_memory_note(m, &o->b, 0, 1);
		if (memcmp(m, empty, sizeof(*m)) != 0)
			fail_msg("noted: %s", rows[i].reason);
		free(empty);
	}
	drop_memory_note(NULL, &o->b, 0, 1); /* a worker without a memory */
	free(o);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_drop_of_a_pair),
		cmocka_unit_test(the_last_drop_of_an_sa),
		cmocka_unit_test(what_was_not_parsed_is_not_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
