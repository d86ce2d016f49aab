#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/flow_order.h"
#include "tests/unit/spd/reference.h"

/* Address pairs whose match depends on ports (RFC 4301 7), autobind, the order of a listing. */

#define ENGINE spd_owner(IPC_OWNER_ENGINE, 0)
#define CONF spd_owner(IPC_OWNER_IPSECCTL, 0)

static struct spd *make(void)
{
	struct spd_config config = {.n_workers = 1, .seed = 42, .max_bound = 1 << 20};
	struct spd *spd = spd_create(&config);

	assert_non_null(spd);
	return spd;
}

static struct ipc_flow flow_of(uint64_t handle, const char *src, const char *dst, uint8_t proto,
	uint16_t src_port, uint16_t dst_port)
{
	struct ipc_flow f = {.flow = {.handle = handle, .generation = 1},
		.direction = IPC_DIR_OUT,
		.type = IPC_FLOW_REQUIRE,
		.proto = proto,
		.src_port = src_port,
		.dst_port = dst_port};

	assert_int_equal(prefix_parse(src, &f.src), 0);
	assert_int_equal(prefix_parse(dst, &f.dst), 0);
	return f;
}

static struct spd_packet packet_of(const struct ip_addr *src, const struct ip_addr *dst)
{
	struct spd_packet p;
	uint32_t s, d;

	memset(&p, 0, sizeof(p));
	if (src->family == 4) {
		memcpy(&s, src->b, 4);
		memcpy(&d, dst->b, 4);
		spd_packet_set_v4(&p, s, d);
	} else {
		spd_packet_set_v6(&p, src->b, dst->b);
	}
	return p;
}

static void test_rows(void **state)
{
	const struct {
		const char *src, *dst;
		uint8_t proto;
		bool want;
		const char *why;
	} rows[] = {
		{"10.0.1.1", "10.0.2.1", 17, true, "a flow with a port is the most specific"},
		{"10.0.1.1", "10.0.2.1", 0, true, "protocol not known"},
		{"10.0.9.1", "10.0.2.1", 17, false, "another source, a flow without ports"},
		{"10.3.0.1", "10.0.2.1", 17, false, "decided before the one with ports"},
		{"10.4.0.1", "10.0.2.1", 17, true, "not decided: another protocol's flow first"},
		{"10.4.0.1", "10.0.2.1", 6, false, "decided by its protocol"},
		{"10.4.0.1", "10.0.2.1", 0, true, "a protocol matters when it is not known"},
		{"11.0.0.1", "10.0.2.1", 17, false, "no flow at all"},
		{"2001:db8::1", "2001:db8::2", 17, false, "the other family has no flow"},
	};
	struct ipc_flow flows[] = {
		flow_of(1, "10.0.0.0/8", "0.0.0.0/0", 0, 0, 0),
		flow_of(2, "10.0.1.0/24", "10.0.2.0/24", 17, 0, 53),
		flow_of(3, "10.3.0.0/24", "10.0.0.0/8", 0, 0, 0),
		flow_of(4, "10.3.0.0/16", "10.0.0.0/8", 17, 500, 0),
		flow_of(5, "10.4.0.0/24", "10.0.0.0/8", 6, 0, 0),
		flow_of(6, "10.4.0.0/16", "10.0.0.0/8", 0, 500, 0),
	};
	struct spd *spd = make();

	(void)state;
	for (unsigned i = 0; i < sizeof(flows) / sizeof(flows[0]); i++)
		assert_int_equal(spd_flow_add(spd, ENGINE, &flows[i]), 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_addr src, dst;
		struct spd_packet p;

		assert_int_equal(addr_parse(rows[i].src, &src), 0);
		assert_int_equal(addr_parse(rows[i].dst, &dst), 0);
		p = packet_of(&src, &dst);
		p.proto = rows[i].proto;
		if (spd_pair_has_ports(spd, IPC_DIR_OUT, &p) != rows[i].want)
			fail_msg("row %u: %s", i, rows[i].why);
		assert_false(spd_pair_has_ports(spd, IPC_DIR_IN, &p));
	}
	assert_int_equal(spd_flow_delete(spd, ENGINE, &flows[1].flow), 0);
	assert_int_equal(spd_flow_delete(spd, ENGINE, &flows[3].flow), 0);
	assert_int_equal(spd_flow_delete(spd, ENGINE, &flows[5].flow), 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_addr src, dst;
		struct spd_packet p;

		assert_int_equal(addr_parse(rows[i].src, &src), 0);
		assert_int_equal(addr_parse(rows[i].dst, &dst), 0);
		p = packet_of(&src, &dst);
		p.proto = 17; /* the last flow with a port is gone */
		assert_false(spd_pair_has_ports(spd, IPC_DIR_OUT, &p));
	}
	spd_destroy(spd);
}

static uint64_t rng_state = 0x9e3779b97f4a7c15ULL;

static uint32_t rnd(uint32_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)(rng_state >> 32) % n;
}

static struct ip_addr random_addr(void)
{
	struct ip_addr a = {.family = 4};

	for (unsigned i = 0; i < 4; i++)
		a.b[i] = rnd(4) == 0 ? (uint8_t)(1u << rnd(8)) : 0;
	return a;
}

static struct ipc_flow random_flow(uint64_t handle)
{
	struct ipc_flow f = flow_of(handle, "0.0.0.0/0", "0.0.0.0/0", 0, 0, 0);

	f.src.addr = random_addr();
	f.dst.addr = random_addr();
	f.src.len = rnd(5) * 8;
	f.dst.len = rnd(5) * 8;
	prefix_mask(&f.src);
	prefix_mask(&f.dst);
	if (rnd(4) == 0) {
		f.proto = rnd(2) ? 17 : rnd(2) ? 6 : 0;
		f.src_port = rnd(3);
		f.dst_port = rnd(3);
	}
	return f;
}

/* False must mean that no port whatever changes the match; proto 0: nor any protocol. */
static void check_pair(const struct spd *spd, struct spd_packet *p)
{
	static const uint8_t protocols[] = {0, 6, 17, 1};
	const struct spd_flow *first;

	for (unsigned k = 0; k < 4; k++) {
		p->proto = protocols[k];
		p->src_port = p->dst_port = 0;
		if (spd_pair_has_ports(spd, IPC_DIR_OUT, p))
			continue;
		first = spd_lookup(spd, IPC_DIR_OUT, p);
		for (unsigned other = 0; other < (k == 0 ? 4u : 1u); other++) {
			if (k == 0)
				p->proto = protocols[other];
			for (unsigned ports = 0; ports < 16; ports++) {
				p->src_port = ports % 4;
				p->dst_port = ports / 4;
				assert_ptr_equal(spd_lookup(spd, IPC_DIR_OUT, p), first);
			}
		}
	}
}

static void test_random(void **state)
{
	uint32_t n_true = 0, n = 0;

	(void)state;
	for (unsigned set = 0; set < 100; set++) {
		struct spd *spd = make();

		for (uint64_t h = 1; h <= 1 + rnd(60); h++) {
			struct ipc_flow f = random_flow(h);

			assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
		}
		for (unsigned i = 0; i < 500; i++) {
			struct ip_addr src = random_addr(), dst = random_addr();
			struct spd_packet p = packet_of(&src, &dst);

			check_pair(spd, &p);
			p.proto = 17;
			n_true += spd_pair_has_ports(spd, IPC_DIR_OUT, &p);
			n++;
		}
		spd_destroy(spd);
	}
	assert_in_range(n_true, n / 20, n - n / 20); /* both answers were seen */
}

struct seen {
	unsigned n;
	uint64_t handles; /* bit set */
};

static void note(void *ctx, const struct ipc_flow *flow)
{
	struct seen *s = ctx;

	s->n++;
	s->handles |= 1ULL << flow->flow.handle;
}

/* Manual SAs of ipsec.conf serve the owner's outbound flows of that peer, no others. */
static void test_autobind(void **state)
{
	struct spd *spd = make();
	struct ip_addr peer, other;
	struct seen s = {0};
	struct ipc_ref ref = {.handle = 1, .generation = 1};

	(void)state;
	assert_int_equal(addr_parse("192.0.2.1", &peer), 0);
	assert_int_equal(addr_parse("192.0.2.2", &other), 0);
	for (uint64_t h = 1; h <= 6; h++) {
		struct ipc_flow f = flow_of(h, "10.0.1.0/24", "10.0.2.0/24", 0, 0, 0);

		f.flags = h == 3 ? 0 : IPC_FLOW_F_AUTOBIND;
		f.direction = h == 4 ? IPC_DIR_IN : IPC_DIR_OUT;
		f.peer = h == 5 ? other : peer;
		assert_int_equal(spd_flow_add(spd, h == 6 ? ENGINE : CONF, &f), 0);
	}
	spd_autobind_each(spd, CONF, &peer, note, &s);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.handles, 1u << 1 | 1u << 2);
	assert_int_equal(spd_flow_delete(spd, CONF, &ref), 0);
	memset(&s, 0, sizeof(s));
	spd_autobind_each(spd, CONF, &peer, note, &s);
	assert_int_equal(s.handles, 1u << 2);
	memset(&s, 0, sizeof(s));
	spd_autobind_each(spd, CONF, &other, note, &s);
	assert_int_equal(s.handles, 1u << 5);
	spd_destroy(spd);
}

struct listed {
	uint8_t direction;
	const char *src, *dst;
};

static struct ipc_flow listed_flow(const struct listed *l)
{
	struct ipc_flow f = flow_of(1, l->src, l->dst, 0, 0, 0);

	f.direction = l->direction;
	return f;
}

/* `ipsecctl -sa` as OpenBSD's FAQ shows it: each line before the next, in every pair. */
static void test_list_order(void **state)
{
	static const struct listed site[] = {{IPC_DIR_IN, "10.0.2.0/24", "10.0.1.0/24"},
		{IPC_DIR_OUT, "10.0.1.0/24", "10.0.2.0/24"}, {IPC_DIR_OUT, "::/0", "::/0"}};
	static const struct listed responder[] = {{IPC_DIR_IN, "10.0.5.0/24", "0.0.0.0/0"},
		{IPC_DIR_OUT, "0.0.0.0/0", "10.0.5.0/24"}};
	static const struct listed warrior[] = {{IPC_DIR_IN, "0.0.0.0/0", "0.0.0.0/0"},
		{IPC_DIR_IN, "127.0.0.1", "127.0.0.1"}, {IPC_DIR_OUT, "0.0.0.0/0", "0.0.0.0/0"},
		{IPC_DIR_OUT, "127.0.0.1", "127.0.0.1"}};
	static const struct listed masks[] = {{IPC_DIR_OUT, "0.0.0.0/0", "0.0.0.0/0"},
		{IPC_DIR_OUT, "0.0.0.0/8", "0.0.0.0/0"}, {IPC_DIR_OUT, "0.0.0.0/8", "0.0.0.0/8"},
		{IPC_DIR_OUT, "10.0.0.0/8", "0.0.0.0/0"}};
	static const struct {
		const struct listed *rows;
		unsigned n;
	} sets[] = {{site, 3}, {responder, 2}, {warrior, 4}, {masks, 4}};

	(void)state;
	for (unsigned s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
		for (unsigned i = 0; i < sets[s].n; i++) {
			for (unsigned j = 0; j < sets[s].n; j++) {
				struct ipc_flow a = listed_flow(&sets[s].rows[i]);
				struct ipc_flow b = listed_flow(&sets[s].rows[j]);
				int c = flow_list_compare(&a, &b);

				assert_true(i < j ? c < 0 : i > j ? c > 0 : c == 0);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_autobind),
		cmocka_unit_test(test_list_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
