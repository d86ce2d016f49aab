#include <stdlib.h>
#include <string.h>

#include "dataplane/control_private.h"

/*
 * What an owner that went away has left: told to whom comes in its place. First its SAs, then the
 * flows of its policies and SAs, each outbound one before its inbound one.
 */

static void held_fill(const struct sa_obj *sa, struct ipc_held *h)
{
	memset(h, 0, sizeof(*h));
	h->handle = sa->ref.handle;
	h->generation = sa->ref.generation;
	h->partner = sa->partner;
	h->ike = sa->ike;
	h->spi = sa->spi;
	h->direction = sa->direction;
	h->mode = sa->mode;
	h->tunnel_src = sa->hot->cold->tunnel_src;
	h->tunnel_dst = sa->hot->cold->tunnel_dst;
	control_ids_copy(sa->hot->cold, h->srcid, h->dstid);
}

/* False: no room now. */
static bool held_sas(struct control *c, struct held_cursor *held)
{
	for (;;) {
		size_t before = held->at;
		struct sa_obj *sa = handle_map_next(c->sas, &held->at);
		struct ipc_held h;

		if (!sa)
			return true;
		if (sa->owner != held->owner || !sa->hot || sa->is_deleting)
			continue;
		held_fill(sa, &h);
		if (c->ops->event(c->ops->ctx, held->owner, IPC_EVENT_HELD, &h) < 0) {
			held->at = before;
			return false;
		}
	}
}

static uint64_t serving_sa(const struct control *c, const struct spd_flow_view *view)
{
	if (!view->sas || view->sas->n == 0)
		return 0;
	const struct spd_sa_ref *ref = &view->sas->sas[0];
	const struct sa_hot *hot = sad_by_ref(
		c->cfg.dp->sad, (uint64_t)ref->generation << 32 | ref->index);

	return hot ? hot->cold->handle : 0;
}

struct held_note {
	struct control *c;
	struct held_cursor *held;
};

static void flow_note(void *ctx, const struct spd_flow_view *view)
{
	struct held_note *note = ctx;
	struct held_cursor *held = note->held;

	if (view->owner != held->owner)
		return;
	if (held->n_flows == held->cap_flows) {
		size_t cap = held->cap_flows ? held->cap_flows * 2 : 64;
		struct ipc_held_flow *flows = realloc(held->flows, cap * sizeof(*flows));

		if (!flows) {
			held->no_memory = true;
			return;
		}
		held->flows = flows;
		held->cap_flows = cap;
	}
	struct ipc_held_flow *h = &held->flows[held->n_flows++];

	memset(h, 0, sizeof(*h));
	h->flow = *view->flow;
	h->sa = serving_sa(note->c, view);
}

static int flow_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct ipc_held_flow *)a)->flow.flow.handle;
	uint64_t y = ((const struct ipc_held_flow *)b)->flow.flow.handle;

	return (x > y) - (x < y);
}

static bool held_flows(struct control *c, struct held_cursor *held)
{
	for (; held->at_flow < held->n_flows; held->at_flow++)
		if (c->ops->event(c->ops->ctx, held->owner, IPC_EVENT_HELD_FLOW,
			    &held->flows[held->at_flow]) < 0)
			return false;
	return true;
}

static void cursor_free(struct held_cursor *held)
{
	free(held->flows);
	free(held);
}

/* The listings go on as events find room. */
void control_held_continue(struct control *c)
{
	for (struct held_cursor **at = &c->held, *held; (held = *at) != NULL;) {
		if (!held_sas(c, held) || !held_flows(c, held) ||
			c->ops->event(c->ops->ctx, held->owner, IPC_EVENT_HELD_END, NULL) < 0) {
			at = &held->next;
			continue;
		}
		*at = held->next;
		cursor_free(held);
	}
}

void control_held_stop(struct control *c, uint32_t owner)
{
	for (struct held_cursor **at = &c->held, *held; (held = *at) != NULL;) {
		if (owner && held->owner != owner) {
			at = &held->next;
			continue;
		}
		*at = held->next;
		cursor_free(held);
	}
}

uint32_t control_held_query(struct control *c, uint32_t owner)
{
	struct held_cursor *held;
	struct held_note note = {.c = c};

	for (held = c->held; held; held = held->next) {
		if (held->owner == owner)
			return IPC_E_BUSY;
	}
	held = calloc(1, sizeof(*held));
	if (!held)
		return IPC_E_FULL;
	held->owner = owner;
	note.held = held;
	spd_each(c->cfg.dp->spd, flow_note, &note);
	if (held->no_memory) {
		cursor_free(held);
		return IPC_E_FULL;
	}
	if (held->n_flows)
		qsort(held->flows, held->n_flows, sizeof(*held->flows), flow_compare);
	held->next = c->held;
	c->held = held;
	control_held_continue(c);
	return IPC_OK;
}
