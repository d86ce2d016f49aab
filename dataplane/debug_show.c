#include "dataplane/debug_show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/espd.h"
#include "dataplane/pipeline.h"
#include "dataplane/spd.h"

static void show_pipeline(struct espd *e, FILE *f, bool json)
{
	const char *name, *text;
	bool is_inbound, was_inbound = false;

	(void)e;
	if (json)
		fputs("[", f);
	for (unsigned int i = 0; (name = pipeline_stage_name(i, &text, &is_inbound)); i++) {
		if (json) {
			fprintf(f, "%s{\"stage\":\"%s\",\"direction\":\"%s\",\"text\":\"%s\"}",
				i ? "," : "", name, is_inbound ? "in" : "out", text);
			continue;
		}
		if (i == 0 || is_inbound != was_inbound)
			fprintf(f, "%s\n",
				is_inbound ? "received packets:"
					   : "clear packets, from ports and SAs:");
		was_inbound = is_inbound;
		fprintf(f, "\t%-16s %s\n", name, text);
	}
	if (json)
		fputs("]\n", f);
}

static void show_port(struct espd *e, FILE *f, bool json)
{
	if (json)
		fputs("[", f);
	for (uint16_t i = 0; i < e->dp.n_ports; i++) {
		const struct port *p = &e->dp.ports[i];
		uint64_t rx = 0, tx = 0;

		for (uint16_t k = 0; k < e->dp.n_workers; k++) {
			rx += e->dp.workers[k]->rx_packets[i];
			tx += e->dp.workers[k]->tx_packets[i];
		}
		fprintf(f,
			json ? "%s{\"name\":\"%s\",\"tap\":\"%s\",\"up\":%d,\"mtu\":%u,"
			       "\"rx_packets\":%lu,\"tx_packets\":%lu,\"to_tap\":%lu,"
			       "\"from_tap\":%lu}"
			     : "%s%s: tap %s up %d mtu %u rx %lu tx %lu to-tap %lu from-tap %lu\n",
			json && i ? "," : "", p->name, p->tap.name, p->is_up, p->mtu,
			(unsigned long)rx, (unsigned long)tx, (unsigned long)p->tap.n_written,
			(unsigned long)p->tap.n_read);
	}
	if (json)
		fputs("]\n", f);
}

static void show_spd(struct espd *e, FILE *f, bool json)
{
	struct spd_stats s;

	spd_stats_get(e->dp.spd, &s);
	fprintf(f,
		json ? "{\"flows\":%u,\"cells\":%u,\"bound\":%u,\"max_bound\":%u,\"memory\":%lu}\n"
		     : "flows %u cells %u worst case %u memory touches (at most %u) memory %lu\n",
		s.n_flows, s.n_cells, s.bound, s.max_bound, (unsigned long)s.memory_bytes);
}

static void show_worker(struct espd *e, FILE *f, bool json)
{
	if (json)
		fputs("[", f);
	for (uint16_t i = 0; i < e->dp.n_workers; i++) {
		const struct worker *w = e->dp.workers[i];

		fprintf(f,
			json ? "%s{\"worker\":%u,\"turns\":%lu,\"sleeps\":%lu,\"handed_over\":%lu,"
			       "\"taken_over\":%lu,\"esp_in\":%lu,\"esp_out\":%lu}"
			     : "%sworker %u: turns %lu sleeps %lu handed-over %lu taken-over %lu "
			       "esp-in %lu esp-out %lu\n",
			json && i ? "," : "", i, (unsigned long)w->turns, (unsigned long)w->sleeps,
			(unsigned long)w->handed_over, (unsigned long)w->taken_over,
			(unsigned long)w->ctx.esp_in_packets,
			(unsigned long)w->ctx.esp_out_packets);
	}
	if (json)
		fputs("]\n", f);
}

static void show_stats(struct espd *e, FILE *f, bool json)
{
	fprintf(f,
		json ? "{\"neighbour_wait_full\":%lu,\"neighbour_failed\":%lu,"
		       "\"strangers_over_budget\":%lu,\"ike_unclaimed\":%lu,"
		       "\"ike_not_sent\":%lu,\"from_host_full\":%lu}\n"
		     : "neighbour-wait-full %lu neighbour-failed %lu strangers-over-budget %lu "
		       "ike-unclaimed %lu ike-not-sent %lu from-host-full %lu\n",
		(unsigned long)e->n.neigh_full, (unsigned long)e->n.neigh_failed,
		(unsigned long)e->n.punt_strangers_over, (unsigned long)e->n.punt_unclaimed,
		(unsigned long)e->n.punt_tx_bad, (unsigned long)e->n.from_host_full);
}

char *debug_show(struct espd *e, const char *words)
{
	static const struct {
		const char *word;
		void (*fn)(struct espd *e, FILE *f, bool json);
	} lists[] = {
		{"pipeline", show_pipeline},
		{"port", show_port},
		{"spd", show_spd},
		{"worker", show_worker},
		{"stats", show_stats},
	};
	size_t len = strcspn(words, " ");
	char *text = NULL;
	size_t size;
	FILE *f;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (strlen(lists[i].word) != len || strncmp(words, lists[i].word, len) != 0)
			continue;
		f = open_memstream(&text, &size);
		if (!f)
			return NULL;
		lists[i].fn(e, f, strstr(words, "--json") != NULL);
		fclose(f);
	}
	return text;
}
