#include "bench/spd/shapes.h"

#include <arpa/inet.h>
#include <string.h>

#include "bench/random.h"

static void put32(uint8_t *b, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		b[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* One to one on 32 bits: addresses all over the place, no two alike. */
static uint32_t scatter(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352du;
	x = (x ^ x >> 15) * 0x846ca68bu;
	return x ^ x >> 16;
}

static struct ipc_flow flow_base(uint32_t i)
{
	struct ipc_flow f = {.flow = {.handle = 1 + i, .generation = 1},
		.direction = IPC_DIR_OUT,
		.type = IPC_FLOW_REQUIRE};

	f.src.addr.family = f.dst.addr.family = 4;
	return f;
}

static void prefixes_set(
	struct ipc_flow *f, uint32_t src, uint8_t src_len, uint32_t dst, uint8_t dst_len)
{
	put32(f->src.addr.b, src);
	put32(f->dst.addr.b, dst);
	f->src.len = src_len;
	f->dst.len = dst_len;
	prefix_mask(&f->src);
	prefix_mask(&f->dst);
}

/* Road warriors: 0.0.0.0/0 to one address each. */
static struct ipc_flow hosts(uint32_t i, uint32_t n)
{
	struct ipc_flow f = flow_base(i);

	(void)n;
	prefixes_set(&f, 0, 0, scatter(i), 32);
	return f;
}

/* The same, addresses given out one after the other. */
static struct ipc_flow pool(uint32_t i, uint32_t n)
{
	struct ipc_flow f = flow_base(i);

	(void)n;
	prefixes_set(&f, 0, 0, (10u << 24) + i, 32);
	return f;
}

/* Sites: a /24 here, a /24 there, and a default behind all. */
static struct ipc_flow sites(uint32_t i, uint32_t n)
{
	struct ipc_flow f = flow_base(i);

	(void)n;
	if (i == 0)
		prefixes_set(&f, 0, 0, 0, 0);
	else
		prefixes_set(&f, scatter(i), 24, scatter(i + 0x40000000u), 24);
	return f;
}

/* Prefixes of five lengths within each other, on both sides: 25 pairs of lengths. */
static struct ipc_flow nested(uint32_t i, uint32_t n)
{
	static const uint8_t lens[] = {32, 24, 16, 8, 0};
	struct ipc_flow f = flow_base(i);
	/* A tree: sixteen children a node, the address is that of the leaf. */
	uint32_t leaf = scatter(i / 25) & 0x0f0f0f0fu, peer = scatter(i / 25 + 1) & 0x0f0f0f0fu;

	(void)n;
	prefixes_set(&f, 0x40404040u + leaf, lens[i % 25 / 5], 0x80808080u + peer, lens[i % 5]);
	return f;
}

/* Services: pairs of networks with sixteen flows each, by protocol and port. */
static struct ipc_flow ports(uint32_t i, uint32_t n)
{
	struct ipc_flow f = flow_base(i);

	(void)n;
	prefixes_set(&f, scatter(i / 16), 24, scatter(i / 16 + 0x40000000u), 24);
	f.proto = i % 2 ? 6 : 17;
	f.dst_port = (uint16_t)(1000 + i % 16 / 2);
	return f;
}

/* Ranges: x.y.z.3 to x.y.z.250 as the twelve prefixes that cover it. */
static struct ipc_flow ranges(uint32_t i, uint32_t n)
{
	static const struct {
		uint8_t at, len;
	} parts[] = {{3, 32}, {4, 30}, {8, 29}, {16, 28}, {32, 27}, {64, 26}, {128, 26}, {192, 27},
		{224, 28}, {240, 29}, {248, 31}, {250, 32}};
	struct ipc_flow f = flow_base(i);

	(void)n;
	prefixes_set(&f, 0, 0, (scatter(i / 12) & ~0xffu) | parts[i % 12].at, parts[i % 12].len);
	return f;
}

/* IPv6: a /64 here, a /64 there. */
static struct ipc_flow ipv6(uint32_t i, uint32_t n)
{
	struct ipc_flow f = flow_base(i);

	(void)n;
	f.src.addr.family = f.dst.addr.family = 6;
	put32(f.src.addr.b, 0x20010db8);
	put32(f.dst.addr.b, 0x20010db8);
	put32(f.src.addr.b + 4, scatter(i));
	put32(f.dst.addr.b + 4, scatter(i + 0x40000000u));
	f.src.len = f.dst.len = 64;
	return f;
}

/*
 * The worst that fits the bound: 25 source lengths around one address, 25 destination lengths
 * each, near the packet's destination but for the last bit that counts: only flow 0 answers.
 */
static struct ipc_flow hostile(uint32_t i, uint32_t n)
{
	struct ipc_flow f = flow_base(i);
	uint8_t dst_len = (uint8_t)(8 + i % 25);

	(void)n;
	prefixes_set(&f, 0x0a555555, (uint8_t)(8 + i / 25),
		0x0aaaaaaau ^ (i == 0 ? 0 : 1u << (32 - dst_len)), dst_len);
	return f;
}

const struct shape shapes[] = {
	{"pool", "0/0 to /32, dense", pool, 1u << 24},
	{"hosts", "0/0 to /32, scattered", hosts, UINT32_MAX},
	{"sites", "/24 to /24 and a default", sites, UINT32_MAX},
	{"ipv6", "/64 to /64", ipv6, UINT32_MAX},
	{"ports", "/24 to /24 by protocol and port", ports, UINT32_MAX},
	{"ranges", "0/0 to ranges of addresses", ranges, UINT32_MAX},
	{"nested", "25 pairs of nested lengths", nested, UINT32_MAX},
	{"hostile", "625 pairs of lengths, the last matches", hostile, 625},
};
const unsigned n_shapes = sizeof(shapes) / sizeof(shapes[0]);

static uint32_t get32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint32_t within(const struct ip_prefix *p, uint64_t random)
{
	uint32_t host = p->len == 0 ? UINT32_MAX : p->len == 32 ? 0 : UINT32_MAX >> p->len;

	return __builtin_bswap32(get32(p->addr.b) | ((uint32_t)random & host));
}

struct spd_packet shape_packet(const struct shape *s, uint32_t i, uint32_t n, uint64_t *random)
{
	struct ipc_flow f = s->flow(i, n);
	struct spd_packet p;

	memset(&p, 0, sizeof(p));
	if (f.src.addr.family == 4) {
		spd_packet_set_v4(&p, within(&f.src, random_next(random)),
			within(&f.dst, random_next(random)));
		if (s->flow == hostile)
			spd_packet_set_v4(&p, htonl(0x0a555555), htonl(0x0aaaaaaa));
	} else {
		put32(f.src.addr.b + 12, (uint32_t)random_next(random));
		put32(f.dst.addr.b + 12, (uint32_t)random_next(random));
		spd_packet_set_v6(&p, f.src.addr.b, f.dst.addr.b);
	}
	p.proto = f.proto ? f.proto : 17;
	p.src_port = 40000;
	p.dst_port = f.dst_port ? f.dst_port : 443;
	return p;
}
