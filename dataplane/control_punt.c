#include "dataplane/control_private.h"

/*
 * The local endpoints whose datagrams are IKE's. All engines of one iked register the same ones;
 * which engine a datagram goes to is another matter (ipc/steer.h).
 */

void control_punts_remove(struct control *c, uint32_t owner, bool only_old)
{
	unsigned int before = c->n_punts;

	for (unsigned int i = 0; i < c->n_punts;) {
		if (c->punts[i].owner == owner && (!only_old || c->punts[i].is_old))
			c->punts[i] = c->punts[--c->n_punts];
		else
			i++;
	}
	if (c->n_punts != before)
		c->ops->punt_changed(c->ops->ctx);
}

uint32_t control_punt_register(struct control *c, uint32_t owner, const struct ipc_punt_register *r)
{
	unsigned int i = 0;

	while (i < c->n_punts && !(endpoint_equal(&c->punts[i].local, &r->local) &&
					 (c->punts[i].owner == owner || c->punts[i].is_old)))
		i++;
	if (r->add && i == c->n_punts) {
		if (i == PUNT_REGISTERED_MAX)
			return IPC_E_FULL;
		c->n_punts++;
	}
	if (r->add)
		c->punts[i] = (struct punt_entry){
			.owner = owner, .local = r->local, .is_nat_t = r->nat_t != 0};
	else if (i == c->n_punts)
		return IPC_E_NO_SUCH;
	else
		c->punts[i] = c->punts[--c->n_punts];
	c->ops->punt_changed(c->ops->ctx);
	return IPC_OK;
}

static bool is_at(const struct punt_entry *p, const struct ip_addr *local, uint16_t port)
{
	return p->local.port == port &&
	       (!p->local.addr.family || !local || addr_equal(&p->local.addr, local));
}

bool control_punt_find(const struct control *c, const struct ip_addr *local, uint16_t port,
	uint32_t *owner, bool *is_nat_t)
{
	for (unsigned int i = 0; i < c->n_punts; i++) {
		if (!is_at(&c->punts[i], local, port))
			continue;
		*owner = c->punts[i].owner;
		*is_nat_t = c->punts[i].is_nat_t;
		return true;
	}
	return false;
}

bool control_punt_is_of(
	const struct control *c, const struct ip_addr *local, uint16_t port, uint32_t owner)
{
	for (unsigned int i = 0; i < c->n_punts; i++) {
		if (c->punts[i].owner == owner && is_at(&c->punts[i], local, port))
			return true;
	}
	return false;
}

unsigned int control_punts(
	const struct control *c, struct endpoint *out, bool *is_nat_t, unsigned int cap)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->n_punts && n < cap; i++) {
		unsigned int same = 0;

		while (same < n && !endpoint_equal(&out[same], &c->punts[i].local))
			same++;
		out[same] = c->punts[i].local;
		is_nat_t[same] = c->punts[i].is_nat_t;
		n += same == n;
	}
	return n;
}

/* An owner that took everything out before it went, as at a clean stop, has no ports either. */
void control_punts_second(struct control *c)
{
	for (unsigned int i = 0; i < c->n_punts; i++) {
		uint32_t owner = c->punts[i].owner;
		struct control_counts n;

		if (!c->punts[i].is_old)
			continue;
		control_counts_get(c, owner, &n);
		if (n.n_sa > 0 || n.n_flow > 0)
			continue;
		control_punts_remove(c, owner, true);
		return; /* the rest in a second */
	}
}
