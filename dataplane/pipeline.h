#pragma once

#include <stdint.h>

#include "dataplane/worker.h"

/* The path of a packet: dataplane/pipeline.c names all stages in order. */

int pipeline_init(struct worker *w);
void pipeline_fini(struct worker *w);
/* b holds frames just received: m, port, next NEXT_PARSE. All are gone on return. */
void pipeline_from_port(struct worker *w, struct burst *b);
void pipeline_from_worker(struct worker *w, struct rte_mbuf **m, unsigned int n);
void pipeline_from_main(struct worker *w, struct rte_mbuf **m, unsigned int n);
/* What is due by time; returns how much there was. */
unsigned int pipeline_tick(struct worker *w);

/* Packets that a stage made, from NEXT_SPD_OUT, NEXT_ESP_OUT or NEXT_ROUTE on. */
void pipeline_outbound(struct worker *w, struct burst *b);

/* The stages as they are called, for `penstockctl show pipeline`. NULL past the end. */
const char *pipeline_stage_name(unsigned int i, const char **text, bool *is_inbound);
