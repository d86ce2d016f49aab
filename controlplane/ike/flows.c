#include "controlplane/ike/flows.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

enum { PREFIXES_A_SIDE = 32 };

static struct flow_pair *pair_create(struct ike_engine *engine)
{
	struct flow_pair *pair = calloc(1, sizeof(*pair));

	if (!pair) {
		engine->out->no_memory = true;
		return NULL;
	}
	pair->handle_out = engine_handle(engine);
	pair->handle_in = engine_handle(engine);
	return pair;
}

static void load(struct ike_engine *engine, struct flow_pair *pair)
{
	if (!engine->is_coupled || !engine->is_attached || pair->is_suppressed)
		return;
	espd_flow_add(engine, pair, true);
	if (!pair->is_deny)
		espd_flow_add(engine, pair, false);
	pair->is_loaded = true;
}

static void unload(struct ike_engine *engine, struct flow_pair *pair)
{
	if (!pair->is_loaded)
		return;
	espd_flow_delete(engine, pair->handle_out);
	if (!pair->is_deny)
		espd_flow_delete(engine, pair->handle_in);
	pair->is_loaded = false;
	pair->bound_out = 0;
}

static void unload_list(struct ike_engine *engine, struct flow_pair *list)
{
	for (; list; list = list->next)
		unload(engine, list);
}

static void free_list(struct flow_pair **list)
{
	while (*list) {
		struct flow_pair *pair = *list;

		*list = pair->next;
		free(pair);
	}
}

static bool same_flow(const struct flow_pair *a, const struct flow_pair *b)
{
	return prefix_equal(&a->src, &b->src) && prefix_equal(&a->dst, &b->dst) &&
	       prefix_equal(&a->negotiated_src, &b->negotiated_src) && a->src_port == b->src_port &&
	       a->dst_port == b->dst_port && a->proto == b->proto;
}

/* ---- policies --------------------------------------------------------------------------- */

static struct flow_pair *policy_pair(
	struct ike_engine *engine, const struct ike_policy *policy, size_t index)
{
	const struct ike_policy_flow *flow = &policy->flows[index];
	struct flow_pair *pair = pair_create(engine);

	if (!pair)
		return NULL;
	pair->is_policy_flow = true;
	pair->policy = policy->number;
	pair->policy_index = (uint16_t)index;
	pair->negotiated_src = flow->src.prefix;
	pair->src = flow->has_srcnat ? flow->srcnat : flow->src.prefix;
	pair->dst = flow->dst.prefix;
	pair->src_port = flow->src.port;
	pair->dst_port = flow->dst.port;
	pair->proto = flow->proto;
	if (!policy->peer.is_any &&
		policy->peer.prefix.len == addr_bits(policy->peer.prefix.addr.family))
		pair->peer = policy->peer.prefix.addr;
	return pair;
}

static bool is_fixed(const struct ike_policy_flow *flow)
{
	return !flow->src.is_dynamic && !flow->dst.is_dynamic &&
	       flow->src.prefix.addr.family == flow->dst.prefix.addr.family;
}

/* Takes an equal pair out of the old list, so that its handle and binding live on. */
static struct flow_pair *take_equal(struct flow_pair **list, const struct flow_pair *like)
{
	for (; *list; list = &(*list)->next)
		if (same_flow(*list, like)) {
			struct flow_pair *found = *list;

			*list = found->next;
			found->next = NULL;
			return found;
		}
	return NULL;
}

static void reload_deny(struct ike_engine *engine)
{
	bool any = false, has_v6 = false;

	for (size_t i = 0; engine->config && i < engine->config->n_policies; i++) {
		const struct ike_policy *policy = &engine->config->policies[i];

		any = any || !policy->is_skip;
		for (size_t f = 0; f < policy->n_flows; f++)
			has_v6 = has_v6 || policy->flows[f].src.prefix.addr.family == 6 ||
				 policy->flows[f].dst.prefix.addr.family == 6;
	}
	struct flow_pair **deny = &engine->flows.deny_v6;

	if ((!any || has_v6) && *deny) {
		unload(engine, *deny);
		free(*deny);
		*deny = NULL;
	} else if (any && !has_v6 && !*deny) {
		*deny = pair_create(engine);
		if (!*deny)
			return;
		(*deny)->is_deny = true;
		(*deny)->src.addr.family = (*deny)->dst.addr.family = 6;
		load(engine, *deny);
	}
}

void flows_reload(struct ike_engine *engine)
{
	struct flow_pair *old = engine->flows.policy_flows, *list = NULL, **end = &list;

	for (size_t i = 0; engine->config && i < engine->config->n_policies; i++) {
		const struct ike_policy *policy = &engine->config->policies[i];

		for (size_t f = 0; !policy->is_skip && f < policy->n_flows; f++) {
			if (!is_fixed(&policy->flows[f]))
				continue;
			struct flow_pair *pair = policy_pair(engine, policy, f);

			if (!pair)
				continue;
			struct flow_pair *kept = take_equal(&old, pair);

			/* An erratum of the FAQ: `from A to A` would cut a network off from its own
			 * gateway. It gets a flow only when a peer agrees to it. */
			pair->is_suppressed = pair->src.len && prefix_equal(&pair->src, &pair->dst);
			if (kept) {
				kept->policy = pair->policy;
				kept->policy_index = pair->policy_index;
				kept->is_suppressed = pair->is_suppressed;
				free(pair);
				pair = kept;
			}
			/* Flows come before those they replace go: nothing leaks between. */
			load(engine, pair);
			*end = pair;
			end = &pair->next;
		}
	}
	engine->flows.policy_flows = list;
	reload_deny(engine);
	unload_list(engine, old);
	free_list(&old);
}

/* ---- all -------------------------------------------------------------------------------- */

static void push_list(struct ike_engine *engine, struct flow_pair *list)
{
	for (; list; list = list->next) {
		list->bound_out = 0;
		load(engine, list);
	}
}

void flows_push(struct ike_engine *engine)
{
	push_list(engine, engine->flows.policy_flows);
	push_list(engine, engine->flows.deny_v6);
	push_list(engine, engine->flows.sa_flows);
}

void flows_unload(struct ike_engine *engine)
{
	unload_list(engine, engine->flows.policy_flows);
	unload_list(engine, engine->flows.deny_v6);
	unload_list(engine, engine->flows.sa_flows);
}

static void mark_list(struct flow_pair *list)
{
	for (; list; list = list->next) {
		list->is_loaded = false;
		list->bound_out = 0;
	}
}

void flows_mark_unloaded(struct ike_engine *engine)
{
	mark_list(engine->flows.policy_flows);
	mark_list(engine->flows.deny_v6);
	mark_list(engine->flows.sa_flows);
}

void flows_forget(struct ike_engine *engine)
{
	flows_unload(engine);
	flows_fini(engine);
}

void flows_fini(struct ike_engine *engine)
{
	free_list(&engine->flows.policy_flows);
	free_list(&engine->flows.deny_v6);
	free_list(&engine->flows.sa_flows);
}

struct flow_pair *flows_find(const struct ike_engine *engine, uint64_t handle)
{
	struct flow_pair *lists[] = {engine->flows.policy_flows, engine->flows.sa_flows};

	for (size_t i = 0; i < 2; i++)
		for (struct flow_pair *pair = lists[i]; pair; pair = pair->next)
			if (pair->handle_out == handle || pair->handle_in == handle)
				return pair;
	return NULL;
}

/* ---- children --------------------------------------------------------------------------- */

/* Gives the pair the authenticated identities and the peer's address. */
static void adopt(struct ike_engine *engine, struct flow_pair *pair, const struct ike_sa *sa)
{
	char id[IKE_ID_STRLEN];
	struct flow_pair was = *pair;

	pair->tunnel = sa->tunnel;
	pair->peer = sa->remote.addr;
	memset(pair->srcid, 0, sizeof(pair->srcid));
	memset(pair->dstid, 0, sizeof(pair->dstid));
	memccpy(pair->srcid, ike_id_str(&sa->local_id, id), 0, sizeof(pair->srcid) - 1);
	memccpy(pair->dstid, ike_id_str(&sa->peer_id, id), 0, sizeof(pair->dstid) - 1);
	if (!pair->is_loaded || !addr_equal(&was.peer, &pair->peer) ||
		memcmp(was.srcid, pair->srcid, sizeof(was.srcid)) != 0 ||
		memcmp(was.dstid, pair->dstid, sizeof(was.dstid)) != 0)
		load(engine, pair);
}

static struct flow_pair *find_policy_flow(
	struct ike_engine *engine, const struct ike_sa *sa, const struct flow_pair *like)
{
	for (struct flow_pair *pair = engine->flows.policy_flows; pair; pair = pair->next) {
		if (pair->is_suppressed || !sa->policy || pair->policy != sa->policy->number ||
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
	for (struct flow_pair *pair = engine->flows.sa_flows; pair; pair = pair->next)
		if (pair->tunnel == sa->tunnel && same_flow(pair, like))
			return pair;
	struct flow_pair *pair = pair_create(engine);

	if (!pair)
		return NULL;
	pair->src = like->src;
	pair->negotiated_src = like->negotiated_src;
	pair->dst = like->dst;
	pair->src_port = like->src_port;
	pair->dst_port = like->dst_port;
	pair->proto = like->proto;
	pair->policy = sa->policy ? sa->policy->number : 0;
	pair->next = engine->flows.sa_flows;
	engine->flows.sa_flows = pair;
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
static void bind_covered(
	struct ike_engine *engine, const struct child_sa *child, struct flow_pair *list)
{
	for (struct flow_pair *flow = list; flow; flow = flow->next) {
		if (flow->tunnel != child->sa->tunnel || flow->bound_out == child->handle_out ||
			!flow->is_loaded || !child_covers(child, flow))
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
	for (size_t i = 0; i < child->n_pairs; i++)
		if (!is_inside_another(child, i))
			bind_pair(engine, child, &child->pairs[i]);
	bind_covered(engine, child, engine->flows.policy_flows);
	bind_covered(engine, child, engine->flows.sa_flows);
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
	for (struct flow_pair *pair = engine->flows.policy_flows; pair; pair = pair->next)
		if (pair->bound_out == child->handle_out) {
			struct ts_pair ts = pair_of_flow(pair);
			const struct child_sa *other = other_child(child, &ts);

			pair->bound_out = other ? other->handle_out : 0;
		}
	struct flow_pair **at = &engine->flows.sa_flows;

	while (*at) {
		struct flow_pair *pair = *at;
		struct ts_pair ts = pair_of_flow(pair);
		const struct child_sa *other = NULL;

		if (pair->tunnel != child->sa->tunnel ||
			(other = other_child(child, &ts)) != NULL) {
			if (other && pair->bound_out == child->handle_out)
				pair->bound_out = other->handle_out;
			at = &pair->next;
			continue;
		}
		*at = pair->next;
		unload(engine, pair);
		free(pair);
	}
}

/* Another tunnel has a flow of its own equal to the policy's, which is free now: it takes it, so
 * that one entry, with a usable SA, is left. */
static void hand_over(struct ike_engine *engine, struct flow_pair *policy_flow)
{
	struct flow_pair **at = &engine->flows.sa_flows;

	while (*at && ((*at)->policy != policy_flow->policy || !same_flow(*at, policy_flow)))
		at = &(*at)->next;
	struct flow_pair *pair = *at;
	const struct ike_sa *sa = pair ? ike_sa_by_tunnel(engine, pair->tunnel) : NULL;

	if (!sa)
		return;
	adopt(engine, policy_flow, sa);
	policy_flow->bound_out = pair->bound_out;
	const struct child_sa *child = child_by_handle(engine, pair->bound_out);

	if (child && child->out_loaded)
		espd_flow_bind(engine, policy_flow->handle_out, child->handle_out);
	*at = pair->next;
	unload(engine, pair);
	free(pair);
}

void flows_drop_tunnel(struct ike_engine *engine, uint64_t tunnel)
{
	struct flow_pair **at = &engine->flows.sa_flows;

	while (*at) {
		struct flow_pair *pair = *at;

		if (pair->tunnel != tunnel) {
			at = &pair->next;
			continue;
		}
		*at = pair->next;
		unload(engine, pair);
		free(pair);
	}
	for (struct flow_pair *pair = engine->flows.policy_flows; pair; pair = pair->next)
		if (pair->tunnel == tunnel) {
			pair->tunnel = 0;
			pair->bound_out = 0;
			hand_over(engine, pair);
		}
}
