#include "dataplane/control_private.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dataplane/esp_out.h"
#include "ipc/view.h"

/* Inbound SAs first, then outbound ones, by their SAD index, then manual inbound ones. */
static uint32_t view_index(const struct control *c, const struct sa_hot *hot)
{
	uint32_t index = hot->id & ~SA_ID_OUT, n = 1u << c->cfg.index_bits;

	/* A manual one's index is n and more: behind the outbound ones. */
	return hot->id & SA_ID_OUT || index >= n ? n + index : index;
}

static enum view_sa_state view_state(const struct sa_obj *sa)
{
	if (sa->is_deleting)
		return VIEW_SA_DRAINING;
	if (sa->is_held)
		return VIEW_SA_LARVAL;
	switch (sa_state(sa->hot)) {
	case SA_LIVE:
		return sa->why_told & IPC_SA_WHY_SOFT ? VIEW_SA_DYING : VIEW_SA_MATURE;
	case SA_DYING:
		return VIEW_SA_DYING;
	case SA_DEAD:
		return VIEW_SA_DEAD;
	default:
		return VIEW_SA_LARVAL;
	}
}

void control_ids_copy(const struct sa_cold *cold, char srcid[IPC_ID_LEN], char dstid[IPC_ID_LEN])
{
	snprintf(srcid, IPC_ID_LEN, "%s", cold->srcid ? cold->srcid : "");
	snprintf(dstid, IPC_ID_LEN, "%s", cold->dstid ? cold->dstid : "");
}

void control_view_sa(struct control *c, const struct sa_obj *sa)
{
	const struct sa_listed *a = &sa->listed;
	struct view_sa v;

	if (!c->cfg.view || !sa->hot)
		return;
	memset(&v, 0, sizeof(v));
	v.state = (uint8_t)view_state(sa);
	v.direction = sa->direction;
	v.mode = sa->mode;
	v.is_orphan = owner_set_has(&c->away, sa->owner);
	v.owner_kind = sa->owner >> 16;
	v.engine = sa->owner & 0xffff;
	v.handle = sa->ref.handle;
	v.partner = sa->partner;
	v.ike = sa->ike;
	v.path = sa->path->conf.path.handle;
	v.generation = sa->ref.generation;
	v.spi = sa->spi;
	v.flags = sa->flags;
	v.path_flags = sa->path->conf.flags;
	v.local = sa->path->conf.local;
	v.remote = sa->path->conf.remote;
	v.tunnel_src = sa->hot->cold->tunnel_src;
	v.tunnel_dst = sa->hot->cold->tunnel_dst;
	v.encr_id = a->encr_id;
	v.encr_key_len = a->encr_key_len;
	v.integ_id = a->integ_id;
	v.n_selectors = sa->n_pairs;
	v.replay_window = sa->direction == IPC_DIR_IN ? sa->hot->replay.window : 0;
	v.worker = sad_owner(c->cfg.dp->sad, sa->hot);
	v.mtu = sa->direction == IPC_DIR_OUT ? sa_inner_mtu(sa->hot, 20) : 0;
	v.soft_s = a->soft_s;
	v.hard_s = a->hard_s;
	v.soft_bytes = a->soft_bytes;
	v.hard_bytes = a->hard_bytes;
	v.installed_s = sa->added_epoch_s;
	for (uint16_t i = 0; i < sa->n_pairs && i < VIEW_SELECTORS; i++)
		v.selectors[i] = (struct ipc_selector){
			.src = sa->pairs[i].src, .dst = sa->pairs[i].dst};
	control_ids_copy(sa->hot->cold, v.srcid, v.dstid);
	view_set_sa(c->cfg.view, view_index(c, sa->hot), &v);
}

void control_view_sa_gone(struct control *c, const struct sa_obj *sa)
{
	if (c->cfg.view && sa->hot)
		view_clear_sa(c->cfg.view, view_index(c, sa->hot));
}

/* From so many flows on their hits are copied every HITS_SLOW_S seconds only. */
#define HITS_EACH_SECOND 65536
#define HITS_SLOW_S 16

struct flow_listing {
	struct control *c;
	uint64_t *hits; /* main's row of the view: sums over the workers */
};

static void hits_show(void *ctx, const struct spd_flow_view *f)
{
	struct flow_listing *l = ctx;

	l->hits[f->place] = f->packets;
}

void control_view_hits(struct control *c)
{
	struct flow_listing l = {.c = c};

	if (!c->cfg.view || (spd_count(c->cfg.dp->spd) > HITS_EACH_SECOND &&
				    control_now_s(c) % HITS_SLOW_S != 0))
		return;
	l.hits = view_flow_hits_at(c->cfg.view, c->cfg.dp->n_workers);
	if (l.hits)
		spd_each(c->cfg.dp->spd, hits_show, &l);
}

static void flow_show(void *ctx, uint32_t place, const struct spd_flow_view *f)
{
	struct flow_listing *l = ctx;
	struct view_flow v;

	if (!f) {
		view_clear_flow(l->c->cfg.view, place);
		return;
	}
	memset(&v, 0, sizeof(v));
	v.is_used = 1;
	v.owner_kind = f->owner >> 16;
	v.engine = f->owner & 0xffff;
	v.order = f->registration;
	v.flow = *f->flow;
	if (f->sas) {
		struct sa_hot *hot = NULL;

		v.n_bound = f->sas->n;
		if (f->sas->n_usable)
			hot = sad_by_ref(l->c->cfg.dp->sad,
				(uint64_t)f->sas->sas[0].generation << 32 | f->sas->sas[0].index);
		v.sa_spi = hot ? hot->spi : 0;
		v.sa_handle = hot ? hot->cold->handle : 0;
	}
	if (l->hits)
		l->hits[place] = f->packets;
	view_set_flow(l->c->cfg.view, place, &v);
}

/* What has changed since the last time, not all: there may be a million. */
void control_view_flows(struct control *c)
{
	struct flow_listing l = {.c = c};

	if (!c->cfg.view)
		return;
	l.hits = view_flow_hits_at(c->cfg.view, c->cfg.dp->n_workers);
	spd_changes_each(c->cfg.dp->spd, flow_show, &l);
}

static void counters_copy(
	struct control *c, const struct sa_hot *hot, uint64_t epoch_minus_monotonic)
{
	struct view_sa_counters *v = view_sa_counters_at(c->cfg.view, view_index(c, hot));
	const struct sa_cold *cold = hot->cold;

	if (!v)
		return;
	v->packets = hot->packets;
	v->bytes = hot->bytes;
	v->sequence = hot->flags & SA_F_OUT ? hot->seqno.next - 1 : hot->replay.top;
	v->last_use_s = hot->last_use_s ? hot->last_use_s + epoch_minus_monotonic : 0;
	v->drop_replay = (uint64_t)cold->drops[DROP_REPLAY] + cold->drops[DROP_REPLAY_HELD];
	v->drop_icv = cold->drops[DROP_BAD_ICV];
	v->drop_selectors = cold->drops[DROP_TS_MISMATCH];
	v->drop_other = hot->n_dropped - v->drop_replay - v->drop_icv - v->drop_selectors;
}

void control_view_counters(struct control *c)
{
	struct timespec ts;
	struct sa_obj *sa;
	size_t cursor = 0;

	if (!c->cfg.view)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->hot && !sa->is_deleting)
			counters_copy(c, sa->hot, (uint64_t)ts.tv_sec - control_now_s(c));
	}
}
