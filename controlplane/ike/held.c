#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/flow_table.h"

/*
 * What an earlier engine left in espd: SAs, and the flows that they serve. We have no keys for
 * them; they carry traffic until the same identity has new ones, or their lifetime ends. A
 * policy's flow of ours takes the SAs of the flow that it equals; flows that no policy has (what
 * was narrowed, the addresses of road warriors) are kept as long as their SA.
 */

struct held_sa {
	struct held_sa *next, *prev;
	struct multi_link by_peer, by_dstid, by_partner;
	struct held_flow *flows; /* outbound ones that it serves */
	uint64_t handle, partner;
	uint32_t generation;
	struct ip_addr peer;
	char dstid[IPC_ID_LEN];
};

struct held_flow {
	struct held_flow *next; /* of its SA, or of those without one */
	struct multi_link by_selectors;
	struct held_sa *sa;
	struct ipc_flow out, in; /* in.flow.handle 0: there is none */
	bool is_policys;         /* a flow of ours has taken its place */
};

static uint64_t dstid_key(const struct ike_engine *engine, const char *dstid)
{
	return engine_hash(engine, dstid, strlen(dstid));
}

static int index_sa(struct ike_engine *engine, struct held_sa *h)
{
	struct held *held = &engine->held;

	if (handle_map_insert(&held->by_handle, 0, h->handle, h) < 0 ||
		multi_map_add(&held->by_peer, engine_hash_addr(engine, &h->peer), &h->by_peer) <
			0 ||
		multi_map_add(&held->by_dstid, dstid_key(engine, h->dstid), &h->by_dstid) < 0)
		return -1;
	return h->partner ? multi_map_add(&held->by_partner, h->partner, &h->by_partner) : 0;
}

void held_input(struct ike_engine *engine, const struct ipc_held *in)
{
	struct held *held = &engine->held;

	if (!in->handle || handle_map_find(&held->by_handle, 0, in->handle))
		return;
	struct held_sa *h = calloc(1, sizeof(*h));

	if (!h) {
		engine->out->no_memory = true;
		return;
	}
	h->handle = in->handle;
	h->partner = in->partner;
	h->generation = in->generation;
	h->peer = in->direction == IPC_DIR_OUT ? in->tunnel_dst : in->tunnel_src;
	memcpy(h->dstid, in->dstid, sizeof(h->dstid));
	h->dstid[sizeof(h->dstid) - 1] = 0;
	if (index_sa(engine, h) < 0)
		engine->out->no_memory = true;
	h->next = held->first;
	if (h->next)
		h->next->prev = h;
	held->first = h;
	engine->stats.orphans_adopted++;
}

/* ---- flows -------------------------------------------------------------------------------- */

/* As a flow of ours would be that has the same selectors. */
static struct flow_pair as_pair(const struct ipc_flow *flow)
{
	return (struct flow_pair){.src = flow->src,
		.negotiated_src = flow->src,
		.dst = flow->dst,
		.src_port = flow->src_port,
		.dst_port = flow->dst_port,
		.proto = flow->proto};
}

/* The inbound flow of a pair follows the outbound one and has its handle and one more. */
static void add_inbound(struct held *held, const struct ipc_flow *flow)
{
	struct held_flow *out = handle_map_find(&held->by_flow, 0, flow->flow.handle - 1);

	if (out)
		out->in = *flow;
}

void held_flow_input(struct ike_engine *engine, const struct ipc_held_flow *in)
{
	struct held *held = &engine->held;
	struct held_sa *sa = handle_map_find(&held->by_handle, 0, in->sa);

	if (in->flow.direction == IPC_DIR_IN) {
		add_inbound(held, &in->flow);
		return;
	}
	/* Without an SA it is of no use to anybody: a policy's own flow stands for it. */
	if (!sa || in->flow.direction != IPC_DIR_OUT || in->flow.type == IPC_FLOW_DENY ||
		handle_map_find(&held->by_flow, 0, in->flow.flow.handle))
		return;
	struct held_flow *f = calloc(1, sizeof(*f));
	struct flow_pair like = as_pair(&in->flow);

	if (!f || handle_map_insert(&held->by_flow, 0, in->flow.flow.handle, f) < 0) {
		engine->out->no_memory = true;
		free(f);
		return;
	}
	f->out = in->flow;
	f->sa = sa;
	f->next = sa->flows;
	sa->flows = f;
	if (multi_map_add(&held->by_selectors, flow_pair_key(engine, &like, 0), &f->by_selectors) <
		0)
		engine->out->no_memory = true;
}

static bool same_packets(const struct flow_pair *pair, const struct held_flow *f)
{
	struct flow_pair like = as_pair(&f->out);

	like.negotiated_src = pair->negotiated_src;
	return flow_pair_equal(pair, &like);
}

/* The policy's flow goes on with the SAs that the equal flows had. */
static void bind_policy_flow(struct ike_engine *engine, const struct flow_pair *pair)
{
	const struct multi_map *map = &engine->held.by_selectors;
	struct flow_pair like = *pair;

	like.negotiated_src = like.src; /* espd knows nothing of `from A (B)` */
	for (struct multi_link *at = multi_map_first(map, flow_pair_key(engine, &like, 0)); at;
		at = multi_map_next(map, at)) {
		struct held_flow *f = multi_object(at, struct held_flow, by_selectors);

		if (!same_packets(pair, f))
			continue;
		f->is_policys = true;
		espd_held_bind(engine, pair->handle_out, f->sa->handle, f->sa->generation);
	}
}

void held_push_flows(struct ike_engine *engine)
{
	if (!engine->held.first || !engine->is_coupled)
		return;
	for (const struct held_sa *h = engine->held.first; h; h = h->next)
		for (struct held_flow *f = h->flows; f; f = f->next)
			f->is_policys = false;
	for (const struct flow_pair *pair = engine->flows.policy_flows.first; pair;
		pair = pair->next)
		if (pair->is_loaded && !pair->bound_out) {
			bind_policy_flow(engine, pair);
			engine_flush(engine);
		}
	for (const struct held_sa *h = engine->held.first; h; h = h->next) {
		engine_flush(engine);
		for (const struct held_flow *f = h->flows; f; f = f->next)
			if (!f->is_policys) {
				espd_held_flow_add(engine, &f->out);
				if (f->in.flow.handle)
					espd_held_flow_add(engine, &f->in);
			}
	}
}

void held_keep_sas(struct ike_engine *engine)
{
	for (const struct held_sa *h = engine->held.first; h; h = h->next) {
		espd_held_keep(engine, h->handle, h->generation);
		engine_flush(engine);
	}
}

/* ---- their end ---------------------------------------------------------------------------- */

static void free_flow(struct ike_engine *engine, struct held_flow *f, bool tell)
{
	if (tell && !f->is_policys) {
		espd_flow_delete(engine, f->out.flow.handle);
		if (f->in.flow.handle)
			espd_flow_delete(engine, f->in.flow.handle);
	}
	handle_map_remove(&engine->held.by_flow, 0, f->out.flow.handle);
	multi_map_remove(&engine->held.by_selectors, &f->by_selectors);
	free(f);
}

static void end(struct ike_engine *engine, struct held_sa *h, bool tell)
{
	struct held *held = &engine->held;

	if (tell) {
		espd_held_delete(engine, h->handle, h->generation);
		engine->stats.orphans_deleted++;
	}
	while (h->flows) {
		struct held_flow *f = h->flows;

		h->flows = f->next;
		free_flow(engine, f, tell);
	}
	handle_map_remove(&held->by_handle, 0, h->handle);
	multi_map_remove(&held->by_peer, &h->by_peer);
	multi_map_remove(&held->by_dstid, &h->by_dstid);
	multi_map_remove(&held->by_partner, &h->by_partner);
	*(h->prev ? &h->prev->next : &held->first) = h->next;
	if (h->next)
		h->next->prev = h->prev;
	free(h);
}

void held_delete_identity(struct ike_engine *engine, const char *dstid)
{
	const struct multi_map *map = &engine->held.by_dstid;
	struct multi_link *at = multi_map_first(map, dstid_key(engine, dstid)), *next;

	for (; at; at = next) {
		struct held_sa *h = multi_object(at, struct held_sa, by_dstid);

		next = multi_map_next(map, at);
		if (strcmp(h->dstid, dstid) == 0)
			end(engine, h, true);
	}
}

void held_expired(struct ike_engine *engine, uint64_t handle)
{
	struct held_sa *h = handle_map_find(&engine->held.by_handle, 0, handle);

	if (h)
		end(engine, h, true);
	h = multi_object(
		multi_map_first(&engine->held.by_partner, handle), struct held_sa, by_partner);
	if (h)
		end(engine, h, true);
}

bool held_has_peer(const struct ike_engine *engine, const struct ip_addr *peer)
{
	const struct multi_map *map = &engine->held.by_peer;
	struct multi_link *at = multi_map_first(map, engine_hash_addr(engine, peer));

	for (; at; at = multi_map_next(map, at))
		if (addr_equal(&multi_object(at, struct held_sa, by_peer)->peer, peer))
			return true;
	return false;
}

void held_delete_all(struct ike_engine *engine)
{
	while (engine->held.first) {
		end(engine, engine->held.first, true);
		engine_flush(engine);
	}
}

void held_free(struct ike_engine *engine)
{
	struct held *held = &engine->held;

	while (held->first)
		end(engine, held->first, false);
	handle_map_fini(&held->by_handle);
	handle_map_fini(&held->by_flow);
	multi_map_fini(&held->by_peer);
	multi_map_fini(&held->by_dstid);
	multi_map_fini(&held->by_partner);
	multi_map_fini(&held->by_selectors);
	*held = (struct held){0};
}
