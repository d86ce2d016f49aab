#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/conf/policy.h"

/*
 * Which policies can match a peer's address, and which have a name, without looking at all of
 * them. Made once for a configuration, which must outlive it. A zeroed one is empty.
 */
struct policy_index {
	struct policy_host {
		struct ip_addr addr;
		uint32_t at; /* of config->policies */
	} * hosts;           /* policies for one peer address, by address, then in file order */
	uint32_t *wide;      /* all others, in file order */
	uint32_t *names;     /* all, by name, then in file order */
	size_t n_hosts, n_wide, n_names;
	const struct ike_config *config;
};

/* 0, or -1 without memory (it is empty then). */
int policy_index_init(struct policy_index *index, const struct ike_config *config)
	__attribute__((warn_unused_result));
void policy_index_fini(struct policy_index *index);

/* Policies in file order. Start one with a function below. */
struct policy_walk {
	const struct ike_config *config;
	const struct policy_host *host, *host_end;
	const uint32_t *other, *other_end;
	size_t all; /* of config->policies, without an index */
};
/* All that may match this address of a peer. */
void policy_walk_peer(
	struct policy_walk *walk, const struct policy_index *index, const struct ip_addr *remote);
void policy_walk_name(struct policy_walk *walk, const struct policy_index *index, const char *name);
void policy_walk_all(struct policy_walk *walk, const struct ike_config *config);
const struct ike_policy *policy_walk_next(struct policy_walk *walk); /* NULL: no more */
