#pragma once

#include "ipc/view.h"

/* Where the tables of the view lie; private to its writer and reader. */
enum view_table {
	VIEW_T_GLOBALS,
	VIEW_T_OWNERS,
	VIEW_T_DROP_NAMES,
	VIEW_T_SAS,
	VIEW_T_SA_COUNTERS,
	VIEW_T_FLOWS,
	VIEW_T_FLOW_HITS, /* (n_workers + 1) arrays of max_flows, each of whole cache lines */
	VIEW_T_PORTS,
	VIEW_T_PORT_COUNTERS, /* (n_workers + 1) arrays of max_ports */
	VIEW_T_WORKERS,       /* n_workers + 1 */
	VIEW_N_TABLES
};

struct view_header {
	uint32_t magic, version;
	uint64_t layout_hash;
	uint64_t total_len;
	uint32_t max_sa, max_flows, n_workers, max_ports, n_drops;
	uint32_t pid;
	uint64_t started_s;
	char program[32];
};

struct view_layout {
	uint64_t offset[VIEW_N_TABLES];
	uint64_t hits_stride; /* words between two workers' flow hits */
	uint64_t total_len;
};

uint64_t view_layout_hash(void);
/* Offsets for the header's sizes. 0 or -IPC_ERR_INVALID (sizes beyond reason). */
int view_layout_make(const struct view_header *h, struct view_layout *out);
