#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dataplane/privileges.h"
#include "shared/addr.h"

/*
 * The one process of penstock-espd that keeps a capability after set-up, CAP_NET_ADMIN: it asks
 * the kernel to resolve neighbours, and takes XDP programs off devices at the end, when main
 * tells it to by short messages of fixed size. It reads nothing else, has no files and no
 * memory of main's, and ends with main.
 */
struct net_helper {
	int fd; /* main's end, for epoll: readable means that the helper is gone; -1: none */
	pid_t pid;
};

/*
 * Forks: before there are threads, ports or keys. set must stay until it is running. 0, or -1
 * with a text in err.
 */
int net_helper_start(struct net_helper *h, const struct privileges_user *u,
	const struct sandbox_set *set, char *err, size_t cap) __attribute__((warn_unused_result));
/* Never blocks: a request that finds no room is lost, as an ARP request may be. */
void net_helper_probe(const struct net_helper *h, uint32_t ifindex, const struct ip_addr *a);
/* At the end; done when net_helper_stop has returned. */
void net_helper_xdp_detach(const struct net_helper *h, uint32_t ifindex);
void net_helper_stop(struct net_helper *h);
