#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/conf/iked_ast.h"
#include "controlplane/conf/resolve.h"

/* proto, from/to and local/peer of a policy. */

#define PROTOS_MAX 16
#define FLOWS_MAX 4096

struct side_set {
	struct ike_flow_side v[RESOLVE_MAX];
	size_t n;
};

static void build_protos(struct iked_parser *p, struct ike_policy *policy, struct ast_names *list)
{
	int proto;

	if (!list)
		return;
	/* Newest first: walk back, bounded by the count check below. */
	const struct ast_names *order[PROTOS_MAX];
	size_t n = 0;

	for (; list; list = list->next) {
		if (n == PROTOS_MAX) {
			conf_error(p->diags, &list->name.pos,
				"too many protocols, expected at most %d", PROTOS_MAX);
			return;
		}
		order[n++] = list;
	}
	while (n-- > 0) {
		proto = conf_resolve_proto(p->diags, order[n]->name.text, &order[n]->name.pos);
		if (proto >= 0)
			*(uint8_t *)conf_grow(
				&p->arena, &policy->protos, &policy->n_protos, 1) = (uint8_t)proto;
	}
}

static void side_add(
	struct side_set *set, const struct ike_flow_side *proto, uint8_t family, uint8_t len)
{
	struct ike_flow_side *s = &set->v[set->n++];

	*s = *proto;
	s->prefix = (struct ip_prefix){.addr.family = family, .len = len};
}

static bool resolve_side(struct iked_parser *p, const struct ike_policy *policy,
	const struct ast_host *h, struct side_set *set)
{
	struct ike_flow_side side = {
		.is_dynamic = h->kind == AST_HOST_DYNAMIC,
		.is_any_word = h->kind == AST_HOST_ANY,
	};
	struct ip_prefix found[RESOLVE_MAX];
	size_t n;

	set->n = 0;
	if (h->port.text)
		side.port = conf_resolve_port(p->resolver, p->diags, h->port.text, &h->port.pos);
	if (h->kind != AST_HOST_NAME) {
		if (policy->family != 6)
			side_add(set, &side, 4, side.is_dynamic ? 32 : 0);
		if (policy->family != 4)
			side_add(set, &side, 6, side.is_dynamic ? 128 : 0);
	} else {
		n = conf_resolve(p->resolver, p->diags, h->name.text, &h->name.pos, h->has_len,
			h->len, &h->len_pos, found);
		if (n == 0)
			return false;
		for (size_t i = 0; i < n; i++) {
			uint8_t family = found[i].addr.family;

			if (policy->family && policy->family != family)
				continue;
			side.prefix = found[i];
			side.is_dynamic = found[i].len == addr_bits(family) &&
					  addr_is_any(&found[i].addr);
			set->v[set->n++] = side;
		}
		if (set->n == 0) {
			conf_error(
				p->diags, &h->name.pos, "cannot mix different address families.");
			return false;
		}
	}
	for (size_t i = 0; i < set->n; i++)
		if (set->v[i].is_dynamic) {
			iked_feature(p, IKE_FEATURE_DYNAMIC, h->name.text, &h->name.pos);
			break;
		}
	return true;
}

static bool flow_equal(const struct ike_policy_flow *a, const struct ike_policy_flow *b)
{
	return prefix_equal(&a->src.prefix, &b->src.prefix) &&
	       prefix_equal(&a->dst.prefix, &b->dst.prefix) && a->src.port == b->src.port &&
	       a->dst.port == b->dst.port && a->proto == b->proto;
}

/* One flow a protocol. False if it was there before. */
static bool add_flow(
	struct iked_parser *p, struct ike_policy *policy, const struct ike_policy_flow *flow)
{
	size_t n_protos = policy->n_protos ? policy->n_protos : 1;
	bool added = false;

	for (size_t i = 0; i < n_protos; i++) {
		struct ike_policy_flow f = *flow;
		bool known = false;

		f.proto = policy->n_protos ? policy->protos[i] : 0;
		for (size_t j = 0; j < policy->n_flows && !known; j++)
			known = flow_equal(&policy->flows[j], &f);
		if (known)
			continue;
		*(struct ike_policy_flow *)conf_grow(
			&p->arena, &policy->flows, &policy->n_flows, sizeof(f)) = f;
		added = true;
	}
	return added;
}

static void combine(struct iked_parser *p, struct ike_policy *policy, const struct ast_pair *pair,
	const struct side_set *from, const struct side_set *to, const struct side_set *nat)
{
	bool matched = false;

	for (size_t i = 0; i < from->n; i++)
		for (size_t j = 0; j < to->n; j++) {
			struct ike_policy_flow f = {.src = from->v[i], .dst = to->v[j]};
			uint8_t family = f.src.prefix.addr.family;
			bool nat_found = nat->n == 0;

			if (family != f.dst.prefix.addr.family)
				continue;
			for (size_t k = 0; k < nat->n && !nat_found; k++)
				if (nat->v[k].prefix.addr.family == family) {
					f.has_srcnat = true;
					f.srcnat = nat->v[k].prefix;
					nat_found = true;
				}
			if (!nat_found)
				continue;
			matched = true;
			if (policy->n_flows >= FLOWS_MAX) {
				conf_error(p->diags, &pair->from.name.pos,
					"more than %d flows in a policy", FLOWS_MAX);
				return;
			}
			if (!add_flow(p, policy, &f))
				conf_warning(p->diags, &pair->from.name.pos,
					"create_ike: duplicate flow");
		}
	if (!matched)
		conf_error(p->diags, &pair->to.name.pos, "cannot mix different address families.");
}

static void check_ports(
	struct iked_parser *p, const struct ike_policy *policy, const struct ast_pair *pair)
{
	const struct conf_string *port = pair->from.port.text ? &pair->from.port : &pair->to.port;
	bool ok = policy->n_protos > 0;

	for (size_t i = 0; i < policy->n_protos; i++)
		ok &= policy->protos[i] == IPPROTO_TCP || policy->protos[i] == IPPROTO_UDP;
	if (port->text && !ok)
		conf_error(p->diags, &port->pos,
			"no protocol supplied with source/destination ports, expected proto tcp or "
			"udp");
}

static void build_pair(
	struct iked_parser *p, struct ike_policy *policy, const struct ast_pair *pair)
{
	struct side_set from, to, nat = {.n = 0};
	bool ok;

	if (pair->to.srcnat) {
		conf_error(p->diags, &pair->to.srcnat->name.pos,
			"NAT source only allowed for \"from\"");
		return;
	}
	check_ports(p, policy, pair);
	ok = resolve_side(p, policy, &pair->from, &from);
	ok &= resolve_side(p, policy, &pair->to, &to);
	if (pair->from.srcnat) {
		iked_feature(p, IKE_FEATURE_SRCNAT, pair->from.srcnat->name.text,
			&pair->from.srcnat->name.pos);
		if (pair->from.srcnat->srcnat) {
			conf_error(p->diags, &pair->from.srcnat->srcnat->name.pos,
				"a second NAT source, expected one");
			return;
		}
		ok &= resolve_side(p, policy, pair->from.srcnat, &nat);
	}
	if (ok)
		combine(p, policy, pair, &from, &to, &nat);
}

static bool build_peer(struct iked_parser *p, const struct ike_policy *policy,
	const struct ast_host *h, uint8_t family, struct ike_host *out)
{
	struct ip_prefix found[RESOLVE_MAX];
	size_t n;

	out->is_any = true;
	if (h->kind == AST_HOST_NONE)
		return true;
	out->is_written = true;
	if (h->kind == AST_HOST_ANY)
		return true;
	n = conf_resolve(p->resolver, p->diags, h->name.text, &h->name.pos, h->has_len, h->len,
		&h->len_pos, found);
	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t f = found[i].addr.family;

		if ((policy->family && f != policy->family) || (family && f != family))
			continue;
		out->is_any = false;
		out->prefix = found[i];
		return true;
	}
	conf_error(p->diags, &h->name.pos, "cannot mix different address families.");
	return false;
}

static bool is_host(const struct ike_host *h)
{
	return !h->is_any && h->prefix.len == addr_bits(h->prefix.addr.family);
}

/* RFC 7296 says nothing of a policy without addresses: iked takes those of its only flow. */
static bool peers_from_flow(
	struct iked_parser *p, struct ike_policy *policy, const struct ast_policy *ast)
{
	const struct ast_pair *pair = ast->pairs;

	if (pair->next || policy->n_flows == 0) {
		if (policy->n_flows)
			conf_error(p->diags, &ast->pos,
				"could not get local/peer specification, expected peer ADDRESS as "
				"there are several from/to pairs");
		return false;
	}
	policy->local = (struct ike_host){.prefix = policy->flows[0].src.prefix};
	policy->peer = (struct ike_host){.prefix = policy->flows[0].dst.prefix};
	policy->local.is_any = policy->local.prefix.len == 0 || policy->flows[0].src.is_dynamic;
	policy->peer.is_any = policy->peer.prefix.len == 0 || policy->flows[0].dst.is_dynamic;
	return true;
}

static void build_peers(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast)
{
	const struct ast_host *peer = &ast->peers.peer, *local = &ast->peers.local;
	const struct conf_pos *where;

	if (peer->kind == AST_HOST_NONE && local->kind == AST_HOST_NONE) {
		if (!peers_from_flow(p, policy, ast))
			return;
	} else {
		if (!build_peer(p, policy, peer, 0, &policy->peer))
			return;
		if (!build_peer(p, policy, local,
			    policy->peer.is_any ? 0 : policy->peer.prefix.addr.family,
			    &policy->local))
			return;
	}
	where = peer->kind != AST_HOST_NONE ? &peer->name.pos : &ast->pos;
	if (policy->is_active &&
		(!is_host(&policy->peer) || (!policy->local.is_any && !is_host(&policy->local))))
		conf_error(p->diags, where,
			"active mode requires local/peer address, expected one host as peer");
}

void iked_build_flows(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast)
{
	struct ast_pair *first = NULL, *next;

	/* The grammar's list is newest first. */
	for (struct ast_pair *pair = ast->pairs; pair; pair = next) {
		next = pair->next;
		pair->next = first;
		first = pair;
	}
	ast->pairs = first;
	build_protos(p, policy, ast->protos);
	for (struct ast_pair *pair = first; pair; pair = pair->next)
		build_pair(p, policy, pair);
	build_peers(p, policy, ast);
}
