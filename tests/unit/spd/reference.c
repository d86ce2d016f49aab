#include "tests/unit/spd/reference.h"

#include <stdlib.h>
#include <string.h>

static struct reference_flow *find(struct reference *r, spd_owner_t owner, uint64_t handle)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->flows[i].owner == owner && r->flows[i].flow.flow.handle == handle)
			return &r->flows[i];
	return NULL;
}

void reference_add(struct reference *r, spd_owner_t owner, const struct ipc_flow *flow)
{
	struct reference_flow *f = find(r, owner, flow->flow.handle);

	if (f != NULL) {
		if (f->flow.flow.generation != flow->flow.generation)
			f->registration = r->next_registration;
		r->next_registration++;
		f->flow = *flow;
		return;
	}
	if (r->n == r->cap) {
		r->cap = r->cap == 0 ? 64 : r->cap * 2;
		r->flows = realloc(r->flows, r->cap * sizeof(*r->flows));
		if (r->flows == NULL)
			abort();
	}
	f = &r->flows[r->n++];
	f->owner = owner;
	f->flow = *flow;
	f->registration = r->next_registration++;
}

void reference_delete(struct reference *r, spd_owner_t owner, uint64_t handle)
{
	struct reference_flow *f = find(r, owner, handle);

	if (f != NULL)
		*f = r->flows[--r->n];
}

void reference_fini(struct reference *r)
{
	free(r->flows);
	memset(r, 0, sizeof(*r));
}

static int matches(const struct ipc_flow *f, const struct reference_packet *p)
{
	return f->direction == p->direction && prefix_contains(&f->src, &p->src) &&
	       prefix_contains(&f->dst, &p->dst) && (f->proto == 0 || f->proto == p->proto) &&
	       (f->src_port == 0 || f->src_port == p->src_port) &&
	       (f->dst_port == 0 || f->dst_port == p->dst_port);
}

/* Positive if a is to be found rather than b. */
static int64_t better(const struct reference_flow *a, const struct reference_flow *b)
{
	const struct ipc_flow *x = &a->flow, *y = &b->flow;
	int x_conf = a->owner >> 16 != IPC_OWNER_ENGINE,
	    y_conf = b->owner >> 16 != IPC_OWNER_ENGINE;

	if (x->src.len != y->src.len)
		return x->src.len - y->src.len;
	if (x->dst.len != y->dst.len)
		return x->dst.len - y->dst.len;
	if ((x->proto != 0) != (y->proto != 0))
		return (x->proto != 0) - (y->proto != 0);
	if ((x->src_port != 0) != (y->src_port != 0))
		return (x->src_port != 0) - (y->src_port != 0);
	if ((x->dst_port != 0) != (y->dst_port != 0))
		return (x->dst_port != 0) - (y->dst_port != 0);
	if (x_conf != y_conf)
		return x_conf - y_conf;
	return (int64_t)(a->registration - b->registration);
}

const struct reference_flow *reference_lookup(
	const struct reference *r, const struct reference_packet *p)
{
	const struct reference_flow *best = NULL;

	for (uint32_t i = 0; i < r->n; i++)
		if (matches(&r->flows[i].flow, p) &&
			(best == NULL || better(&r->flows[i], best) > 0))
			best = &r->flows[i];
	return best;
}
