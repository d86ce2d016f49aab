#include "dataplane/control_private.h"

#include <string.h>

static struct spd_sa_ref spd_ref(const struct sa_hot *hot)
{
	return (struct spd_sa_ref){.index = hot->id, .generation = hot->generation};
}

/*
 * An SA that is being replaced goes on until its successor may be used: the responder of a rekey
 * holds the new one back until the peer uses it (RFC 7296 2.8).
 */
static enum spd_sa_rank rank_of(const struct sa_obj *sa)
{
	if (sa->is_held || (sa->why_told & IPC_SA_WHY_HARD))
		return SPD_SA_UNUSABLE;
	return sa->is_dying ? SPD_SA_LAST_RESORT : SPD_SA_USABLE;
}

/* The newest outbound manual SA to the flow's peer serves it. */
static void newest_bind(struct control *c, uint32_t owner, const struct ipc_flow *f)
{
	struct sa_obj *sa, *best = NULL;
	size_t cursor = 0;

	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->owner != owner || sa->direction != IPC_DIR_OUT || !sa->hot ||
			sa->is_deleting || !addr_equal(&sa->hot->cold->tunnel_dst, &f->peer))
			continue;
		if (!best || sa->hot->generation > best->hot->generation)
			best = sa;
	}
	if (best && spd_flow_bind(c->cfg.dp->spd, owner, &f->flow, best->ref.handle,
			    spd_ref(best->hot), rank_of(best)) < 0)
		log_warn(c->cfg.log, "no memory to bind a flow");
}

uint32_t control_flow_add(struct control *c, uint32_t owner, const struct ipc_flow *f)
{
	struct ipc_flow flow = *f;
	int rc;

	flow.srcid[IPC_ID_LEN - 1] = flow.dstid[IPC_ID_LEN - 1] = '\0';
	rc = spd_flow_add(c->cfg.dp->spd, owner, &flow);
	if (rc < 0)
		return (uint32_t)-rc;
	c->flows_dirty = true;
	if ((flow.flags & IPC_FLOW_F_AUTOBIND) && flow.direction == IPC_DIR_OUT)
		newest_bind(c, owner, &flow);
	return IPC_OK;
}

uint32_t control_flow_bind(struct control *c, uint32_t owner, const struct ipc_flow_bind *b)
{
	struct sa_obj *sa;
	uint32_t error = control_sa_get(c, owner, &b->sa, &sa);
	int rc;

	if (error != IPC_OK)
		return error;
	if (sa->direction != IPC_DIR_OUT)
		return IPC_E_INVALID;
	if (!sa->hot)
		return IPC_E_BUSY; /* its selectors are still coming */
	rc = spd_flow_bind(
		c->cfg.dp->spd, owner, &b->flow, sa->ref.handle, spd_ref(sa->hot), rank_of(sa));
	c->flows_dirty = true;
	return rc < 0 ? (uint32_t)-rc : IPC_OK;
}

struct autobind {
	struct control *c;
	struct sa_obj *sa;
};

static void bind_one(void *ctx, const struct ipc_flow *flow)
{
	struct autobind *a = ctx;

	(void)!spd_flow_bind(a->c->cfg.dp->spd, a->sa->owner, &flow->flow, a->sa->ref.handle,
		spd_ref(a->sa->hot), rank_of(a->sa));
}

void control_flow_autobind(struct control *c, struct sa_obj *sa)
{
	struct autobind a = {.c = c, .sa = sa};

	spd_autobind_each(c->cfg.dp->spd, sa->owner, &sa->hot->cold->tunnel_dst, bind_one, &a);
	c->flows_dirty = true;
}

void control_sa_set_usable(struct control *c, struct sa_obj *sa)
{
	if (sa->direction != IPC_DIR_OUT)
		return;
	spd_sa_set_rank(c->cfg.dp->spd, sa->owner, sa->ref.handle, rank_of(sa));
	c->flows_dirty = true;
}
