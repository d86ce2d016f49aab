#include "ipc/view_layout.h"

#include "ipc/layout.h"

#define MAX_ENTRIES (1u << 24)
#define MAX_SMALL 4096u

uint64_t view_layout_hash(void)
{
	const uint64_t sizes[] = {VIEW_VERSION, sizeof(struct view_sa),
		sizeof(struct view_sa_counters), sizeof(struct view_flow), sizeof(struct view_port),
		sizeof(struct view_port_counters), sizeof(struct view_owner),
		sizeof(struct view_worker), sizeof(struct view_globals), VIEW_DROPS, VIEW_OWNERS,
		offsetof(struct view_sa, selectors), offsetof(struct view_flow, n_bound),
		offsetof(struct view_worker, drops)};
	uint64_t h = ipc_layout_hash();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		h = (h ^ sizes[i]) * 0x100000001b3u;
	return h;
}

int view_layout_make(const struct view_header *h, struct view_layout *out)
{
	const uint64_t writers = (uint64_t)h->n_workers + 1;
	uint64_t len[VIEW_N_TABLES], at = IPC_PAGE;

	if (h->max_sa > MAX_ENTRIES || h->max_flows > MAX_ENTRIES || h->n_workers > MAX_SMALL ||
		h->max_ports > MAX_SMALL || h->n_drops > VIEW_DROPS)
		return -IPC_ERR_INVALID;
	out->hits_stride = ((uint64_t)h->max_flows + 7) / 8 * 8;
	len[VIEW_T_GLOBALS] = sizeof(struct view_globals);
	len[VIEW_T_OWNERS] = sizeof(struct view_owner) * VIEW_OWNERS;
	len[VIEW_T_DROP_NAMES] = VIEW_NAME_LEN * VIEW_DROPS;
	len[VIEW_T_SAS] = sizeof(struct view_sa) * (uint64_t)h->max_sa;
	len[VIEW_T_SA_COUNTERS] = sizeof(struct view_sa_counters) * (uint64_t)h->max_sa;
	len[VIEW_T_FLOWS] = sizeof(struct view_flow) * (uint64_t)h->max_flows;
	len[VIEW_T_FLOW_HITS] = sizeof(uint64_t) * out->hits_stride * writers;
	len[VIEW_T_PORTS] = sizeof(struct view_port) * (uint64_t)h->max_ports;
	len[VIEW_T_PORT_COUNTERS] = sizeof(struct view_port_counters) * h->max_ports * writers;
	len[VIEW_T_WORKERS] = sizeof(struct view_worker) * writers;
	for (int i = 0; i < VIEW_N_TABLES; i++) {
		out->offset[i] = at;
		at += (len[i] + IPC_CACHE_LINE - 1) / IPC_CACHE_LINE * IPC_CACHE_LINE;
	}
	out->total_len = (at + IPC_PAGE - 1) / IPC_PAGE * IPC_PAGE;
	return 0;
}
