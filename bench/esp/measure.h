#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/esp/gateway.h"
#include "bench/esp/traffic.h"

/* TSC cycles a packet over many short slices. */
struct spread {
	double p10, median, p90;
};

#define MEASURE_PARTS_MAX 48

struct measured {
	uint64_t packets;     /* through the gateway */
	struct spread total;  /* the worker's turns, ports included */
	struct spread ports;  /* the same ports: received and sent, nothing else */
	struct spread bare;   /* intel-ipsec-mb alone */
	struct spread ratio;  /* bare / total, taken in turn */
	struct spread crypto; /* inside the gateway: around the calls */
	struct spread other;  /* total less crypto, of the same slices */
	/* Medians of a run with a mark behind each stage; the marks' own cost is taken off. */
	struct {
		const char *name;
		double cycles;
	} parts[MEASURE_PARTS_MAX];
	unsigned int n_parts;
};

/*
 * Runs the lap for about `budget_ms`, in rounds of short slices: gateway, ports alone, ipsec-mb
 * alone, gateway with marks. 0; -1 with a text on stderr if not every packet that was offered
 * was delivered.
 */
int measure_run(
	struct gateway *g, const struct lap *lap, unsigned int budget_ms, struct measured *out);
