#include "dataplane/control.h"
#include "dataplane/control_private.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/espd_seq.h"
#include "ipc/error.h"
#include "ipc/manual_store.h"
#include "ipc/server.h"
#include "ipc/spi.h"
#include "ipc/steer.h"

struct control *control_create(const struct control_config *config)
{
	struct control *c = calloc(1, sizeof(*c));
	uint32_t cursor = 0, spi;

	if (!c)
		return NULL;
	c->cfg = *config;
	c->ops = c->cfg.ops;
	c->sas = handle_map_create();
	c->paths = handle_map_create();
	c->leases = lease_table_create(config->index_bits);
	if (!c->sas || !c->paths || !c->leases) {
		control_destroy(c);
		return NULL;
	}
	/* Indices of an earlier espd's SAs are kept for them until all owners have resynced. */
	while (config->seq && espd_seq_waiting(config->seq, &cursor, &spi))
		lease_rest(c->leases, ipc_spi_index(spi, config->index_bits), UINT32_MAX);
	return c;
}

static void sa_obj_free(struct control *c, struct sa_obj *sa)
{
	if (sa->hot) {
		sad_unpublish(c->cfg.dp->sad, sa->hot);
		sad_free(c->cfg.dp->sad, sa->hot);
	}
	control_sa_obj_free(c, sa);
}

void control_destroy(struct control *c)
{
	struct path_obj *p;
	struct sa_obj *sa;
	size_t cursor = 0;

	if (!c)
		return;
	while (c->sas && (sa = handle_map_next(c->sas, &cursor)))
		sa_obj_free(c, sa);
	cursor = 0;
	while (c->paths && (p = handle_map_next(c->paths, &cursor))) {
		path_destroy(p->path);
		free(p);
	}
	handle_map_destroy(c->sas);
	handle_map_destroy(c->paths);
	lease_table_destroy(c->leases);
	control_held_stop(c, 0);
	free(c);
}

void control_ack(struct control *c, uint32_t owner, uint64_t number, uint32_t error)
{
	if (number)
		c->ops->ack(c->ops->ctx, owner, number, error);
}

struct ack_later {
	uint32_t owner;
	uint64_t number;
};

static void ack_run(void *ctx, void *arg)
{
	struct ack_later *a = arg;

	control_ack(ctx, a->owner, a->number, IPC_OK);
	free(a);
}

void control_ack_after_grace(struct control *c, uint32_t owner, uint64_t number)
{
	struct ack_later *a = number ? malloc(sizeof(*a)) : NULL;

	if (!a) {
		control_ack(c, owner, number, IPC_E_FULL);
		return;
	}
	*a = (struct ack_later){.owner = owner, .number = number};
	if (grace_call(c->cfg.grace, ack_run, c, a) < 0) {
		free(a);
		control_ack(c, owner, number, IPC_E_FULL);
	}
}

/* Bookkeeping of ipsecctl's entries, so that the next espd has them. */
static void manual_keep(struct control *c, uint32_t owner, uint32_t type, const void *body)
{
	struct manual_store *m = c->cfg.manual;
	const struct ipc_flush *flush = body;
	int rc = 0;

	if (!m || c->is_restoring)
		return;
	if (type == IPC_CMD_FLUSH && (flush->what & IPC_FLUSH_ALL_OWNERS)) {
		manual_store_flush(m, flush->what);
	} else if (owner != spd_owner(IPC_OWNER_IPSECCTL, 0)) {
		return;
	} else {
		switch (type) {
		case IPC_CMD_SA_ADD:
		case IPC_CMD_SA_SELECTORS:
		case IPC_CMD_PATH_SET:
		case IPC_CMD_FLOW_ADD:
		case IPC_CMD_FLOW_BIND:
			rc = manual_store_put(m, type, body);
			break;
		case IPC_CMD_SA_DELETE:
		case IPC_CMD_PATH_DELETE:
		case IPC_CMD_FLOW_DELETE:
			manual_store_delete(m, type, ((const struct ipc_ref *)body)->handle);
			break;
		case IPC_CMD_FLUSH:
			manual_store_flush(m, flush->what);
			break;
		default:
			return;
		}
	}
	c->is_manual_dirty = true;
	if (rc < 0)
		log_warn(c->cfg.log, "ipsecctl's entry is not kept for a restart: %s",
			ipc_strerror(rc));
}

static uint32_t resync_begin(struct control *c, uint32_t owner)
{
	struct path_obj *p;
	struct sa_obj *sa;
	size_t cursor = 0;

	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->owner == owner)
			sa->is_old = true;
	}
	cursor = 0;
	while ((p = handle_map_next(c->paths, &cursor))) {
		if (p->owner == owner)
			p->is_old = true;
	}
	spd_owner_mark(c->cfg.dp->spd, owner);
	return IPC_OK;
}

static void objects_remove(struct control *c, uint32_t owner, bool only_old)
{
	struct path_obj *p;
	struct sa_obj *sa;
	size_t cursor = 0;

	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->owner == owner && (!only_old || sa->is_old))
			control_sa_remove(c, sa, 0);
	}
	cursor = 0;
	while ((p = handle_map_next(c->paths, &cursor))) {
		if (p->owner == owner && (!only_old || p->is_old) && p->n_sas == 0)
			control_path_remove(c, p);
	}
}

static uint32_t resync_end(struct control *c, uint32_t owner, uint64_t number)
{
	uint32_t n = spd_owner_sweep(c->cfg.dp->spd, owner);

	objects_remove(c, owner, true);
	control_punts_remove(c, owner, true);
	c->flows_dirty = true;
	c->n_resyncs++;
	log_debug(c->cfg.log, "owner %u.%u: resync ended, %u flows swept", owner >> 16,
		owner & 0xffff, n);
	control_ack_after_grace(c, owner, number);
	c->ops->owner_ready(c->ops->ctx, owner);
	return CONTROL_LATER;
}

static uint32_t owner_flush(struct control *c, uint32_t owner, uint32_t what)
{
	if (what & IPC_FLUSH_SA)
		objects_remove(c, owner, false);
	if (what & IPC_FLUSH_FLOW)
		spd_owner_flush(c->cfg.dp->spd, owner);
	c->flows_dirty = true;
	return IPC_OK;
}

static void owner_note(void *ctx, const struct spd_flow_view *view)
{
	struct owner_set *set = ctx;

	owner_set_add(set, view->owner);
}

static uint32_t flush(struct control *c, uint32_t owner, const struct ipc_flush *f)
{
	struct owner_set set = {0};
	struct sa_obj *sa;
	size_t cursor = 0;

	if (!(f->what & IPC_FLUSH_ALL_OWNERS))
		return owner_flush(c, owner, f->what);
	/* Only root's ipsecctl may empty what is others'. */
	if (owner != spd_owner(IPC_OWNER_IPSECCTL, 0))
		return IPC_E_INVALID;
	while ((sa = handle_map_next(c->sas, &cursor)))
		owner_set_add(&set, sa->owner);
	spd_each(c->cfg.dp->spd, owner_note, &set);
	for (unsigned int i = 0; i < set.n; i++)
		owner_flush(c, set.owner[i], f->what | IPC_FLUSH_SA | IPC_FLUSH_FLOW);
	c->ops->flushed(c->ops->ctx);
	return IPC_OK;
}

static uint32_t spi_lease(struct control *c, uint32_t owner, const struct ipc_spi_lease *wish)
{
	struct ipc_spi_lease lease = {.index_bits = c->cfg.index_bits};

	if (wish->count == 0)
		return IPC_E_INVALID;
	lease.count = lease_take(c->leases, owner, wish->count, control_now_s(c), &lease.first);
	if (lease.count == 0)
		return IPC_E_FULL;
	if (c->ops->event(c->ops->ctx, owner, IPC_EVENT_SPI_LEASE, &lease) == 0)
		return IPC_OK;
	for (uint32_t i = 0; i < lease.count; i++)
		lease_return(c->leases, lease.first + i, owner, control_now_s(c));
	return IPC_E_BUSY;
}

static uint32_t spi_release(struct control *c, uint32_t owner, const struct ipc_spi_lease *l)
{
	uint64_t end = (uint64_t)l->first + l->count;

	if (end > UINT64_C(1) << c->cfg.index_bits)
		return IPC_E_INVALID;
	for (uint32_t i = l->first; i < end; i++)
		lease_return(c->leases, i, owner, control_now_s(c));
	return IPC_OK;
}

static uint32_t route_query(struct control *c, uint32_t owner, const struct ipc_route_query *q)
{
	struct ipc_route answer = {.token = q->token};
	struct netlink_route_answer r;

	if (addr_len(q->dst.family) == 0)
		return IPC_E_INVALID;
	if (c->ops->route_get(c->ops->ctx, &q->dst, q->src.family ? &q->src : NULL, &r) == 0) {
		answer.src = r.src;
		answer.ifindex = r.ifindex;
		answer.mtu = r.mtu;
	}
	return c->ops->event(c->ops->ctx, owner, IPC_EVENT_ROUTE, &answer) == 0 ? IPC_OK
										: IPC_E_BUSY;
}

static uint32_t steer(struct control *c, uint32_t owner, const struct ipc_steer *s)
{
	if (owner >> 16 != IPC_OWNER_ENGINE || !ipc_steer_is_valid(s) ||
		(owner & 0xffff) >= s->n_engines)
		return IPC_E_INVALID;
	c->ops->steer(c->ops->ctx, s);
	control_engines_move(c, s->n_engines);
	return IPC_OK;
}

static uint32_t dispatch(
	struct control *c, uint32_t owner, uint32_t type, const void *body, uint64_t number)
{
	switch (type) {
	case IPC_CMD_SA_ADD:
		return control_sa_add(c, owner, body, number);
	case IPC_CMD_SA_SELECTORS:
		return control_sa_selectors(c, owner, body, number);
	case IPC_CMD_SA_UPDATE:
		return control_sa_update(c, owner, body);
	case IPC_CMD_SA_DELETE:
		return control_sa_delete(c, owner, body, number);
	case IPC_CMD_SA_QUERY:
		return control_sa_query(c, owner, body, number);
	case IPC_CMD_PATH_SET:
		return control_path_set(c, owner, body);
	case IPC_CMD_PATH_DELETE:
		return control_path_delete(c, owner, body);
	case IPC_CMD_FLOW_ADD:
		return control_flow_add(c, owner, body);
	case IPC_CMD_FLOW_DELETE:
		c->flows_dirty = true;
		return (uint32_t)-spd_flow_delete(c->cfg.dp->spd, owner, body);
	case IPC_CMD_FLOW_BIND:
		return control_flow_bind(c, owner, body);
	case IPC_CMD_RESYNC_BEGIN:
		return resync_begin(c, owner);
	case IPC_CMD_RESYNC_END:
		return resync_end(c, owner, number);
	case IPC_CMD_SPI_LEASE:
		return spi_lease(c, owner, body);
	case IPC_CMD_SPI_RELEASE:
		return spi_release(c, owner, body);
	case IPC_CMD_PUNT_REGISTER:
		return control_punt_register(c, owner, body);
	case IPC_CMD_ROUTE_QUERY:
		return route_query(c, owner, body);
	case IPC_CMD_HELD_QUERY:
		return control_held_query(c, owner);
	case IPC_CMD_FLUSH:
		return flush(c, owner, body);
	case IPC_CMD_STEER:
		return steer(c, owner, body);
	default:
		return IPC_E_INVALID;
	}
}

/* Answers of these say nothing about workers: no grace period is needed. */
static bool is_at_once(uint32_t type)
{
	return type == IPC_CMD_SPI_LEASE || type == IPC_CMD_SPI_RELEASE ||
	       type == IPC_CMD_ROUTE_QUERY || type == IPC_CMD_HELD_QUERY ||
	       type == IPC_CMD_RESYNC_BEGIN || type == IPC_CMD_STEER;
}

void control_command(
	struct control *c, uint32_t owner, const struct ipc_server_cmd *cmd, uint64_t now_ms)
{
	uint32_t error;

	c->now_ms = now_ms;
	error = dispatch(c, owner, cmd->type, cmd->body, cmd->number);
	if (error == IPC_OK || error == CONTROL_LATER)
		manual_keep(c, owner, cmd->type, cmd->body);
	if (error == CONTROL_LATER)
		return;
	if (error == IPC_OK && !is_at_once(cmd->type))
		control_ack_after_grace(c, owner, cmd->number);
	else
		control_ack(c, owner, cmd->number, error);
}

void control_manual_restore(struct control *c, uint64_t now_ms)
{
	uint32_t owner = spd_owner(IPC_OWNER_IPSECCTL, 0), type, error;
	const void *body;

	c->now_ms = now_ms;
	c->is_restoring = true;
	for (size_t i = 0; c->cfg.manual && manual_store_at(c->cfg.manual, i, &type, &body); i++) {
		error = dispatch(c, owner, type, body, 0);
		if (error != IPC_OK && error != CONTROL_LATER)
			log_warn(c->cfg.log, "entry %zu of ipsecctl was not restored: error %u", i,
				error);
	}
	c->is_restoring = false;
}

void control_counts_get(const struct control *c, uint32_t owner, struct control_counts *out)
{
	struct path_obj *p;
	struct sa_obj *sa;
	size_t cursor = 0;

	memset(out, 0, sizeof(*out));
	while ((sa = handle_map_next(c->sas, &cursor)))
		out->n_sa += sa->owner == owner && sa->hot;
	cursor = 0;
	while ((p = handle_map_next(c->paths, &cursor)))
		out->n_path += p->owner == owner;
	out->n_flow = spd_owner_count(c->cfg.dp->spd, owner);
}

void control_totals_get(const struct control *c, struct control_counts *out)
{
	struct sa_obj *sa;
	size_t cursor = 0;

	memset(out, 0, sizeof(*out));
	while ((sa = handle_map_next(c->sas, &cursor)))
		out->n_sa += sa->hot && !sa->is_deleting;
	out->n_path = handle_map_count(c->paths);
	out->n_flow = spd_count(c->cfg.dp->spd);
	out->n_resyncs = c->n_resyncs;
}

void control_window_set(struct control *c, uint32_t packets)
{
	c->cfg.default_window = packets;
}

/* Every owner has said what it has: records of SAs that nobody claimed are of no more use. */
void control_all_ready(struct control *c)
{
	if (c->cfg.seq)
		espd_seq_drop_unclaimed(c->cfg.seq);
	lease_rest_end(c->leases, control_now_s(c));
}
