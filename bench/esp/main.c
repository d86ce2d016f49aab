#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_mempool.h>

#include "bench/esp/gateway.h"
#include "bench/esp/measure.h"
#include "bench/esp/suites.h"
#include "bench/esp/traffic.h"
#include "bench/report.h"
#include "dataplane/pktmeta.h"

/*
 * What a packet costs in espd's data plane, on one core, beside intel-ipsec-mb alone in the same
 * process. docs/benchmarking.md says how it is measured.
 */

#define LIST_MAX 16
#define LAP_ONE 256 /* packets in a lap for one tunnel */
#define POOL_SPARE 4096

struct options {
	const char *suites[LIST_MAX];
	unsigned int n_suites;
	uint16_t sizes[LIST_MAX];
	unsigned int n_sizes;
	uint32_t tunnels[LIST_MAX];
	unsigned int n_tunnels;
	bool directions[2]; /* out, in */
	unsigned int budget_ms;
	uint32_t lap, memory_mb;
	bool no_huge, has_esn, with_parts;
	int cpu;
	const char *json;
};

static void usage(void)
{
	fprintf(stderr,
		"usage: bench-esp [--suites LIST] [--sizes LIST] [--tunnels LIST] [--direction "
		"out|in]\n"
		"                 [--ms MILLISECONDS] [--lap PACKETS] [--memory MIB] [--cpu N] "
		"[--no-huge]\n"
		"                 [--esn] [--parts] [--json FILE]\n"
		"suites: cbc256-sha256, cbc256-sha512, gcm128, gcm256, chacha20; size: bytes or "
		"imix\n");
	exit(2);
}

static void suites_parse(struct options *o, char *list)
{
	o->n_suites = 0;
	for (char *w = strtok(list, ","); w; w = strtok(NULL, ",")) {
		if (o->n_suites == LIST_MAX || !suite_by_name(w))
			usage();
		o->suites[o->n_suites++] = w;
	}
}

static unsigned long number(const char *text, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || end == text || v < min || v > max)
		usage();
	return v;
}

static void numbers_parse(struct options *o, char *list, bool is_size)
{
	unsigned int n = 0;

	for (char *w = strtok(list, ","); w; w = strtok(NULL, ","), n++) {
		if (n == LIST_MAX)
			usage();
		if (!is_size)
			o->tunnels[n] = (uint32_t)number(w, 1, GATEWAY_TUNNELS_MAX);
		else if (strcmp(w, "imix") == 0)
			o->sizes[n] = TRAFFIC_IMIX;
		else
			o->sizes[n] = (uint16_t)number(w, 28, 1420);
	}
	if (is_size)
		o->n_sizes = n;
	else
		o->n_tunnels = n;
}

static void options_parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {{"suites", 1, 0, 's'}, {"sizes", 1, 0, 'z'},
		{"tunnels", 1, 0, 't'}, {"direction", 1, 0, 'd'}, {"ms", 1, 0, 'm'},
		{"lap", 1, 0, 'l'}, {"memory", 1, 0, 'M'}, {"cpu", 1, 0, 'c'},
		{"no-huge", 0, 0, 'n'}, {"esn", 0, 0, 'e'}, {"parts", 0, 0, 'p'},
		{"json", 1, 0, 'j'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 's':
			suites_parse(o, optarg);
			break;
		case 'z':
		case 't':
			numbers_parse(o, optarg, c == 'z');
			break;
		case 'd':
			o->directions[0] = strcmp(optarg, "out") == 0;
			o->directions[1] = strcmp(optarg, "in") == 0;
			break;
		case 'm':
			o->budget_ms = (unsigned int)number(optarg, 1, 600000);
			break;
		case 'l':
			o->lap = (uint32_t)number(optarg, GATEWAY_BURST, 1 << 20);
			break;
		case 'M':
			o->memory_mb = (uint32_t)number(optarg, 64, 1 << 20);
			break;
		case 'c':
			o->cpu = (int)number(optarg, 0, 1023);
			break;
		case 'n':
			o->no_huge = true;
			break;
		case 'e':
			o->has_esn = true;
			break;
		case 'p':
			o->with_parts = true;
			break;
		case 'j':
			o->json = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || (!o->directions[0] && !o->directions[1]))
		usage();
}

static void spread_write(struct report *r, const char *name, const struct spread *s)
{
	report_spread(r, name, s->p10, s->median, s->p90);
}

static void row_write(struct report *r, const char *suite, const struct gateway *g,
	const struct lap *lap, uint16_t size, const struct measured *m)
{
	report_object(r, NULL);
	report_text(r, "suite", suite);
	report_text(r, "direction", g->config.is_inbound ? "in" : "out");
	report_text(r, "pages", gateway_pages());
	report_number(r, "size", size);
	report_number(r, "tunnels", g->config.n_tunnels);
	report_number(r, "lap", lap->n);
	report_number(r, "mean_size", (double)lap->bytes / lap->n);
	report_number(r, "packets", (double)m->packets);
	spread_write(r, "total", &m->total);
	spread_write(r, "ports", &m->ports);
	spread_write(r, "bare", &m->bare);
	spread_write(r, "ratio", &m->ratio);
	spread_write(r, "crypto", &m->crypto);
	spread_write(r, "other", &m->other);
	report_object(r, "parts");
	for (unsigned int i = 0; i < m->n_parts; i++)
		report_number(r, m->parts[i].name, m->parts[i].cycles);
	report_end(r);
	report_end(r);
}

static void row_print(const struct options *o, const char *suite, const struct gateway *g,
	const struct lap *lap, uint16_t size, const struct measured *m)
{
	double mpps = (double)rte_get_tsc_hz() / m->total.median / 1e6;
	char text[16] = "imix";

	if (size != TRAFFIC_IMIX)
		snprintf(text, sizeof(text), "%u", size);
	printf("%-14s %-3s %5s %7u | %6.0f %6.0f %6.0f | %5.0f %6.0f %5.0f | %6.0f %5.2f %5.2f "
	       "%5.2f | %6.2f %6.2f\n",
		suite, g->config.is_inbound ? "in" : "out", text, g->config.n_tunnels, m->total.p10,
		m->total.median, m->total.p90, m->ports.median, m->crypto.median, m->other.median,
		m->bare.median, m->ratio.p10, m->ratio.median, m->ratio.p90, mpps,
		mpps * 8 * (double)lap->bytes / lap->n / 1e3);
	for (unsigned int i = 0; o->with_parts && i < m->n_parts; i++)
		printf("    %-18s %7.1f\n", m->parts[i].name, m->parts[i].cycles);
	fflush(stdout);
}

static int size_run(const struct options *o, struct report *r, const char *suite, struct gateway *g,
	uint16_t size)
{
	uint32_t n = o->lap                           ? o->lap
		     : g->config.n_tunnels <= LAP_ONE ? LAP_ONE
		     : g->config.n_tunnels <= 32768   ? 32768
						      : 131072;
	struct lap *lap = lap_create(g, n, size);
	struct rte_mempool *pool = port_pool_create(n + POOL_SPARE, 1500, sizeof(struct pkt_meta));
	struct measured m;
	int rc = -1;

	if (!lap || !pool)
		fprintf(stderr, "bench-esp: no memory for the packets; raise --memory\n");
	else if (gateway_ports_open(g, &(const char *){lap->path}, pool) == 0)
		rc = measure_run(g, lap, o->budget_ms, &m);
	if (rc == 0) {
		row_print(o, suite, g, lap, size, &m);
		row_write(r, suite, g, lap, size, &m);
	}
	gateway_ports_close(g);
	rte_mempool_free(pool);
	lap_destroy(lap);
	return rc;
}

static int gateway_run(const struct options *o, struct report *r, const char *suite,
	uint32_t n_tunnels, bool is_inbound)
{
	struct gateway_config c = {.suite = suite_by_name(suite),
		.n_tunnels = n_tunnels,
		.is_inbound = is_inbound,
		.has_esn = o->has_esn,
		.window = 1024};
	int rc = 0;

	for (unsigned int z = 0; z < o->n_sizes && rc == 0; z++) {
		struct gateway *g = gateway_create(&c);

		rc = g ? size_run(o, r, suite, g, o->sizes[z]) : -1;
		gateway_destroy(g);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct options o = {
		.suites = {"cbc256-sha256", "cbc256-sha512", "gcm128", "gcm256", "chacha20"},
		.n_suites = 5,
		.sizes = {64, 128, 256, 512, 1024, 1420, TRAFFIC_IMIX},
		.n_sizes = 7,
		.tunnels = {1},
		.n_tunnels = 1,
		.directions = {true, true},
		.budget_ms = 300,
		.memory_mb = 1024,
		.cpu = -1,
	};
	struct report *r;
	int rc = 0;

	options_parse(&o, argc, argv);
	if (gateway_eal_init(&o.cpu, 1, o.memory_mb, o.no_huge) != 0)
		return 1;
	r = report_create("esp", (double)rte_get_tsc_hz());
	if (!r)
		return 1;
	printf("%s, TSC %.0f MHz; cycles a packet\n", report_cpu(r),
		(double)rte_get_tsc_hz() / 1e6);
	printf("suite          dir  size tunnels | p10  median    p90 | ports crypto other |   "
	       "bare "
	       "  ratio: p10 median p90 | Mpps Gbit/s\n");
	for (unsigned int s = 0; s < o.n_suites; s++)
		for (unsigned int t = 0; t < o.n_tunnels; t++)
			for (unsigned int d = 0; d < 2 && rc == 0; d++)
				if (o.directions[d])
					rc = gateway_run(&o, r, o.suites[s], o.tunnels[t], d == 1);
	if (report_finish(r, o.json) != 0) {
		fprintf(stderr, "bench-esp: %s: %s\n", o.json, strerror(errno));
		rc = -1;
	}
	gateway_eal_fini();
	return rc == 0 ? 0 : 1;
}
