#include "controlplane/ike/narrow.h"

static struct traffic_selector side_ts(
	const struct ike_flow_side *side, uint8_t proto, const struct ip_addr *dynamic)
{
	struct traffic_selector ts = {.proto = proto, .port_lo = 0, .port_hi = 65535};

	if (side->is_dynamic)
		ts.range = (struct ip_range){*dynamic, *dynamic};
	else
		ts.range = prefix_range(&side->prefix);
	if (side->port)
		ts.port_lo = ts.port_hi = side->port;
	return ts;
}

static uint8_t side_family(const struct ike_flow_side *side)
{
	return side->prefix.addr.family;
}

void narrow_policy_pairs(const struct ike_policy *policy, const struct ip_addr *local,
	const struct ip_addr *remote, struct ts_pairs *out)
{
	out->n = 0;
	for (size_t i = 0; i < policy->n_flows && out->n < NARROW_PAIRS_MAX; i++) {
		const struct ike_policy_flow *flow = &policy->flows[i];
		struct ts_pair pair = {side_ts(&flow->src, flow->proto, local),
			side_ts(&flow->dst, flow->proto, remote)};
		uint8_t family = pair.local.range.lo.family;

		if (!family || family != pair.remote.range.lo.family)
			continue;
		if ((flow->src.is_dynamic && side_family(&flow->src) &&
			    side_family(&flow->src) != family) ||
			(flow->dst.is_dynamic && side_family(&flow->dst) &&
				side_family(&flow->dst) != family))
			continue;
		if (!narrow_covered(out, &pair))
			out->pair[out->n++] = pair;
	}
}

bool narrow_pair_contains(const struct ts_pair *outer, const struct ts_pair *inner)
{
	return ts_contains(&outer->local, &inner->local) &&
	       ts_contains(&outer->remote, &inner->remote);
}

bool narrow_covered(const struct ts_pairs *pairs, const struct ts_pair *pair)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (narrow_pair_contains(&pairs->pair[i], pair))
			return true;
	return false;
}

/* A selector may name the protocol on one side alone; the packet has only one. */
static bool protos_agree(struct ts_pair *pair)
{
	if (pair->local.proto && pair->remote.proto)
		return pair->local.proto == pair->remote.proto;
	pair->local.proto |= pair->remote.proto;
	pair->remote.proto = pair->local.proto;
	return true;
}

static void add_pair(struct ts_pairs *out, struct ts_pair *pair)
{
	if (out->n == NARROW_PAIRS_MAX || !protos_agree(pair) || narrow_covered(out, pair))
		return;
	/* Earlier, narrower ones stay too: the first may be the packet's own (RFC 7296 2.9). */
	out->pair[out->n++] = *pair;
}

void narrow_pairs(const struct ts_pairs *allowed, const struct traffic_selector *local,
	size_t n_local, const struct traffic_selector *remote, size_t n_remote,
	struct ts_pairs *out)
{
	out->n = 0;
	for (size_t r = 0; r < n_remote; r++)
		for (size_t l = 0; l < n_local; l++)
			for (size_t p = 0; p < allowed->n && out->n < NARROW_PAIRS_MAX; p++) {
				const struct ts_pair *a = &allowed->pair[p];
				struct ts_pair common;

				if (ts_intersect(&local[l], &a->local, &common.local) &&
					ts_intersect(&remote[r], &a->remote, &common.remote))
					add_pair(out, &common);
			}
}

static void add_ts(struct ts_list *list, const struct traffic_selector *ts)
{
	for (size_t i = 0; i < list->n; i++)
		if (ts_equal(&list->ts[i], ts))
			return;
	if (list->n < NARROW_TS_MAX)
		list->ts[list->n++] = *ts;
}

void narrow_lists(const struct ts_pairs *pairs, struct ts_list *local, struct ts_list *remote)
{
	local->n = remote->n = 0;
	for (size_t i = 0; i < pairs->n; i++) {
		add_ts(local, &pairs->pair[i].local);
		add_ts(remote, &pairs->pair[i].remote);
	}
}

void narrow_substitute(struct traffic_selector *ts, size_t n, const struct ip_addr *seen)
{
	for (size_t i = 0; i < n; i++)
		if (ts[i].range.lo.family == seen->family &&
			addr_equal(&ts[i].range.lo, &ts[i].range.hi))
			ts[i].range = (struct ip_range){*seen, *seen};
}
