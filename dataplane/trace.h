#pragma once

#include "dataplane/worker.h"

/*
 * `penstockctl trace`: only while somebody listens. Between two stages the burst is compared
 * with what it was, and each packet's decision is written down; when the packet leaves this
 * worker, its lines go to main as one text.
 */
void trace_burst_begin(struct worker *w, struct burst *b);
void trace_burst_stage(struct worker *w, struct burst *b, const char *stage);
void trace_burst_end(struct worker *w, struct burst *b);
