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

/*
 * Of several engines one has a policy's flow, and another may have the same with the SA of a peer
 * that came to it: to who reads the list they are one.
 */
static bool is_one_flow(const struct view_flow *a, const struct view_flow *b)
{
	return a->owner_kind == IPC_OWNER_ENGINE && b->owner_kind == IPC_OWNER_ENGINE &&
	       a->engine != b->engine && flow_list_compare(&a->flow, &b->flow) == 0 &&
	       (a->flow.direction == IPC_DIR_IN || a->sa_spi == 0 || b->sa_spi == 0);
}

static void fold_flows(struct ipsecctl_listing *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n_flows; i++) {
		const struct view_flow *flow = &list->flows[i];

		if (n == 0 || !is_one_flow(&list->flows[n - 1], flow))
			list->flows[n++] = *flow;
		else if (flow->sa_spi != 0 || list->flows[n - 1].sa_spi == 0)
			list->flows[n - 1] = *flow;
	}
	list->n_flows = n;
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

struct view_reader *listing_view_open(const char *run_dir, const char *program)
{
	struct view_reader *view = NULL;
	const char *why;
	char path[256];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", run_dir, ESPD_VIEW);
	rc = view_reader_open(&view, path);
	if (rc == 0 && view_reader_is_live(view))
		return view;
	if (rc == 0 || (rc == -IPC_ERR_SYS && errno == ENOENT))
		why = "penstock-espd is not running";
	else
		why = rc == -IPC_ERR_SYS ? strerror(errno) : ipc_strerror(rc);
	if (program)
		fprintf(stderr, "%s: %s: %s\n", program, path, why);
	if (rc == 0)
		view_reader_close(view);
	return NULL;
}

int listing_read(const struct view_reader *view, struct ipsecctl_listing *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = read_tables(view, out);
	if (rc < 0)
		ipsecctl_listing_free(out);
	return rc;
}

int ipsecctl_listing_read(const char *run_dir, struct ipsecctl_listing *out)
{
	struct view_reader *view = listing_view_open(run_dir, "ipsecctl");
	int rc;

	memset(out, 0, sizeof(*out));
	if (!view)
		return -1;
	rc = listing_read(view, out);
	view_reader_close(view);
	fold_flows(out);
	if (rc == 0)
		return 0;
	fprintf(stderr, "ipsecctl: %s/%s: %s\n", run_dir, ESPD_VIEW, strerror(-rc));
	return -1;
}

void ipsecctl_listing_free(struct ipsecctl_listing *listing)
{
	free(listing->flows);
	free(listing->sas);
	memset(listing, 0, sizeof(*listing));
}
