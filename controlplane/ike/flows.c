#include "controlplane/ike/flows.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/flow_table.h"
#include "controlplane/ike/ike_sa.h"

enum { PREFIXES_A_SIDE = 32 };

static void unload_list(struct ike_engine *engine, const struct flow_list *list)
{
	for (struct flow_pair *pair = list->first; pair; pair = pair->next)
		flow_pair_unload(engine, pair);
}

static void destroy_list(struct ike_engine *engine, struct flow_list *list)
{
	while (list->first)
		flow_pair_destroy(engine, list, list->first);
}

/* ---- policies --------------------------------------------------------------------------- */

/* What a flow line of a policy asks for. */
static struct flow_pair policy_pair(const struct ike_policy *policy, size_t index)
{
	const struct ike_policy_flow *flow = &policy->flows[index];
	struct flow_pair pair = {.is_policy_flow = true,
		.policy = policy->number,
		.policy_index = (uint16_t)index,
		.negotiated_src = flow->src.prefix,
		.src = flow->has_srcnat ? flow->srcnat : flow->src.prefix,
		.dst = flow->dst.prefix,
		.src_port = flow->src.port,
		.dst_port = flow->dst.port,
		.proto = flow->proto};

	if (!policy->peer.is_any &&
		policy->peer.prefix.len == addr_bits(policy->peer.prefix.addr.family))
		pair.peer = policy->peer.prefix.addr;
	/* An erratum of the FAQ: `from A to A` would cut a network off from its own gateway. It
	 * gets a flow only when a peer agrees to it. */
	pair.is_suppressed = pair.src.len && prefix_equal(&pair.src, &pair.dst);
	return pair;
}

static bool is_fixed(const struct ike_policy_flow *flow)
{
	return !flow->src.is_dynamic && !flow->dst.is_dynamic &&
	       flow->src.prefix.addr.family == flow->dst.prefix.addr.family;
}

/* The pairs of the last configuration, found by their selectors alone: its numbers are void. */
struct old_flows {
	struct flow_list list;
	struct multi_map by_selectors;
};

static void set_aside(struct ike_engine *engine, struct old_flows *old)
{
	old->list = engine->flows.policy_flows;
	engine->flows.policy_flows = (struct flow_list){0};
	for (struct flow_pair *pair = old->list.first; pair; pair = pair->next) {
		multi_map_remove(&engine->flows.by_selectors, &pair->by_selectors);
		if (multi_map_add(&old->by_selectors, flow_pair_key(engine, pair, 0),
			    &pair->by_selectors) < 0)
			engine->out->no_memory = true;
	}
}

/* Takes an equal pair out of the old ones, so that its handle and binding live on. */
static struct flow_pair *take_equal(
	const struct ike_engine *engine, struct old_flows *old, const struct flow_pair *like)
{
	struct multi_link *at = multi_map_first(&old->by_selectors, flow_pair_key(engine, like, 0));

	for (; at; at = multi_map_next(&old->by_selectors, at)) {
		struct flow_pair *pair = multi_object(at, struct flow_pair, by_selectors);

		if (!flow_pair_equal(pair, like))
			continue;
		multi_map_remove(&old->by_selectors, at);
		flow_list_remove(&old->list, pair);
		return pair;
	}
	return NULL;
}

static void reload_deny(struct ike_engine *engine)
{
	bool any = false, has_v6 = false;

	/* One of several has the flow that is for all. */
	if (engine->p.engine_number != 0)
		return;

	for (size_t i = 0; engine->config && i < engine->config->n_policies; i++) {
		const struct ike_policy *policy = &engine->config->policies[i];

		any = any || !policy->is_skip;
		for (size_t f = 0; f < policy->n_flows; f++)
			has_v6 = has_v6 || policy->flows[f].src.prefix.addr.family == 6 ||
				 policy->flows[f].dst.prefix.addr.family == 6;
	}
	struct flow_pair **deny = &engine->flows.deny_v6;

	if ((!any || has_v6) && *deny) {
		flow_pair_unload(engine, *deny);
		flow_pair_destroy(engine, NULL, *deny);
		*deny = NULL;
	} else if (any && !has_v6 && !*deny) {
		*deny = flow_pair_create(engine);
		if (!*deny)
			return;
		(*deny)->is_deny = true;
		(*deny)->src.addr.family = (*deny)->dst.addr.family = 6;
		flow_pair_load(engine, *deny);
	}
}

static void reload_one(struct ike_engine *engine, struct old_flows *old,
	const struct ike_policy *policy, size_t index)
{
	struct flow_pair wanted = policy_pair(policy, index);
	struct flow_pair *pair = take_equal(engine, old, &wanted);

	if (pair) {
		pair->policy = wanted.policy;
		pair->policy_index = wanted.policy_index;
		pair->is_suppressed = wanted.is_suppressed;
	} else {
		pair = flow_pair_create(engine);
		if (!pair)
			return;
		wanted.handle_out = pair->handle_out;
		wanted.handle_in = pair->handle_in;
		*pair = wanted;
	}
	flow_list_append(&engine->flows.policy_flows, pair);
	flow_pair_index(engine, pair, flow_pair_key(engine, pair, pair->policy));
	/* Flows come before those they replace go: nothing leaks between. */
	flow_pair_load(engine, pair);
}

/* It stays in espd, with its SAs, and is of no use to anybody here. */
static void retire(struct ike_engine *engine, struct old_flows *old, struct flow_pair *pair)
{
	multi_map_remove(&old->by_selectors, &pair->by_selectors);
	flow_pair_set_tunnel(engine, pair, 0);
	flow_list_remove(&old->list, pair);
	flow_list_append(&engine->flows.retired, pair);
}

void flows_commit(struct ike_engine *engine)
{
	unload_list(engine, &engine->flows.retired);
	destroy_list(engine, &engine->flows.retired);
}

void flows_reload(struct ike_engine *engine)
{
	struct old_flows old = {0};

	set_aside(engine, &old);
	for (size_t i = 0; engine->config && i < engine->config->n_policies; i++) {
		const struct ike_policy *policy = &engine->config->policies[i];

		if (policy->is_skip || !policy_is_ours(engine, policy))
			continue;
		for (size_t f = 0; f < policy->n_flows; f++)
			if (is_fixed(&policy->flows[f]))
				reload_one(engine, &old, policy, f);
	}
	reload_deny(engine);
	while (old.list.first)
		retire(engine, &old, old.list.first);
	multi_map_fini(&old.by_selectors);
	/* Alone there is nobody to wait for. */
	if (engine->p.n_engines == 1)
		flows_commit(engine);
}

/* ---- all -------------------------------------------------------------------------------- */

static void push(struct ike_engine *engine, struct flow_pair *pair)
{
	pair->bound_out = 0;
	flow_pair_load(engine, pair);
	engine_flush(engine);
}

void flows_push(struct ike_engine *engine)
{
	engine->flows.is_paused = false;
	for (struct flow_pair *pair = engine->flows.policy_flows.first; pair; pair = pair->next)
		push(engine, pair);
	if (engine->flows.deny_v6)
		push(engine, engine->flows.deny_v6);
	for (struct flow_pair *pair = engine->flows.sa_flows.first; pair; pair = pair->next)
		push(engine, pair);
}

void flows_unload(struct ike_engine *engine)
{
	unload_list(engine, &engine->flows.policy_flows);
	if (engine->flows.deny_v6)
		flow_pair_unload(engine, engine->flows.deny_v6);
	unload_list(engine, &engine->flows.sa_flows);
	unload_list(engine, &engine->flows.retired);
}

void flows_pause(struct ike_engine *engine)
{
	flows_unload(engine);
	engine->flows.is_paused = true;
}

static void mark_unloaded(struct flow_pair *pair)
{
	pair->is_loaded = false;
	pair->bound_out = 0;
}

void flows_mark_unloaded(struct ike_engine *engine)
{
	for (struct flow_pair *pair = engine->flows.policy_flows.first; pair; pair = pair->next)
		mark_unloaded(pair);
	if (engine->flows.deny_v6)
		mark_unloaded(engine->flows.deny_v6);
	for (struct flow_pair *pair = engine->flows.sa_flows.first; pair; pair = pair->next)
		mark_unloaded(pair);
	engine->flows.is_paused = true;
}

void flows_forget(struct ike_engine *engine)
{
	flows_unload(engine);
	flows_fini(engine);
}

void flows_fini(struct ike_engine *engine)
{
	struct flow_table *flows = &engine->flows;

	destroy_list(engine, &flows->policy_flows);
	destroy_list(engine, &flows->sa_flows);
	destroy_list(engine, &flows->retired);
	if (flows->deny_v6)
		flow_pair_destroy(engine, NULL, flows->deny_v6);
	handle_map_fini(&flows->by_handle);
	multi_map_fini(&flows->by_tunnel);
	multi_map_fini(&flows->by_selectors);
	*flows = (struct flow_table){0};
}

/* ---- children --------------------------------------------------------------------------- */

/* The pair serves this SA's tunnel, and is listed with its identities and peer. */
static void adopt(struct ike_engine *engine, struct flow_pair *pair, const struct ike_sa *sa)
{
	bool has_moved = !addr_equal(&pair->peer, &sa->remote.addr);

	flow_pair_set_tunnel(engine, pair, sa->tunnel);
	pair->peer = sa->remote.addr;
	if (!pair->is_loaded || has_moved || flow_pair_ids_changed(engine, pair))
		flow_pair_load(engine, pair);
}

static struct flow_pair *find_policy_flow(
	struct ike_engine *engine, const struct ike_sa *sa, const struct flow_pair *like)
{
	const struct multi_map *map = &engine->flows.by_selectors;

	if (!sa->policy)
		return NULL;
	struct multi_link *at = multi_map_first(
		map, flow_pair_key(engine, like, sa->policy->number));

	for (; at; at = multi_map_next(map, at)) {
		struct flow_pair *pair = multi_object(at, struct flow_pair, by_selectors);

		if (pair->is_suppressed || pair->policy != sa->policy->number ||
			!prefix_equal(&pair->negotiated_src, &like->negotiated_src) ||
			!prefix_equal(&pair->dst, &like->dst) || pair->src_port != like->src_port ||
			pair->dst_port != like->dst_port || pair->proto != like->proto)
			continue;
		/* Of two peers with one flow, the first keeps the policy's entry. */
		if (!pair->tunnel || pair->tunnel == sa->tunnel)
			return pair;
	}
	return NULL;
}

static struct flow_pair *sa_flow(
	struct ike_engine *engine, const struct ike_sa *sa, const struct flow_pair *like)
{
	struct flow_pair *pair = flow_pair_of_tunnel(engine, sa->tunnel);

	for (; pair; pair = flow_pair_next_of_tunnel(engine, pair))
		if (!pair->is_policy_flow && flow_pair_equal(pair, like))
			return pair;
	pair = flow_pair_create(engine);
	if (!pair)
		return NULL;
	pair->src = like->src;
	pair->negotiated_src = like->negotiated_src;
	pair->dst = like->dst;
	pair->src_port = like->src_port;
	pair->dst_port = like->dst_port;
	pair->proto = like->proto;
	pair->policy = sa->policy ? sa->policy->number : 0;
	flow_list_append(&engine->flows.sa_flows, pair);
	flow_pair_index(engine, pair, flow_pair_key(engine, pair, 0));
	return pair;
}

/* `from A (B)`: what was negotiated inside A leaves for packets from B. */
static void apply_srcnat(const struct ike_sa *sa, struct flow_pair *like)
{
	for (size_t i = 0; sa->policy && i < sa->policy->n_flows; i++) {
		const struct ike_policy_flow *flow = &sa->policy->flows[i];

		if (flow->has_srcnat && flow->src.prefix.len <= like->src.len &&
			prefix_contains(&flow->src.prefix, &like->src.addr)) {
			like->src = flow->srcnat;
			return;
		}
	}
}

static void bind_one(struct ike_engine *engine, struct child_sa *child, struct flow_pair *like)
{
	const struct ike_sa *sa = child->sa;

	like->negotiated_src = like->src;
	apply_srcnat(sa, like);
	struct flow_pair *pair = find_policy_flow(engine, sa, like);

	if (!pair)
		pair = sa_flow(engine, sa, like);
	if (!pair)
		return;
	adopt(engine, pair, sa);
	pair->bound_out = child->handle_out;
	if (engine->is_coupled && child->out_loaded)
		espd_flow_bind(engine, pair->handle_out, child->handle_out);
}

/* Flows have one port or all of them; a range is left to the selectors of the SA. */
static uint16_t flow_port(const struct traffic_selector *ts)
{
	return ts->port_lo == ts->port_hi ? ts->port_lo : 0;
}

static struct ts_pair pair_of_flow(const struct flow_pair *flow)
{
	struct ts_pair pair = {.local = {.range = prefix_range(&flow->negotiated_src),
				       .proto = flow->proto,
				       .port_hi = 65535},
		.remote = {
			.range = prefix_range(&flow->dst), .proto = flow->proto, .port_hi = 65535}};

	if (flow->src_port)
		pair.local.port_lo = pair.local.port_hi = flow->src_port;
	if (flow->dst_port)
		pair.remote.port_lo = pair.remote.port_hi = flow->dst_port;
	return pair;
}

/* A packet's own pair beside the wider one that it is part of needs no flow. */
static bool is_inside_another(const struct child_sa *child, size_t i)
{
	for (size_t j = 0; j < child->n_pairs; j++)
		if (j != i && narrow_pair_contains(&child->pairs[j], &child->pairs[i]) &&
			(j < i || !narrow_pair_contains(&child->pairs[i], &child->pairs[j])))
			return true;
	return false;
}

static bool child_covers(const struct child_sa *child, const struct flow_pair *flow)
{
	struct ts_pair ts = pair_of_flow(flow);

	for (size_t i = 0; i < child->n_pairs; i++)
		if (narrow_pair_contains(&child->pairs[i], &ts))
			return true;
	return false;
}

/* Narrower flows of an earlier child go on with the one that covers them now. */
static void bind_covered(struct ike_engine *engine, const struct child_sa *child)
{
	struct flow_pair *flow = flow_pair_of_tunnel(engine, child->sa->tunnel);

	for (; flow; flow = flow_pair_next_of_tunnel(engine, flow)) {
		if (flow->bound_out == child->handle_out || !flow->is_loaded ||
			!child_covers(child, flow))
			continue;
		flow->bound_out = child->handle_out;
		if (engine->is_coupled && child->out_loaded)
			espd_flow_bind(engine, flow->handle_out, child->handle_out);
	}
}

static void bind_pair(struct ike_engine *engine, struct child_sa *child, const struct ts_pair *p)
{
	struct ip_prefix src[PREFIXES_A_SIDE], dst[PREFIXES_A_SIDE];
	size_t n_src = range_to_prefixes(&p->local.range, src, PREFIXES_A_SIDE);
	size_t n_dst = range_to_prefixes(&p->remote.range, dst, PREFIXES_A_SIDE);

	for (size_t s = 0; s < n_src && s < PREFIXES_A_SIDE; s++)
		for (size_t d = 0; d < n_dst && d < PREFIXES_A_SIDE; d++) {
			struct flow_pair like = {.src = src[s],
				.dst = dst[d],
				.src_port = flow_port(&p->local),
				.dst_port = flow_port(&p->remote),
				.proto = p->local.proto};

			bind_one(engine, child, &like);
		}
}

void flows_bind_child(struct ike_engine *engine, struct child_sa *child)
{
	/* Fail closed: with the first tunnel all flows are in force again, also the deny. */
	if (engine->flows.is_paused)
		flows_push(engine);
	for (size_t i = 0; i < child->n_pairs; i++)
		if (!is_inside_another(child, i))
			bind_pair(engine, child, &child->pairs[i]);
	bind_covered(engine, child);
}

/* Another child that serves the flow, the newest one; the list has the newest first. */
static struct child_sa *other_child(const struct child_sa *gone, const struct ts_pair *pair)
{
	for (struct child_sa *child = gone->sa->children; child; child = child->next)
		for (size_t i = 0;
			child != gone && child->state != CHILD_LINGER && i < child->n_pairs; i++)
			if (narrow_pair_contains(&child->pairs[i], pair))
				return child;
	return NULL;
}

void flows_unbind_child(struct ike_engine *engine, const struct child_sa *child)
{
	struct flow_pair *pair = flow_pair_of_tunnel(engine, child->sa->tunnel), *next;

	for (; pair; pair = next) {
		struct ts_pair ts = pair_of_flow(pair);
		const struct child_sa *other = other_child(child, &ts);

		next = flow_pair_next_of_tunnel(engine, pair);
		if (pair->is_policy_flow || other) {
			if (pair->bound_out == child->handle_out)
				pair->bound_out = other ? other->handle_out : 0;
			continue;
		}
		flow_pair_unload(engine, pair);
		flow_pair_destroy(engine, &engine->flows.sa_flows, pair);
	}
}

/* The flow of another tunnel under the same policy, with the same selectors. */
static struct flow_pair *equal_sa_flow(
	const struct ike_engine *engine, const struct flow_pair *policy_flow)
{
	const struct multi_map *map = &engine->flows.by_selectors;
	struct multi_link *at = multi_map_first(map, flow_pair_key(engine, policy_flow, 0));

	for (; at; at = multi_map_next(map, at)) {
		struct flow_pair *pair = multi_object(at, struct flow_pair, by_selectors);
		const struct ike_sa *sa = ike_sa_by_tunnel(engine, pair->tunnel);

		if (sa && sa->policy && sa->policy->number == policy_flow->policy &&
			flow_pair_equal(pair, policy_flow))
			return pair;
	}
	return NULL;
}

/* Another tunnel has a flow of its own equal to the policy's, which is free now: it takes it, so
 * that one entry, with a usable SA, is left. */
static void hand_over(struct ike_engine *engine, struct flow_pair *policy_flow)
{
	struct flow_pair *pair = equal_sa_flow(engine, policy_flow);

	if (!pair)
		return;
	adopt(engine, policy_flow, ike_sa_by_tunnel(engine, pair->tunnel));
	policy_flow->bound_out = pair->bound_out;
	const struct child_sa *child = child_by_handle(engine, pair->bound_out);

	if (child && child->out_loaded)
		espd_flow_bind(engine, policy_flow->handle_out, child->handle_out);
	flow_pair_unload(engine, pair);
	flow_pair_destroy(engine, &engine->flows.sa_flows, pair);
}

void flows_drop_tunnel(struct ike_engine *engine, uint64_t tunnel)
{
	struct flow_pair *pair;

	/* Flows of its own go first, then the policy's find another tunnel. */
	for (struct flow_pair *next, *at = flow_pair_of_tunnel(engine, tunnel); at; at = next) {
		next = flow_pair_next_of_tunnel(engine, at);
		if (at->is_policy_flow)
			continue;
		flow_pair_unload(engine, at);
		flow_pair_destroy(engine, &engine->flows.sa_flows, at);
	}
	while ((pair = flow_pair_of_tunnel(engine, tunnel)) != NULL) {
		flow_pair_set_tunnel(engine, pair, 0);
		pair->bound_out = 0;
		hand_over(engine, pair);
	}
}
