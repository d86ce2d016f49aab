#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_mempool.h>
#include <rte_pause.h>

#include "bench/esp/bare.h"
#include "bench/esp/gateway.h"
#include "bench/esp/suites.h"
#include "bench/esp/traffic.h"
#include "bench/report.h"
#include "bench/spread.h"
#include "dataplane/pktmeta.h"

/*
 * What a second worker gains, beside what intel-ipsec-mb alone gains from a second thread:
 * packets for the CPU time of both, so that other programs on the machine do not count. A
 * worker's queue holds packets of its own SAs (steered), or of all, so that half of them go to
 * the other worker through its ring (handed).
 */

#define N_WORKERS 2
#define LAP_FEW 1024
#define LAP_MANY                                                                         \
	65536 /* handed: of a lap a quarter is run, as workers go on until both are done \
	       */
#define POOL_SPARE 8192

struct options {
	const char *suites[4];
	unsigned int n_suites;
	unsigned int ms;
	uint32_t many, lap, memory_mb;
	bool no_huge;
	const char *json;
};

struct scale {
	struct gateway *g;
	struct lap *lap[N_WORKERS];
	struct bare *bare[N_WORKERS];
	uint32_t slice;
	bool is_steered;
	/* Of the run at hand */
	bool is_bare;
	unsigned int n_running;
	_Atomic unsigned int n_here, n_done;
	double packets[N_WORKERS], cpu_ns[N_WORKERS];
};

struct task {
	struct scale *s;
	uint16_t worker;
};

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Turns through one slice of the queue; where packets are handed over, until all have done so. */
static void turns_take(struct scale *s, struct worker *w)
{
	uint32_t turns = s->slice / GATEWAY_BURST;

	for (uint32_t t = 0; t < turns; t++)
		worker_turn(w);
	atomic_fetch_add(&s->n_done, 1);
	while (!s->is_steered && atomic_load(&s->n_done) < s->n_running)
		worker_turn(w);
}

static int task_run(void *arg)
{
	const struct task *t = arg;
	struct scale *s = t->s;
	struct worker *w = s->g->dp.workers[t->worker];
	uint64_t sent = w->tx_packets[1];
	double begin;

	atomic_fetch_add(&s->n_here, 1);
	while (atomic_load(&s->n_here) < s->n_running)
		rte_pause();
	begin = cpu_ns();
	if (s->is_bare)
		bare_run(s->bare[t->worker], 0, s->slice);
	else
		turns_take(s, w);
	s->cpu_ns[t->worker] = cpu_ns() - begin;
	s->packets[t->worker] = s->is_bare ? s->slice : (double)(w->tx_packets[1] - sent);
	return 0;
}

/* Both workers' rings and queues as at the start of a lap; nothing is under way. */
static void settle(struct scale *s)
{
	uint16_t queues = s->g->dp.ports[0].n_rxq;

	s->g->dp.ports[0].n_rxq = 0;
	for (uint16_t k = 0; k < 2 * N_WORKERS; k++)
		while (worker_turn(s->g->dp.workers[k % N_WORKERS]))
			;
	s->g->dp.ports[0].n_rxq = queues;
	gateway_rewind(s->g);
}

/* Packets a nanosecond of CPU, the sum of the threads. */
static double run(struct scale *s, bool is_bare, unsigned int n)
{
	struct task tasks[N_WORKERS];
	double sum = 0;

	s->is_bare = is_bare;
	s->n_running = n;
	atomic_store(&s->n_here, 0);
	atomic_store(&s->n_done, 0);
	if (!is_bare)
		gateway_owners_set(s->g, (uint16_t)n);
	for (uint16_t k = 0; k < N_WORKERS; k++)
		tasks[k] = (struct task){s, k};
	if (n == N_WORKERS && rte_eal_remote_launch(task_run, &tasks[1], 1) != 0)
		return 0;
	task_run(&tasks[0]);
	if (n == N_WORKERS)
		rte_eal_wait_lcore(1);
	for (unsigned int k = 0; k < n; k++)
		sum += s->packets[k] / s->cpu_ns[k];
	if (!is_bare)
		settle(s);
	return sum;
}

/* The second time counts: what ran before had the caches. */
static double rate(struct scale *s, bool is_bare, unsigned int n)
{
	run(s, is_bare, n);
	return run(s, is_bare, n);
}

struct result {
	struct spread_of one, bare_gain, gain, ratio;
	double lost; /* share of the packets */
};

static uint64_t drops_of(const struct scale *s)
{
	uint64_t n = 0;

	for (uint16_t k = 0; k < N_WORKERS; k++)
		for (unsigned int d = 0; d < DROP_N; d++)
			n += s->g->dp.workers[k]->ctx.drops[d];
	return n;
}

static struct result measure(struct scale *s, unsigned int ms)
{
	struct samples one = {0}, bare_gain = {0}, gain = {0}, ratio = {0};
	uint64_t end, lost;
	struct result out;
	double sent = 0;

	lost = drops_of(s);
	end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * ms;
	do {
		double b1 = rate(s, true, 1), b2 = rate(s, true, 2);
		double g1 = rate(s, false, 1), g2 = rate(s, false, 2);

		sent += 2 * (s->slice + s->packets[0] + s->packets[1]);
		samples_add(&one, (double)rte_get_tsc_hz() / 1e9 / g1);
		samples_add(&bare_gain, b2 / b1);
		samples_add(&gain, g2 / g1);
		samples_add(&ratio, g2 / g1 / (b2 / b1));
	} while (rte_rdtsc() < end || one.n < 5);
	lost = drops_of(s) - lost;
	out.lost = (double)lost / (sent + (double)lost);
	out.one = samples_spread(&one);
	out.bare_gain = samples_spread(&bare_gain);
	out.gain = samples_spread(&gain);
	out.ratio = samples_spread(&ratio);
	free(one.v);
	free(bare_gain.v);
	free(gain.v);
	free(ratio.v);
	return out;
}

static void spread_write(struct report *r, const char *name, struct spread_of s)
{
	report_spread(r, name, s.p10, s.median, s.p90);
}

static void row_out(struct report *r, const struct scale *s, const char *suite, uint16_t size,
	const struct result *m)
{
	const struct gateway_config *c = &s->g->config;

	printf("%-14s %-3s %5u %7u %-7s | %5.0f | %4.2f %4.2f %4.2f | %4.2f %4.2f %4.2f | %4.2f "
	       "%4.2f %4.2f | %.3f\n",
		suite, c->is_inbound ? "in" : "out", size, c->n_tunnels,
		s->is_steered ? "steered" : "handed", m->one.median, m->bare_gain.p10,
		m->bare_gain.median, m->bare_gain.p90, m->gain.p10, m->gain.median, m->gain.p90,
		m->ratio.p10, m->ratio.median, m->ratio.p90, 100 * m->lost);
	fflush(stdout);
	report_object(r, NULL);
	report_text(r, "suite", suite);
	report_text(r, "direction", c->is_inbound ? "in" : "out");
	report_text(r, "pages", gateway_pages());
	report_number(r, "size", size);
	report_number(r, "tunnels", c->n_tunnels);
	report_text(r, "queues", s->is_steered ? "steered" : "handed");
	spread_write(r, "one", m->one);
	spread_write(r, "bare_gain", m->bare_gain);
	spread_write(r, "gain", m->gain);
	spread_write(r, "ratio", m->ratio);
	report_number(r, "lost", m->lost);
	report_end(r);
}

static int scale_run(struct scale *s, const struct options *o, struct report *r, const char *suite,
	uint16_t size)
{
	uint32_t n = s->g->config.n_tunnels > N_WORKERS ? o->lap : LAP_FEW;
	const char *paths[N_WORKERS];
	struct rte_mempool *pool = port_pool_create(
		N_WORKERS * n + POOL_SPARE, 1500, sizeof(struct pkt_meta));
	int rc = pool ? laps_create(s->g, n, size, s->is_steered, s->lap) : -1;

	s->slice = s->is_steered ? n : n / 4;
	for (uint16_t k = 0; k < N_WORKERS && rc == 0; k++)
		paths[k] = s->lap[k]->path;
	if (rc == 0)
		rc = gateway_ports_open(s->g, paths, pool);
	for (uint16_t k = 0; k < N_WORKERS && rc == 0; k++) {
		s->bare[k] = bare_create(s->g, k, s->lap[k]);
		rc = s->bare[k] ? 0 : -1;
	}
	if (rc == 0) {
		struct result m = measure(s, o->ms);

		row_out(r, s, suite, size, &m);
	} else {
		fprintf(stderr, "bench-scale: no memory; raise --memory\n");
	}
	for (uint16_t k = 0; k < N_WORKERS; k++)
		bare_destroy(s->bare[k]);
	if (s->g->dp.n_ports > 0)
		gateway_ports_close(s->g);
	rte_mempool_free(pool);
	for (uint16_t k = 0; k < N_WORKERS; k++)
		lap_destroy(s->lap[k]);
	return rc;
}

/* One row: two SAs, one a worker, or many. */
static int row_run(const struct options *o, struct report *r, const char *suite, bool is_inbound,
	uint16_t size, uint32_t n_tunnels, bool is_steered)
{
	struct gateway_config c = {.suite = suite_by_name(suite),
		.n_tunnels = n_tunnels,
		.is_inbound = is_inbound,
		.window = 1024,
		.n_workers = N_WORKERS};
	struct scale s = {.g = gateway_create(&c), .is_steered = is_steered};
	int rc = s.g ? scale_run(&s, o, r, suite, size) : -1;

	gateway_destroy(s.g);
	return rc;
}

static int rows_run(const struct options *o, struct report *r, const char *suite)
{
	static const uint16_t sizes[] = {64, 1420};

	for (unsigned int d = 0; d < 2; d++)
		for (unsigned int z = 0; z < 2; z++) {
			if (row_run(o, r, suite, d, sizes[z], N_WORKERS, true) != 0 ||
				row_run(o, r, suite, d, sizes[z], o->many, true) != 0 ||
				row_run(o, r, suite, d, sizes[z], o->many, false) != 0)
				return -1;
		}
	return 0;
}

static void usage(void)
{
	fprintf(stderr, "usage: bench-scale [--quick] [--suites LIST] [--tunnels N] [--ms "
			"MILLISECONDS] [--memory MIB]\n"
			"                   [--no-huge] [--json FILE]\n");
	exit(2);
}

static void suites_parse(struct options *o, char *list)
{
	o->n_suites = 0;
	for (char *w = strtok(list, ","); w; w = strtok(NULL, ",")) {
		if (o->n_suites == 4 || !suite_by_name(w))
			usage();
		o->suites[o->n_suites++] = w;
	}
}

static struct options options_parse(int argc, char **argv)
{
	static const struct option names[] = {{"quick", 0, 0, 'q'}, {"suites", 1, 0, 's'},
		{"tunnels", 1, 0, 't'}, {"ms", 1, 0, 'm'}, {"memory", 1, 0, 'M'},
		{"no-huge", 0, 0, 'n'}, {"json", 1, 0, 'j'}, {0}};
	struct options o = {.suites = {"cbc256-sha256", "gcm256"},
		.n_suites = 2,
		.ms = 2000,
		.many = 10000,
		.lap = LAP_MANY,
		.memory_mb = 1024};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'q') {
			o.n_suites = 1;
			o.ms = 20;
			o.lap = 4 * LAP_FEW;
		} else if (c == 's') {
			suites_parse(&o, optarg);
		} else if (c == 't') {
			o.many = (uint32_t)strtoul(optarg, NULL, 10);
		} else if (c == 'm') {
			o.ms = (unsigned int)strtoul(optarg, NULL, 10);
		} else if (c == 'M') {
			o.memory_mb = (uint32_t)strtoul(optarg, NULL, 10);
		} else if (c == 'n') {
			o.no_huge = true;
		} else if (c == 'j') {
			o.json = optarg;
		} else {
			usage();
		}
	}
	if (optind != argc || o.many <= N_WORKERS || o.many > GATEWAY_TUNNELS_MAX)
		usage();
	return o;
}

/* The first two CPUs that this process may use. */
static bool cpus_find(int cpus[N_WORKERS])
{
	unsigned int n = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < N_WORKERS; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	return n == N_WORKERS;
}

int main(int argc, char **argv)
{
	struct options o = options_parse(argc, argv);
	int cpus[N_WORKERS], rc = 0;
	struct report *r;

	if (!cpus_find(cpus)) {
		fprintf(stderr, "bench-scale: two CPUs are needed\n");
		return 1;
	}
	if (gateway_eal_init(cpus, N_WORKERS, o.memory_mb, o.no_huge) != 0)
		return 1;
	r = report_create("scale", (double)rte_get_tsc_hz());
	if (!r)
		return 1;
	printf("%s, TSC %.0f MHz; cycles a packet of one worker; what two gain over one\n",
		report_cpu(r), (double)rte_get_tsc_hz() / 1e6);
	printf("suite          dir  size tunnels queues  |  one  | bare: p10 med p90| espd: p10 "
	       "med "
	       "p90|     ratio      | lost %%\n");
	for (unsigned int i = 0; i < o.n_suites && rc == 0; i++)
		rc = rows_run(&o, r, o.suites[i]);
	if (report_finish(r, o.json) != 0) {
		fprintf(stderr, "bench-scale: %s: %s\n", o.json, strerror(errno));
		rc = -1;
	}
	gateway_eal_fini();
	return rc == 0 ? 0 : 1;
}
