#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/* What espd reports about our SAs. */

static void sa_changed(struct ike_sa *sa)
{
	ike_tasks_run(sa);
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

/* Pushed again after a restart of espd, but without its sequence numbers: new keys, paced. */
static void must_rekey(struct ike_engine *engine, struct child_sa *child)
{
	child->in_loaded = child->out_loaded = false;
	if (child->is_rekeying || child->state != CHILD_ACTIVE || !ike_sa_is_live(child->sa))
		return;
	struct ike_task *task = ike_task_add(
		child->sa, IKE_TASK_REKEY_CHILD, child->handle_in, NULL);

	if (!task)
		return;
	child->is_rekeying = true;
	task->not_before_ms = engine->now_ms +
			      engine->n_restoring++ * 1000ull / engine->p.limits.restore_per_s;
	engine->stats.restore_rekeyed++;
}

static void must_delete(struct ike_engine *engine, struct child_sa *child, uint32_t error)
{
	sa_log(child->sa, LOG_LVL_ERROR, "espd refused SPIs 0x%08x, 0x%08x: error %u",
		child->spi_in, child->spi_out, error);
	child_want_delete(engine, child);
}

void ack_input(struct ike_engine *engine, const struct ipc_ack *ack)
{
	void *value = handle_map_find(&engine->command_owner, 0, ack->number);

	if (value)
		handle_map_remove(&engine->command_owner, 0, ack->number);
	if (!ack->error)
		return;
	if (ack->type == IPC_CMD_SPI_LEASE)
		engine->spis.is_asked = false; /* asked again when an SPI is needed */
	struct child_sa *child = value ? child_by_handle(engine, (uintptr_t)value) : NULL;

	/* An SA of an earlier engine has not outlived a restart of espd. */
	if (ack->error == IPC_E_NO_SUCH && value && !child) {
		held_expired(engine, (uintptr_t)value);
		return;
	}

	/* Deleting what espd has already forgotten is no failure. */
	if (ack->error == IPC_E_NO_SUCH && !value)
		return;
	engine->stats.commands_failed++;
	if (!child) {
		log_warn(engine->p.log, "espd refused command %llu of type %u: error %u",
			(unsigned long long)ack->number, ack->type, ack->error);
		return;
	}
	struct ike_sa *sa = child->sa;

	if (ack->error == IPC_E_REKEY)
		must_rekey(engine, child);
	else
		must_delete(engine, child, ack->error);
	sa_changed(sa);
}

void sa_state_input(struct ike_engine *engine, const struct ipc_sa_state *state)
{
	struct child_sa *child = child_by_handle(engine, state->handle);

	if (!child) {
		if (state->why & IPC_SA_WHY_HARD)
			held_expired(engine, state->handle);
		return;
	}
	struct ike_sa *sa = child->sa;

	if (state->why & IPC_SA_WHY_FIRST && state->handle == child->handle_in)
		child->is_held = child->is_unconfirmed =
			false; /* espd has moved the flows itself (RFC 7296 2.8) */
	if (state->why & IPC_SA_WHY_HARD)
		child_expire(engine, child);
	else if (state->why & (IPC_SA_WHY_SOFT | IPC_SA_WHY_WRAP) && ike_sa_is_live(sa))
		child_want_rekey(engine, child);
	if (state->why & IPC_SA_WHY_QUERY)
		dpd_state_input(engine, child, state);
	sa_changed(sa);
}

void pmtu_input(struct ike_engine *engine, const struct ipc_pmtu_event *event)
{
	struct ike_sa *sa = ike_sa_by_tunnel(engine, event->path);

	if (sa)
		sa->pmtu = event->mtu;
}

void addr_input(struct ike_engine *engine, const struct ipc_addr_event *event)
{
	/* An address that is gone takes its SAs: without MOBIKE the peer cannot be told. Active
	 * policies start again from where a route leads. */
	if (event->added)
		return;
	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		if (addr_equal(&sa->local.addr, &event->addr))
			ike_sa_close(sa, "local address removed");
	}
}
