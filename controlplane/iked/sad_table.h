#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/ike/engine.h"

/*
 * What the kernel-UDP transport knows of SAs: enough to answer commands as espd does and to
 * report the lifetimes in seconds, without any packet. Inputs that result are handed to `out`.
 */
struct sad_entry {
	uint64_t handle;
	uint32_t generation;
	uint64_t soft_ms, hard_ms; /* 0: none, or already reported */
};

struct sad_table {
	struct sad_entry *entries;
	size_t n, cap;
	uint32_t engine;     /* each has SPIs of its own */
	uint32_t next_index; /* for SPI leases */
	void (*out)(void *ctx, const struct ike_input *in);
	void *ctx;
};

#define SAD_INDEX_BITS 20

void sad_table_fini(struct sad_table *table);
/* Carries out a command: an acknowledgement, and what else espd would say. ROUTE_QUERY is not
 * known here. */
void sad_table_command(struct sad_table *table, const struct ike_command *command, uint64_t now_ms);
/* Reports lifetimes that have ended. */
void sad_table_tick(struct sad_table *table, uint64_t now_ms);
uint64_t sad_table_next_deadline(const struct sad_table *table); /* UINT64_MAX: none */
