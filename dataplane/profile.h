#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_cycles.h>

#include "dataplane/worker_ctx.h"

/*
 * Where the cycles go, for bench/. While ctx.profile is NULL, the normal case, a burst pays one
 * predicted branch a mark. Marks cut the time into parts: each one books what has passed since
 * the mark before it.
 */
enum profile_part { /* below PROFILE_STAGES: the stages, in pipeline_stage_name's order */
	PROFILE_STAGES = 32,
	PROFILE_ESP_IN = PROFILE_STAGES, /* esp-in up to the cryptography */
	PROFILE_ESP_OUT,                 /* esp-out up to the cryptography */
	PROFILE_CRYPTO,
	PROFILE_REPLAY, /* second check and update of the window */
	PROFILE_N,
};

struct profile {
	bool has_stages; /* else only the marks around the cryptography are set */
	uint64_t last;   /* TSC of the last mark */
	uint64_t cycles[PROFILE_N];
};

static inline void profile_mark(const struct worker_ctx *w, unsigned int part)
{
	struct profile *p = w->profile;
	uint64_t now;

	if (likely(!p))
		return;
	now = rte_rdtsc();
	p->cycles[part] += now - p->last;
	p->last = now;
}
