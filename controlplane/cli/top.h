#pragma once

#include <stdint.h>
#include <stdio.h>

#include "controlplane/cli/tunnels.h"
#include "ipc/view.h"

/* Pieces of `penstockctl top` that its tests call. */
#define TOP_RATE_LEN 24
#define TOP_PORTS 64

struct top_port {
	struct view_port port;
	struct view_port_counters counters;
};

struct top_sample {
	uint64_t at_ms; /* monotonic */
	struct view_info info;
	struct view_globals globals;
	size_t n_ports;
	struct top_port ports[TOP_PORTS];
	uint64_t drops[VIEW_DROPS];
};

struct top_row {
	const struct tunnel *tunnel;
	size_t index;
	double pps[2], bps[2], bits;
};

/* 0, or -1 while the view changes all the time. */
int top_sample_take(struct top_sample *s, const struct view_reader *view)
	__attribute__((warn_unused_result));
/* "1.5 Mbit/s", "999 p/s". */
const char *top_rate_str(double rate, const char *unit, char buf[TOP_RATE_LEN]);
/* A second, from two values of a counter ms apart. */
double top_rate(uint64_t now, uint64_t before, uint64_t ms);
/* Rates since tunnels_mark, which was ms ago. */
void top_print_tunnels(const struct tunnels *tunnels, uint64_t ms, size_t max_rows, FILE *out);
