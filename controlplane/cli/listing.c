#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/cli/ipsecctl.h"
#include "ipc/paths.h"
#include "shared/flow_order.h"

static int compare_flows(const void *a, const void *b)
{
	const struct view_flow *left = a, *right = b;
	int order = flow_list_compare(&left->flow, &right->flow);

	if (order != 0)
		return order;
	return left->order < right->order ? -1 : left->order > right->order;
}

static int compare_sas(const void *a, const void *b)
{
	const struct listed_sa *left = a, *right = b;

	return left->sa.spi < right->sa.spi ? -1 : left->sa.spi > right->sa.spi;
}

static int read_tables(const struct view_reader *view, struct ipsecctl_listing *out)
{
	struct view_globals globals;
	struct view_info info;

	view_reader_info(view, &info);
	if (view_read_globals(view, &globals) != 1)
		return -EAGAIN;
	uint64_t flow_high = globals.flow_high < info.max_flows ? globals.flow_high
								: info.max_flows;
	uint64_t sa_high = globals.sa_high < info.max_sa ? globals.sa_high : info.max_sa;

	out->flows = calloc(flow_high + 1, sizeof(*out->flows));
	out->sas = aligned_alloc(64, (sa_high + 1) * sizeof(*out->sas));
	if (!out->flows || !out->sas)
		return -ENOMEM;
	for (uint32_t i = 0; i < flow_high; i++)
		if (view_read_flow(view, i, &out->flows[out->n_flows], NULL) == 1)
			out->n_flows++;
	for (uint32_t i = 0; i < sa_high; i++) {
		struct listed_sa *s = &out->sas[out->n_sas];

		if (view_read_sa(view, i, &s->sa, &s->counters) == 1 &&
			s->sa.state != VIEW_SA_NONE && s->sa.state != VIEW_SA_DRAINING)
			out->n_sas++;
	}
	qsort(out->flows, out->n_flows, sizeof(*out->flows), compare_flows);
	qsort(out->sas, out->n_sas, sizeof(*out->sas), compare_sas);
	return 0;
}

int ipsecctl_listing_read(const char *run_dir, struct ipsecctl_listing *out)
{
	struct view_reader *view;
	char path[256];
	int rc;

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "%s/%s", run_dir, ESPD_VIEW);
	rc = view_reader_open(&view, path);
	if (rc < 0) {
		fprintf(stderr, "ipsecctl: %s: %s\n", path,
			rc == -IPC_ERR_SYS ? strerror(errno) : ipc_strerror(rc));
		return -1;
	}
	rc = view_reader_is_live(view) ? read_tables(view, out) : -ECONNREFUSED;
	view_reader_close(view);
	if (rc < 0) {
		fprintf(stderr, "ipsecctl: %s: %s\n", path,
			rc == -ECONNREFUSED ? "penstock-espd is not running" : strerror(-rc));
		ipsecctl_listing_free(out);
		return -1;
	}
	return 0;
}

void ipsecctl_listing_free(struct ipsecctl_listing *listing)
{
	free(listing->flows);
	free(listing->sas);
	memset(listing, 0, sizeof(*listing));
}
