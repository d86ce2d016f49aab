#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/*
 * Either side may die. espd gone: nothing is sent and exchanges stand still. espd back: all paths,
 * SAs and flows are pushed before anything is sent; what it refuses is rekeyed. Ourselves
 * gone: see held.c.
 */

/* ---- espd comes and goes ------------------------------------------------------------------ */

static uint64_t later(uint64_t at_ms, uint64_t by_ms)
{
	return at_ms == UINT64_MAX ? at_ms : at_ms + by_ms;
}

/* What stood still goes on with the time that it had left. */
static void shift_timers(struct ike_engine *engine, struct ike_sa *sa, uint64_t by_ms)
{
	uint64_t interval_ms = engine->config ? engine->config->dpd_interval_s * 1000ull : 0;

	sa->request.deadline_ms = later(sa->request.deadline_ms, by_ms);
	sa->half_open_until_ms = later(sa->half_open_until_ms, by_ms);
	sa->close_at_ms = later(sa->close_at_ms, by_ms);
	sa->wait_deadline_ms = later(sa->wait_deadline_ms, by_ms);
	sa->response_until_ms += by_ms;
	sa->last_received_ms += by_ms;
	/* Probes of many SAs are spread out. */
	if (sa->dpd_at_ms != UINT64_MAX && interval_ms)
		sa->dpd_at_ms = engine->now_ms + 1000 + engine_random_u32(engine) % interval_ms;
}

static void push_sa(struct ike_engine *engine, struct ike_sa *sa)
{
	bool has_children = false;

	for (struct child_sa *child = sa->children; child; child = child->next)
		has_children = has_children || child->state != CHILD_LINGER;
	sa->has_path = has_children && sa->owns_tunnel && engine->is_coupled;
	if (sa->has_path)
		espd_path_set(engine, sa);
	for (struct child_sa *child = sa->children, *next; child; child = next) {
		next = child->next;
		if (child->state == CHILD_LINGER) {
			child_free(engine, child);
			continue;
		}
		child->in_loaded = child->out_loaded = sa->has_path;
		child->last_in_packets = child->last_out_packets = 0;
		if (!sa->has_path)
			continue;
		child->in_command = espd_sa_add(engine, sa, child, IPC_DIR_IN, IPC_SA_RESTORE);
		espd_sa_add(engine, sa, child, IPC_DIR_OUT,
			IPC_SA_RESTORE | (child->is_held ? IPC_SA_HOLD_OUT : 0));
		engine->stats.restored++;
	}
}

static void bind_all(struct ike_engine *engine)
{
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next) {
		for (struct child_sa *child = sa->children; child; child = child->next)
			if (child->state == CHILD_ACTIVE && child->out_loaded)
				flows_bind_child(engine, child);
		engine_flush(engine);
	}
}

/*
 * espd forwards nothing until RESYNC_END, so that must not come before the flows: not before
 * the configuration is there, nor before we know what espd holds.
 */
void resync_if_ready(struct ike_engine *engine)
{
	if (!engine->is_attached || engine->is_transport_up || !engine->config ||
		!engine->are_held_known)
		return;
	espd_simple(engine, IPC_CMD_RESYNC_BEGIN);
	engine->n_restoring = 0;
	/* A resync ends what was not named again. */
	held_keep_sas(engine);
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next) {
		push_sa(engine, sa);
		engine_flush(engine);
	}
	flows_push(engine);
	bind_all(engine);
	held_push_flows(engine);
	espd_simple(engine, IPC_CMD_RESYNC_END);
	espd_lease_want(engine);
	engine->is_transport_up = true;

	uint64_t by_ms = engine->down_since_ms ? engine->now_ms - engine->down_since_ms : 0;

	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		shift_timers(engine, sa, by_ms);
		ike_tasks_run(sa);
		ike_sa_update_timer(sa);
	}
	if (!engine->was_up)
		initiate_all_active(engine, ACTIVE_FIRST_MS);
	engine->was_up = true;
}

void transport_up(struct ike_engine *engine)
{
	if (engine->is_attached)
		return;
	engine->is_attached = true;
	if (!engine->are_held_known)
		espd_simple(engine, IPC_CMD_HELD_QUERY);
	resync_if_ready(engine);
}

void held_end(struct ike_engine *engine)
{
	engine->are_held_known = true;
	/* Which of their peers have another SA by now? */
	if (engine->p.n_engines > 1 && engine->held.first)
		(void)ike_action_add(engine->out, IKE_ACT_SESSION_QUERY);
	resync_if_ready(engine);
}

void transport_down(struct ike_engine *engine)
{
	if (!engine->is_attached)
		return;
	if (engine->is_transport_up)
		engine->down_since_ms = engine->now_ms;
	engine->is_attached = engine->is_transport_up = false;
	/* Acknowledgements and SPIs of the old espd are void. */
	handle_map_fini(&engine->command_owner);
	engine->spis = (struct spi_pool){.index_bits = engine->spis.index_bits};
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next)
		for (struct child_sa *child = sa->children; child; child = child->next)
			child->in_loaded = child->out_loaded = false;
}

/* ---- ikectl couple, decouple; ipsecctl -F ------------------------------------------------- */

void decouple(struct ike_engine *engine)
{
	if (!engine->is_coupled)
		return;
	held_delete_all(engine); /* without their keys they cannot be loaded again */
	flows_unload(engine);
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next) {
		for (struct child_sa *child = sa->children, *next; child; child = next) {
			next = child->next;
			if (child->out_loaded)
				espd_sa_delete(engine, child->handle_out);
			if (child->in_loaded)
				espd_sa_delete(engine, child->handle_in);
			child->in_loaded = child->out_loaded = false;
			if (child->state == CHILD_LINGER)
				child_free(engine, child);
		}
		if (sa->has_path)
			espd_path_delete(engine, sa);
		sa->has_path = false;
	}
	engine->is_coupled = false;
}

void couple(struct ike_engine *engine)
{
	if (engine->is_coupled)
		return;
	engine->is_coupled = true;
	/* espd has no sequence numbers of deleted SAs any more: it will ask for new keys. */
	if (engine->is_transport_up)
		for (struct ike_sa *sa = engine->sas; sa; sa = sa->next)
			push_sa(engine, sa);
	flows_push(engine);
	bind_all(engine);
}

void flushed_input(struct ike_engine *engine)
{
	flows_mark_unloaded(engine);
	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		for (struct child_sa *child = sa->children; child; child = child->next)
			child->in_loaded = child->out_loaded = false;
		sa->has_path = false;
		ike_sa_delete(sa, "flushed");
	}
	held_free(engine);
}
