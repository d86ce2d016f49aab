#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

#include "dataplane/spd.h"

/*
 * The flow table at 1 to 1,000,000 flows: cycles a look-up (single, and in bursts of 32, over
 * addresses at random, so cold), updates a second, bytes a flow. Two shapes: hosts behind one
 * gateway (any -> 10.x.y.z/32), and pairs of networks (/24 -> /24, with a /8 -> /8 around).
 */

#define N_LOOKUPS 1000000u
#define N_PACKETS 65536u
#define BURST 32u

enum shape { SHAPE_HOSTS, SHAPE_NETWORKS, N_SHAPES };

static const char *const shape_names[] = {"hosts", "networks"};

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s >> 16;
}

static void put32(uint8_t *b, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		b[i] = v >> (24 - 8 * i);
}

static struct ipc_flow flow_make(enum shape shape, uint32_t i)
{
	struct ipc_flow f = {.flow = {.handle = 1 + i, .generation = 1},
		.direction = IPC_DIR_OUT,
		.type = IPC_FLOW_REQUIRE};

	f.src.addr.family = f.dst.addr.family = 4;
	if (shape == SHAPE_HOSTS) {
		f.dst.len = 32;
		put32(f.dst.addr.b, 10u << 24 | i);
	} else if (i == 0) {
		f.src.len = f.dst.len = 8;
		f.src.addr.b[0] = 10;
		f.dst.addr.b[0] = 11;
	} else {
		f.src.len = f.dst.len = 24;
		put32(f.src.addr.b, 10u << 24 | (i & 0xffff) << 8);
		put32(f.dst.addr.b, 11u << 24 | (i * 40503u & 0xffff) << 8 | i >> 16 << 24);
	}
	return f;
}

/* Packets that match flows chosen at random. */
static struct spd_packet *packets_make(enum shape shape, uint32_t n)
{
	struct spd_packet *p = calloc(N_PACKETS, sizeof(*p));
	uint64_t s = 88172645463325252ULL;

	if (p == NULL)
		abort();
	for (uint32_t i = 0; i < N_PACKETS; i++) {
		struct ipc_flow f = flow_make(shape, random_next(&s) % n);
		uint32_t src, dst;

		memcpy(&src, f.src.addr.b, 4);
		memcpy(&dst, f.dst.addr.b, 4);
		spd_packet_set_v4(&p[i], src, dst);
		p[i].proto = 6;
		p[i].src_port = 40000;
		p[i].dst_port = 443;
	}
	return p;
}

static double cycles_single(const struct spd *spd, const struct spd_packet *p)
{
	uint64_t start = rte_rdtsc(), missed = 0;

	for (uint32_t i = 0; i < N_LOOKUPS; i++)
		missed += spd_lookup(spd, IPC_DIR_OUT, &p[i % N_PACKETS]) == NULL;
	if (missed != 0)
		abort();
	return (double)(rte_rdtsc() - start) / N_LOOKUPS;
}

static double cycles_burst(const struct spd *spd, const struct spd_packet *p)
{
	const struct spd_packet *pointers[BURST];
	const struct spd_flow *flows[BURST];
	uint64_t start = rte_rdtsc();

	for (uint32_t i = 0; i < N_LOOKUPS / BURST; i++) {
		for (uint32_t k = 0; k < BURST; k++)
			pointers[k] = &p[(i * BURST + k) % N_PACKETS];
		spd_lookup_burst(spd, IPC_DIR_OUT, pointers, BURST, flows);
	}
	return (double)(rte_rdtsc() - start) / (N_LOOKUPS / BURST * BURST);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Deletes and adds flows at random: updates a second. */
static double updates(struct spd *spd, enum shape shape, uint32_t n)
{
	const spd_owner_t owner = spd_owner(IPC_OWNER_ENGINE, 0);
	const uint32_t rounds = 100000;
	uint64_t s = 362436069;
	double start = now_s();

	for (uint32_t i = 0; i < rounds; i++) {
		struct ipc_flow f = flow_make(shape, random_next(&s) % n);

		if (spd_flow_delete(spd, owner, &f.flow) != 0 || spd_flow_add(spd, owner, &f) != 0)
			abort();
	}
	return 2.0 * rounds / (now_s() - start);
}

static void measure(enum shape shape, uint32_t n)
{
	struct spd_config config = {.n_workers = 1, .seed = 0x5bd1e995, .max_flows = n + 1};
	struct spd *spd = spd_create(&config);
	struct spd_packet *p = packets_make(shape, n);
	double start = now_s(), build, single, burst, per_second;
	struct spd_stats stats;

	for (uint32_t i = 0; spd != NULL && i < n; i++) {
		struct ipc_flow f = flow_make(shape, i);

		if (spd_flow_add(spd, spd_owner(IPC_OWNER_ENGINE, 0), &f) != 0)
			abort();
	}
	if (spd == NULL)
		abort();
	build = n / (now_s() - start);
	spd_stats_get(spd, &stats);
	single = cycles_single(spd, p);
	burst = cycles_burst(spd, p);
	per_second = updates(spd, shape, n);
	printf("%-9s %8u %8.0f %8.0f %10.0f %10.0f %9llu %6u\n", shape_names[shape], n, single,
		burst, build, per_second, (unsigned long long)(stats.memory_bytes / n),
		stats.bound);
	free(p);
	spd_destroy(spd);
}

int main(void)
{
	static const uint32_t sizes[] = {1, 100, 10000, 100000, 1000000};

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%-9s %8s %8s %8s %10s %10s %9s %6s\n", "shape", "flows", "cyc/one", "cyc/burst",
		"adds/s", "updates/s", "B/flow", "bound");
	for (unsigned shape = 0; shape < N_SHAPES; shape++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			measure(shape, sizes[i]);
	return 0;
}
