#include "dataplane/control_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/espd_seq.h"
#include "dataplane/suite.h"
#include "ipc/keys.h"
#include "ipc/spi.h"
#include "ipc/store.h"
#include "shared/secret.h"

struct sa_obj *control_sa_find(struct control *c, uint32_t owner, uint64_t handle)
{
	return handle_map_find(c->sas, owner, handle);
}

uint32_t control_sa_get(
	struct control *c, uint32_t owner, const struct ipc_ref *ref, struct sa_obj **out)
{
	struct sa_obj *sa = control_sa_find(c, owner, ref->handle);

	*out = NULL;
	if (!sa || sa->is_deleting)
		return IPC_E_NO_SUCH;
	if (sa->ref.generation != ref->generation)
		return IPC_E_STALE;
	*out = sa;
	return IPC_OK;
}

static size_t keys_len(const struct sa_obj *sa)
{
	return (size_t)sa->listed.enc_key_len + sa->listed.integ_key_len;
}

void control_sa_obj_free(struct control *c, struct sa_obj *sa)
{
	secrets_free(c->cfg.secrets, sa->add, sizeof(*sa->add));
	secrets_free(c->cfg.secrets, sa->keys, keys_len(sa));
	free(sa->pairs);
	free(sa);
}

static bool is_ipsecctl(uint32_t owner)
{
	return owner == spd_owner(IPC_OWNER_IPSECCTL, 0);
}

static uint32_t sa_check(struct control *c, uint32_t owner, const struct ipc_sa_add *a)
{
	uint32_t index = ipc_spi_index(a->spi, c->cfg.index_bits);

	if (a->sa.handle == 0 || a->spi < IPC_SPI_MIN ||
		(a->direction != IPC_DIR_IN && a->direction != IPC_DIR_OUT) ||
		(a->mode != IPC_MODE_TRANSPORT && a->mode != IPC_MODE_TUNNEL) ||
		a->n_selectors > 2 || a->n_selectors > a->n_selectors_total ||
		a->n_selectors_total > IPC_SELECTORS_MAX || a->enc_key_len > IPC_KEY_MAX ||
		a->integ_key_len > IPC_KEY_MAX)
		return IPC_E_INVALID;
	if (!suite_find(a->encr_id, a->encr_key_len, a->integ_id))
		return IPC_E_UNSUPPORTED;
	if (!handle_map_find(c->paths, owner, a->path))
		return IPC_E_NO_SUCH;
	if (a->direction != IPC_DIR_IN || is_ipsecctl(owner))
		return IPC_OK;
	/* An SA that comes again after our restart brings its index along. */
	if (!lease_is_of(c->leases, index, owner) &&
		(!(a->flags & IPC_SA_RESTORE) || !lease_adopt(c->leases, index, owner)))
		return IPC_E_INVALID;
	return IPC_OK;
}

static struct sa_obj *sa_obj_create(
	struct control *c, uint32_t owner, const struct ipc_sa_add *a, uint64_t number)
{
	struct sa_obj *sa = calloc(1, sizeof(*sa));
	struct timespec ts;

	if (!sa)
		return NULL;
	sa->listed = (struct sa_listed){
		.encr_id = a->encr_id,
		.encr_key_len = a->encr_key_len,
		.integ_id = a->integ_id,
		.enc_key_len = a->enc_key_len,
		.integ_key_len = a->integ_key_len,
		.soft_s = a->soft_s,
		.hard_s = a->hard_s,
		.soft_bytes = a->soft_bytes,
		.hard_bytes = a->hard_bytes,
	};
	sa->add = secrets_alloc(c->cfg.secrets, sizeof(*a));
	sa->keys = secrets_alloc(c->cfg.secrets, keys_len(sa));
	sa->pairs = calloc(a->n_selectors_total ? a->n_selectors_total : 1, sizeof(*sa->pairs));
	if (!sa->add || !sa->keys || !sa->pairs) {
		control_sa_obj_free(c, sa);
		return NULL;
	}
	memcpy(sa->keys, a->enc_key, a->enc_key_len);
	memcpy(sa->keys + a->enc_key_len, a->integ_key, a->integ_key_len);
	clock_gettime(CLOCK_REALTIME, &ts);
	*sa->add = *a;
	sa->owner = owner;
	sa->ref = a->sa;
	sa->partner = a->partner;
	sa->ike = a->ike;
	sa->spi = a->spi;
	sa->flags = a->flags;
	sa->direction = a->direction;
	sa->mode = a->mode;
	sa->is_held = a->direction == IPC_DIR_OUT && (a->flags & IPC_SA_HOLD_OUT);
	sa->path = handle_map_find(c->paths, owner, a->path);
	sa->seq_index = -1;
	sa->added_s = control_now_s(c);
	sa->added_epoch_s = (uint64_t)ts.tv_sec;
	sa->soft_at_ms = a->soft_s ? c->now_ms + a->soft_s * UINT64_C(1000) : 0;
	sa->hard_at_ms = a->hard_s ? c->now_ms + a->hard_s * UINT64_C(1000) : 0;
	sa->number = number;
	return sa;
}

static void pairs_add(struct sa_obj *sa, const struct ipc_selector *s, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		sa->pairs[sa->n_pairs].src = s[i].src;
		sa->pairs[sa->n_pairs++].dst = s[i].dst;
	}
}

uint32_t control_sa_add(
	struct control *c, uint32_t owner, const struct ipc_sa_add *a, uint64_t number)
{
	struct sa_obj *sa = control_sa_find(c, owner, a->sa.handle);
	uint32_t error = sa_check(c, owner, a);

	if (error != IPC_OK)
		return error;
	if (sa && sa->ref.generation == a->sa.generation && sa->hot && !sa->is_deleting) {
		sa->is_old = false; /* resync: it is here already */
		return IPC_OK;
	}
	if (sa)
		return IPC_E_EXISTS;
	sa = sa_obj_create(c, owner, a, number);
	if (!sa || handle_map_insert(c->sas, owner, a->sa.handle, sa) < 0) {
		if (sa)
			control_sa_obj_free(c, sa);
		return IPC_E_FULL;
	}
	sa->path->n_sas++;
	pairs_add(sa, a->selectors, a->n_selectors);
	return sa->n_pairs < a->n_selectors_total ? CONTROL_LATER : control_sa_install(c, sa);
}

uint32_t control_sa_selectors(
	struct control *c, uint32_t owner, const struct ipc_sa_selectors *more, uint64_t number)
{
	struct sa_obj *sa;
	uint32_t error = control_sa_get(c, owner, &more->sa, &sa);
	uint64_t add_number;

	if (error != IPC_OK)
		return error;
	if (sa->hot)
		return IPC_OK; /* resync of one that is here: it has its selectors */
	if (more->n_selectors > IPC_SELECTORS_PER_SLOT ||
		sa->n_pairs + more->n_selectors > sa->add->n_selectors_total)
		return IPC_E_INVALID;
	pairs_add(sa, more->selectors, more->n_selectors);
	if (sa->n_pairs < sa->add->n_selectors_total)
		return IPC_OK;
	add_number = sa->number;
	error = control_sa_install(c, sa); /* acknowledges SA_ADD itself when all is well */
	if (error != CONTROL_LATER)
		control_ack(c, owner, add_number, error);
	control_ack(c, owner, number, error == CONTROL_LATER ? IPC_OK : error);
	return CONTROL_LATER;
}

/* Numbers of a new SA, or of one that an earlier espd had. */
static uint32_t sequence_prepare(struct control *c, struct sa_obj *sa, struct sa_params *p)
{
	struct espd_seq_state st;
	uint64_t first = 1, block = p->has_esn ? SEQNO_BLOCK : SEQNO_BLOCK_SHORT, last;
	uint64_t tag = seq_store_tag(sa->owner >> 16, sa->owner & 0xffff, sa->ref.handle,
		sa->ref.generation, sa->direction);
	bool is_restored = (sa->flags & IPC_SA_RESTORE) || (c->is_restoring && c->cfg.seq);

	if (!c->cfg.seq) {
		if (sa->flags & IPC_SA_RESTORE)
			return IPC_E_REKEY;
		p->reserved_end = p->is_outbound ? UINT64_MAX - 1 : 0;
		return IPC_OK;
	}
	if (is_restored && espd_seq_restore(c->cfg.seq, tag, sa->spi, sa->direction, &st) < 0)
		return IPC_E_REKEY;
	if (!is_restored && espd_seq_new(c->cfg.seq, tag, sa->spi, sa->direction, &st) < 0)
		return IPC_E_FULL;
	sa->seq_index = st.index;
	if (!p->is_outbound) {
		p->replay_floor = st.top;
		p->stored_top = st.stored_top;
		return IPC_OK;
	}
	if (st.reserved_end)
		first = st.reserved_end;
	last = first + block - 1;
	if (!p->has_esn && last > UINT32_MAX)
		last = UINT32_MAX;
	/* Without ESN no number is left above 2^32 - 1. */
	if (last < first || espd_seq_reserve(c->cfg.seq, sa->seq_index, last) < 0)
		return IPC_E_REKEY;
	p->seq_first = first;
	p->reserved_end = last;
	return IPC_OK;
}

static void params_fill(struct control *c, struct sa_obj *sa, struct sa_params *p)
{
	struct ipc_sa_add *a = sa->add;

	a->srcid[IPC_ID_LEN - 1] = a->dstid[IPC_ID_LEN - 1] = '\0';
	*p = (struct sa_params){
		.spi = a->spi,
		.is_outbound = a->direction == IPC_DIR_OUT,
		.is_tunnel = a->mode == IPC_MODE_TUNNEL,
		.has_esn = (a->flags & IPC_SA_ESN) != 0,
		.is_manual = is_ipsecctl(sa->owner),
		.is_held = sa->is_held,
		.suite = suite_find(a->encr_id, a->encr_key_len, a->integ_id),
		.enc_key = a->enc_key,
		.integ_key = a->integ_key,
		.enc_key_len = a->enc_key_len,
		.integ_key_len = a->integ_key_len,
		.window = a->flags & IPC_SA_NO_REPLAY ? 0
			  : a->replay_window          ? a->replay_window
						      : c->cfg.default_window,
		.soft_bytes = a->soft_bytes,
		.hard_bytes = a->hard_bytes,
		.tfc_pad = a->tfc_pad,
		.path = sa->path->path,
		.selectors = sa->pairs,
		.n_selectors = sa->n_pairs,
		.handle = a->sa.handle,
		.partner = a->partner,
		.ike = a->ike,
		.owner = sa->owner,
		.owner_generation = a->sa.generation,
		.tunnel_src = a->tunnel_src,
		.tunnel_dst = a->tunnel_dst,
		.srcid = a->srcid,
		.dstid = a->dstid,
	};
}

static uint32_t sad_error(int rc)
{
	switch (rc) {
	case SAD_E_KEY:
	case SAD_E_INVALID:
		return IPC_E_INVALID;
	case SAD_E_EXISTS:
		return IPC_E_EXISTS;
	default:
		return IPC_E_FULL;
	}
}

/* The two directions know each other, whichever came first. */
static void partner_tie(struct control *c, struct sa_obj *sa)
{
	struct sa_obj *other = control_sa_find(c, sa->owner, sa->partner);

	if (!other || !other->hot || other->is_deleting)
		return;
	sa_set_partner(sa->hot, other->hot);
	sa_set_partner(other->hot, sa->hot);
}

static uint32_t sa_publish(struct control *c, struct sa_obj *sa)
{
	struct sa_params p;
	uint32_t error;
	int rc;

	params_fill(c, sa, &p);
	error = sequence_prepare(c, sa, &p);
	if (error != IPC_OK)
		return error;
	rc = sa_create(&p, crypto_mb_manager(c->cfg.crypto), &sa->hot);
	if (rc < 0)
		return sad_error(rc);
	sa->hot->cold->user = sa;
	sa->hot->cold->added_s = sa->added_s;
	rc = sad_publish(c->cfg.dp->sad, sa->hot);
	if (rc < 0) {
		sa_destroy(sa->hot);
		sa->hot = NULL;
		return sad_error(rc);
	}
	return IPC_OK;
}

uint32_t control_sa_install(struct control *c, struct sa_obj *sa)
{
	uint32_t error = sa_publish(c, sa);

	/* Keys live in sa->keys and in the SA's schedules from here on. */
	secrets_free(c->cfg.secrets, sa->add, sizeof(*sa->add));
	sa->add = NULL;
	if (error != IPC_OK) {
		if (sa->seq_index >= 0)
			espd_seq_release(c->cfg.seq, sa->seq_index);
		sa->path->n_sas--;
		handle_map_remove(c->sas, sa->owner, sa->ref.handle);
		control_sa_obj_free(c, sa);
		return error;
	}
	partner_tie(c, sa);
	control_limits_note(c, sa);
	if (sa->direction == IPC_DIR_OUT && is_ipsecctl(sa->owner))
		control_flow_autobind(c, sa);
	control_view_sa(c, sa);
	control_ack_after_grace(c, sa->owner, sa->number);
	sa->number = 0;
	return CONTROL_LATER;
}

uint32_t control_sa_update(struct control *c, uint32_t owner, const struct ipc_sa_update *u)
{
	struct sa_obj *sa;
	uint32_t error = control_sa_get(c, owner, &u->sa, &sa);

	if (error != IPC_OK)
		return error;
	if (!sa->hot)
		return IPC_E_BUSY;
	sa->is_old = false; /* resync: its owner has it still, with or without its keys */
	if ((u->what & IPC_SA_SET_ACTIVE) && sa->is_held) {
		sa->is_held = false;
		sa_set_state(sa->hot, SA_LIVE);
	}
	if (u->what & IPC_SA_SET_DYING) {
		sa->is_dying = true;
		if (sa_state(sa->hot) == SA_LIVE)
			sa_set_state(sa->hot, SA_DYING);
	}
	if (u->what & IPC_SA_SET_LIFE) {
		sa->soft_at_ms = u->soft_s ? c->now_ms + u->soft_s * UINT64_C(1000) : 0;
		sa->hard_at_ms = u->hard_s ? c->now_ms + u->hard_s * UINT64_C(1000) : 0;
		control_limits_note(c, sa);
		sa->hot->soft_bytes = u->soft_bytes ? sa->hot->bytes + u->soft_bytes : UINT64_MAX;
		sa->hot->hard_bytes = u->hard_bytes ? sa->hot->bytes + u->hard_bytes : UINT64_MAX;
		sa->why_told &= ~(uint32_t)IPC_SA_WHY_SOFT;
	}
	control_sa_set_usable(c, sa);
	control_view_sa(c, sa);
	return IPC_OK;
}

struct sa_removal {
	struct sa_obj *sa;
	uint64_t number;
};

/* No worker knows it any more: the key is wiped, the index rests, the number is acknowledged. */
static void removal_finish(void *ctx, void *arg)
{
	struct sa_removal *r = arg;
	struct control *c = ctx;
	struct sa_obj *sa = r->sa;

	control_view_sa_gone(c, sa);
	if (sa->seq_index >= 0)
		espd_seq_release(c->cfg.seq, sa->seq_index);
	if (sa->hot)
		sad_free(c->cfg.dp->sad, sa->hot);
	if (sa->direction == IPC_DIR_IN && !is_ipsecctl(sa->owner))
		lease_return(c->leases, ipc_spi_index(sa->spi, c->cfg.index_bits), sa->owner,
			control_now_s(c));
	handle_map_remove(c->sas, sa->owner, sa->ref.handle);
	control_ack(c, sa->owner, r->number, IPC_OK);
	control_sa_obj_free(c, sa);
	free(r);
}

void control_sa_remove(struct control *c, struct sa_obj *sa, uint64_t ack_number)
{
	struct sa_removal *r;

	if (sa->is_deleting)
		return;
	r = malloc(sizeof(*r));
	if (r)
		*r = (struct sa_removal){.sa = sa, .number = ack_number};
	if (!r || grace_call(c->cfg.grace, removal_finish, c, r) < 0) {
		free(r);
		control_ack(c, sa->owner, ack_number, IPC_E_FULL);
		return;
	}
	sa->is_deleting = true;
	if (sa->number) { /* deleted before its selectors had come */
		control_ack(c, sa->owner, sa->number, IPC_E_NO_SUCH);
		sa->number = 0;
	}
	sa->path->n_sas--;
	if (sa->hot) {
		spd_sa_unbind(c->cfg.dp->spd, sa->owner, sa->ref.handle);
		sad_unpublish(c->cfg.dp->sad, sa->hot);
		c->flows_dirty = true;
	}
}

uint32_t control_sa_delete(
	struct control *c, uint32_t owner, const struct ipc_ref *ref, uint64_t number)
{
	struct sa_obj *sa;
	uint32_t error = control_sa_get(c, owner, ref, &sa);

	if (error != IPC_OK)
		return error;
	control_sa_remove(c, sa, number);
	return CONTROL_LATER;
}

bool control_keys_next(const struct control *c, uint32_t *cursor, struct ipc_key_record *out)
{
	const struct sa_hot *hot = sad_next(c->cfg.dp->sad, cursor);
	const struct sa_obj *sa = hot ? hot->cold->user : NULL;

	memset(out, 0, sizeof(*out));
	if (!sa)
		return false;
	out->spi = sa->spi;
	out->owner_kind = sa->owner >> 16;
	out->engine = sa->owner & 0xffff;
	out->direction = sa->direction;
	out->mode = sa->mode;
	out->encr_id = sa->listed.encr_id;
	out->encr_key_len = sa->listed.encr_key_len;
	out->integ_id = sa->listed.integ_id;
	out->enc_key_len = sa->listed.enc_key_len;
	out->integ_key_len = sa->listed.integ_key_len;
	out->src = hot->cold->tunnel_src;
	out->dst = hot->cold->tunnel_dst;
	memcpy(out->enc_key, sa->keys, sa->listed.enc_key_len);
	memcpy(out->integ_key, sa->keys + sa->listed.enc_key_len, sa->listed.integ_key_len);
	return true;
}
