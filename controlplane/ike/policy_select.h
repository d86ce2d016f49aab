#pragma once

#include <stdbool.h>

#include "controlplane/conf/policy.h"
#include "controlplane/ike/policy_index.h"
#include "shared/addr.h"
#include "shared/ids.h"

/*
 * Which policy a peer gets (iked.conf(5)): policies are tried first to last, the last match
 * wins, a match with `quick` ends the search, `skip` policies take nobody,
 * `default` is the fall-back. Asked at IKE_SA_INIT with the addresses and the proposals, and
 * again at IKE_AUTH with the identities. A pure function.
 */

struct policy_question {
	struct ip_addr local, remote;
	const struct policy_index *index; /* of the configuration; NULL: all are looked at */
	const struct ike_id *peer_id;     /* IDi as responder; NULL: not known yet */
	const struct ike_id *local_id;    /* IDr that the peer asked for; NULL: none */
	bool wants_transport;             /* USE_TRANSPORT_MODE was sent; looked at with peer_id */
	bool has_auth;                    /* the peer sent AUTH; without it wants EAP */
	const struct ike_id *host_id;     /* srcid of policies without one */
	/* Do the policy's proposals fit? NULL: not asked. */
	bool (*fits)(void *ctx, const struct ike_policy *policy);
	void *fits_ctx;
};

typedef void (*policy_explain_fn)(
	void *ctx, const struct ike_policy *policy, bool is_winner, const char *reason);

/* NULL if none matches. explain (may be NULL) is called for each policy in file order. */
const struct ike_policy *policy_select(const struct ike_config *config,
	const struct policy_question *question, policy_explain_fn explain, void *explain_ctx);

/* Why the policy does not match, or NULL if it does. `default` and `skip` aside. */
const char *policy_mismatch(
	const struct ike_policy *policy, const struct policy_question *question);

/* The identity we use under this policy. */
const struct ike_id *policy_srcid(const struct ike_policy *policy, const struct ike_id *host_id);

/*
 * The identity that the peer must have, or NULL for any. An erratum of the FAQ: with public
 * keys, a dstid that is our own srcid names nobody else and counts as absent.
 */
const struct ike_id *policy_dstid(const struct ike_policy *policy, const struct ike_id *host_id);
bool policy_dstid_is_own(const struct ike_policy *policy, const struct ike_id *host_id);

/* A single address, as an initiator needs. */
bool policy_peer_is_host(const struct ike_policy *policy);
bool policy_uses_psk(const struct ike_policy *policy);
bool policy_uses_eap(const struct ike_policy *policy);
const struct ike_policy *policy_by_number(const struct ike_config *config, uint32_t number);
