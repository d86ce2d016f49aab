#pragma once

#include <stdint.h>

#include "dataplane/netlink.h"
#include "dataplane/worker.h"
#include "shared/log.h"

/*
 * The kernel's tables as the data plane needs them: local addresses ("to us"), routes, next
 * hops. Fed by netlink, read by the workers through dp->router and dp->addresses. Main's.
 */
struct kernel;
struct grace;
struct path;
struct pmtu;

struct kernel_ops {
	void *ctx;
	void (*addr)(void *ctx, const struct ip_addr *a, uint32_t ifindex, bool is_added);
	void (*routes_changed)(void *ctx); /* at most once a kernel_flush */
	void (*link)(void *ctx, uint32_t ifindex, const char *name, bool is_up);
	/* A neighbour is known now (or given up): packets that waited for it may go. */
	void (*neigh)(void *ctx, uint32_t ifindex, const struct ip_addr *a, bool is_known);
};

/* NULL with a text in err. The ports are started and have their TAPs. */
struct kernel *kernel_create(struct dataplane *dp, struct grace *grace,
	const struct kernel_ops *ops, const struct logger *log, char *err, size_t cap);
void kernel_destroy(struct kernel *k);
int kernel_fd(const struct kernel *k); /* readable: kernel_read */
void kernel_read(struct kernel *k);
/* Publishes what changed; to be called at the end of each turn of main. */
void kernel_flush(struct kernel *k);
struct netlink *kernel_netlink(struct kernel *k);
/* Who is registered for IKE changed: the workers' set is made anew. */
void kernel_punts_set(
	struct kernel *k, const struct endpoint *local, const bool *is_nat_t, unsigned int n);
/* Next hop and MTU of a path by the routes of now. */
void kernel_path_resolve(struct kernel *k, struct path *p, struct pmtu *pmtu);
/* Calls fn for each local address there is. */
void kernel_addrs_each(struct kernel *k,
	void (*fn)(void *ctx, const struct ip_addr *a, uint32_t ifindex), void *ctx);
