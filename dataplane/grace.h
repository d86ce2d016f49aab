#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_rcu_qsbr;

/*
 * Work that must wait until every worker has passed a quiescent state: frees, and
 * acknowledgements of what all workers must see. Main never blocks on it: it queues, and runs
 * what is due at each turn of its loop, in the order in which it was queued.
 */
struct grace;

struct grace *grace_create(unsigned int n_workers); /* NULL: no memory */
void grace_destroy(struct grace *g);                /* runs all that waits; no worker is left */
struct rte_rcu_qsbr *grace_qsbr(struct grace *g);

typedef void (*grace_fn)(void *ctx, void *arg);
/* fn(ctx, arg) after a grace period. -1: no memory (nothing is queued). */
int grace_call(struct grace *g, grace_fn fn, void *ctx, void *arg)
	__attribute__((warn_unused_result));
/* For interfaces that free by one argument (spd_config.defer); ctx is the struct grace. */
void grace_defer(void *ctx, void (*fn)(void *), void *arg);
/* Runs what is due. True: something ran. */
bool grace_poll(struct grace *g);
bool grace_is_idle(const struct grace *g); /* nothing waits */
