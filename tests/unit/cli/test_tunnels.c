#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/cli/emit.h"
#include "controlplane/cli/metrics.h"
#include "controlplane/cli/top.h"
#include "controlplane/cli/tunnels.h"
#include "shared/transform.h"

/* A gateway's tables as a script writes them: flows and SAs come and go between two updates. */
struct world {
	struct view_flow flows[8];
	struct listed_sa sas[8];
	struct ipsecctl_listing list;
};

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->list.flows = w->flows;
	w->list.sas = w->sas;
}

static struct view_flow *flow_add(
	struct world *w, const char *src, const char *dst, uint8_t direction, uint8_t type)
{
	struct view_flow *f = &w->flows[w->list.n_flows++];

	assert_int_equal(prefix_parse(src, &f->flow.src), 0);
	assert_int_equal(prefix_parse(dst, &f->flow.dst), 0);
	f->is_used = 1;
	f->flow.direction = direction;
	f->flow.type = type;
	return f;
}

static struct listed_sa *sa_add(struct world *w, uint64_t handle, uint32_t spi, uint8_t direction,
	const char *src, const char *dst)
{
	struct listed_sa *s = &w->sas[w->list.n_sas++];
	struct ip_prefix from, to;

	assert_int_equal(prefix_parse(src, &from), 0);
	assert_int_equal(prefix_parse(dst, &to), 0);
	s->sa.handle = handle;
	s->sa.generation = 1;
	s->sa.spi = spi;
	s->sa.direction = direction;
	s->sa.state = VIEW_SA_MATURE;
	s->sa.encr_id = ENCR_AES_GCM_16;
	s->sa.encr_key_len = 32;
	s->sa.installed_s = spi;
	s->sa.n_selectors = 1;
	s->sa.selectors[0].src = (struct traffic_selector){prefix_range(&from), 0, 0, 65535};
	s->sa.selectors[0].dst = (struct traffic_selector){prefix_range(&to), 0, 0, 65535};
	snprintf(s->sa.dstid, sizeof(s->sa.dstid), "FQDN/peer");
	return s;
}

static void sa_count(struct listed_sa *s, uint64_t packets, uint64_t bytes, uint64_t replay)
{
	s->counters.packets = packets;
	s->counters.bytes = bytes;
	s->counters.drop_replay = replay;
}

static const struct tunnel *only(const struct tunnels *t)
{
	assert_int_equal(tunnels_count(t), 1);
	return tunnels_at(t, 0);
}

#define A "10.0.1.0/24"
#define B "10.0.2.0/24"

static void counters_go_on_over_rekeys(void **state)
{
	struct tunnels *t = tunnels_create(8);
	struct view_flow *flow;
	struct listed_sa *old, *new;
	struct world w;

	(void)state;
	world_init(&w);
	flow = flow_add(&w, A, B, IPC_DIR_OUT, IPC_FLOW_REQUIRE);
	assert_int_equal(tunnels_update(t, &w.list, 100), 0);
	assert_false(only(t)->is_up); /* configured, nothing negotiated */
	assert_true(only(t)->is_configured);

	old = sa_add(&w, 1, 0x100, IPC_DIR_OUT, A, B);
	flow->sa_spi = 0x100;
	sa_count(old, 10, 1000, 0);
	assert_int_equal(tunnels_update(t, &w.list, 101), 0);
	assert_true(only(t)->is_up);
	assert_int_equal(only(t)->counters[TUNNEL_OUT].packets, 10);
	assert_string_equal(only(t)->peer_id, "FQDN/peer");
	assert_string_equal(only(t)->suite, "aes-256-gcm");

	/* Rekey: both are there for a while, then the old one goes with what it counted. */
	new = sa_add(&w, 2, 0x200, IPC_DIR_OUT, A, B);
	sa_count(old, 15, 1500, 0);
	sa_count(new, 5, 500, 0);
	assert_int_equal(tunnels_update(t, &w.list, 102), 0);
	assert_int_equal(only(t)->counters[TUNNEL_OUT].packets, 20);
	assert_int_equal(only(t)->n_sas[TUNNEL_OUT], 2);
	assert_int_equal(only(t)->spi[TUNNEL_OUT], 0x200);
	w.sas[0] = w.sas[1];
	w.list.n_sas = 1;
	sa_count(&w.sas[0], 7, 700, 0);
	assert_int_equal(tunnels_update(t, &w.list, 103), 0);
	assert_int_equal(only(t)->counters[TUNNEL_OUT].packets, 22);
	assert_int_equal(only(t)->counters[TUNNEL_OUT].bytes, 2200);

	/* The same SA put into a new espd counts from zero again. */
	sa_count(&w.sas[0], 3, 300, 0);
	assert_int_equal(tunnels_update(t, &w.list, 104), 0);
	assert_int_equal(only(t)->counters[TUNNEL_OUT].packets, 25);
	assert_int_equal(tunnels_total(t, TUNNEL_OUT)->packets, 25);
	tunnels_destroy(t);
}

static void both_directions_are_one_tunnel(void **state)
{
	struct tunnels *t = tunnels_create(8);
	struct world w;

	(void)state;
	world_init(&w);
	flow_add(&w, A, B, IPC_DIR_OUT, IPC_FLOW_REQUIRE);
	flow_add(&w, B, A, IPC_DIR_IN, IPC_FLOW_USE);
	flow_add(&w, "::/0", "::/0", IPC_DIR_OUT, IPC_FLOW_DENY);
	flow_add(&w, "127.0.0.1/32", "127.0.0.1/32", IPC_DIR_OUT, IPC_FLOW_BYPASS);
	sa_count(sa_add(&w, 1, 0x100, IPC_DIR_OUT, A, B), 1, 10, 0);
	sa_count(sa_add(&w, 2, 0x200, IPC_DIR_IN, B, A), 2, 20, 3);
	assert_int_equal(tunnels_update(t, &w.list, 1), 0);
	assert_int_equal(only(t)->counters[TUNNEL_OUT].packets, 1);
	assert_int_equal(only(t)->counters[TUNNEL_IN].packets, 2);
	assert_int_equal(only(t)->counters[TUNNEL_IN].drops[TUNNEL_DROP_REPLAY], 3);
	tunnels_destroy(t);
}

static void what_is_down_stays_and_is_forgotten_late(void **state)
{
	struct tunnels *t = tunnels_create(8);
	struct world w;

	(void)state;
	world_init(&w);
	flow_add(&w, A, B, IPC_DIR_OUT, IPC_FLOW_REQUIRE)->sa_spi = 1;
	assert_int_equal(tunnels_update(t, &w.list, 1000), 0);
	assert_true(only(t)->is_up);
	assert_int_equal(tunnels_update(t, NULL, 1001), 0); /* espd is away */
	assert_false(only(t)->is_up);
	assert_int_equal(tunnels_update(t, NULL, 1000 + 10 * TUNNEL_KEEP_S), 0);
	assert_false(only(t)->is_up); /* however long it is away */
	w.list.n_flows = 0;           /* reset: the flow is gone for a moment */
	assert_int_equal(tunnels_update(t, &w.list, 1000 + TUNNEL_KEEP_S), 0);
	assert_false(only(t)->is_up);
	assert_int_equal(tunnels_update(t, &w.list, 1001 + TUNNEL_KEEP_S), 0);
	assert_int_equal(tunnels_count(t), 0);
	tunnels_destroy(t);
}

static void the_table_is_bounded(void **state)
{
	struct tunnels *t = tunnels_create(2);
	struct world w;

	(void)state;
	for (int round = 0; round < 3; round++) {
		char dst[32];

		world_init(&w);
		for (int i = 0; i < 5; i++) {
			snprintf(dst, sizeof(dst), "10.1.%d.0/24", i);
			flow_add(&w, A, dst, IPC_DIR_OUT, IPC_FLOW_REQUIRE);
			sa_count(sa_add(&w, (uint64_t)i, 0x100, IPC_DIR_OUT, A, dst), 10, 10, 0);
		}
		assert_int_equal(tunnels_update(t, &w.list, 1), 0);
		assert_int_equal(tunnels_count(t), 2);
		assert_true(tunnels_omitted(t) >= 3);
		assert_int_equal(tunnels_total(t, TUNNEL_OUT)->packets, 50); /* of all five */
	}
	tunnels_destroy(t);
	t = tunnels_create(0);
	assert_int_equal(tunnels_update(t, &w.list, 1), 0);
	assert_int_equal(tunnels_count(t), 0);
	tunnels_destroy(t);
}

static char *metrics_text(const struct tunnels *t)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	metrics_write(out, NULL, t);
	fclose(out);
	return text;
}

static void metrics_are_well_formed(void **state)
{
	static const char *const wanted[] = {"penstock_up 0\n",
		"penstock_tunnel_up{local=\"10.0.1.0/24\",remote=\"10.0.2.0/24\",protocol=\"6\","
		"remote_port=\"22\"} 0\n",
		"penstock_tunnel_up{local=\"10.0.1.0/24\",remote=\"10.0.2.0/24\"} 1\n",
		"peer_id=\"ASN1_DN//CN=a\\\\b\\\"c\\nd\"",
		"penstock_tunnel_dropped_packets_total{local=\"10.0.1.0/24\",remote=\"10.0.2.0/24\""
		",direction=\"in\",reason=\"replay\"} 7\n",
		"penstock_tunnels_omitted 0\n"};
	struct tunnels *t = tunnels_create(8);
	struct listed_sa *in, *out;
	struct view_flow *ssh;
	struct world w;
	char *text;

	(void)state;
	world_init(&w);
	ssh = flow_add(&w, A, B, IPC_DIR_OUT, IPC_FLOW_DONTACQ);
	ssh->flow.proto = 6;
	ssh->flow.dst_port = 22;
	flow_add(&w, A, B, IPC_DIR_OUT, IPC_FLOW_REQUIRE)->sa_spi = 0x100;
	out = sa_add(&w, 1, 0x100, IPC_DIR_OUT, A, B);
	in = sa_add(&w, 2, 0x200, IPC_DIR_IN, B, A);
	sa_count(in, 1, 1, 7);
	snprintf(out->sa.dstid, sizeof(out->sa.dstid), "ASN1_DN//CN=a\\b\"c\nd");
	in->sa = out->sa; /* the same peer */
	in->sa.direction = IPC_DIR_IN;
	in->sa.handle = 2;
	in->sa.selectors[0] = (struct ipc_selector){
		.src = out->sa.selectors[0].dst, .dst = out->sa.selectors[0].src};
	assert_int_equal(tunnels_update(t, &w.list, 1), 0);
	text = metrics_text(t);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!strstr(text, wanted[i]))
			fail_msg("not there: %s; the text:\n%s", wanted[i], text);
	/* Nothing that changes with each SA is a label of a counter. */
	assert_null(strstr(text, "spi"));
	free(text);
	tunnels_destroy(t);
}

static void rates(void **state)
{
	static const struct {
		double rate;
		const char *text, *why;
	} rows[] = {
		{0, "0 p/s", "nothing"},
		{1, "1 p/s", "no decimals without a prefix"},
		{999.4, "999 p/s", "below the step"},
		{999.6, "1.0 kp/s", "rounds up to the step, not to 1000"},
		{1500, "1.5 kp/s", "one decimal below ten"},
		{12345, "12 kp/s", "none from ten on"},
		{9.96e9, "10 Gp/s", "9.96 is ten"},
		{5e15, "5000 Tp/s", "beyond the last prefix"},
	};
	char buf[TOP_RATE_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(top_rate_str(rows[i].rate, "p/s", buf), rows[i].text) != 0)
			fail_msg("%s: %s, not %s", rows[i].why, buf, rows[i].text);
	assert_true(top_rate(300, 100, 2000) == 100);
	assert_true(top_rate(50, 100, 1000) == 50); /* a new espd counts from zero */
	assert_true(top_rate(50, 100, 0) == 0);
}

static void top_shows_the_busy_and_the_down_first(void **state)
{
	struct tunnels *t = tunnels_create(8);
	struct world w;
	char *text = NULL, *busy, *down, *idle;
	size_t len = 0;
	FILE *out;

	(void)state;
	world_init(&w);
	flow_add(&w, A, "10.7.0.0/16", IPC_DIR_OUT, IPC_FLOW_REQUIRE)->sa_spi = 1;
	flow_add(&w, A, "10.8.0.0/16", IPC_DIR_OUT, IPC_FLOW_REQUIRE);
	flow_add(&w, A, "10.9.0.0/16", IPC_DIR_OUT, IPC_FLOW_REQUIRE)->sa_spi = 2;
	assert_int_equal(tunnels_update(t, &w.list, 1), 0);
	tunnels_mark(t);
	sa_count(sa_add(&w, 9, 2, IPC_DIR_OUT, A, "10.9.0.0/16"), 2000, 250000, 0);
	assert_int_equal(tunnels_update(t, &w.list, 2), 0);
	out = open_memstream(&text, &len);
	assert_non_null(out);
	top_print_tunnels(t, 2000, 3, out);
	fclose(out);
	busy = strstr(text, "10.9.0.0/16");
	down = strstr(text, "10.8.0.0/16");
	idle = strstr(text, "10.7.0.0/16");
	assert_true(busy && down && idle && busy < down && down < idle);
	assert_non_null(strstr(text, "1.0 kp/s"));
	assert_non_null(strstr(text, "1.0 Mbit/s"));
	free(text);
	tunnels_destroy(t);
}

static void json_strings_are_escaped(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct emit e;

	(void)state;
	assert_non_null(out);
	emit_begin(&e, out, true);
	emit_object(&e);
	emit_str(&e, "id", "a\"b\\c\nd\xff");
	emit_bool(&e, "x", false);
	emit_object_end(&e);
	emit_end(&e);
	fclose(out);
	assert_string_equal(
		text, "[\n  {\"id\": \"a\\\"b\\\\c\\u000ad\\u00ff\", \"x\": false}\n]\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_go_on_over_rekeys),
		cmocka_unit_test(both_directions_are_one_tunnel),
		cmocka_unit_test(what_is_down_stays_and_is_forgotten_late),
		cmocka_unit_test(the_table_is_bounded),
		cmocka_unit_test(metrics_are_well_formed),
		cmocka_unit_test(rates),
		cmocka_unit_test(top_shows_the_busy_and_the_down_first),
		cmocka_unit_test(json_strings_are_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
