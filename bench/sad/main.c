#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

#include "bench/random.h"
#include "bench/report.h"
#include "bench/spread.h"
#include "dataplane/crypto_mb.h"
#include "dataplane/eal.h"
#include "dataplane/esp_wire.h"
#include "dataplane/path.h"
#include "dataplane/pktmeta.h"
#include "dataplane/port.h"
#include "dataplane/sad.h"
#include "ipc/spi.h"

/*
 * The table of inbound SAs at 1 to 1,000,000 of them: cycles a look-up by SPI, one by one and by
 * the stage in bursts of 32, of 64 SAs again and again, of all at random, and of SPIs that
 * nobody gave out; the same for outbound SAs by reference; what an SA costs to make, show, hide
 * and free; its bytes. SAs are AES-256-GCM, window 1,024, one selector.
 */

#define BURST 32u
#define SLICE 256u /* look-ups between two readings of the clock */
#define HOT 64u    /* SAs that stay in the caches */
#define CHANGES 64u
#define MANUAL 1024u
#define HERE 0xc0000201u

struct options {
	uint32_t slices, max_sas, memory_mb;
	bool no_huge;
	const char *json;
};

struct bench {
	struct options o;
	struct worker_ctx w; /* a worker as the stage sees it */
	struct path *path;
	struct rte_mempool *pool;
	struct rte_mbuf *m[BURST];
	struct burst burst;
	struct sa_hot **in, **out;
	struct ip_addr here;
	uint32_t n;
	uint64_t random;
};

enum target { HOT_ONES, ALL_AT_RANDOM, UNKNOWN, N_TARGETS };
static const char *const target_names[] = {"hot", "random", "unknown"};

struct figures {
	struct spread_of one[N_TARGETS], burst[N_TARGETS], out_burst;
	struct spread_of make, show, hide, release;
	double bytes;
};

static void *must(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "bench-sad: no memory; raise --memory\n");
		exit(1);
	}
	return p;
}

static struct ip_addr addr4(uint32_t host_order)
{
	struct ip_addr a = {.family = 4};

	put_u32(a.b, host_order);
	return a;
}

/* The SPI of SA i, as an engine makes it from a leased index. */
static uint32_t spi_of(const struct bench *b, uint32_t i)
{
	return ipc_spi_make(i, sad_index_bits(b->w.sad), i * 2654435761u + 12345u);
}

static struct sa_hot *sa_make(struct bench *b, uint32_t i, bool is_outbound, bool is_manual)
{
	struct sa_selector_pair selector = {
		.src = {.range = {addr4(0x0a000000u + i), addr4(0x0a000000u + i)},
			.port_hi = 65535},
		.dst = {.range = {addr4(0xac100000), addr4(0xac10ffff)}, .port_hi = 65535}};
	uint8_t key[36];
	struct sa_params p = {.spi = spi_of(b, i),
		.is_outbound = is_outbound,
		.is_tunnel = true,
		.is_manual = is_manual,
		.suite = suite_find(ENCR_AES_GCM_16, 32, INTEG_NONE),
		.enc_key = key,
		.enc_key_len = sizeof(key),
		.window = 1024,
		.path = b->path,
		.selectors = &selector,
		.n_selectors = 1,
		.reserved_end = UINT32_MAX,
		.handle = i + 1};
	struct sa_hot *sa = NULL;

	memset(key, (int)i, sizeof(key));
	int rc = sa_create(&p, crypto_mb_manager(b->w.crypto), &sa);

	if (rc != SAD_OK && rc != SAD_E_NOMEM) {
		fprintf(stderr, "bench-sad: an SA could not be made: %d\n", rc);
		exit(1);
	}
	return must(sa);
}

static void sa_show(struct bench *b, struct sa_hot *sa)
{
	if (sad_publish(b->w.sad, sa) != SAD_OK) {
		fprintf(stderr, "bench-sad: an SA was refused\n");
		exit(1);
	}
}

/* DPDK's heap and the C library's. */
static double bytes_now(void)
{
	struct mallinfo2 c = mallinfo2();
	double sum = (double)c.uordblks + (double)c.hblkhd;

	for (int socket = 0; socket < RTE_MAX_NUMA_NODES; socket++) {
		struct rte_malloc_socket_stats s;

		if (rte_malloc_get_socket_stats(socket, &s) == 0)
			sum += (double)s.heap_allocsz_bytes;
	}
	return sum;
}

static double tables_create(struct bench *b, uint32_t n)
{
	double bytes;

	b->n = n;
	b->in = must(calloc(n, sizeof(*b->in)));
	b->out = must(calloc(n, sizeof(*b->out)));
	b->w.sad = must(sad_create("bench", ipc_spi_index_bits(n), MANUAL));
	bytes = bytes_now();
	for (uint32_t i = 0; i < n; i++) {
		b->in[i] = sa_make(b, i, false, false);
		b->out[i] = sa_make(b, i, true, false);
		sa_show(b, b->in[i]);
		sa_show(b, b->out[i]);
	}
	bytes = (bytes_now() - bytes) / (2.0 * n);
	/* With one SA of ipsecctl an SPI that nobody gave out is looked for among these too. */
	sa_show(b, sa_make(b, n, false, true));
	return bytes;
}

static void tables_destroy(struct bench *b)
{
	sad_destroy(b->w.sad);
	b->w.sad = NULL;
	free(b->in);
	free(b->out);
}

static uint32_t spi_draw(struct bench *b, enum target t)
{
	uint32_t i = (uint32_t)((random_next(&b->random) >> 32) * b->n >> 32);

	if (t == HOT_ONES)
		i %= HOT;
	if (t == UNKNOWN) /* the right index under other random bits: it goes as deep as it can */
		return spi_of(b, i) ^ 1u << 31;
	return spi_of(b, i);
}

static void found_check(const struct sa_hot *sa, enum target t)
{
	if ((sa == NULL) == (t == UNKNOWN))
		return;
	fprintf(stderr, "bench-sad: a look-up gave another answer than expected\n");
	exit(1);
}

static double slice_one(struct bench *b, enum target t)
{
	uint32_t spi[SLICE];
	struct sa_hot *sa[SLICE];
	uint64_t start;

	for (uint32_t k = 0; k < SLICE; k++)
		spi[k] = spi_draw(b, t);
	start = rte_rdtsc_precise();
	for (uint32_t k = 0; k < SLICE; k++)
		sa[k] = sad_find_in(b->w.sad, spi[k], &b->here, false);
	start = rte_rdtsc_precise() - start;
	for (uint32_t k = 0; k < SLICE; k++)
		found_check(sa[k], t);
	return (double)start / SLICE;
}

/* The packets are in the caches, as a burst is that was just parsed. */
static void burst_fill(struct bench *b, enum target t)
{
	for (uint32_t k = 0; k < BURST; k++) {
		put_u32(rte_pktmbuf_mtod_offset(b->m[k], uint8_t *, 34), spi_draw(b, t));
		b->burst.next[k] = NEXT_ESP_IN;
		b->burst.sa[k] = NULL;
	}
}

static double slice_burst(struct bench *b, enum target t)
{
	uint64_t cycles = 0, start;

	for (uint32_t n = 0; n < SLICE; n += BURST) {
		burst_fill(b, t);
		start = rte_rdtsc_precise();
		sad_lookup(&b->w, &b->burst);
		cycles += rte_rdtsc_precise() - start;
		for (uint32_t k = 0; k < BURST; k++)
			found_check(b->burst.sa[k], t);
	}
	return (double)cycles / SLICE;
}

static double slice_out(struct bench *b)
{
	uint64_t cycles = 0, start, refs[BURST];
	struct sa_hot *sa[BURST];

	for (uint32_t n = 0; n < SLICE; n += BURST) {
		for (uint32_t k = 0; k < BURST; k++) {
			uint64_t i = (random_next(&b->random) >> 32) * b->n >> 32;

			/* SPI and reference run alike; the SA itself is not touched. */
			refs[k] = (uint64_t)(2 * i + 2) << 32 | SA_ID_OUT | (uint32_t)(i + 1);
		}
		start = rte_rdtsc_precise();
		sad_by_refs(b->w.sad, refs, BURST, sa);
		cycles += rte_rdtsc_precise() - start;
		for (uint32_t k = 0; k < BURST; k++)
			found_check(sa[k], ALL_AT_RANDOM);
	}
	return (double)cycles / SLICE;
}

/* Inbound SAs are taken out and new ones put in their places; each step's cycles. */
static void slice_change(struct bench *b, struct samples out[4])
{
	uint32_t n = b->n < CHANGES ? b->n : CHANGES;
	uint32_t first = (uint32_t)((random_next(&b->random) >> 32) * (b->n - n + 1) >> 32);
	uint64_t t[5];

	t[0] = rte_rdtsc_precise();
	for (uint32_t i = first; i < first + n; i++)
		sad_unpublish(b->w.sad, b->in[i]);
	t[1] = rte_rdtsc_precise();
	for (uint32_t i = first; i < first + n; i++)
		sad_free(b->w.sad, b->in[i]);
	t[2] = rte_rdtsc_precise();
	for (uint32_t i = first; i < first + n; i++)
		b->in[i] = sa_make(b, i, false, false);
	t[3] = rte_rdtsc_precise();
	for (uint32_t i = first; i < first + n; i++)
		sa_show(b, b->in[i]);
	t[4] = rte_rdtsc_precise();
	for (unsigned int k = 0; k < 4; k++)
		samples_add(&out[k], (double)(t[k + 1] - t[k]) / n);
}

static void measure(struct bench *b, uint32_t n, struct figures *f)
{
	struct samples one[N_TARGETS] = {0}, burst[N_TARGETS] = {0}, out = {0}, change[4] = {0};

	f->bytes = tables_create(b, n);
	/* Outbound references are those of a table that was only filled: before any change. */
	for (uint32_t i = 0; i < b->o.slices; i++)
		samples_add(&out, slice_out(b));
	for (enum target t = 0; t < N_TARGETS; t++) {
		slice_one(b, t);
		for (uint32_t i = 0; i < b->o.slices; i++) {
			samples_add(&one[t], slice_one(b, t));
			samples_add(&burst[t], slice_burst(b, t));
		}
		f->one[t] = samples_spread(&one[t]);
		f->burst[t] = samples_spread(&burst[t]);
		free(one[t].v);
		free(burst[t].v);
	}
	for (uint32_t i = 0; i < b->o.slices / 4 + 1; i++)
		slice_change(b, change);
	f->out_burst = samples_spread(&out);
	f->hide = samples_spread(&change[0]);
	f->release = samples_spread(&change[1]);
	f->make = samples_spread(&change[2]);
	f->show = samples_spread(&change[3]);
	for (unsigned int k = 0; k < 4; k++)
		free(change[k].v);
	free(out.v);
	tables_destroy(b);
}

static void spread_write(struct report *r, const char *name, const char *target, struct spread_of s)
{
	char text[32];

	snprintf(text, sizeof(text), "%s%s%s", name, target ? "_" : "", target ? target : "");
	report_spread(r, text, s.p10, s.median, s.p90);
}

static void row_write(struct report *r, uint32_t n, const struct figures *f)
{
	report_object(r, NULL);
	report_number(r, "sas", n);
	for (enum target t = 0; t < N_TARGETS; t++) {
		spread_write(r, "one", target_names[t], f->one[t]);
		spread_write(r, "burst", target_names[t], f->burst[t]);
	}
	spread_write(r, "out_burst", NULL, f->out_burst);
	spread_write(r, "make", NULL, f->make);
	spread_write(r, "show", NULL, f->show);
	spread_write(r, "hide", NULL, f->hide);
	spread_write(r, "free", NULL, f->release);
	report_number(r, "bytes", f->bytes);
	report_end(r);
}

static void row_print(uint32_t n, const struct figures *f)
{
	printf("%8u", n);
	for (enum target t = 0; t < N_TARGETS; t++)
		printf(" | %4.0f %4.0f %4.0f  %4.0f %4.0f %4.0f", f->one[t].p10, f->one[t].median,
			f->one[t].p90, f->burst[t].p10, f->burst[t].median, f->burst[t].p90);
	printf(" | %4.0f %4.0f %4.0f | %5.0f %5.0f %5.0f %5.0f | %5.0f\n", f->out_burst.p10,
		f->out_burst.median, f->out_burst.p90, f->make.median, f->show.median,
		f->hide.median, f->release.median, f->bytes);
	fflush(stdout);
}

static void usage(void)
{
	fprintf(stderr, "usage: bench-sad [--quick] [--max SAS] [--slices N] [--memory MIB] "
			"[--no-huge] [--json FILE]\n");
	exit(2);
}

static struct options options_parse(int argc, char **argv)
{
	static const struct option names[] = {{"quick", 0, 0, 'q'}, {"max", 1, 0, 'm'},
		{"slices", 1, 0, 's'}, {"memory", 1, 0, 'M'}, {"no-huge", 0, 0, 'n'},
		{"json", 1, 0, 'j'}, {0}};
	struct options o = {.slices = 400, .max_sas = 1000000, .memory_mb = 3840};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'q') {
			o.max_sas = 10000;
			o.slices = 50;
			o.memory_mb = 256;
		} else if (c == 'm') {
			o.max_sas = (uint32_t)strtoul(optarg, NULL, 10);
		} else if (c == 's') {
			o.slices = (uint32_t)strtoul(optarg, NULL, 10);
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
	if (optind != argc || o.max_sas == 0 || o.slices == 0 || o.memory_mb < 64)
		usage();
	return o;
}

static void bench_init(struct bench *b)
{
	struct endpoint here = {.addr = addr4(HERE)}, there = {.addr = addr4(0xc6120001)};
	const char *error = NULL;

	b->random = 7;
	b->here = here.addr;
	b->path = must(path_create(&here, &there, 0, 1500));
	b->w.crypto = must(crypto_mb_create(CRYPTO_ARCH_AUTO, &error));
	b->pool = must(port_pool_create(1024, 1500, sizeof(struct pkt_meta)));
	if (rte_pktmbuf_alloc_bulk(b->pool, b->m, BURST) != 0)
		must(NULL);
	b->burst.n = BURST;
	for (uint32_t k = 0; k < BURST; k++) {
		uint8_t *frame = rte_pktmbuf_mtod(b->m[k], uint8_t *);

		memset(frame, 0, 100);
		put_u32(frame + 14 + 16, HERE);
		b->burst.m[k] = b->m[k];
		b->burst.pkt[k] = (struct pkt_info){
			.l3_off = 14, .l4_off = 34, .len = 100, .family = 4, .proto = PROTO_ESP};
	}
}

static void bench_fini(struct bench *b)
{
	rte_pktmbuf_free_bulk(b->m, BURST);
	rte_mempool_free(b->pool);
	crypto_mb_destroy(b->w.crypto);
	path_destroy(b->path);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
	static struct bench b;
	struct figures f;
	struct eal *eal;
	struct report *r;
	char err[512];
	int rc = 0;

	b.o = options_parse(argc, argv);
	struct eal_options eo = {
		.run_dir = "/bench-sad", .memory_mb = b.o.memory_mb, .no_huge = b.o.no_huge};
	eal = eal_start(&eo, err, sizeof(err));
	if (!eal) {
		fprintf(stderr, "bench-sad: %s\n", err);
		return 1;
	}
	bench_init(&b);
	r = must(report_create("sad", (double)rte_get_tsc_hz()));
	printf("%s; cycles of the TSC: p10, median, p90, one by one and in bursts of 32\n"
	       "         |         64 SAs again         |         all at random        |"
	       "          unknown SPIs        |    outbound    | for an SA: medians      |\n"
	       "     SAs |  one by one       burst      |  one by one       burst      |"
	       "  one by one       burst      |     burst      |  make  show  hide  free | bytes\n",
		report_cpu(r));
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i] > b.o.max_sas)
			break;
		measure(&b, sizes[i], &f);
		row_print(sizes[i], &f);
		row_write(r, sizes[i], &f);
	}
	if (report_finish(r, b.o.json) != 0) {
		fprintf(stderr, "bench-sad: %s: %s\n", b.o.json, strerror(errno));
		rc = 1;
	}
	bench_fini(&b);
	eal_stop(eal);
	return rc;
}
