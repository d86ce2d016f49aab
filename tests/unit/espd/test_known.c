#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ring.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/esp_wire.h"
#include "dataplane/grace.h"
#include "dataplane/known.h"
#include "dataplane/pipeline.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"

/*
 * The table of known headers saves time and changes nothing: a stream of good and bad packets goes
 * through a gateway that has it and through one that never finds anything in it, and what comes out
 * (each byte of each frame, in which order, drops, counters) is the same. And what it knew is
 * forgotten at once when a flow, an SA, a route or an address changes.
 *
 *   clear frames -> gateway A (192.0.2.1) -> ESP frames, some spoilt -> gateway B (198.18.0.1)
 */

#define N_TUNNELS 3
#define N_FRAMES 4000
#define FRAME_MAX 2048
#define N_PORTS 2

static const uint8_t mac_ours[6] = {2, 0, 0, 0, 0, 1}, mac_theirs[6] = {2, 0, 0, 0, 0, 2};
static struct rte_mempool *pool;
static struct router *router;
static struct nexthop *hop;

struct world {
	struct dataplane dp;
	struct worker *w;
	struct grace *grace;
	struct path *path;
	struct sa_hot *sa[N_TUNNELS];
	bool forgets; /* never finds anything in its table */
};

/* Frames, one behind the other. */
struct frames {
	uint32_t n;
	size_t used;
	uint16_t len[4 * N_FRAMES];
	uint8_t bytes[4 * N_FRAMES * 400];
};

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33) % n;
}

static void frames_add(struct frames *f, const uint8_t *bytes, uint32_t len)
{
	assert_true(f->used + len <= sizeof(f->bytes));
	assert_true(f->n < 4 * N_FRAMES);
	memcpy(f->bytes + f->used, bytes, len);
	f->len[f->n++] = (uint16_t)len;
	f->used += len;
}

static struct ip_addr addr4(uint32_t host_order)
{
	struct ip_addr a = {.family = 4};

	put_u32(a.b, host_order);
	return a;
}

/* ---- a gateway ---- */

static void sa_add(struct world *g, uint32_t i, bool is_out)
{
	static const uint8_t key[36] = {1, 2, 3};
	struct sa_selector_pair sel;
	struct sa_params p = {
		.spi = i | 0x155u << 22,
		.is_outbound = is_out,
		.is_tunnel = true,
		.suite = suite_find(ENCR_AES_GCM_16, 32, INTEG_NONE),
		.enc_key = key,
		.enc_key_len = sizeof(key),
		.window = 64,
		.path = g->path,
		.selectors = &sel,
		.n_selectors = 1,
		.reserved_end = UINT32_MAX,
		.handle = i + 1,
	};

	memset(&sel, 0, sizeof(sel));
	sel.src = (struct traffic_selector){
		.range = {addr4(0xac100000), addr4(0xac10ffff)}, .port_hi = 65535};
	sel.dst = (struct traffic_selector){
		.range = {addr4(0x0a000000 + i), addr4(0x0a000000 + i)}, .port_hi = 65535};
	assert_int_equal(sa_create(&p, crypto_mb_manager(g->w->ctx.crypto), &g->sa[i]), SAD_OK);
	assert_int_equal(sad_publish(g->dp.sad, g->sa[i]), SAD_OK);
}

static struct ipc_flow flow_of(uint32_t dst, uint8_t type, uint64_t handle)
{
	return (struct ipc_flow){
		.flow = {.handle = handle, .generation = 1},
		.direction = IPC_DIR_OUT,
		.type = type,
		.src = {.addr = addr4(0xac100000), .len = 16},
		.dst = {.addr = addr4(dst), .len = 32},
	};
}

static spd_owner_t owner(void)
{
	return spd_owner(IPC_OWNER_ENGINE, 0);
}

static void flow_add(struct world *g, uint32_t dst, uint8_t type, uint64_t handle)
{
	struct ipc_flow f = flow_of(dst, type, handle);

	assert_int_equal(spd_flow_add(g->dp.spd, owner(), &f), 0);
}

static void flow_bind(struct world *g, uint32_t i)
{
	struct ipc_ref ref = {.handle = 100 + i, .generation = 1};
	struct spd_sa_ref sa = {.index = g->sa[i]->id, .generation = g->sa[i]->generation};

	assert_int_equal(spd_flow_bind(g->dp.spd, owner(), &ref, i + 1, sa, SPD_SA_USABLE), 0);
}

static struct dp_addresses *addresses_of(uint32_t ours)
{
	struct local_addr a = {.addr = addr4(ours), .prefix_len = 24};
	struct dp_addresses *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->parse.local = local_addrs_create(&a, 1);
	return d;
}

static void addresses_free(struct dp_addresses *a)
{
	local_addrs_destroy((struct local_addrs *)a->parse.local);
	free(a);
}

/* is_a: it encrypts; else it decrypts what A sends. */
static struct world *world_create(bool is_a, bool forgets)
{
	struct spd_config sc = {.max_flows = 64, .n_workers = 1, .seed = 7};
	struct endpoint a = {.addr = addr4(0xc0000201), .port = 4500};
	struct endpoint b = {.addr = addr4(0xc6120001), .port = 4500};
	struct world *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->forgets = forgets;
	g->dp.n_workers = 1;
	g->dp.n_ports = N_PORTS;
	for (int p = 0; p < N_PORTS; p++)
		memcpy(g->dp.ports[p].mac, mac_ours, 6);
	g->dp.config = (struct dp_config){
		.copy_dscp = true, .fragment_before_esp = true, .outer_ttl = 64, .mss_max = 1000};
	g->grace = grace_create(1);
	g->dp.qsbr = grace_qsbr(g->grace);
	g->dp.sad = sad_create("known", 8, 0);
	g->dp.spd = spd_create(&sc);
	g->dp.router = router;
	g->dp.pool = g->dp.big_pool = pool;
	atomic_store(&g->dp.addresses, addresses_of(is_a ? 0xc0000201 : 0xc6120001));
	atomic_store(&g->dp.is_ready, true);
	g->w = worker_create(&g->dp, 0);
	assert_non_null(g->w);
	g->dp.workers[0] = g->w;
	g->w->ctx.is_ready = true;
	g->w->ctx.now_s = 1000;
	g->path = is_a ? path_create(&a, &b, 0, 1500) : path_create(&b, &a, 0, 1500);
	atomic_store(&g->path->nexthop, hop);
	for (uint32_t i = 0; i < N_TUNNELS; i++) {
		sa_add(g, i, is_a);
		if (!is_a)
			continue;
		flow_add(g, 0x0a000000 + i, IPC_FLOW_REQUIRE, 100 + i);
		flow_bind(g, i);
	}
	flow_add(g, 0x0a0000fd, IPC_FLOW_BYPASS, 50);
	flow_add(g, 0x0a0000fe, IPC_FLOW_DENY, 51);
	return g;
}

static void world_destroy(struct world *g)
{
	worker_destroy(g->w);
	sad_destroy(g->dp.sad);
	spd_destroy(g->dp.spd);
	path_destroy(g->path);
	addresses_free(atomic_load(&g->dp.addresses));
	grace_destroy(g->grace);
	free(g);
}

/* What the gateway sent, and gave to main (kind first), into out. */
static void outputs_take(struct world *g, struct frames *out)
{
	struct rte_mbuf *m;
	void *of_main;

	for (int p = 0; p < N_PORTS; p++) {
		for (uint16_t k = 0; k < g->w->n_tx[p]; k++) {
			m = g->w->tx[p][k];
			assert_int_equal(m->pkt_len, m->data_len);
			frames_add(out, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
			rte_pktmbuf_free(m);
		}
		g->w->n_tx[p] = 0;
	}
	while (rte_ring_sc_dequeue(g->w->to_main, &of_main) == 0) {
		m = of_main;
		frames_add(out, &pkt_meta(m)->kind, 1);
		frames_add(out, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
		rte_pktmbuf_free(m);
	}
}

static const uint8_t *burst_run(
	struct world *g, const uint8_t *at, const uint16_t *len, uint16_t n, struct frames *out)
{
	struct burst *b = &g->w->burst;

	if (g->forgets)
		atomic_fetch_add(&g->dp.version, 1);
	b->n = n;
	for (uint16_t i = 0; i < n; i++, at += len[-1]) {
		b->m[i] = rte_pktmbuf_alloc(pool);
		assert_non_null(b->m[i]);
		memcpy(rte_pktmbuf_append(b->m[i], *len), at, *len);
		b->next[i] = NEXT_PARSE;
		b->port[i] = 0;
		len++;
	}
	pipeline_from_port(g->w, b);
	outputs_take(g, out);
	return at;
}

/* All of it, in bursts of every length from 1 to 32. */
static void stream_run(struct world *g, const struct frames *in, struct frames *out)
{
	const uint8_t *at = in->bytes;
	uint16_t n = 1;

	for (uint32_t i = 0; i < in->n; n = n % 32 + 1) {
		uint16_t now = (uint16_t)(in->n - i < n ? in->n - i : n);

		at = burst_run(g, at, &in->len[i], now, out);
		i += now;
	}
}

/* ---- packets ---- */

struct clear {
	uint32_t dst;
	uint16_t len; /* of the IP packet */
	uint8_t proto, ttl, tcp_flags;
};

static uint32_t put_clear(uint8_t *f, const struct clear *c)
{
	uint8_t *ip = f + 14;

	memset(f, 0, FRAME_MAX);
	memcpy(f, mac_ours, 6);
	memcpy(f + 6, mac_theirs, 6);
	put_u16(f + 12, 0x0800);
	ip[0] = 0x45;
	ip[1] = (uint8_t)(c->len & 3); /* ECN of all kinds */
	put_u16(ip + 2, c->len);
	ip[8] = c->ttl;
	ip[9] = c->proto;
	put_u32(ip + 12, 0xac100101);
	put_u32(ip + 16, c->dst);
	put_u16(ip + 20, 1234);
	put_u16(ip + 22, 5001);
	if (c->proto == PROTO_TCP) {
		ip[32] = c->tcp_flags & 2 ? 0x60 : 0x50;
		ip[33] = c->tcp_flags;
		memcpy(ip + 40, (uint8_t[]){2, 4, 5, 0xb4}, 4); /* MSS 1460 in a SYN */
	} else {
		put_u16(ip + 24, (uint16_t)(c->len - 20));
	}
	for (uint32_t k = 44; k < c->len; k++)
		ip[k] = (uint8_t)(k * 7 + c->dst);
	put_u16(ip + 10, ip4_checksum(ip, 20));
	return c->len + 14u;
}

static void resum(uint8_t *ip)
{
	put_u16(ip + 10, 0);
	put_u16(ip + 10, ip4_checksum(ip, (ip[0] & 15) * 4u));
}

/* Spoils a frame in one way of many; 0 leaves it as it is. Returns its length. */
static uint32_t spoil(uint8_t *f, uint32_t len, uint32_t how)
{
	uint8_t *ip = f + 14;

	switch (how) {
	case 1:
		f[5] ^= 1; /* another station */
		break;
	case 2: /* VLAN 5 */
		memmove(f + 18, f + 14, len - 14);
		memcpy(f + 12, (uint8_t[]){0x81, 0, 0, 5, 0x08, 0}, 6);
		return len + 4;
	case 3:
		ip[10] ^= 1; /* checksum */
		break;
	case 4:
		ip[6] = 0x20; /* more fragments */
		resum(ip);
		break;
	case 5: /* four NOPs as options */
		memmove(ip + 24, ip + 20, len - 34);
		memset(ip + 20, 1, 4);
		ip[0] = 0x46;
		put_u16(ip + 2, (uint16_t)(len - 14 + 4));
		resum(ip);
		return len + 4;
	case 6:
		return len - 1; /* shorter than it says */
	case 7:
		put_u16(ip + 24, (uint16_t)(get_u16(ip + 24) + 9)); /* UDP's length */
		break;
	case 8:
		ip[6] |= 0x40; /* DF */
		resum(ip);
		break;
	case 9:
		return len + 5; /* the link's padding */
	case 10:
		ip[12] = 127; /* source */
		resum(ip);
		break;
	case 11:
		f[0] |= 1; /* to a group of stations */
		break;
	case 12:
		return 14 + random_below(28); /* hardly anything */
	default:
		break;
	}
	return len;
}

static void clear_stream(struct frames *out)
{
	static const uint32_t dsts[] = {0x0a000000, 0x0a000001, 0x0a000002, 0x0a0000fd, 0x0a0000fe,
		0x14000001, 0xc0000201, 0x0a000000, 0x0a000000, 0x0a000001};
	static const uint16_t lens[] = {44, 45, 60, 64, 100, 128, 333, 400, 1400, 1446, 1490, 1500};
	uint8_t f[FRAME_MAX];

	for (uint32_t i = 0; i < N_FRAMES; i++) {
		bool is_large = random_below(30) == 0;
		struct clear c = {
			.dst = dsts[random_below(10)],
			.len = lens[random_below(is_large ? 12 : 7)],
			.proto = random_below(3) == 0   ? PROTO_TCP
				 : random_below(9) == 0 ? PROTO_ICMP
							: PROTO_UDP,
			.ttl = (uint8_t)(random_below(20) ? 64 : random_below(3)),
			.tcp_flags = random_below(10) ? 0x10 : 2,
		};
		uint32_t len = put_clear(f, &c);

		len = spoil(f, len, random_below(4) ? 0 : random_below(13));
		frames_add(out, f, len);
	}
}

/* What A sent, on B's link; some spoilt, some twice. */
static void esp_stream(const struct frames *in, struct frames *out)
{
	const uint8_t *at = in->bytes;
	uint8_t f[FRAME_MAX];

	for (uint32_t i = 0; i < in->n; at += in->len[i++]) {
		uint32_t len = in->len[i];

		if (len < 42 || len + 16 > FRAME_MAX)
			continue;
		memset(f, 0, sizeof(f));
		memcpy(f, at, len);
		memcpy(f, mac_ours, 6);
		if (random_below(20) == 0)
			frames_add(out, f, len);
		if (random_below(20) == 0)
			f[14 + 20 + random_below(len - 34)] ^= 0x10;
		len = spoil(f, len, random_below(8) ? 0 : random_below(13));
		frames_add(out, f, len);
	}
}

/* ---- the tests ---- */

struct sums {
	uint64_t packets, bytes;
};

/* All that a gateway tells and sends. */
struct result {
	uint64_t drops[DROP_N];
	uint64_t bypassed, to_host, icmp_sent, esp_in[2], esp_out[2];
	struct sums sas[N_TUNNELS], flows[128];
	uint32_t sa_drops[N_TUNNELS];
	struct frames out;
};

static void flow_sum(void *ctx, const struct spd_flow_view *v)
{
	struct sums *s = ctx;

	s[v->flow->flow.handle] = (struct sums){v->packets, v->bytes};
}

/* The caller's to free. */
static struct result *run(const struct frames *in, bool is_a, bool forgets)
{
	struct world *g = world_create(is_a, forgets);
	struct result *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	stream_run(g, in, &r->out);
	if (forgets)
		assert_int_equal(g->w->n_known, 0);
	else
		assert_true(g->w->n_known > in->n / 4);
	memcpy(r->drops, g->w->ctx.drops, sizeof(r->drops));
	r->bypassed = g->w->bypassed;
	r->to_host = g->w->to_host;
	r->icmp_sent = g->w->icmp_sent;
	r->esp_in[0] = g->w->ctx.esp_in_packets;
	r->esp_in[1] = g->w->ctx.esp_in_bytes;
	r->esp_out[0] = g->w->ctx.esp_out_packets;
	r->esp_out[1] = g->w->ctx.esp_out_bytes;
	for (uint32_t i = 0; i < N_TUNNELS; i++) {
		r->sas[i] = (struct sums){g->sa[i]->packets, g->sa[i]->bytes};
		r->sa_drops[i] = g->sa[i]->n_dropped;
	}
	spd_each(g->dp.spd, flow_sum, r->flows);
	world_destroy(g);
	return r;
}

/* With the table and without it. Returns what came out, the caller's to free. */
static struct result *both(const struct frames *in, bool is_a)
{
	struct result *knows = run(in, is_a, false), *asks = run(in, is_a, true);

	for (unsigned int d = 0; d < DROP_N; d++) {
		if (knows->drops[d] != asks->drops[d])
			print_error("drops: %s\n", drop_name((enum drop_reason)d));
		assert_int_equal(knows->drops[d], asks->drops[d]);
	}
	assert_memory_equal(knows->flows, asks->flows, sizeof(asks->flows));
	assert_memory_equal(knows, asks, offsetof(struct result, out));
	assert_int_equal(knows->out.n, asks->out.n);
	assert_memory_equal(&knows->out, &asks->out, sizeof(asks->out));
	free(asks);
	return knows;
}

static void test_same_results(void **state)
{
	struct frames *clear = calloc(1, sizeof(*clear)), *esp = calloc(1, sizeof(*esp));
	struct result *from_a, *from_b;

	(void)state;
	assert_non_null(clear);
	assert_non_null(esp);
	random_state = 1;
	clear_stream(clear);
	from_a = both(clear, true);
	assert_true(from_a->out.n > N_FRAMES / 2);
	esp_stream(&from_a->out, esp);
	from_b = both(esp, false);
	assert_true(from_b->out.n > N_FRAMES / 4);
	free(clear);
	free(esp);
	free(from_a);
	free(from_b);
}

/* One packet; the protocol of what came out, or 0 if nothing did. */
static void one(struct world *g, uint32_t dst, uint8_t *proto)
{
	static struct frames out;
	struct clear c = {.dst = dst, .len = 64, .proto = PROTO_UDP, .ttl = 64};
	uint8_t f[FRAME_MAX];
	uint16_t len = (uint16_t)put_clear(f, &c);

	out.n = 0;
	out.used = 0;
	out.bytes[14 + 9] = 0; /* a question to main is shorter */
	burst_run(g, f, &len, 1, &out);
	*proto = out.bytes[14 + 9];
}

#define ESP_LEAVES(g) known_is(g, 0x0a000000, PROTO_ESP, true)

/* The packet, twice: leaves as `proto` (0: dropped); was the second one known? */
static void known_is(struct world *g, uint32_t dst, uint8_t proto, bool is_known)
{
	uint64_t before;
	uint8_t got;

	one(g, dst, &got);
	assert_int_equal(got, proto);
	before = g->w->n_known;
	one(g, dst, &got);
	assert_int_equal(got, proto);
	assert_int_equal(g->w->n_known - before, is_known);
}

static void test_forgets(void **state)
{
	struct world *g = world_create(true, false);
	struct ipc_ref flow = {.handle = 100, .generation = 1}, bypass = {50, 1};
	struct ip_prefix all = {.addr = {.family = 4}};
	struct dp_addresses *old;

	(void)state;
	ESP_LEAVES(g);
	known_is(g, 0x0a0000fd, PROTO_UDP, true);

	/* SA unbound: a flow of type require lets nothing pass. Bound again: it does. */
	assert_int_equal(spd_sa_unbind(g->dp.spd, owner(), 1), 1);
	known_is(g, 0x0a000000, 0, false);
	flow_bind(g, 0);
	ESP_LEAVES(g);

	/* The SA itself gone, while the flow still names it. */
	sad_unpublish(g->dp.sad, g->sa[0]);
	sad_free(g->dp.sad, g->sa[0]);
	known_is(g, 0x0a000000, 0, false);
	sa_add(g, 0, true);
	flow_bind(g, 0);
	ESP_LEAVES(g);

	/* The flow gone: in clear; and with `default deny` not at all. */
	assert_int_equal(spd_flow_delete(g->dp.spd, owner(), &flow), 0);
	known_is(g, 0x0a000000, PROTO_UDP, true);
	atomic_store(&g->dp.config.is_default_deny, true);
	atomic_fetch_add(&g->dp.version, 1);
	known_is(g, 0x0a000000, 0, false);
	atomic_store(&g->dp.config.is_default_deny, false);
	atomic_fetch_add(&g->dp.version, 1);

	/* A flow of type deny in its place. */
	known_is(g, 0x0a0000fd, PROTO_UDP, true);
	assert_int_equal(spd_flow_delete(g->dp.spd, owner(), &bypass), 0);
	flow_add(g, 0x0a0000fd, IPC_FLOW_DENY, 52);
	known_is(g, 0x0a0000fd, 0, false);

	/* The address becomes ours: to the host, no port. */
	known_is(g, 0x0a000000, PROTO_UDP, true);
	old = atomic_exchange(&g->dp.addresses, addresses_of(0x0a000000));
	atomic_fetch_add(&g->dp.version, 1);
	addresses_free(old);
	one(g, 0x0a000000, &(uint8_t){0});
	assert_int_equal(g->w->to_host, 1);

	/* The route gone, and its next hop with a neighbour that is not known any more. */
	known_is(g, 0x14000001, PROTO_UDP, true);
	nexthop_set_mac(hop, NULL);
	one(g, 0x14000001, &(uint8_t){0});
	nexthop_set_mac(hop, mac_theirs);
	known_is(g, 0x14000001, PROTO_UDP, true);
	assert_int_equal(route_delete(router, &all), 0);
	one(g, 0x14000001, &(uint8_t){0});
	assert_int_equal(g->w->ctx.drops[DROP_NO_ROUTE], 1);
	assert_int_equal(route_add(router, &all, hop), 0);
	world_destroy(g);
}

/* While not ready, traced or captured, the stages have all packets. */
static void test_off(void **state)
{
	struct world *g = world_create(true, false);

	(void)state;
	ESP_LEAVES(g);
	g->w->ctx.is_ready = false;
	known_is(g, 0x0a000000, 0, false);
	g->w->ctx.is_ready = true;
	ESP_LEAVES(g);
	atomic_store(&g->dp.n_captures, 1);
	atomic_store(&g->dp.capture_spi, 1); /* of no SA here: nothing is copied */
	known_is(g, 0x0a000000, PROTO_ESP, false);
	atomic_store(&g->dp.n_captures, 0);
	ESP_LEAVES(g);
	world_destroy(g);
}

/* Too many flows for the table: it is left alone, and taken up again. */
static void test_rests(void **state)
{
	struct world *g = world_create(true, false);
	uint64_t before;
	uint8_t proto;

	(void)state;
	for (uint32_t i = 0; i < 20000; i++)
		one(g, 0x15000000 + i * 7, &proto);
	before = g->w->n_known;
	one(g, 0x0a000000, &proto);
	one(g, 0x0a000000, &proto);
	assert_int_equal(proto, PROTO_ESP);
	for (uint32_t i = 0; i < 1000; i++)
		one(g, 0x0a000000, &proto);
	assert_true(g->w->n_known > before + 400);
	world_destroy(g);
}

static int setup(void **state)
{
	static char *args[] = {"test", "--no-huge", "--no-pci", "--no-telemetry", "--no-shconf",
		"--iova-mode=va", "-m", "256", "--log-level=1", NULL};
	struct router_config rc = {.seed = 1, .numa_node = -1, .name = "known"};
	struct ip_prefix all = {.addr = {.family = 4}};
	struct ip_addr gw = addr4(0xc0000202);

	(void)state;
	if (rte_eal_init(9, args) < 0)
		return -1;
	pool = rte_pktmbuf_pool_create(
		"known", 2047, 0, RTE_ALIGN_CEIL(sizeof(struct pkt_meta), 8), 2432, 0);
	router = router_create(&rc);
	if (!pool || !router || router_set_interface(router, 102, 1, 0, 1500, mac_ours) != 0)
		return -1;
	hop = nexthop_get(router, 102, &gw);
	nexthop_set_mac(hop, mac_theirs);
	return route_add(router, &all, hop);
}

static int teardown(void **state)
{
	(void)state;
	if (!router)
		return -1;
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	nexthop_put(router, hop);
	router_destroy(router);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_results),
		cmocka_unit_test(test_forgets),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_rests),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
