#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/ike/narrow.h"
#include "controlplane/ike/policy_select.h"
#include "controlplane/ike/timer_heap.h"
#include "tests/unit/engine/sim.h"

/* Policy selection and narrowing are pure: tables. */

#define FLOW "from 10.0.0.0/8 to 172.16.0.0/12 "

struct select_row {
	const char *conf, *remote, *peer_id, *local_id, *winner, *why;
};

static const struct select_row select_rows[] = {
	{"ikev2 'a' " FLOW "peer any\nikev2 'b' " FLOW "peer any\n", "192.0.2.9", NULL, NULL, "b",
		"the last match wins"},
	{"ikev2 'a' quick " FLOW "peer any\nikev2 'b' " FLOW "peer any\n", "192.0.2.9", NULL, NULL,
		"a", "quick ends the search"},
	{"ikev2 'a' " FLOW "peer any\nikev2 'b' skip " FLOW "peer any\n", "192.0.2.9", NULL, NULL,
		"a", "skip takes nobody"},
	{"ikev2 'a' default " FLOW "peer any\nikev2 'b' " FLOW "peer 192.0.2.8\n", "192.0.2.9",
		NULL, NULL, "a", "default when nothing else matches"},
	{"ikev2 'a' " FLOW "peer any\nikev2 'b' default " FLOW "peer any\n", "192.0.2.9", NULL,
		NULL, "a", "default is a fall-back, wherever it stands"},
	{"ikev2 'a' " FLOW "peer 192.0.2.0/24\n", "198.51.100.1", NULL, NULL, NULL,
		"address outside peer"},
	{"ikev2 'a' inet6 from fd00::/64 to fd01::/64 peer any\n", "192.0.2.9", NULL, NULL, NULL,
		"family"},
	{"ikev2 'a' " FLOW "peer any dstid x.org\nikev2 'b' " FLOW "peer any dstid y.org\n",
		"192.0.2.9", "x.org", NULL, "a", "dstid is strict at IKE_AUTH"},
	{"ikev2 'a' " FLOW "peer any dstid x.org\n", "192.0.2.9", NULL, NULL, "a",
		"dstid is not asked at IKE_SA_INIT"},
	{"ikev2 'a' " FLOW "peer any srcid one.org\nikev2 'b' " FLOW "peer any srcid two.org\n",
		"192.0.2.9", "x.org", "one.org", "a", "IDr chooses by srcid"},
	{"ikev2 'a' " FLOW "peer any\n", "192.0.2.9", "x.org", "other.org", NULL,
		"IDr is not the host's name"},
	{"ikev2 'a' " FLOW "peer any dstid host.org\n", "192.0.2.9", "x.org", NULL, "a",
		"own name as dstid counts as absent with public keys"},
	{"ikev2 'a' " FLOW "peer any dstid host.org psk 'x'\n", "192.0.2.9", "x.org", NULL, NULL,
		"but not with a PSK"},
};

static void test_select(void **state)
{
	struct ike_id host, peer, local;

	(void)state;
	assert_int_equal(ike_id_parse("host.org", &host), 0);
	for (size_t i = 0; i < sizeof(select_rows) / sizeof(select_rows[0]); i++) {
		const struct select_row *row = &select_rows[i];
		struct ike_config *config = sim_config_parse(row->conf);
		struct policy_question q = {.has_auth = true, .host_id = &host};

		assert_int_equal(addr_parse(row->remote, &q.remote), 0);
		assert_int_equal(addr_parse("192.0.2.1", &q.local), 0);
		if (row->peer_id) {
			assert_int_equal(ike_id_parse(row->peer_id, &peer), 0);
			q.peer_id = &peer;
		}
		if (row->local_id) {
			assert_int_equal(ike_id_parse(row->local_id, &local), 0);
			q.local_id = &local;
		}
		const struct ike_policy *winner = policy_select(config, &q, NULL, NULL);

		if (strcmp(winner ? winner->name : "none", row->winner ? row->winner : "none") != 0)
			fail_msg("row %zu: %s, want %s: %s", i, winner ? winner->name : "none",
				row->winner ? row->winner : "none", row->why);
		iked_conf_free(config);
	}
}

static void count_lines(
	void *ctx, const struct ike_policy *policy, bool is_winner, const char *reason)
{
	char *text = ctx;

	snprintf(text + strlen(text), 256 - strlen(text), "%s%s: %s; ", policy->name,
		is_winner ? "*" : "", reason);
}

static void test_explain(void **state)
{
	struct ike_config *config = sim_config_parse(
		"ikev2 'a' " FLOW "peer 192.0.2.8\nikev2 'b' " FLOW
		"peer any\nikev2 'c' quick " FLOW "peer any\n"
		"ikev2 'd' " FLOW "peer any\n");
	struct ike_id host = {0};
	struct policy_question q = {.host_id = &host};
	char text[256] = "";

	(void)state;
	assert_int_equal(addr_parse("192.0.2.9", &q.remote), 0);
	policy_select(config, &q, count_lines, text);
	assert_string_equal(text, "a: peer address not in peer; b: a later policy matches; "
				  "c*: match; d: an earlier match has quick; ");
	iked_conf_free(config);
}

static struct traffic_selector ts(const char *prefix, uint8_t proto, uint16_t lo, uint16_t hi)
{
	struct ip_prefix p;
	struct traffic_selector t = {.proto = proto, .port_lo = lo, .port_hi = hi};

	assert_int_equal(prefix_parse(prefix, &p), 0);
	t.range = prefix_range(&p);
	return t;
}

/* Field case B49: from any/any, wider, narrower, two overlapping, another family. */
struct narrow_row {
	const char *local, *remote; /* offered */
	size_t n;                   /* pairs that are answered */
	const char *first_local, *first_remote;
};

static const struct narrow_row narrow_rows[] = {
	{"0.0.0.0/0", "0.0.0.0/0", 3, "10.1.0.0/24", "10.9.0.0/16"},
	{"10.0.0.0/8", "10.9.0.0/16", 3, "10.1.0.0/24", "10.9.0.0/16"},
	{"10.1.0.7/32", "10.9.0.0/16", 1, "10.1.0.7/32", "10.9.0.0/16"},
	{"10.2.0.0/24", "10.9.3.4/32", 1, "10.2.0.0/24", "10.9.3.4/32"},
	{"10.3.0.0/24", "10.9.3.4/32", 0, NULL, NULL},
	{"fd00:1::1/128", "::/0", 1, "fd00:1::1/128", "fd00:9::/64"},
	{"fd00:1::1/128", "10.9.0.0/16", 0, NULL, NULL},
};

static void test_narrow(void **state)
{
	struct ike_config *config = sim_config_parse(
		"ikev2 from 10.1.0.0/24 to 10.9.0.0/16 from 10.2.0.0/24 to 10.9.0.0/16 "
		"from 10.1.0.0/16 to 10.9.9.0/24 from fd00:1::/64 to fd00:9::/64 peer any\n");
	struct ts_pairs *allowed = calloc(2, sizeof(*allowed)), *out = allowed + 1;
	struct ip_addr none = {0};

	(void)state;
	narrow_policy_pairs(&config->policies[0], &none, &none, allowed);
	assert_int_equal(allowed->n, 4);
	for (size_t i = 0; i < sizeof(narrow_rows) / sizeof(narrow_rows[0]); i++) {
		const struct narrow_row *row = &narrow_rows[i];
		struct traffic_selector l = ts(row->local, 0, 0, 65535);
		struct traffic_selector r = ts(row->remote, 0, 0, 65535);

		narrow_pairs(allowed, &l, 1, &r, 1, out);
		assert_int_equal(out->n, row->n);
		/* never more than was offered, never more than is allowed */
		for (size_t p = 0; p < out->n; p++) {
			assert_true(ts_contains(&l, &out->pair[p].local));
			assert_true(ts_contains(&r, &out->pair[p].remote));
			assert_true(narrow_covered(allowed, &out->pair[p]));
		}
		if (!row->n)
			continue;
		struct traffic_selector fl = ts(row->first_local, 0, 0, 65535);
		struct traffic_selector fr = ts(row->first_remote, 0, 0, 65535);

		assert_true(ts_equal(&out->pair[0].local, &fl));
		assert_true(ts_equal(&out->pair[0].remote, &fr));
	}
	/* The packet's own selectors stay first; protocols agree or there is nothing. */
	struct traffic_selector l[2] = {
		ts("10.1.0.7/32", 17, 4000, 4000), ts("10.1.0.0/24", 0, 0, 65535)};
	struct traffic_selector r[2] = {
		ts("10.9.0.7/32", 17, 53, 53), ts("10.9.0.0/16", 0, 0, 65535)};

	narrow_pairs(allowed, l, 2, r, 2, out);
	assert_true(ts_equal(&out->pair[0].local, &l[0]) && ts_equal(&out->pair[0].remote, &r[0]));
	r[0].proto = 6;
	narrow_pairs(allowed, l, 1, r, 1, out);
	assert_int_equal(out->n, 0);
	free(allowed);
	iked_conf_free(config);
}

static void test_timer_heap(void **state)
{
	struct timer_heap heap = {0};
	struct ike_timer timers[200] = {0};
	uint64_t last = 0;
	size_t n = 0;

	(void)state;
	for (uint64_t i = 0; i < 200; i++)
		assert_int_equal(timer_set(&heap, &timers[i], (i * 7919) % 1009), 0);
	for (uint64_t i = 0; i < 200; i += 2) /* move half of them, clear some */
		assert_int_equal(timer_set(&heap, &timers[i], (i * 104729) % 997), 0);
	for (uint64_t i = 0; i < 200; i += 5)
		assert_int_equal(timer_set(&heap, &timers[i], UINT64_MAX), 0);
	for (struct ike_timer *t; (t = timer_heap_first(&heap)) != NULL; n++) {
		assert_true(t->at_ms >= last);
		last = t->at_ms;
		timer_clear(&heap, t);
		timer_clear(&heap, t); /* twice does no harm */
	}
	assert_int_equal(n, 160);
	timer_heap_fini(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_timer_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
