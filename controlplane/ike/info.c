#include <stdlib.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/flow_table.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/policy_select.h"

/* What ikectl and penstockctl show. */

enum { CHILDREN_SHOWN = 64, FLOWS_SHOWN = 512 };

static void flow_info(const struct flow_pair *pair, bool out, struct ike_flow_info *info)
{
	*info = (struct ike_flow_info){.handle = out ? pair->handle_out : pair->handle_in,
		.src = out ? pair->src : pair->dst,
		.dst = out ? pair->dst : pair->src,
		.src_port = out ? pair->src_port : pair->dst_port,
		.dst_port = out ? pair->dst_port : pair->src_port,
		.proto = pair->proto,
		.direction = out ? IPC_DIR_OUT : IPC_DIR_IN,
		.type = pair->is_deny ? IPC_FLOW_DENY
			: out         ? IPC_FLOW_REQUIRE
				      : IPC_FLOW_USE,
		.is_loaded = pair->is_loaded,
		.is_policy_flow = pair->is_policy_flow,
		.child = pair->bound_out};
}

struct sides {
	struct ts_pairs pairs;
	struct ts_list lists[2];
};

static void child_info(
	const struct child_sa *child, struct sides *sides, struct ike_child_info *info)
{
	sides->pairs.n = 0;
	for (size_t i = 0; i < child->n_pairs && i < NARROW_PAIRS_MAX; i++)
		sides->pairs.pair[sides->pairs.n++] = child->pairs[i];
	narrow_lists(&sides->pairs, &sides->lists[0], &sides->lists[1]);
	*info = (struct ike_child_info){.handle_in = child->handle_in,
		.handle_out = child->handle_out,
		.spi_in = child->spi_in,
		.spi_out = child->spi_out,
		.is_loaded = child->in_loaded && child->out_loaded,
		.is_rekeying = child->is_rekeying,
		.is_transport = child->is_transport,
		.has_esn = child->has_esn,
		.is_deleting = child->state != CHILD_ACTIVE,
		.we_initiated = child->is_initiator,
		.dh_id = (uint8_t)child->group,
		.encr = child->encr,
		.integ = child->integ,
		.local_ts = sides->lists[0].ts,
		.remote_ts = sides->lists[1].ts,
		.n_local_ts = sides->lists[0].n,
		.n_remote_ts = sides->lists[1].n,
		.created_ms = child->created_ms};
}

struct shown {
	struct ike_child_info children[CHILDREN_SHOWN];
	struct sides sides[CHILDREN_SHOWN];
	struct ike_flow_info flows[FLOWS_SHOWN];
	size_t n_children, n_flows;
};

static void add_flows(const struct ike_engine *engine, uint64_t tunnel, struct shown *shown)
{
	const struct flow_pair *pair = flow_pair_of_tunnel(engine, tunnel);

	for (; pair && shown->n_flows + 2 <= FLOWS_SHOWN;
		pair = flow_pair_next_of_tunnel(engine, pair)) {
		flow_info(pair, true, &shown->flows[shown->n_flows++]);
		flow_info(pair, false, &shown->flows[shown->n_flows++]);
	}
}

static void show_sa(const struct ike_engine *engine, const struct ike_sa *sa, struct shown *shown,
	ike_sa_info_fn fn, void *ctx)
{
	shown->n_children = shown->n_flows = 0;
	for (const struct child_sa *child = sa->children; child; child = child->next)
		if (child->state != CHILD_LINGER && shown->n_children < CHILDREN_SHOWN) {
			child_info(child, &shown->sides[shown->n_children],
				&shown->children[shown->n_children]);
			shown->n_children++;
		}
	if (sa->owns_tunnel)
		add_flows(engine, sa->tunnel, shown);
	struct ike_sa_info info = {.handle = sa->handle,
		.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.local = sa->local,
		.remote = sa->remote,
		.is_initiator = sa->is_initiator,
		.has_nat = sa->we_are_natted || sa->peer_is_natted,
		.uses_udp_encap = ike_sa_uses_udp_encap(sa),
		.state = sa->state,
		.local_id = &sa->local_id,
		.peer_id = &sa->peer_id,
		.policy_name = sa->policy ? sa->policy->name : "",
		.policy_number = sa->policy ? sa->policy->number : 0,
		.encr = sa->suite.encr,
		.integ = ike_suite_integ(&sa->suite),
		.prf = sa->suite.prf,
		.dh = sa->suite.dh,
		.auth_text = sa->auth_text,
		.created_ms = sa->created_ms,
		.established_ms = sa->established_ms,
		.children = shown->children,
		.n_children = shown->n_children,
		.flows = shown->flows,
		.n_flows = shown->n_flows};

	fn(ctx, &info);
}

void ike_engine_foreach_sa(const struct ike_engine *engine, ike_sa_info_fn fn, void *ctx)
{
	struct shown *shown = malloc(sizeof(*shown));

	for (const struct ike_sa *sa = engine->sas; shown && sa; sa = sa->next)
		show_sa(engine, sa, shown, fn, ctx);
	free(shown);
}

static void show_flows(const struct flow_pair *list, ike_flow_info_fn fn, void *ctx)
{
	struct ike_flow_info info;

	for (; list; list = list->next) {
		if (list->is_suppressed)
			continue;
		flow_info(list, true, &info);
		fn(ctx, &info);
		if (list->is_deny)
			continue;
		flow_info(list, false, &info);
		fn(ctx, &info);
	}
}

void ike_engine_foreach_flow(const struct ike_engine *engine, ike_flow_info_fn fn, void *ctx)
{
	show_flows(engine->flows.policy_flows.first, fn, ctx);
	show_flows(engine->flows.deny_v6, fn, ctx);
	show_flows(engine->flows.sa_flows.first, fn, ctx);
}

void ike_engine_stats(const struct ike_engine *engine, struct ike_stats *out)
{
	*out = engine->stats;
}

void ike_policy_explain(const struct ike_engine *engine, const struct ike_policy_question *question,
	ike_policy_line_fn fn, void *ctx)
{
	struct policy_question q = {.local = question->local,
		.remote = question->remote,
		.peer_id = question->peer_id.type ? &question->peer_id : NULL,
		.local_id = question->local_id.type ? &question->local_id : NULL,
		.wants_transport = question->wants_transport,
		.has_auth = true,
		.host_id = &engine->p.local_id};

	policy_select(engine->config, &q, fn, ctx);
}
