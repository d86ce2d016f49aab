#include "controlplane/ike/policy_select.h"

const struct ike_id *policy_srcid(const struct ike_policy *policy, const struct ike_id *host_id)
{
	return policy->has_srcid ? &policy->srcid : host_id;
}

bool policy_peer_is_host(const struct ike_policy *policy)
{
	const struct ip_prefix *peer = &policy->peer.prefix;

	return !policy->peer.is_any && peer->addr.family &&
	       peer->len == addr_bits(peer->addr.family);
}

bool policy_uses_psk(const struct ike_policy *policy)
{
	return policy->auth == IKE_AUTH_PSK;
}

bool policy_uses_eap(const struct ike_policy *policy)
{
	return policy->auth == IKE_AUTH_EAP_MSCHAPV2 || policy->auth == IKE_AUTH_EAP_RADIUS;
}

bool policy_dstid_is_own(const struct ike_policy *policy, const struct ike_id *host_id)
{
	return policy->has_dstid && !policy_uses_psk(policy) &&
	       ike_id_equal(&policy->dstid, policy_srcid(policy, host_id));
}

const struct ike_id *policy_dstid(const struct ike_policy *policy, const struct ike_id *host_id)
{
	if (!policy->has_dstid || policy_dstid_is_own(policy, host_id))
		return NULL;
	return &policy->dstid;
}

static bool host_matches(const struct ike_host *host, const struct ip_addr *addr)
{
	return host->is_any || prefix_contains(&host->prefix, addr);
}

const char *policy_mismatch(const struct ike_policy *policy, const struct policy_question *q)
{
	if (policy->family && q->remote.family && policy->family != q->remote.family)
		return "address family differs";
	if (!host_matches(&policy->peer, &q->remote))
		return "peer address not in peer";
	if (q->local.family && !host_matches(&policy->local, &q->local))
		return "local address not in local";
	if (q->fits && !q->fits(q->fits_ctx, policy))
		return "no proposal fits";
	if (q->peer_id) {
		const struct ike_id *dstid = policy_dstid(policy, q->host_id);

		if (dstid && !ike_id_equal(dstid, q->peer_id))
			return "dstid differs";
		if (q->wants_transport && !policy->is_transport)
			return "peer wants transport mode";
		if (q->has_auth && policy_uses_eap(policy))
			return "policy demands EAP";
		if (!q->has_auth && !policy_uses_eap(policy))
			return "peer wants EAP";
	}
	if (q->local_id && !ike_id_equal(policy_srcid(policy, q->host_id), q->local_id))
		return "srcid differs";
	return NULL;
}

const struct ike_policy *policy_by_number(const struct ike_config *config, uint32_t number)
{
	/* Numbers count from 1 in the order of the file. */
	if (config && number && number <= config->n_policies &&
		config->policies[number - 1].number == number)
		return &config->policies[number - 1];
	for (size_t i = 0; config && i < config->n_policies; i++)
		if (config->policies[i].number == number)
			return &config->policies[i];
	return NULL;
}

static const struct ike_policy *search(
	const struct ike_config *config, const struct policy_question *q)
{
	const struct ike_policy *best = NULL, *fallback = NULL, *policy;
	struct policy_walk walk;

	if (q->index && q->index->config == config && q->remote.family)
		policy_walk_peer(&walk, q->index, &q->remote);
	else
		policy_walk_all(&walk, config);
	while ((policy = policy_walk_next(&walk)) != NULL) {
		if (policy_mismatch(policy, q))
			continue;
		if (policy->is_default) {
			fallback = policy;
			continue;
		}
		/* `skip`: the policy is there to be disabled; it takes nobody. */
		if (policy->is_skip)
			continue;
		best = policy;
		if (policy->is_quick)
			break;
	}
	return best ? best : fallback;
}

const struct ike_policy *policy_select(const struct ike_config *config,
	const struct policy_question *q, policy_explain_fn explain, void *explain_ctx)
{
	if (!config)
		return NULL;
	const struct ike_policy *winner = search(config, q);
	bool ended = false; /* by the winner's `quick` */

	for (size_t i = 0; explain && i < config->n_policies; i++) {
		const struct ike_policy *policy = &config->policies[i];
		const char *why = policy_mismatch(policy, q);

		if (policy == winner)
			why = policy->is_default ? "default" : "match";
		else if (ended)
			why = "an earlier match has quick";
		else if (!why)
			why = policy->is_skip      ? "skip"
			      : policy->is_default ? "default, and another matches"
						   : "a later policy matches";
		explain(explain_ctx, policy, policy == winner, why);
		ended = ended || (policy == winner && policy->is_quick);
	}
	return winner;
}
