#include <stdlib.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/*
 * RFC 7296 1.4: HDR, SK {[N,] [D,] ...}  -->   <--  HDR, SK {[D,] ...}
 *
 * Dead peer detection (RFC 7296 2.4): every dpd interval we look at the counters of the children;
 * an empty request goes out if something was sent but nothing came in, or if no IKE message
 * came for DPD_SILENCE_MS. Its retransmissions then decide.
 */
enum { DELETES_MAX = 64, KEEP_AFTER_DELETE_MS = 10 * 1000, CONFIRM_RETRY_MS = 500 };

void informational_send_delete_child(struct ike_sa *sa, struct ike_task *task)
{
	struct child_sa *child = child_by_handle(sa->engine, task->child);
	uint32_t spi_in = child ? child->spi_in : task->spi_in;
	struct ike_builder *b;

	/* RFC 7296 1.4.1: the peer may have deleted it meanwhile. */
	if (!spi_in || (child && (child->sa != sa || child->state == CHILD_LINGER)))
		return;
	if (child && !child_is_known(child, sa->engine->now_ms)) {
		struct ike_task *again = ike_task_add(sa, IKE_TASK_DELETE_CHILD, task->child, NULL);

		if (again)
			again->not_before_ms = sa->engine->now_ms + CONFIRM_RETRY_MS;
		return;
	}
	if (child)
		child->state = CHILD_DELETING;
	b = ike_builder_begin(sa->engine);
	ike_put_delete_esp(b, &spi_in, 1);
	if (ike_request_send(sa, IKE_TASK_DELETE_CHILD, IKE_EXCHANGE_INFORMATIONAL, b) == 0) {
		sa->request.child = task->child;
		sa->request.spi_in = task->spi_in;
	}
}

void informational_want_delete_spi(struct ike_sa *sa, uint32_t spi_in)
{
	/* The SPI's number stands for a handle, so that two such tasks differ. */
	struct ike_task *task = ike_task_add(sa, IKE_TASK_DELETE_CHILD, spi_in, NULL);

	if (task)
		task->spi_in = spi_in;
}

void informational_send_delete_ike(struct ike_sa *sa)
{
	struct ike_builder *b = ike_builder_begin(sa->engine);

	sa_log(sa, LOG_LVL_INFO, "ikev2_ikesa_delete: sent delete, closing SA");
	ike_put_delete_ike(b);
	ike_sa_set_state(sa, IKE_SA_CLOSING);
	ike_request_send(sa, IKE_TASK_DELETE_IKE, IKE_EXCHANGE_INFORMATIONAL, b);
}

void informational_send_dpd(struct ike_sa *sa)
{
	struct ike_builder *b = ike_builder_begin(sa->engine);

	sa_log(sa, LOG_LVL_DEBUG, "ikev2_ike_sa_alive: sending alive check");
	sa->engine->stats.dpd_sent++;
	ike_request_send(sa, IKE_TASK_DPD, IKE_EXCHANGE_INFORMATIONAL, b);
}

/* ---- requests --------------------------------------------------------------------------- */

struct deletion {
	bool ike;
	uint32_t answer[DELETES_MAX]; /* our SPIs of the pairs that go */
	size_t n;
};

static void delete_one(struct ike_sa *sa, uint32_t spi, struct deletion *d)
{
	struct child_sa *child = child_by_spi_out(sa, spi);

	if (!child) {
		sa_log(sa, LOG_LVL_DEBUG, "delete of unknown SPI 0x%08x", spi);
		return;
	}
	/* RFC 7296 1.4.1: the answer names the other half of the pair, but not if our own DELETE
	 * for it is on its way. */
	if (child->state != CHILD_DELETING || sa->request.type != IKE_TASK_DELETE_CHILD ||
		sa->request.child != child->handle_in) {
		if (d->n == DELETES_MAX)
			return;
		d->answer[d->n++] = child->spi_in;
	}
	/* RFC 7296 2.8: the peer has moved, so may we. */
	struct child_sa *next = child->replaced_by ? child_by_handle(sa->engine, child->replaced_by)
						   : NULL;

	if (next)
		child_activate(sa->engine, next);
	uint64_t handle = child->handle_in;

	child_remove(sa->engine, child, "received delete");
	child_revive(sa, handle);
}

static void collect_deletes(struct ike_sa *sa, const struct ike_message *m, struct deletion *d)
{
	const struct ike_payload *p = NULL;

	while ((p = ike_message_next(m, p, IKE_PAYLOAD_DELETE)) != NULL) {
		if (p->del.protocol == IKE_PROTO_IKE)
			d->ike = true;
		if (p->del.protocol != IKE_PROTO_ESP)
			continue;
		for (uint16_t i = 0; i < p->del.n_spis; i++)
			delete_one(sa, ike_delete_spi(&p->del, i), d);
	}
}

/*
 * RFC 7296 2.21.2: an initiator that could not authenticate us says so in a request of its own,
 * after our answer; 2.21.3: a peer that found no sense in a message of ours. The SA is gone there.
 */
static bool peer_gave_up(const struct ike_message *m)
{
	const struct ike_payload *p = NULL;

	while ((p = ike_message_next(m, p, IKE_PAYLOAD_NOTIFY)) != NULL) {
		if (p->notify.type == IKE_N_AUTHENTICATION_FAILED ||
			p->notify.type == IKE_N_INVALID_SYNTAX)
			return true;
	}
	return false;
}

static void log_notifies(struct ike_sa *sa, const struct ike_message *m)
{
	const struct ike_payload *p = NULL;

	while ((p = ike_message_next(m, p, IKE_PAYLOAD_NOTIFY)) != NULL) {
		bool is_error = p->notify.type <= IKE_N_ERROR_LAST;

		sa_log(sa, is_error ? LOG_LVL_WARN : LOG_LVL_DEBUG, "peer notifies %s",
			ike_notify_str(p->notify.type));
	}
}

void informational_request_input(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	const struct ike_message *m = engine->msg;
	struct deletion d = {0};
	uint32_t message_id = m->hdr.message_id;
	bool gave_up = peer_gave_up(m);

	log_notifies(sa, m);
	collect_deletes(sa, m, &d);
	struct ike_builder *b = ike_builder_begin(engine);

	/* RFC 7296 1.4.1: a deleted IKE SA takes its children, its answer is empty. */
	if (d.n && !d.ike && !gave_up)
		ike_put_delete_esp(b, d.answer, d.n);
	ike_response_send(sa, IKE_EXCHANGE_INFORMATIONAL, message_id, b, 0);
	if ((!d.ike && !gave_up) || sa->state == IKE_SA_CLOSED)
		return;
	if (d.ike)
		sa_log(sa, LOG_LVL_INFO, "ikev2_ikesa_recv_delete: received delete");
	/* A collision of IKE rekeys ends with the peer's own SA deleted: then ours stands. */
	rekey_ike_deleted(sa);
	ike_sa_wind_down(sa);
	ike_request_done(sa);
	ike_task_remove_all(sa);
	ike_sa_set_state(sa, IKE_SA_CLOSING);
	sa->close_reason = !d.ike            ? "the peer reports a fatal error"
			   : sa->is_replaced ? "SA rekeyed"
					     : "received delete";
	/* It stays a moment to answer repeats. */
	sa->close_at_ms = engine->now_ms + KEEP_AFTER_DELETE_MS;
}

/* ---- responses -------------------------------------------------------------------------- */

void informational_response_input(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	enum ike_task_type type = sa->request.type;
	uint64_t handle = sa->request.child;
	uint32_t spi_in = sa->request.spi_in;

	log_notifies(sa, engine->msg);
	ike_request_done(sa);
	if (type == IKE_TASK_DELETE_IKE) {
		ike_sa_close(sa, sa->close_reason ? sa->close_reason : "deleting SA");
		return;
	}
	if (type != IKE_TASK_DELETE_CHILD)
		return;
	if (spi_in)
		espd_spi_release(engine, spi_in);
	struct child_sa *child = spi_in ? NULL : child_by_handle(engine, handle);

	if (child && child->sa == sa)
		child_remove(engine, child, "deleted");
}

/* ---- liveness --------------------------------------------------------------------------- */

void dpd_timeout(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	uint32_t interval_s = engine->config ? engine->config->dpd_interval_s : 0;

	sa->dpd_at_ms = interval_s ? engine->now_ms + interval_s * 1000ull : UINT64_MAX;
	if (!interval_s)
		return;
	if (engine->now_ms - sa->last_received_ms >= DPD_SILENCE_MS &&
		sa->request.type == IKE_TASK_NONE)
		ike_task_add(sa, IKE_TASK_DPD, 0, NULL);
	for (struct child_sa *child = sa->children; child; child = child->next)
		if (child->state == CHILD_ACTIVE && child->in_loaded && child->out_loaded) {
			espd_sa_query(engine, child->handle_in);
			espd_sa_query(engine, child->handle_out);
		}
}

void dpd_state_input(
	struct ike_engine *engine, struct child_sa *child, const struct ipc_sa_state *state)
{
	struct ike_sa *sa = child->sa;

	(void)engine;
	if (state->handle == child->handle_in) {
		child->in_moved = state->packets != child->last_in_packets;
		child->last_in_packets = state->packets;
		child->in_idle_s = state->idle_s;
		return;
	}
	/* The outbound SA was asked about last: both are known now. */
	bool out_moved = state->packets != child->last_out_packets;

	child->last_out_packets = state->packets;
	if (!out_moved || child->in_moved || !ike_sa_is_live(sa) ||
		sa->request.type != IKE_TASK_NONE)
		return;
	sa_log(sa, LOG_LVL_DEBUG, "incoming CHILD SA spi 0x%08x last used %u second(s) ago",
		child->spi_in, child->in_idle_s);
	ike_task_add(sa, IKE_TASK_DPD, 0, NULL);
	ike_tasks_run(sa);
	ike_sa_update_timer(sa);
}
