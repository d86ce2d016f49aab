#pragma once

#include <stdint.h>
#include <stdio.h>

#include "controlplane/cli/tunnels.h"
#include "ipc/view.h"

/*
 * Prometheus' text format (version 0.0.4). Names: penstock_ first, base units (bytes, seconds),
 * counters end in _total. All series of a metric stand together under one HELP and TYPE.
 *
 * Cardinality: ports, workers, owners and drop reasons are as many as the gateway has; series of
 * tunnels are limited by the tunnels' own table, and no label holds what changes by itself (an
 * SPI, a peer's address): those are labels of penstock_tunnel_info alone.
 */
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* view NULL: espd is away: penstock_up is 0, and tunnels are down. */
void metrics_write(FILE *out, const struct view_reader *view, const struct tunnels *tunnels);
