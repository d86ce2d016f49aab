#include "dataplane/control_private.h"

#include <stdlib.h>
#include <string.h>

/* The way to the peer: next hop, MTU. */
static void resolve(struct control *c, struct path_obj *p)
{
	c->ops->path_resolve(c->ops->ctx, p->path, &p->pmtu, p->conf.mtu);
	if (p->conf.mtu)
		atomic_store(&p->path->mtu, p->conf.mtu);
	else
		atomic_store(&p->path->mtu, pmtu_get(&p->pmtu));
}

static bool is_same(const struct ipc_path *a, const struct ipc_path *b)
{
	return endpoint_equal(&a->local, &b->local) && endpoint_equal(&a->remote, &b->remote) &&
	       a->flags == b->flags && a->mtu == b->mtu && a->keepalive_s == b->keepalive_s;
}

/* All SAs of the path move at once; workers see the old or the new path whole. */
static void move(struct control *c, struct path_obj *p, struct path *to)
{
	struct path *from = p->path;
	struct sa_obj *sa;
	size_t cursor = 0;

	to->old_local = from->local.addr;
	to->user = p;
	atomic_store(&to->last_tx_s, atomic_load(&from->last_tx_s));
	p->path = to;
	resolve(c, p);
	while ((sa = handle_map_next(c->sas, &cursor))) {
		if (sa->path != p || !sa->hot)
			continue;
		sa_set_path(sa->hot, to);
		control_view_sa(c, sa);
	}
	grace_defer(c->cfg.grace, (void (*)(void *))path_destroy, from);
}

static uint32_t path_new(
	struct control *c, uint32_t owner, const struct ipc_path *conf, struct path *path)
{
	struct path_obj *p = calloc(1, sizeof(*p));

	if (!p || handle_map_insert(c->paths, owner, conf->path.handle, p) < 0) {
		free(p);
		path_destroy(path);
		return IPC_E_FULL;
	}
	p->owner = owner;
	p->conf = *conf;
	p->path = path;
	path->user = p;
	pmtu_init(&p->pmtu, 1500);
	resolve(c, p);
	return IPC_OK;
}

uint32_t control_path_set(struct control *c, uint32_t owner, const struct ipc_path *conf)
{
	struct path_obj *p = handle_map_find(c->paths, owner, conf->path.handle);
	struct path *path;

	if (conf->path.handle == 0)
		return IPC_E_INVALID;
	if (p && conf->path.generation < p->conf.path.generation)
		return IPC_E_STALE;
	if (p && is_same(&p->conf, conf)) {
		p->conf = *conf;
		p->is_old = false;
		return IPC_OK;
	}
	path = path_create(&conf->local, &conf->remote, conf->flags, conf->mtu ? conf->mtu : 1500);
	if (!path)
		return IPC_E_INVALID;
	path->handle = conf->path.handle;
	if (!p)
		return path_new(c, owner, conf, path);
	p->conf = *conf;
	p->is_old = false;
	move(c, p, path);
	return IPC_OK;
}

void control_path_remove(struct control *c, struct path_obj *p)
{
	handle_map_remove(c->paths, p->owner, p->conf.path.handle);
	grace_defer(c->cfg.grace, (void (*)(void *))path_destroy, p->path);
	free(p);
}

uint32_t control_path_delete(struct control *c, uint32_t owner, const struct ipc_ref *ref)
{
	struct path_obj *p = handle_map_find(c->paths, owner, ref->handle);

	if (!p)
		return IPC_E_NO_SUCH;
	if (p->conf.path.generation != ref->generation)
		return IPC_E_STALE;
	if (p->n_sas) /* its SAs must go first */
		return IPC_E_BUSY;
	control_path_remove(c, p);
	return IPC_OK;
}

void control_paths_resolve(struct control *c)
{
	struct path_obj *p;
	size_t cursor = 0;

	while ((p = handle_map_next(c->paths, &cursor)))
		resolve(c, p);
}

/* RFC 4301 8.2.1: only for an SA that is there; the owner is told, it may fragment IKE by it. */
void control_pmtu(struct control *c, uint32_t spi, const struct ip_addr *remote, uint16_t mtu,
	uint64_t now_ms)
{
	struct sa_hot *hot = sad_find_out(c->cfg.dp->sad, spi, remote);
	struct sa_obj *sa = hot ? hot->cold->user : NULL;
	struct ipc_pmtu_event e;

	c->now_ms = now_ms;
	if (!sa || sa->path->conf.mtu ||
		!pmtu_learn(&sa->path->pmtu, remote->family, mtu, control_now_s(c)))
		return;
	atomic_store(&sa->path->path->mtu, pmtu_get(&sa->path->pmtu));
	memset(&e, 0, sizeof(e));
	e.path = sa->path->conf.path.handle;
	e.mtu = pmtu_get(&sa->path->pmtu);
	(void)c->ops->event(c->ops->ctx, sa->owner, IPC_EVENT_PMTU, &e);
}

/* Once a second: learned MTUs age; idle paths behind NAT get a keepalive (RFC 3948 4). */
void control_paths_second(struct control *c)
{
	uint32_t now_s = control_now_s(c);
	struct path_obj *p;
	size_t cursor = 0;

	while ((p = handle_map_next(c->paths, &cursor))) {
		uint32_t every_s = p->conf.keepalive_s ? p->conf.keepalive_s : 20;

		if (!p->conf.mtu && pmtu_age(&p->pmtu, now_s))
			atomic_store(&p->path->mtu, pmtu_get(&p->pmtu));
		if (!(p->conf.flags & IPC_PATH_KEEPALIVE) || !(p->conf.flags & IPC_PATH_UDP))
			continue;
		if (now_s - atomic_load(&p->path->last_tx_s) < every_s)
			continue;
		c->ops->keepalive(c->ops->ctx, p->path);
		atomic_store(&p->path->last_tx_s, now_s);
	}
}
