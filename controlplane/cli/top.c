#include "controlplane/cli/top.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/cli/penstockctl.h"

/*
 * `penstockctl top`: rates between two looks at the view. ANSI sequences clear the screen between
 * two pictures; with -n (batch) the pictures follow one another.
 */
#define INTERVAL_DEFAULT_MS 2000
#define ROWS_BATCH 1000
#define TUNNELS_MAX 1000000

const char *top_rate_str(double rate, const char *unit, char buf[TOP_RATE_LEN])
{
	static const char *const steps[] = {"", "k", "M", "G", "T"};
	size_t step = 0;

	while (rate >= 999.5 && step + 1 < sizeof(steps) / sizeof(steps[0])) {
		rate /= 1000;
		step++;
	}
	snprintf(buf, TOP_RATE_LEN, "%.*f %s%s", rate < 9.95 && step > 0 ? 1 : 0, rate, steps[step],
		unit);
	return buf;
}

double top_rate(uint64_t now, uint64_t before, uint64_t ms)
{
	/* Smaller than before: another espd counts from zero. */
	return ms == 0 ? 0 : (double)(now >= before ? now - before : now) * 1000 / (double)ms;
}

int top_sample_take(struct top_sample *s, const struct view_reader *view)
{
	struct timespec now;

	memset(s, 0, sizeof(*s));
	clock_gettime(CLOCK_MONOTONIC, &now);
	s->at_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	view_reader_info(view, &s->info);
	if (view_read_globals(view, &s->globals) != 1)
		return -1;
	for (uint32_t i = 0; i < s->info.max_ports && s->n_ports < TOP_PORTS; i++) {
		struct top_port *p = &s->ports[s->n_ports];

		if (view_read_port(view, i, &p->port, &p->counters) == 1)
			s->n_ports++;
	}
	for (uint32_t i = 1; i < s->info.n_drops && i < VIEW_DROPS; i++)
		s->drops[i] = view_read_drops(view, i);
	return 0;
}

static void print_head(const struct top_sample *s, FILE *out)
{
	static const char *const states[] = {"starting", "not ready", "forwarding", "stopping"};
	time_t now = time(NULL);
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%H:%M:%S", &tm);
	fprintf(out,
		"penstock %s  %s  %s since %" PRIu64 " s  %" PRIu64 " SAs  %" PRIu64
		" flows  %u workers\n",
		s->info.version, when, states[s->globals.state % 4],
		(uint64_t)now - s->info.started_s, s->globals.n_sa, s->globals.n_flow,
		s->info.n_workers);
}

static void print_ports(const struct top_sample *now, const struct top_sample *before, FILE *out)
{
	uint64_t ms = now->at_ms - before->at_ms;
	char rate[4][TOP_RATE_LEN];

	fprintf(out, "\n%-16s %4s %10s %12s %10s %12s %10s\n", "PORT", "LINK", "RX", "", "TX", "",
		"RX MISSED");
	for (size_t i = 0; i < now->n_ports; i++) {
		const struct view_port_counters *n = &now->ports[i].counters;
		const struct view_port_counters *b = &before->ports[i].counters;

		fprintf(out, "%-16s %4s %10s %12s %10s %12s %10" PRIu64 "\n",
			now->ports[i].port.name, now->ports[i].port.is_up ? "up" : "down",
			top_rate_str(top_rate(n->rx_packets, b->rx_packets, ms), "p/s", rate[0]),
			top_rate_str(8 * top_rate(n->rx_bytes, b->rx_bytes, ms), "bit/s", rate[1]),
			top_rate_str(top_rate(n->tx_packets, b->tx_packets, ms), "p/s", rate[2]),
			top_rate_str(8 * top_rate(n->tx_bytes, b->tx_bytes, ms), "bit/s", rate[3]),
			n->rx_missed);
	}
}

static void print_drops(const struct view_reader *view, const struct top_sample *now,
	const struct top_sample *before, FILE *out)
{
	uint64_t ms = now->at_ms - before->at_ms;
	char rate[TOP_RATE_LEN];

	fprintf(out, "\n%-24s %12s %14s\n", "DROPPED", "RATE", "TOTAL");
	for (uint32_t i = 1; i < now->info.n_drops && i < VIEW_DROPS; i++) {
		if (now->drops[i] == 0)
			continue;
		fprintf(out, "%-24s %12s %14" PRIu64 "\n", view_reader_drop_name(view, i),
			top_rate_str(top_rate(now->drops[i], before->drops[i], ms), "p/s", rate),
			now->drops[i]);
	}
}

/* Busiest first, then those that are down, so that both kinds of trouble are on the screen. */
static int row_compare(const void *a, const void *b)
{
	const struct top_row *left = a, *right = b;

	if (left->bits != right->bits)
		return left->bits > right->bits ? -1 : 1;
	if (left->tunnel->is_up != right->tunnel->is_up)
		return left->tunnel->is_up ? 1 : -1;
	return left->index < right->index ? -1 : left->index > right->index;
}

void top_print_tunnels(const struct tunnels *tunnels, uint64_t ms, size_t max_rows, FILE *out)
{
	size_t n = tunnels_count(tunnels);
	struct top_row *rows = calloc(n + 1, sizeof(*rows));
	char rate[4][TOP_RATE_LEN];

	if (!rows)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct tunnel *t = tunnels_at(tunnels, i);
		const struct tunnel_counters *b = t->marked;

		rows[i].tunnel = t;
		rows[i].index = i;
		for (int d = 0; d < 2; d++) {
			rows[i].pps[d] = top_rate(t->counters[d].packets, b[d].packets, ms);
			rows[i].bps[d] = 8 * top_rate(t->counters[d].bytes, b[d].bytes, ms);
			rows[i].bits += rows[i].bps[d];
		}
	}
	qsort(rows, n, sizeof(*rows), row_compare);
	fprintf(out, "\n%-39s %-5s %10s %12s %10s %12s  %s\n", "TUNNEL", "STATE", "IN", "", "OUT",
		"", "PEER");
	for (size_t i = 0; i < n && i < max_rows; i++) {
		const struct tunnel *t = rows[i].tunnel;
		char name[2 * TUNNEL_NET_LEN + 8];

		snprintf(name, sizeof(name), "%s - %s", t->local, t->remote);
		fprintf(out, "%-39s %-5s %10s %12s %10s %12s  %s%s%s\n", name,
			t->is_up ? "up" : "DOWN", top_rate_str(rows[i].pps[0], "p/s", rate[0]),
			top_rate_str(rows[i].bps[0], "bit/s", rate[1]),
			top_rate_str(rows[i].pps[1], "p/s", rate[2]),
			top_rate_str(rows[i].bps[1], "bit/s", rate[3]), t->peer,
			t->peer_id[0] ? " " : "", t->peer_id);
	}
	if (n > max_rows)
		fprintf(out, "... and %zu more\n", n - max_rows);
	free(rows);
}

struct top {
	const struct penstockctl *p;
	unsigned long n_pictures; /* 0: until interrupted */
	uint64_t interval_ms;
	struct tunnels *tunnels;
	struct top_sample samples[2];
};

static int look(struct top *t, struct view_reader *view, struct top_sample *sample)
{
	struct ipsecctl_listing listing;
	int rc = listing_read(view, &listing);

	if (rc < 0)
		return rc;
	rc = tunnels_update(t->tunnels, &listing, (uint64_t)time(NULL));
	ipsecctl_listing_free(&listing);
	return rc < 0 || top_sample_take(sample, view) < 0 ? -EAGAIN : 0;
}

static size_t rows_left(const struct top_sample *s)
{
	struct winsize size = {0};
	size_t used = 12 + s->n_ports;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row <= used)
		return 10;
	return size.ws_row - used;
}

static void print_picture(struct top *t, const struct view_reader *view, bool batch)
{
	const struct top_sample *now = &t->samples[1], *before = &t->samples[0];

	if (!batch)
		printf("\033[H\033[2J");
	print_head(now, stdout);
	print_ports(now, before, stdout);
	top_print_tunnels(t->tunnels, now->at_ms - before->at_ms,
		batch ? ROWS_BATCH : rows_left(now), stdout);
	print_drops(view, now, before, stdout);
	if (batch)
		printf("\n");
	fflush(stdout);
}

static int run(struct top *t)
{
	struct view_reader *view = NULL;
	unsigned long shown = 0;
	int status = 1;

	for (bool first = true;; first = false) {
		const struct timespec pause = {.tv_sec = (time_t)(t->interval_ms / 1000),
			.tv_nsec = (long)(t->interval_ms % 1000) * 1000000};
		int rc;

		/* A new espd has a new view. */
		if (view && !view_reader_is_live(view)) {
			view_reader_close(view);
			view = NULL;
			first = true;
		}
		if (!view)
			view = listing_view_open(t->p->run_dir, "penstockctl");
		if (!view)
			break;
		rc = look(t, view, &t->samples[1]);
		if (rc < 0) {
			fprintf(stderr, "penstockctl: %s\n", strerror(-rc));
			break;
		}
		if (!first) {
			print_picture(t, view, t->n_pictures > 0);
			shown++;
		}
		if (t->n_pictures > 0 && shown == t->n_pictures) {
			status = 0;
			break;
		}
		t->samples[0] = t->samples[1];
		tunnels_mark(t->tunnels);
		nanosleep(&pause, NULL);
	}
	if (view)
		view_reader_close(view);
	return status;
}

static int options_parse(struct top *t, char **words)
{
	for (; *words; words += 2) {
		char *end = NULL;
		double value = words[1] ? strtod(words[1], &end) : -1;
		bool good = end && end != words[1] && *end == '\0';

		if (strcmp(words[0], "-n") == 0 && good && value >= 1 && value <= 1e9) {
			t->n_pictures = (unsigned long)value;
		} else if (strcmp(words[0], "-i") == 0 && good && value >= 0.1 && value <= 3600) {
			t->interval_ms = (uint64_t)(value * 1000);
		} else {
			fprintf(stderr, "usage: penstockctl top [-n count] [-i seconds]\n");
			return -1;
		}
	}
	return 0;
}

int penstockctl_top(const struct penstockctl *p, char **words)
{
	struct top *t = calloc(1, sizeof(*t));
	int status = 1;

	if (!t)
		return 1;
	t->p = p;
	t->interval_ms = INTERVAL_DEFAULT_MS;
	if (options_parse(t, words) == 0)
		t->tunnels = tunnels_create(TUNNELS_MAX);
	if (t->tunnels)
		status = run(t);
	tunnels_destroy(t->tunnels);
	free(t);
	return status;
}
