#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/spd/reference.h"

#define ENGINE spd_owner(IPC_OWNER_ENGINE, 0)
#define CONF spd_owner(IPC_OWNER_IPSECCTL, 0)

struct rng {
	uint64_t s;
};

static uint32_t rnd(struct rng *r, uint32_t n)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return (uint32_t)(r->s >> 32) % n;
}

static struct ipc_flow flow_of(uint64_t handle, const char *src, const char *dst)
{
	struct ipc_flow f = {.flow = {.handle = handle, .generation = 1},
		.direction = IPC_DIR_OUT,
		.type = IPC_FLOW_REQUIRE};

	assert_int_equal(prefix_parse(src, &f.src), 0);
	assert_int_equal(prefix_parse(dst, &f.dst), 0);
	return f;
}

static struct spd_packet spd_packet_of(const struct reference_packet *p)
{
	struct spd_packet s;
	uint32_t src, dst;

	memset(&s, 0, sizeof(s));
	if (p->src.family == 4) {
		memcpy(&src, p->src.b, 4);
		memcpy(&dst, p->dst.b, 4);
		spd_packet_set_v4(&s, src, dst);
	} else {
		spd_packet_set_v6(&s, p->src.b, p->dst.b);
	}
	s.proto = p->proto;
	s.src_port = p->src_port;
	s.dst_port = p->dst_port;
	return s;
}

static uint64_t look(const struct spd *spd, const char *src, const char *dst, uint8_t proto,
	uint16_t sport, uint16_t dport)
{
	struct reference_packet p = {
		.direction = IPC_DIR_OUT, .proto = proto, .src_port = sport, .dst_port = dport};
	struct spd_packet s;
	const struct spd_flow *f;

	assert_int_equal(addr_parse(src, &p.src), 0);
	assert_int_equal(addr_parse(dst, &p.dst), 0);
	s = spd_packet_of(&p);
	f = spd_lookup(spd, IPC_DIR_OUT, &s);
	return f == NULL ? 0 : f->handle;
}

static struct spd *make(uint32_t max_bound)
{
	struct spd_config config = {.n_workers = 2, .seed = 42, .max_bound = max_bound};
	struct spd *spd = spd_create(&config);

	assert_non_null(spd);
	return spd;
}

/* Field case B61: no match is a miss, never an entry that happens to be first. */
static void test_no_match(void **state)
{
	struct spd *spd = make(0);
	struct ipc_flow f = flow_of(7, "10.0.1.0/24", "10.0.2.0/24");

	(void)state;
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 1, 2), 0);
	assert_int_equal(look(spd, "::1", "::2", 6, 1, 2), 0);
	assert_int_equal(spd_bound(spd), 0);
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 1, 2), 7);
	assert_int_equal(look(spd, "10.0.2.1", "10.0.1.1", 6, 1, 2), 0);
	assert_int_equal(look(spd, "2001:db8::1", "2001:db8::2", 6, 1, 2), 0);
	assert_int_equal(look(spd, "::", "::", 0, 0, 0), 0);
	spd_destroy(spd);
}

static void test_order(void **state)
{
	struct {
		const char *src, *dst;
		uint8_t proto;
		uint16_t sport, dport;
		uint64_t want;
		const char *why;
	} rows[] = {
		{"10.0.1.5", "10.0.2.5", 6, 9, 9, 2, "longer source beats longer destination"},
		{"10.0.9.5", "10.0.2.5", 6, 9, 9, 3, "then the longer destination"},
		{"10.0.9.5", "10.9.2.5", 6, 9, 9, 1, "then the default"},
		{"10.0.9.5", "10.0.2.5", 17, 9, 9, 4, "a protocol beats none"},
		{"10.0.9.5", "10.0.2.5", 17, 500, 9, 5, "a source port beats none"},
		{"10.0.9.5", "10.0.2.5", 17, 9, 53, 6, "a destination port beats none"},
		{"10.0.9.5", "10.0.2.5", 17, 500, 53, 5, "source port before destination port"},
		{"10.0.9.5", "10.0.2.5", 17, 0, 0, 4, "no ports known: flows without ports"},
		{"10.0.9.5", "10.0.2.5", 1, 0, 0, 3, "another protocol"},
		{"11.0.9.5", "10.0.2.5", 1, 0, 0, 1, "only the default's source"},
	};
	struct spd *spd = make(0);
	struct ipc_flow f[6] = {flow_of(1, "0.0.0.0/0", "0.0.0.0/0"),
		flow_of(2, "10.0.1.0/24", "0.0.0.0/0"), flow_of(3, "10.0.0.0/16", "10.0.2.0/24"),
		flow_of(4, "10.0.0.0/16", "10.0.2.0/24"), flow_of(5, "10.0.0.0/16", "10.0.2.0/24"),
		flow_of(6, "10.0.0.0/16", "10.0.2.0/24")};

	(void)state;
	f[3].proto = f[4].proto = f[5].proto = 17;
	f[4].src_port = 500;
	f[5].dst_port = 53;
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(spd_flow_add(spd, ENGINE, &f[i]), 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t got = look(
			spd, rows[i].src, rows[i].dst, rows[i].proto, rows[i].sport, rows[i].dport);

		if (got != rows[i].want)
			fail_msg("row %u (%s): flow %llu", i, rows[i].why, (unsigned long long)got);
	}
	spd_destroy(spd);
}

static void test_owners(void **state)
{
	struct spd *spd = make(0);
	struct ipc_flow f = flow_of(1, "10.0.1.0/24", "10.0.2.0/24");
	struct ipc_ref ref = {.handle = 1, .generation = 1};

	(void)state;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	f.flow.handle = 2;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 0, 0), 2); /* the newer */
	f.flow.handle = 1;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0); /* resync: keeps its rank */
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 0, 0), 2);
	f.flow.handle = 3;
	assert_int_equal(spd_flow_add(spd, CONF, &f), 0);
	f.flow.handle = 4;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 0, 0), 3); /* ipsec.conf's */
	assert_int_equal(spd_flow_delete(spd, CONF, &ref), -IPC_E_NO_SUCH);
	ref.handle = 3;
	ref.generation = 9;
	assert_int_equal(spd_flow_delete(spd, CONF, &ref), -IPC_E_STALE);
	ref.generation = 1;
	assert_int_equal(spd_flow_delete(spd, CONF, &ref), 0);
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 0, 0), 4);
	spd_owner_mark(spd, ENGINE);
	f.flow.handle = 1;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	assert_int_equal(spd_owner_sweep(spd, ENGINE), 2);
	assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 0, 0), 1);
	f.flow.generation = 0;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_STALE);
	spd_destroy(spd);
}

static const struct spd_flow *only_flow(const struct spd *spd)
{
	struct spd_packet p;

	memset(&p, 0, sizeof(p));
	spd_packet_set_v4(&p, 0, 0);
	return spd_lookup(spd, IPC_DIR_OUT, &p);
}

static void test_bind(void **state)
{
	struct spd *spd = make(0);
	struct ipc_flow f = flow_of(1, "0.0.0.0/0", "0.0.0.0/0");
	struct ipc_ref ref = {.handle = 1, .generation = 1};
	struct spd_sa_ref sa;

	(void)state;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	assert_false(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(
		spd_flow_bind(spd, ENGINE, &ref, 100, (struct spd_sa_ref){1, 1}, SPD_SA_USABLE), 0);
	assert_int_equal(
		spd_flow_bind(spd, ENGINE, &ref, 101, (struct spd_sa_ref){2, 1}, SPD_SA_UNUSABLE),
		0);
	assert_true(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(sa.index, 1); /* the newer is held back */
	/* A rekey's responder: the old one is dying and still serves while the new one is held. */
	assert_int_equal(spd_sa_set_rank(spd, ENGINE, 100, SPD_SA_LAST_RESORT), 1);
	assert_true(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(sa.index, 1);
	assert_int_equal(spd_sa_set_rank(spd, ENGINE, 101, SPD_SA_USABLE), 1);
	assert_true(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(sa.index, 2);
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0); /* resync keeps the SAs */
	assert_true(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(sa.index, 2);
	assert_int_equal(spd_sa_unbind(spd, CONF, 101), 0); /* somebody else's handle */
	assert_int_equal(spd_sa_unbind(spd, ENGINE, 101), 1);
	assert_true(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(sa.index, 1);
	assert_int_equal(spd_sa_set_rank(spd, ENGINE, 100, SPD_SA_UNUSABLE), 1);
	assert_false(spd_flow_sa(only_flow(spd), &sa));
	f.flow.generation = 2; /* another object: no SA */
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	assert_int_equal(spd_sa_unbind(spd, ENGINE, 100), 0);
	spd_destroy(spd);
}

/* Two engines with one policy: the newest usable SA decides, whoever registered last. */
static void test_engines(void **state)
{
	const spd_owner_t second = spd_owner(IPC_OWNER_ENGINE, 1);
	struct ipc_flow home = flow_of(1, "10.0.1.0/24", "10.0.2.0/24"), other = home;
	struct ipc_ref ref = {.handle = 1, .generation = 1};
	struct spd *spd = make(0);

	(void)state;
#define FOUND(handle) assert_int_equal(look(spd, "10.0.1.1", "10.0.2.1", 6, 0, 0), handle)
#define BIND(owner, of, sa, index, rank) \
	assert_int_equal(                \
		spd_flow_bind(spd, owner, &(of).flow, sa, (struct spd_sa_ref){index, 1}, rank), 0)
	other.flow.handle = 2;
	assert_int_equal(spd_flow_add(spd, second, &other), 0);
	BIND(second, other, 100, 1, SPD_SA_USABLE);
	/* An engine that starts again adds its flow, and must not hide the one that has an SA. */
	assert_int_equal(spd_flow_add(spd, ENGINE, &home), 0);
	FOUND(2);
	BIND(ENGINE, home, 100, 2, SPD_SA_UNUSABLE);
	FOUND(2);
	assert_int_equal(spd_sa_set_rank(spd, ENGINE, 100, SPD_SA_USABLE), 1);
	FOUND(1); /* the newer SA */
	BIND(second, other, 101, 3, SPD_SA_USABLE);
	FOUND(2);
	/* A dying one only while no other is there. */
	assert_int_equal(spd_sa_set_rank(spd, second, 101, SPD_SA_LAST_RESORT), 1);
	FOUND(1);
	assert_int_equal(spd_sa_unbind(spd, second, 101), 1);
	FOUND(1);
	assert_int_equal(spd_sa_unbind(spd, ENGINE, 100), 1);
	FOUND(2);
	assert_int_equal(spd_sa_unbind(spd, second, 100), 1);
	FOUND(1); /* none has one: the newer flow */
	BIND(second, other, 102, 4, SPD_SA_USABLE);
	FOUND(2);
	ref.handle = 2;
	assert_int_equal(spd_flow_delete(spd, second, &ref), 0);
	FOUND(1);
	/* ipsec.conf's comes before all, with an SA or not. */
	other.flow.handle = 3;
	assert_int_equal(spd_flow_add(spd, CONF, &other), 0);
	BIND(ENGINE, home, 103, 5, SPD_SA_USABLE);
	FOUND(3);
	spd_destroy(spd);
}

/* The flows of an engine that does not come back, with what is bound to them. */
static void test_owner_move(void **state)
{
	const spd_owner_t from = spd_owner(IPC_OWNER_ENGINE, 3);
	struct ipc_flow f = flow_of(1, "0.0.0.0/0", "0.0.0.0/0");
	struct ipc_flow same = flow_of(2, "10.0.0.0/8", "10.0.0.0/8");
	struct spd *spd = make(0);
	struct spd_sa_ref sa;

	(void)state;
	assert_int_equal(spd_flow_add(spd, from, &f), 0);
	assert_int_equal(spd_flow_add(spd, from, &same), 0);
	assert_int_equal(spd_flow_add(spd, ENGINE, &same), 0); /* the handle is taken */
	BIND(from, f, 100, 7, SPD_SA_USABLE);
	spd_owner_move(spd, from, ENGINE);
	assert_int_equal(spd_owner_count(spd, from), 1);
	assert_int_equal(spd_owner_count(spd, ENGINE), 2);
	assert_true(spd_flow_sa(only_flow(spd), &sa));
	assert_int_equal(sa.index, 7);
	assert_int_equal(only_flow(spd)->owner, ENGINE);
	assert_int_equal(spd_sa_unbind(spd, from, 100), 0);
	assert_int_equal(spd_sa_unbind(spd, ENGINE, 100), 1);
	assert_int_equal(spd_flow_delete(spd, from, &f.flow), -IPC_E_NO_SUCH);
	assert_int_equal(spd_flow_delete(spd, ENGINE, &f.flow), 0);
	spd_destroy(spd);
#undef FOUND
#undef BIND
}

static void test_invalid(void **state)
{
	struct spd *spd = make(0);
	struct ipc_flow good = flow_of(1, "10.0.0.0/8", "0.0.0.0/0"), f;

	(void)state;
	f = good, f.direction = 3;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_INVALID);
	f = good, f.type = 0;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_INVALID);
	f = good, f.src.len = 33;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_INVALID);
	f = good, f.dst.addr.family = 6;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_INVALID);
	f = good, f.flow.handle = 0;
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_INVALID);
	f = good, memset(f.srcid, 'x', sizeof(f.srcid));
	assert_int_equal(spd_flow_add(spd, ENGINE, &f), -IPC_E_INVALID);
	assert_int_equal(look(spd, "10.0.0.1", "1.1.1.1", 0, 0, 0), 0);
	spd_destroy(spd);
}

static void test_bound_refused(void **state)
{
	struct spd *spd = make(100);
	struct spd_stats stats;
	unsigned added = 0;

	(void)state;
	for (unsigned s = 0; s <= 32; s++) {
		struct ipc_flow f = flow_of(1 + s, "10.0.0.0/8", "0.0.0.0/0");
		int rc;

		f.src.len = s;
		prefix_mask(&f.src);
		rc = spd_flow_add(spd, ENGINE, &f);
		assert_true(rc == 0 || rc == -IPC_E_BOUND);
		added += rc == 0;
		assert_true(spd_bound(spd) <= 100);
	}
	assert_in_range(added, 8, 32);
	spd_stats_get(spd, &stats);
	assert_int_equal(stats.n_flows, added);
	assert_int_equal(stats.n_src_nodes, added);
	assert_int_equal(spd_owner_flush(spd, ENGINE), added);
	assert_int_equal(spd_bound(spd), 0);
	spd_destroy(spd);
}

/* Realistic sets are never refused: all pairs of nested lengths, and their bound is as told. */
static void test_bound_nested(void **state)
{
	static const uint8_t lens6[] = {0, 16, 29, 32, 40, 44, 48, 52, 56, 60, 64, 128};
	struct spd *spd = make(0);
	struct spd_stats stats;
	uint64_t handle = 0;

	(void)state;
	for (unsigned s = 8; s <= 32; s++) {
		for (unsigned d = 8; d <= 32; d++) {
			struct ipc_flow f = flow_of(
				++handle, "10.85.85.85/32", "10.170.170.170/32");

			f.src.len = s;
			f.dst.len = d;
			assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
		}
	}
	for (unsigned s = 0; s < sizeof(lens6); s++) {
		for (unsigned d = 0; d < sizeof(lens6); d++) {
			struct ipc_flow f = flow_of(++handle, "2001:db8::1/128", "2001:db8::2/128");

			f.src.len = lens6[s];
			f.dst.len = lens6[d];
			assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
		}
	}
	assert_int_equal(look(spd, "10.85.85.85", "10.170.170.170", 6, 1, 1), 625);
	spd_stats_get(spd, &stats);
	assert_int_equal(stats.table[1][0].bound, (25 + 625) * 5 + 1);
	assert_int_equal(stats.table[1][1].bound, (12 + 144) * 5 + 1);
	assert_int_equal(spd_owner_flush(spd, ENGINE), handle);
	assert_int_equal(spd_bound(spd), 0);
	spd_destroy(spd);
}

/* What counts is one source's destination lengths, not those of all sources together. */
static void test_bound_apart(void **state)
{
	struct spd *spd = make(0);

	(void)state;
	for (unsigned d = 1; d <= 32; d++) {
		struct ipc_flow f = flow_of(d, "10.0.0.0/24", "0.0.0.0/32");

		f.src.addr.b[2] = d;
		f.dst.len = d;
		f.dst.addr.b[0] = 128;
		assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
		/* Few pairs of lengths are probed one by one, more by their sources. */
		assert_int_equal(spd_bound(spd), (d <= 4 ? d : 1 + 1) * 5 + 1);
	}
	spd_destroy(spd);
}

/* Addresses from a small pool, so that prefixes nest and packets hit. */
static struct ip_addr random_addr(struct rng *r, uint8_t family)
{
	struct ip_addr a = {.family = family};
	unsigned n = family == 4 ? 4 : 16;

	for (unsigned i = 0; i < n; i++)
		a.b[i] = rnd(r, 4) == 0 ? (uint8_t)(1u << rnd(r, 8)) : 0;
	return a;
}

static struct ip_prefix random_prefix(struct rng *r, uint8_t family, unsigned style)
{
	static const uint8_t common4[] = {0, 8, 16, 24, 32}, common6[] = {0, 32, 48, 64, 128};
	struct ip_prefix p = {.addr = random_addr(r, family)};

	if (style == 0)
		p.len = family == 4 ? common4[rnd(r, 5)] : common6[rnd(r, 5)];
	else
		p.len = rnd(r, addr_bits(family) + 1u);
	prefix_mask(&p);
	return p;
}

static struct ipc_flow random_flow(struct rng *r, unsigned style)
{
	uint8_t family = rnd(r, 2) ? 4 : 6;
	struct ipc_flow f = {.flow = {.handle = 1 + rnd(r, 200), .generation = 1},
		.direction = 1 + rnd(r, 2),
		.type = 1 + rnd(r, 6),
		.src = random_prefix(r, family, style),
		.dst = random_prefix(r, family, style)};

	if (rnd(r, 2)) {
		f.proto = rnd(r, 2) ? 6 : 17;
		f.src_port = rnd(r, 3);
		f.dst_port = rnd(r, 3);
	}
	return f;
}

static void compare(const struct spd *spd, const struct reference *ref, struct rng *r, uint32_t n)
{
	struct spd_packet packets[64];
	const struct spd_packet *pointers[64];
	const struct spd_flow *burst[64];
	const struct reference_flow *want[64];
	uint32_t bound = spd_bound(spd);

	for (uint32_t done = 0; done < n; done += 64) {
		uint8_t direction = 1 + rnd(r, 2);

		for (unsigned i = 0; i < 64; i++) {
			uint8_t family = rnd(r, 2) ? 4 : 6;
			struct reference_packet p = {.direction = direction,
				.src = random_addr(r, family),
				.dst = random_addr(r, family),
				.proto = rnd(r, 3) == 0 ? 1
					 : rnd(r, 2)    ? 6
							: 17};
			uint32_t touches;

			if (p.proto != 1) {
				p.src_port = rnd(r, 4);
				p.dst_port = rnd(r, 4);
			}
			packets[i] = spd_packet_of(&p);
			pointers[i] = &packets[i];
			want[i] = reference_lookup(ref, &p);
			spd_lookup_counted(spd, direction, &packets[i], &touches);
			assert_true(touches <= bound);
		}
		spd_lookup_burst(spd, direction, pointers, 64, burst);
		for (unsigned i = 0; i < 64; i++) {
			assert_ptr_equal(burst[i], spd_lookup(spd, direction, &packets[i]));
			assert_int_equal(burst[i] != NULL, want[i] != NULL);
			if (want[i] == NULL)
				continue;
			assert_int_equal(burst[i]->handle, want[i]->flow.flow.handle);
			assert_int_equal(burst[i]->owner, want[i]->owner);
		}
	}
}

/* More than a million packets against sets that change all the time. */
static void test_against_reference(void **state)
{
	struct rng r = {0x123456789abcdefULL};
	uint64_t n_compared = 0;

	(void)state;
	for (unsigned set = 0; set < 160; set++) {
		struct spd *spd = make(1 << 20);
		struct reference ref = {0};

		for (unsigned step = 0; step < 100; step++) {
			spd_owner_t owner = rnd(&r, 3) ? ENGINE : CONF;
			struct ipc_flow f = random_flow(&r, set % 2);

			if (rnd(&r, 3) == 0) {
				struct ipc_flow there;

				if (spd_flow_get(spd, owner, f.flow.handle, &there))
					assert_int_equal(
						spd_flow_delete(spd, owner, &there.flow), 0);
				reference_delete(&ref, owner, f.flow.handle);
			} else {
				assert_int_equal(spd_flow_add(spd, owner, &f), 0);
				reference_add(&ref, owner, &f);
			}
			compare(spd, &ref, &r, 64);
			n_compared += 64;
		}
		reference_fini(&ref);
		spd_destroy(spd);
	}
	assert_true(n_compared > 1000000);
}

/* Frees late, as a grace period would: each thread sees a stable flow until it says so. */
struct later {
	struct {
		void (*fn)(void *);
		void *arg;
		uint64_t at;
	} items[4096];
	uint32_t head, tail;
	_Atomic uint64_t epoch, seen; /* writer's, reader's */
};

static void later_run(struct later *l, bool wait)
{
	while (l->tail != l->head) {
		uint32_t i = l->tail % 4096;

		while (atomic_load(&l->seen) <= l->items[i].at)
			if (!wait)
				return;
		l->items[i].fn(l->items[i].arg);
		l->tail++;
	}
}

static void later_add(void *ctx, void (*fn)(void *), void *arg)
{
	struct later *l = ctx;

	if (l->head - l->tail == 4096)
		later_run(l, true);
	l->items[l->head % 4096].fn = fn;
	l->items[l->head % 4096].arg = arg;
	l->items[l->head % 4096].at = atomic_fetch_add(&l->epoch, 1);
	l->head++;
}

struct reader_arg {
	struct spd *spd;
	struct later *later;
	_Atomic bool stop;
	uint64_t n_gaps, n;
};

/* A default flow that is replaced all the time must be found all the time. */
static void *reader_main(void *arg)
{
	struct reader_arg *a = arg;
	struct rng r = {99};

	while (!atomic_load(&a->stop)) {
		uint64_t epoch = atomic_load(&a->later->epoch);
		struct reference_packet p = {
			.src = random_addr(&r, 4), .dst = random_addr(&r, 4), .proto = 6};
		struct spd_packet s;
		const struct spd_flow *f;

		atomic_store(&a->later->seen, epoch);
		s = spd_packet_of(&p);
		f = spd_lookup(a->spd, IPC_DIR_OUT, &s);
		if (f == NULL)
			a->n_gaps++;
		else
			spd_flow_hit(a->spd, f, 0, 100);
		a->n++;
	}
	atomic_store(&a->later->seen, UINT64_MAX);
	return NULL;
}

static void count_hits(void *ctx, const struct spd_flow_view *view)
{
	*(uint64_t *)ctx += view->packets;
}

static void test_concurrent(void **state)
{
	struct later *later = calloc(1, sizeof(*later));
	struct spd_config config = {
		.n_workers = 1, .seed = 7, .max_bound = 1 << 20, .defer = later_add};
	struct reader_arg arg = {.later = later};
	struct ipc_flow base = flow_of(1000, "0.0.0.0/0", "0.0.0.0/0");
	struct rng r = {5};
	uint64_t hits = 0;
	pthread_t thread;

	(void)state;
	assert_non_null(later);
	config.defer_ctx = later;
	arg.spd = spd_create(&config);
	assert_non_null(arg.spd);
	assert_int_equal(spd_flow_add(arg.spd, ENGINE, &base), 0);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &arg), 0);
	for (unsigned i = 0; i < 20000; i++) {
		struct ipc_flow f = random_flow(&r, 0);
		struct ipc_flow there;
		bool is_there = spd_flow_get(arg.spd, ENGINE, f.flow.handle, &there);

		base.type = 1 + i % 6;
		base.flow.generation = 1 + i / 7;
		assert_int_equal(spd_flow_add(arg.spd, ENGINE, &base), 0);
		if (is_there && rnd(&r, 2)) {
			assert_int_equal(spd_flow_delete(arg.spd, ENGINE, &there.flow), 0);
		} else {
			assert_int_equal(spd_flow_add(arg.spd, ENGINE, &f), 0);
		}
		later_run(later, false);
	}
	atomic_store(&arg.stop, true);
	pthread_join(thread, NULL);
	assert_true(arg.n > 0);
	assert_int_equal(arg.n_gaps, 0);
	spd_each(arg.spd, count_hits, &hits);
	assert_true(hits <= arg.n);
	spd_destroy(arg.spd);
	later_run(later, true);
	free(later);
}

/* A hundred thousand hosts behind one gateway: memory a flow, and the bound stays small. */
static void test_large(void **state)
{
	struct spd *spd = make(0);
	struct spd_stats stats;
	const uint32_t n = 100000;

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		struct ipc_flow f = flow_of(1 + i, "0.0.0.0/0", "10.0.0.0/32");

		f.dst.addr.b[1] = i >> 16;
		f.dst.addr.b[2] = i >> 8;
		f.dst.addr.b[3] = i;
		assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
	}
	assert_int_equal(look(spd, "1.2.3.4", "10.0.1.2", 6, 1, 1), 1 + 0x102);
	spd_stats_get(spd, &stats);
	print_message("%u flows: %llu bytes each, bound %u\n", stats.n_flows,
		(unsigned long long)stats.memory_bytes / n, stats.bound);
	assert_int_equal(stats.n_flows, n);
	assert_true(stats.memory_bytes / n < 1500);
	assert_true(stats.bound <= 16);
	assert_int_equal(spd_owner_flush(spd, ENGINE), n);
	spd_stats_get(spd, &stats);
	assert_int_equal(stats.n_src_nodes + stats.n_cells, 0);
	spd_destroy(spd);
}

/* What a listing kept beside the table has at each place, by what it is told of changes. */
static uint64_t listed[4097];
static unsigned n_told;

static void note_change(void *ctx, uint32_t place, const struct spd_flow_view *view)
{
	(void)ctx;
	assert_in_range(place, 0, 4096);
	listed[place] = view == NULL ? 0 : view->flow->flow.handle;
	n_told++;
}

static void note_listed(void *ctx, const struct spd_flow_view *view)
{
	assert_int_equal(listed[view->place], view->flow->flow.handle);
	++*(unsigned *)ctx;
}

static void test_changes(void **state)
{
	struct spd *spd = make(1 << 20);
	struct rng r = {3};
	unsigned n_listed, n_there;

	(void)state;
	for (unsigned step = 0; step < 3000; step++) {
		struct ipc_flow f = random_flow(&r, 0), there;

		if (spd_flow_get(spd, ENGINE, f.flow.handle, &there) && rnd(&r, 2))
			assert_int_equal(spd_flow_delete(spd, ENGINE, &there.flow), 0);
		else
			assert_int_equal(spd_flow_add(spd, ENGINE, &f), 0);
		if (rnd(&r, 4) != 0)
			continue;
		spd_changes_each(spd, note_change, NULL);
		n_listed = n_there = 0;
		spd_each(spd, note_listed, &n_there);
		for (unsigned i = 0; i < 4097; i++)
			n_listed += listed[i] != 0;
		assert_int_equal(n_listed, n_there);
		assert_int_equal(spd_owner_count(spd, ENGINE), n_there);
		assert_int_equal(spd_count(spd), n_there);
		n_told = 0;
		spd_changes_each(spd, note_change, NULL);
		assert_int_equal(n_told, 0); /* nothing has changed since */
	}
	spd_destroy(spd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_match),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_engines),
		cmocka_unit_test(test_owner_move),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_bound_refused),
		cmocka_unit_test(test_bound_nested),
		cmocka_unit_test(test_bound_apart),
		cmocka_unit_test(test_against_reference),
		cmocka_unit_test(test_concurrent),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
