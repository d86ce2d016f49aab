#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

#include "bench/random.h"
#include "bench/report.h"
#include "bench/spd/shapes.h"
#include "bench/spread.h"

/*
 * The flow table at 1 to 1,000,000 flows: cycles a look-up, one by one and in bursts of 32, of
 * packets in cache (those of 64 flows) and of packets of all flows at random; what changes cost;
 * bytes a flow; and a million insertions beside a thread that looks up.
 */

#define BURST 32u
#define SLICE 256u /* look-ups between two readings of the clock */
#define HOT 64u    /* packets that stay in the first cache */
#define OWNER spd_owner(IPC_OWNER_ENGINE, 0)

struct options {
	uint32_t slices;
	uint32_t max_flows;
	const char *shape, *json;
};

/* Where the packets of a slice come from: 64 of them again and again, or all flows at random. */
struct source {
	const struct shape *shape;
	uint32_t n_flows;
	bool is_hot, is_missing_allowed;
	uint64_t random;
	struct spd_packet hot[HOT];
	uint32_t at;
};

static void *must(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "bench-spd: no memory\n");
		exit(1);
	}
	return p;
}

static struct spd_packet packet_draw(struct source *src)
{
	return shape_packet(src->shape, (uint32_t)(random_next(&src->random) % src->n_flows),
		src->n_flows, &src->random);
}

static void source_init(struct source *src, const struct shape *s, uint32_t n_flows, bool is_hot)
{
	*src = (struct source){.shape = s, .n_flows = n_flows, .is_hot = is_hot, .random = 7};
	for (uint32_t i = 0; i < HOT; i++)
		src->hot[i] = packet_draw(src);
}

static void burst_draw(struct source *src, struct spd_packet p[BURST])
{
	for (uint32_t i = 0; i < BURST; i++)
		p[i] = src->is_hot ? src->hot[src->at++ % HOT] : packet_draw(src);
}

/* Cycles a look-up; what makes the packets is not in it. */
static double slice_run(const struct spd *spd, struct source *src, bool is_burst)
{
	const struct spd_packet *pointers[BURST];
	const struct spd_flow *flows[BURST];
	struct spd_packet p[BURST];
	uint64_t cycles = 0, start;

	for (uint32_t k = 0; k < BURST; k++)
		pointers[k] = &p[k];
	for (uint32_t i = 0; i < SLICE / BURST; i++) {
		burst_draw(src, p);
		start = rte_rdtsc_precise();
		if (is_burst)
			spd_lookup_burst(spd, IPC_DIR_OUT, pointers, BURST, flows);
		for (uint32_t k = 0; k < BURST && !is_burst; k++)
			flows[k] = spd_lookup(spd, IPC_DIR_OUT, &p[k]);
		cycles += rte_rdtsc_precise() - start;
		for (uint32_t k = 0; k < BURST; k++)
			if (flows[k] == NULL && !src->is_missing_allowed) {
				fprintf(stderr, "bench-spd: a packet found no flow\n");
				exit(1);
			}
	}
	return (double)cycles / SLICE;
}

/* A flow is deleted and added again: cycles a change. */
static double slice_update(struct spd *spd, const struct shape *s, uint32_t n, uint64_t *random)
{
	const unsigned rounds = 64;
	struct ipc_flow f[64];
	uint64_t start;

	for (unsigned i = 0; i < rounds; i++)
		f[i] = s->flow((uint32_t)(random_next(random) % n), n);
	start = rte_rdtsc_precise();
	for (unsigned i = 0; i < rounds; i++)
		if (spd_flow_delete(spd, OWNER, &f[i].flow) != 0 ||
			spd_flow_add(spd, OWNER, &f[i]) != 0) {
			fprintf(stderr, "bench-spd: a change was refused\n");
			exit(1);
		}
	return (double)(rte_rdtsc_precise() - start) / (2.0 * rounds);
}

/* This thread's own time: others may have the CPU in between. */
static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double wall_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct spd *spd_make(uint32_t max_flows)
{
	struct spd_config config = {
		.n_workers = 1, .seed = 0x5bd1e9955bd1e995ULL, .max_flows = max_flows};

	return must(spd_create(&config));
}

/* Ascending, descending, at random: the order of handles and of addresses. */
enum order { ORDER_UP, ORDER_DOWN, ORDER_RANDOM, N_ORDERS };
static const char *const order_names[] = {"up", "down", "random"};

static double fill(struct spd *spd, const struct shape *s, uint32_t n, enum order order)
{
	uint32_t *at = must(calloc(n, sizeof(*at)));
	uint64_t random = 1;
	double start;

	for (uint32_t i = 0; i < n; i++)
		at[i] = order == ORDER_DOWN ? n - 1 - i : i;
	for (uint32_t i = n; order == ORDER_RANDOM && i > 1; i--) {
		uint32_t k = (uint32_t)(random_next(&random) % i), other = at[k];

		at[k] = at[i - 1];
		at[i - 1] = other;
	}
	start = cpu_s();
	for (uint32_t i = 0; i < n; i++) {
		struct ipc_flow f = s->flow(at[i], n);
		int rc = spd_flow_add(spd, OWNER, &f);

		if (rc != 0) {
			fprintf(stderr, "bench-spd: flow %u: error %d\n", at[i], rc);
			exit(1);
		}
	}
	free(at);
	return cpu_s() - start;
}

struct figures {
	struct spread_of single_hot, burst_hot, single, burst, update;
	double add_s[N_ORDERS];
	struct spd_stats stats;
};

static void spread_write(struct report *r, const char *name, struct spread_of s)
{
	report_spread(r, name, s.p10, s.median, s.p90);
}

static void row_write(struct report *r, const struct shape *s, uint32_t n, const struct figures *f)
{
	report_object(r, NULL);
	report_text(r, "shape", s->name);
	report_number(r, "flows", n);
	spread_write(r, "single_hot", f->single_hot);
	spread_write(r, "burst_hot", f->burst_hot);
	spread_write(r, "single", f->single);
	spread_write(r, "burst", f->burst);
	spread_write(r, "update", f->update);
	for (unsigned o = 0; o < N_ORDERS; o++) {
		char name[32];

		snprintf(name, sizeof(name), "add_%s_s", order_names[o]);
		report_number(r, name, f->add_s[o]);
	}
	report_number(r, "bytes_a_flow", (double)f->stats.memory_bytes / n);
	report_number(r, "bound", f->stats.bound);
	report_end(r);
}

static void row_print(const struct shape *s, uint32_t n, const struct figures *f)
{
	printf("%-8s %8u | %5.0f %5.0f %5.0f | %5.0f %5.0f %5.0f | %5.0f %5.0f %5.0f | %5.0f %5.0f "
	       "%5.0f | %6.0f | %8.2f %6.0f %5u\n",
		s->name, n, f->single_hot.p10, f->single_hot.median, f->single_hot.p90,
		f->burst_hot.p10, f->burst_hot.median, f->burst_hot.p90, f->single.p10,
		f->single.median, f->single.p90, f->burst.p10, f->burst.median, f->burst.p90,
		f->update.median, n / f->add_s[ORDER_RANDOM] / 1e6,
		(double)f->stats.memory_bytes / n, f->stats.bound);
	fflush(stdout);
}

static void measure(const struct options *o, struct report *r, const struct shape *s, uint32_t n)
{
	struct source hot, all;
	struct samples t[5] = {0};
	struct figures f;
	struct spd *spd = NULL;
	uint64_t random = 7;

	for (enum order order = ORDER_UP; order < N_ORDERS; order++) {
		spd_destroy(spd);
		spd = spd_make(n + 1);
		f.add_s[order] = fill(spd, s, n, order);
	}
	spd_stats_get(spd, &f.stats);
	source_init(&hot, s, n, true);
	source_init(&all, s, n, false);
	slice_run(spd, &hot, false);
	for (uint32_t i = 0; i < o->slices; i++) {
		samples_add(&t[0], slice_run(spd, &hot, false));
		samples_add(&t[1], slice_run(spd, &hot, true));
	}
	for (uint32_t i = 0; i < o->slices; i++) {
		samples_add(&t[2], slice_run(spd, &all, false));
		samples_add(&t[3], slice_run(spd, &all, true));
	}
	for (uint32_t i = 0; i < o->slices / 4 + 1; i++)
		samples_add(&t[4], slice_update(spd, s, n, &random));
	f.single_hot = samples_spread(&t[0]);
	f.burst_hot = samples_spread(&t[1]);
	f.single = samples_spread(&t[2]);
	f.burst = samples_spread(&t[3]);
	f.update = samples_spread(&t[4]);
	row_print(s, n, &f);
	row_write(r, s, n, &f);
	for (unsigned i = 0; i < 5; i++)
		free(t[i].v);
	spd_destroy(spd);
}

/* A reader beside the writer: what is taken out is freed at the end, when it has stopped. */
struct beside {
	struct spd *spd;
	struct source source;
	_Atomic bool stop;
	struct samples t;
	struct {
		void (*fn)(void *);
		void *arg;
	} later[1024];
	unsigned n_later;
};

static void later_add(void *ctx, void (*fn)(void *), void *arg)
{
	struct beside *b = ctx;

	if (atomic_load(&b->stop)) { /* no reader any more */
		fn(arg);
		return;
	}
	if (b->n_later == 1024) {
		fprintf(stderr, "bench-spd: too much was taken out\n");
		exit(1);
	}
	b->later[b->n_later].fn = fn;
	b->later[b->n_later++].arg = arg;
}

static void *reader_main(void *arg)
{
	struct beside *b = arg;

	while (!atomic_load(&b->stop))
		samples_add(&b->t, slice_run(b->spd, &b->source, true));
	return NULL;
}

/* n flows come in while another thread looks up without a pause. */
static void measure_beside(struct report *r, const struct shape *s, uint32_t n)
{
	struct beside b = {.n_later = 0};
	struct spd_config config = {.n_workers = 1,
		.seed = 0x5bd1e9955bd1e995ULL,
		.max_flows = n,
		.defer = later_add,
		.defer_ctx = &b};
	struct spread_of spread;
	double start, seconds;
	pthread_t thread;

	b.spd = must(spd_create(&config));
	source_init(&b.source, s, n, false);
	b.source.is_missing_allowed = true;
	if (pthread_create(&thread, NULL, reader_main, &b) != 0)
		exit(1);
	start = wall_s();
	fill(b.spd, s, n, ORDER_RANDOM);
	seconds = wall_s() - start;
	atomic_store(&b.stop, true);
	pthread_join(thread, NULL);
	spread = samples_spread(&b.t);
	printf("%u flows (%s) inserted in %.2f s while the other thread looked up, at %.0f cycles "
	       "each (p10 %.0f, p90 %.0f)\n",
		n, s->name, seconds, spread.median, spread.p10, spread.p90);
	report_object(r, NULL);
	report_text(r, "shape", s->name);
	report_text(r, "kind", "insert-beside-reader");
	report_number(r, "flows", n);
	report_number(r, "seconds", seconds);
	spread_write(r, "burst", spread);
	report_end(r);
	spd_destroy(b.spd);
	for (unsigned i = 0; i < b.n_later; i++)
		b.later[i].fn(b.later[i].arg);
	free(b.t.v);
}

static void usage(void)
{
	fprintf(stderr, "usage: bench-spd [--quick] [--max FLOWS] [--slices N] [--shape NAME] "
			"[--json FILE]\n");
	for (unsigned i = 0; i < n_shapes; i++)
		fprintf(stderr, "  %-8s %s\n", shapes[i].name, shapes[i].text);
	exit(2);
}

static void options_parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {{"quick", 0, 0, 'q'}, {"max", 1, 0, 'm'},
		{"slices", 1, 0, 's'}, {"shape", 1, 0, 'S'}, {"json", 1, 0, 'j'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'q') {
			o->max_flows = 10000;
			o->slices = 50;
		} else if (c == 'm') {
			o->max_flows = (uint32_t)strtoul(optarg, NULL, 10);
		} else if (c == 's') {
			o->slices = (uint32_t)strtoul(optarg, NULL, 10);
		} else if (c == 'S') {
			o->shape = optarg;
		} else if (c == 'j') {
			o->json = optarg;
		} else {
			usage();
		}
	}
	if (optind != argc || o->max_flows == 0 || o->slices == 0)
		usage();
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
	struct options o = {.slices = 400, .max_flows = 1000000};
	struct report *r;
	int rc = 0;

	options_parse(&o, argc, argv);
	r = must(report_create("spd", (double)rte_get_tsc_hz()));
	printf("%s; cycles of the TSC a look-up: p10, median, p90\n", report_cpu(r));
	printf("                  |  in cache, one   | in cache, burst  |    random, one   |  "
	       "random, "
	       "burst   |     a  | million   bytes\n");
	printf("shape       flows |                  |                  |                  |       "
	       "   "
	       "        | change | adds a s a flow bound\n");
	for (unsigned s = 0; s < n_shapes; s++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint32_t n = sizes[i] < shapes[s].max ? sizes[i] : shapes[s].max;

			if (n <= o.max_flows &&
				(o.shape == NULL || !strcmp(o.shape, shapes[s].name)) &&
				(i == 0 || sizes[i - 1] < n))
				measure(&o, r, &shapes[s], n);
		}
	if (o.shape == NULL)
		measure_beside(r, &shapes[1], o.max_flows);
	if (report_finish(r, o.json) != 0) {
		fprintf(stderr, "bench-spd: %s: %s\n", o.json, strerror(errno));
		rc = 1;
	}
	return rc;
}
