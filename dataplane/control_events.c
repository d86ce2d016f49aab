#include "dataplane/control_private.h"

#include <string.h>

#include <rte_ring.h>

#include "dataplane/espd_seq.h"
#include "ipc/manual_store.h"

#define EVENTS_A_TURN 256

static uint32_t idle_s(const struct control *c, const struct sa_hot *hot)
{
	if (!hot || hot->last_use_s == 0)
		return UINT32_MAX;
	return control_now_s(c) - hot->last_use_s;
}

static void state_fill(
	struct control *c, const struct sa_obj *sa, uint32_t why, struct ipc_sa_state *s)
{
	memset(s, 0, sizeof(*s));
	s->handle = sa->ref.handle;
	s->generation = sa->ref.generation;
	s->why = why;
	s->packets = sa->hot ? sa->hot->packets : 0;
	s->bytes = sa->hot ? sa->hot->bytes : 0;
	s->idle_s = idle_s(c, sa->hot);
}

uint32_t control_sa_query(
	struct control *c, uint32_t owner, const struct ipc_ref *ref, uint64_t number)
{
	struct ipc_sa_state s;
	struct sa_obj *sa;
	uint32_t error = control_sa_get(c, owner, ref, &sa);

	if (error != IPC_OK)
		return error;
	state_fill(c, sa, IPC_SA_WHY_QUERY, &s);
	s.token = number;
	if (c->ops->event(c->ops->ctx, owner, IPC_EVENT_SA_STATE, &s) < 0)
		return IPC_E_BUSY;
	control_ack(c, owner, number, IPC_OK);
	return CONTROL_LATER;
}

/* What did not find room stays pending and is offered again each second. */
static void pending_offer(struct control *c, struct sa_obj *sa)
{
	struct ipc_nat_change nat;
	struct ipc_sa_state s;

	if (sa->why_pending) {
		state_fill(c, sa, sa->why_pending, &s);
		if (c->ops->event(c->ops->ctx, sa->owner, IPC_EVENT_SA_STATE, &s) == 0)
			sa->why_pending = 0;
	}
	if (sa->is_nat_pending) {
		memset(&nat, 0, sizeof(nat));
		nat.path = sa->path->conf.path.handle;
		nat.remote = sa->hot->cold->nat_seen;
		if (c->ops->event(c->ops->ctx, sa->owner, IPC_EVENT_NAT_CHANGE, &nat) == 0)
			sa->is_nat_pending = false;
	}
}

void control_sa_tell(struct control *c, struct sa_obj *sa, uint32_t why)
{
	if ((sa->why_told & why) == why)
		return;
	sa->why_told |= why;
	sa->why_pending |= why;
	pending_offer(c, sa);
}

static void hard_limit(struct control *c, struct sa_obj *sa)
{
	sa_set_state(sa->hot, SA_DEAD);
	control_sa_tell(c, sa, IPC_SA_WHY_HARD);
	control_sa_set_usable(c, sa);
	control_view_sa(c, sa);
	/* An orphan has nobody who would delete it. */
	for (unsigned int i = 0; i < c->away.n; i++) {
		if (c->away.owner[i] == sa->owner) {
			control_sa_remove(c, sa, 0);
			return;
		}
	}
}

static void block_reserve(struct control *c, struct sa_obj *sa)
{
	uint64_t end = seqno_next_end(&sa->hot->seqno);

	if (sa->direction != IPC_DIR_OUT || !c->cfg.seq)
		return;
	if (espd_seq_reserve(c->cfg.seq, sa->seq_index, end) < 0) {
		log_warn(c->cfg.log, "SA 0x%08x: no more numbers can be reserved", sa->spi);
		return;
	}
	seqno_set_reserved(&sa->hot->seqno, end);
}

/* RFC 7296 2.8: the peer uses the new SA pair, so may we. */
static void first_packet(struct control *c, struct sa_obj *sa)
{
	struct sa_obj *other = control_sa_find(c, sa->owner, sa->partner);

	if (other && other->hot && other->is_held && !other->is_deleting) {
		other->is_held = false;
		sa_set_state(other->hot, SA_LIVE);
		control_sa_set_usable(c, other);
		control_view_sa(c, other);
	}
	if (sa->direction == IPC_DIR_IN)
		control_sa_tell(c, sa, IPC_SA_WHY_FIRST);
}

static void sa_look(struct control *c, struct sa_hot *hot)
{
	struct sa_obj *sa = hot->cold->user;
	uint32_t ev = sa_events_take(hot);

	if (!sa || sa->is_deleting)
		return;
	if (ev & SA_EV_RESERVE)
		block_reserve(c, sa);
	if (ev & SA_EV_FIRST)
		first_packet(c, sa);
	if (ev & SA_EV_NAT) {
		sa->is_nat_pending = true;
		pending_offer(c, sa);
	}
	if (ev & SA_EV_WRAP)
		control_sa_tell(c, sa, IPC_SA_WHY_WRAP);
	if (ev & SA_EV_SOFT)
		control_sa_tell(c, sa, IPC_SA_WHY_SOFT);
	if (ev & SA_EV_HARD)
		hard_limit(c, sa);
}

static void all_look(struct control *c)
{
	struct sa_obj *sa;
	size_t cursor = 0;

	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->hot && !sa->is_deleting)
			sa_look(c, sa->hot);
	}
}

unsigned int control_sa_events(struct control *c, uint64_t now_ms)
{
	unsigned int n = 0;
	bool lost = false;

	c->now_ms = now_ms;
	for (uint16_t i = 0; i < c->cfg.dp->n_workers; i++) {
		struct worker_ctx *w = &c->cfg.dp->workers[i]->ctx;
		void *item;

		while (n < EVENTS_A_TURN && rte_ring_sc_dequeue(w->sa_events, &item) == 0) {
			struct sa_hot *hot = sad_by_ref(c->cfg.dp->sad, (uint64_t)(uintptr_t)item);

			if (hot)
				sa_look(c, hot);
			n++;
		}
		lost |= atomic_exchange(&w->sa_events_lost, 0) != 0;
	}
	if (lost)
		all_look(c);
	return n;
}

static void sa_limits(struct control *c, struct sa_obj *sa)
{
	if (sa->soft_at_ms && c->now_ms >= sa->soft_at_ms)
		control_sa_tell(c, sa, IPC_SA_WHY_SOFT);
	if (sa->hard_at_ms && c->now_ms >= sa->hard_at_ms && !(sa->why_told & IPC_SA_WHY_HARD))
		hard_limit(c, sa);
	control_limits_note(c, sa);
}

void control_limits_note(struct control *c, const struct sa_obj *sa)
{
	if (sa->soft_at_ms && !(sa->why_told & IPC_SA_WHY_SOFT) &&
		sa->soft_at_ms < c->next_limit_ms)
		c->next_limit_ms = sa->soft_at_ms;
	if (sa->hard_at_ms && !(sa->why_told & IPC_SA_WHY_HARD) &&
		sa->hard_at_ms < c->next_limit_ms)
		c->next_limit_ms = sa->hard_at_ms;
}

void control_limits(struct control *c, uint64_t now_ms)
{
	struct sa_obj *sa;
	size_t cursor = 0;

	c->now_ms = now_ms;
	if (now_ms < c->next_limit_ms)
		return;
	c->next_limit_ms = UINT64_MAX;
	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->hot && !sa->is_deleting)
			sa_limits(c, sa);
	}
}

void control_second(struct control *c, uint64_t now_ms)
{
	struct sa_obj *sa;
	size_t cursor = 0;

	c->now_ms = now_ms;
	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->hot && !sa->is_deleting)
			pending_offer(c, sa);
	}
	control_paths_second(c);
	control_punts_second(c);
	control_held_continue(c);
	control_view_counters(c);
	control_view_hits(c);
}

void control_turn_end(struct control *c)
{
	control_held_continue(c);
	if (c->flows_dirty) {
		c->flows_dirty = false;
		control_view_flows(c);
	}
	if (c->is_manual_dirty && c->cfg.manual) {
		c->is_manual_dirty = false;
		if (manual_store_save(c->cfg.manual) < 0)
			log_warn(c->cfg.log, "ipsecctl's entries were not written");
	}
}
