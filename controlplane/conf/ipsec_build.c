#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controlplane/conf/ipsec_ast.h"

/* Lists, names and flows. SAs are in ipsec_build_sa.c, isakmpd's rules in ipsec_build_ike.c. */

#define RULES_MAX 65536

struct ipsec_rule *ipsec_rule_new(
	struct ipsec_parser *p, enum ipsec_rule_kind kind, const struct conf_pos *pos)
{
	struct ipsec_rule *r;

	if (p->config->n_rules == RULES_MAX) {
		conf_error(p->diags, pos, "more than %d rules", RULES_MAX);
		return NULL;
	}
	r = conf_grow(&p->arena, &p->config->rules, &p->config->n_rules, sizeof(*r));
	r->kind = kind;
	r->number = p->n_statements;
	r->pos = *pos;
	r->pos.macro = NULL;
	return r;
}

static size_t resolve_one(
	struct ipsec_parser *p, const struct ast_ihost *h, struct ip_prefix out[RESOLVE_MAX])
{
	if (h->is_any) {
		out[0] = (struct ip_prefix){.addr.family = 4};
		out[1] = (struct ip_prefix){.addr.family = 6};
		return 2;
	}
	return conf_resolve(p->resolver, p->diags, h->name.text, &h->name.pos, h->has_len, h->len,
		&h->len_pos, out);
}

size_t ipsec_resolve_list(
	struct ipsec_parser *p, const struct ast_ihost *newest, struct ip_prefix *out)
{
	const struct ast_ihost *order[IPSEC_HOSTS_MAX];
	struct ip_prefix found[RESOLVE_MAX];
	size_t n_items = 0, n = 0;

	for (; newest; newest = newest->next) {
		if (n_items == IPSEC_HOSTS_MAX) {
			conf_error(p->diags, &newest->name.pos, "more than %d hosts in a list",
				IPSEC_HOSTS_MAX);
			return 0;
		}
		order[n_items++] = newest;
	}
	while (n_items-- > 0) {
		size_t n_found = resolve_one(p, order[n_items], found);

		if (n_found == 0)
			return 0;
		for (size_t i = 0; i < n_found && n < IPSEC_HOSTS_MAX; i++)
			out[n++] = found[i];
	}
	return n;
}

uint32_t ipsec_time(struct ipsec_parser *p, const struct conf_string *s)
{
	size_t digits = strspn(s->text, "0123456789");
	const char *unit = s->text + digits;
	uint64_t v = strtoull(s->text, NULL, 10);

	if (digits > 0 && digits < 10 && (!*unit || !unit[1])) {
		if (strcasecmp(unit, "m") == 0)
			v *= 60;
		else if (strcasecmp(unit, "h") == 0)
			v *= 3600;
		if ((!*unit || strchr("mMhH", *unit)) && v <= INT32_MAX)
			return (uint32_t)v;
	}
	conf_error(p->diags, &s->pos, "'%s' is not a time, expected seconds, Nm or Nh", s->text);
	return 0;
}

static bool copy_id(struct ipsec_parser *p, const struct conf_string *s, char out[IPC_ID_LEN])
{
	if (!s->text)
		return true;
	if (strlen(s->text) >= IPC_ID_LEN || !s->text[0]) {
		conf_error(p->diags, &s->pos, "an identity of %zu bytes, expected 1 to %d",
			strlen(s->text), IPC_ID_LEN - 1);
		return false;
	}
	strcpy(out, s->text);
	return true;
}

/* What all expansions of a flow rule share. */
static bool flow_template(struct ipsec_parser *p, const struct ast_iflow *ast, struct ipc_flow *f)
{
	size_t before = p->diags->n_errors;
	int proto;

	*f = (struct ipc_flow){.direction = IPC_DIR_OUT};
	if (ast->direction.is_set)
		f->direction = (uint8_t)ast->direction.value;
	if (ast->type.is_set)
		f->type = (uint8_t)ast->type.value;
	else
		f->type = ast->satype == IPSEC_SATYPE_IPIP || ast->satype == IPSEC_SATYPE_IPCOMP
				  ? IPC_FLOW_USE
				  : IPC_FLOW_REQUIRE;
	if (ast->proto.text) {
		proto = conf_resolve_proto(p->diags, ast->proto.text, &ast->proto.pos);
		f->proto = proto < 0 ? 0 : (uint8_t)proto;
	}
	if (ast->hosts.sport.text)
		f->src_port = conf_resolve_port(
			p->resolver, p->diags, ast->hosts.sport.text, &ast->hosts.sport.pos);
	if (ast->hosts.dport.text)
		f->dst_port = conf_resolve_port(
			p->resolver, p->diags, ast->hosts.dport.text, &ast->hosts.dport.pos);
	if ((f->src_port || f->dst_port) && f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP)
		conf_error(p->diags, f->src_port ? &ast->hosts.sport.pos : &ast->hosts.dport.pos,
			"no protocol supplied with source/destination ports, expected proto tcp or "
			"udp");
	copy_id(p, &ast->ids.srcid, f->srcid);
	copy_id(p, &ast->ids.dstid, f->dstid);
	return p->diags->n_errors == before;
}

static bool find_host(struct ipsec_parser *p, const struct ast_ihost *h, struct ip_addr *out)
{
	struct ip_prefix found[RESOLVE_MAX];

	if (resolve_one(p, h, found) == 0)
		return false;
	if (found[0].len != addr_bits(found[0].addr.family)) {
		conf_error(p->diags, &h->name.pos, "a network, expected one host");
		return false;
	}
	*out = found[0].addr;
	return true;
}

/* bypass and deny flows have no peer; else it is as written, or the far side if that is a host. */
static bool flow_peer(struct ipsec_parser *p, const struct ast_iflow *ast, struct ipc_flow *f)
{
	const struct ip_prefix *far = f->direction == IPC_DIR_IN ? &f->src : &f->dst;
	char buf[PREFIX_STRLEN];

	if (f->type == IPC_FLOW_BYPASS || f->type == IPC_FLOW_DENY)
		return true;
	if (ast->peers.peer)
		return ast->peers.peer->is_any || find_host(p, ast->peers.peer, &f->peer);
	if (far->len == addr_bits(far->addr.family)) {
		f->peer = far->addr;
		return true;
	}
	conf_error(p->diags, &ast->pos,
		"no peer specified for destination %s, expected peer ADDRESS",
		prefix_str(far, buf));
	return false;
}

static void flow_add(struct ipsec_parser *p, const struct ast_iflow *ast, const struct ipc_flow *f)
{
	struct ipsec_rule *r = ipsec_rule_new(p, IPSEC_RULE_FLOW, &ast->pos);

	if (!r)
		return;
	r->satype = ast->satype;
	r->flow = *f;
}

/* False to stop: an error that each further combination would repeat. */
static bool flow_expand(struct ipsec_parser *p, const struct ast_iflow *ast, struct ipc_flow *f)
{
	struct ipc_flow in;

	if (!flow_peer(p, ast, f))
		return false;
	flow_add(p, ast, f);
	if (ast->direction.is_set)
		return true;
	in = *f;
	in.direction = IPC_DIR_IN;
	in.src = f->dst;
	in.dst = f->src;
	in.src_port = f->dst_port;
	in.dst_port = f->src_port;
	flow_add(p, ast, &in);
	return true;
}

void ipsec_build_flow(struct ipsec_parser *p, struct ast_iflow *ast)
{
	struct ip_prefix *from = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*from));
	struct ip_prefix *to = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*to));
	size_t n_from, n_to, n = 0;
	struct ipc_flow t;

	for (const struct ast_ihost *h = ast->hosts.from; h; h = h->next)
		if (h->srcnat) {
			conf_error(p->diags, &h->srcnat->name.pos,
				"a NAT source, expected it in ike rules only");
			return;
		}
	if (!flow_template(p, ast, &t))
		return;
	if (ast->peers.local) {
		if (!find_host(p, ast->peers.local, &t.local))
			return;
		t.flags |= IPC_FLOW_F_LOCAL;
	}
	n_from = ipsec_resolve_list(p, ast->hosts.from, from);
	n_to = n_from ? ipsec_resolve_list(p, ast->hosts.to, to) : 0;
	if (n_to == 0)
		return;
	for (size_t i = 0; i < n_from; i++)
		for (size_t j = 0; j < n_to; j++) {
			struct ipc_flow f = t;

			if (from[i].addr.family != to[j].addr.family)
				continue;
			f.src = from[i];
			f.dst = to[j];
			n++;
			if (!flow_expand(p, ast, &f) || p->config->n_rules == RULES_MAX)
				return;
		}
	if (n == 0)
		conf_error(p->diags, &ast->pos,
			"rule expands to no valid combination, expected from and to of one address "
			"family");
}
