#include "dataplane/grace.h"

#include <stdlib.h>

#include <rte_rcu_qsbr.h>

struct grace_item {
	grace_fn fn;
	void (*free_fn)(void *);
	void *ctx, *arg;
	struct grace_item *next;
};

struct grace_list {
	struct grace_item *first, **last;
};

/* Two batches: `old` waits for the token, `young` came after it was taken. */
struct grace {
	struct rte_rcu_qsbr *qsbr;
	struct grace_list old, young;
	uint64_t token;
};

static void list_init(struct grace_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

struct grace *grace_create(unsigned int n_workers)
{
	struct grace *g = calloc(1, sizeof(*g));
	size_t size = rte_rcu_qsbr_get_memsize(n_workers ? n_workers : 1);

	if (!g)
		return NULL;
	g->qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));
	if (!g->qsbr || rte_rcu_qsbr_init(g->qsbr, n_workers ? n_workers : 1) != 0) {
		free(g->qsbr);
		free(g);
		return NULL;
	}
	list_init(&g->old);
	list_init(&g->young);
	return g;
}

struct rte_rcu_qsbr *grace_qsbr(struct grace *g)
{
	return g->qsbr;
}

static bool list_run(struct grace_list *l)
{
	struct grace_item *it = l->first;
	bool any = it != NULL;

	list_init(l); /* what an item queues goes into the next batch */
	while (it) {
		struct grace_item *next = it->next;

		if (it->fn)
			it->fn(it->ctx, it->arg);
		else
			it->free_fn(it->arg);
		free(it);
		it = next;
	}
	return any;
}

void grace_destroy(struct grace *g)
{
	if (!g)
		return;
	while (g->old.first || g->young.first) {
		list_run(&g->old);
		list_run(&g->young);
	}
	free(g->qsbr);
	free(g);
}

static void append(struct grace *g, const struct grace_item *what, struct grace_item *it)
{
	*it = *what;
	it->next = NULL;
	*g->young.last = it;
	g->young.last = &it->next;
}

int grace_call(struct grace *g, grace_fn fn, void *ctx, void *arg)
{
	struct grace_item *it = malloc(sizeof(*it));

	if (!it)
		return -1;
	append(g, &(struct grace_item){.fn = fn, .ctx = ctx, .arg = arg}, it);
	return 0;
}

void grace_defer(void *ctx, void (*fn)(void *), void *arg)
{
	struct grace_item *it = malloc(sizeof(*it));

	/* Without memory the object is kept: a leak is safe, a free under a reader is not. */
	if (it)
		append(ctx, &(struct grace_item){.free_fn = fn, .arg = arg}, it);
}

bool grace_poll(struct grace *g)
{
	bool any = false;

	if (g->old.first && rte_rcu_qsbr_check(g->qsbr, g->token, false) == 1)
		any = list_run(&g->old);
	if (!g->old.first && g->young.first) {
		g->old = g->young;
		if (g->old.first == NULL)
			list_init(&g->old);
		list_init(&g->young);
		g->token = rte_rcu_qsbr_start(g->qsbr);
		if (rte_rcu_qsbr_check(g->qsbr, g->token, false) == 1)
			any |= list_run(&g->old);
	}
	return any;
}

bool grace_is_idle(const struct grace *g)
{
	return !g->old.first && !g->young.first;
}
