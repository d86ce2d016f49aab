#pragma once

#include <stddef.h>

#include "controlplane/conf/policy.h"
#include "shared/addr.h"

/*
 * Traffic selectors (RFC 7296 2.9): what a policy and an offer have in common. Pure functions.
 */
enum {
	NARROW_PAIRS_MAX = 255, /* IPC_SELECTORS_MAX */
	NARROW_TS_MAX = 255,    /* of one TS payload (its count has 8 bits) */
};

/* Packets from local to remote, and back. */
struct ts_pair {
	struct traffic_selector local, remote;
};

struct ts_list {
	size_t n;
	struct traffic_selector ts[NARROW_TS_MAX];
};

struct ts_pairs {
	size_t n;
	struct ts_pair pair[NARROW_PAIRS_MAX];
};

/*
 * The pairs that a policy's flow lines allow. Sides written `dynamic` become the addresses of
 * the two ends; flow lines of the other family than a dynamic side's are left out.
 */
void narrow_policy_pairs(const struct ike_policy *policy, const struct ip_addr *local,
	const struct ip_addr *remote, struct ts_pairs *out);

/*
 * The intersection of the allowed pairs with an offer, in the offer's order (so that a
 * packet's own selectors, which stand first, stay first), without pairs that others contain.
 */
void narrow_pairs(const struct ts_pairs *allowed, const struct traffic_selector *local,
	size_t n_local, const struct traffic_selector *remote, size_t n_remote,
	struct ts_pairs *out);

/* The two lists of a TS payload pair, without repetitions. */
void narrow_lists(const struct ts_pairs *pairs, struct ts_list *local, struct ts_list *remote);

bool narrow_pair_contains(const struct ts_pair *outer, const struct ts_pair *inner);
/* Is the pair inside one of these? */
bool narrow_covered(const struct ts_pairs *pairs, const struct ts_pair *pair);

/* RFC 7296 2.23.1: transport mode behind NAT: single addresses become those we see. */
void narrow_substitute(struct traffic_selector *ts, size_t n, const struct ip_addr *seen);
