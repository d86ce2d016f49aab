#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "controlplane/conf/ipsec_conf.h"
#include "ipc/view.h"

/* What of espd ipsecctl talks to; paths in the run directory. */
struct ipsecctl_options {
	const char *run_dir;
	bool collapse, delete_rules, flush, show_keys, monitor, no_load, show_flows, show_sas,
		show_titles;
	int verbose;
	const char *file; /* NULL: none */
	struct conf_options conf;
};

/* Everything that espd's view holds, read once and sorted for listing. */
struct ipsecctl_listing {
	struct view_flow *flows; /* flow_list_compare's order */
	size_t n_flows;
	struct listed_sa {
		struct view_sa sa;
		struct view_sa_counters counters;
	} * sas; /* by SPI */
	size_t n_sas;
};

/* The view of an espd that runs; NULL with the reason on stderr, in the name of program (NULL:
 * in silence). */
struct view_reader *listing_view_open(const char *run_dir, const char *program)
	__attribute__((warn_unused_result));
/* 0 or a negative errno. */
int listing_read(const struct view_reader *view, struct ipsecctl_listing *out)
	__attribute__((warn_unused_result));
/* 0, or -1 with the reason on stderr. */
int ipsecctl_listing_read(const char *run_dir, struct ipsecctl_listing *out);
void ipsecctl_listing_free(struct ipsecctl_listing *listing);

void ipsecctl_print_flow(const struct ipc_flow *flow, FILE *out);
/* `-c`: adjacent flows that differ in one address only share a line. Exit status. */
int ipsecctl_print_collapsed(const struct ipsecctl_listing *listing, int verbose, FILE *out);
/* `-s`; keys are read from espd with -k. Exit status. */
int ipsecctl_show(const struct ipsecctl_options *options);
/* `-m`: prints SAs and flows that come and go until killed. Exit status. */
int ipsecctl_monitor(const struct ipsecctl_options *options);

/* `-F`. Exit status. */
int ipsecctl_flush(const struct ipsecctl_options *options);
/* `-f` and `-d -f`: hands a parsed file to espd. Exit status. */
int ipsecctl_load(const struct ipsecctl_options *options, const struct ipsec_config *config);
