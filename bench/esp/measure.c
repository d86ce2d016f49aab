#include "bench/esp/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "bench/esp/bare.h"
#include "dataplane/pipeline.h"
#include "dataplane/profile.h"

#define SLICE 1024 /* packets */
#define ROUNDS_MIN 5
#define ROUNDS_MAX 4000

enum series {
	S_TOTAL,
	S_PORTS,
	S_BARE,
	S_RATIO,
	S_CRYPTO,
	S_OTHER,
	S_REST,
	S_STAGES,
	N_SERIES = S_STAGES + PROFILE_N
};

struct run {
	struct gateway *g;
	const struct lap *lap;
	struct bare *bare;
	uint32_t slice, at; /* the port's position in the lap */
	struct profile profile;
	double mark; /* TSC cycles of one mark */
	uint32_t n_rounds;
	double *series[N_SERIES];
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct spread spread_of(const struct run *r, enum series s)
{
	double *v = r->series[s];
	uint32_t n = r->n_rounds;

	qsort(v, n, sizeof(*v), by_value);
	return (struct spread){.p10 = v[n / 10], .median = v[n / 2], .p90 = v[n - 1 - n / 10]};
}

/* Between laps, outside of the time that is taken: the same numbers will come again. */
static void step(struct run *r)
{
	r->at += r->slice;
	if (r->at < r->lap->n)
		return;
	r->at = 0;
	gateway_rewind(r->g);
}

static double slice_gateway(struct run *r, struct profile *profile)
{
	struct worker *w = r->g->worker;
	uint32_t n = 0, turns = r->slice / GATEWAY_BURST;
	uint64_t begin;

	w->ctx.profile = profile;
	if (profile)
		memset(profile->cycles, 0, sizeof(profile->cycles));
	begin = rte_rdtsc_precise();
	for (uint32_t t = 0; t < turns; t++)
		n += worker_turn(w);
	begin = rte_rdtsc_precise() - begin;
	w->ctx.profile = NULL;
	step(r);
	return n == r->slice ? (double)begin / n : 1e9;
}

static double slice_ports(struct run *r)
{
	const struct port *in = &r->g->dp.ports[0], *out = &r->g->dp.ports[1];
	uint64_t begin = rte_rdtsc_precise();

	for (uint32_t n = 0; n < r->slice; n += GATEWAY_BURST) {
		struct rte_mbuf *m[GATEWAY_BURST];
		uint16_t got = rte_eth_rx_burst(in->id, 0, m, GATEWAY_BURST);

		rte_eth_tx_burst(out->id, 0, m, got);
	}
	begin = rte_rdtsc_precise() - begin;
	step(r);
	return (double)begin / r->slice;
}

static double slice_bare(struct run *r, uint32_t first)
{
	uint64_t begin = rte_rdtsc_precise();

	bare_run(r->bare, first, r->slice);
	return (double)(rte_rdtsc_precise() - begin) / r->slice;
}

static double mark_cost(void)
{
	struct profile p = {0};
	struct worker_ctx w = {.profile = &p};
	double best = 1e9;

	for (int k = 0; k < 100; k++) {
		uint64_t begin = rte_rdtsc();

		for (int i = 0; i < 100; i++)
			profile_mark(&w, (unsigned int)i % PROFILE_N);
		double d = (double)(rte_rdtsc() - begin) / 100;
		best = d < best ? d : best;
	}
	return best;
}

static void stages_keep(struct run *r, uint32_t round, double total)
{
	double rest = total;

	for (unsigned int s = 0; s < PROFILE_N; s++) {
		double c = (double)r->profile.cycles[s] / r->slice;

		rest -= c;
		c -= c > 0 ? r->mark / GATEWAY_BURST : 0;
		r->series[S_STAGES + s][round] = c < 0 ? 0 : c;
	}
	r->series[S_REST][round] = rest;
}

static void round_run(struct run *r, uint32_t i)
{
	uint32_t at = r->at;
	double total, crypto;

	r->series[S_TOTAL][i] = slice_gateway(r, NULL);
	r->series[S_BARE][i] = slice_bare(r, at);
	r->series[S_RATIO][i] = r->series[S_BARE][i] / r->series[S_TOTAL][i];
	r->series[S_PORTS][i] = slice_ports(r);
	r->profile.has_stages = false;
	total = slice_gateway(r, &r->profile) - 2 * r->mark / GATEWAY_BURST;
	crypto = (double)r->profile.cycles[PROFILE_CRYPTO] / r->slice - r->mark / GATEWAY_BURST;
	r->series[S_CRYPTO][i] = crypto;
	r->series[S_OTHER][i] = total - crypto;
	r->profile.has_stages = true;
	stages_keep(r, i, slice_gateway(r, &r->profile));
}

/* A stage that stands at several places is one line. */
static void part_add(struct measured *out, const char *name, double cycles)
{
	unsigned int at = 0;

	while (at < out->n_parts && strcmp(out->parts[at].name, name) != 0)
		at++;
	if (at == out->n_parts)
		out->parts[out->n_parts++].name = name;
	out->parts[at].cycles += cycles;
}

static void parts_keep(struct run *r, struct measured *out)
{
	static const char *const own[] = {"esp-in: before", "esp-out: before", "crypto", "replay"};
	const char *name, *text;
	bool is_inbound;

	for (unsigned int s = 0; s < PROFILE_N; s++) {
		double c = spread_of(r, S_STAGES + s).median;

		name = s < PROFILE_STAGES ? pipeline_stage_name(s, &text, &is_inbound)
					  : own[s - PROFILE_STAGES];
		if (name && c > 0)
			part_add(out, name, c);
	}
	part_add(out, "ports, turn", spread_of(r, S_REST).median);
}

/* Delivered = offered, and no drop of any kind. */
static int delivered_check(const struct worker *w)
{
	int rc = 0;

	for (unsigned int d = 0; d < DROP_N; d++) {
		if (w->ctx.drops[d] == 0)
			continue;
		fprintf(stderr, "bench-esp: %lu packets dropped: %s\n", w->ctx.drops[d],
			drop_name((enum drop_reason)d));
		rc = -1;
	}
	if (w->rx_packets[0] != w->tx_packets[1]) {
		fprintf(stderr, "bench-esp: %lu packets in, %lu out\n", w->rx_packets[0],
			w->tx_packets[1]);
		rc = -1;
	}
	return rc;
}

static int run_init(struct run *r)
{
	r->slice = r->lap->n < SLICE ? r->lap->n : SLICE;
	r->mark = mark_cost();
	r->bare = bare_create(r->g, 0, r->lap);
	for (unsigned int s = 0; s < N_SERIES; s++) {
		r->series[s] = calloc(ROUNDS_MAX, sizeof(double));
		if (!r->series[s])
			return -1;
	}
	return r->bare ? 0 : -1;
}

static void run_fini(struct run *r)
{
	bare_destroy(r->bare);
	for (unsigned int s = 0; s < N_SERIES; s++)
		free(r->series[s]);
}

int measure_run(
	struct gateway *g, const struct lap *lap, unsigned int budget_ms, struct measured *out)
{
	struct run r = {.g = g, .lap = lap};
	struct worker *w = g->worker;
	uint64_t end;
	int rc = run_init(&r);

	memset(out, 0, sizeof(*out));
	gateway_rewind(g);
	for (uint32_t n = 0; rc == 0 && n < lap->n; n += r.slice) /* one pass: caches, numbers */
		slice_gateway(&r, NULL);
	end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * budget_ms;
	while (rc == 0 && r.n_rounds < ROUNDS_MAX && (r.n_rounds < ROUNDS_MIN || rte_rdtsc() < end))
		round_run(&r, r.n_rounds++);
	if (rc == 0) {
		out->packets = w->tx_packets[1];
		out->total = spread_of(&r, S_TOTAL);
		out->ports = spread_of(&r, S_PORTS);
		out->bare = spread_of(&r, S_BARE);
		out->ratio = spread_of(&r, S_RATIO);
		out->crypto = spread_of(&r, S_CRYPTO);
		out->other = spread_of(&r, S_OTHER);
		parts_keep(&r, out);
		rc = delivered_check(w);
	}
	run_fini(&r);
	return rc;
}
