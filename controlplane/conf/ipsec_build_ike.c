#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/conf/ipsec_ast.h"

/* isakmpd's rules: checked as far as their own words go, kept for printing, never loaded. */

static const char *const ike_groups[] = {"none", "modp768", "modp1024", "modp1536", "modp2048",
	"modp3072", "modp4096", "modp6144", "modp8192", "ecp256", "ecp384", "ecp521", "ecp224",
	"bp224", "bp256", "bp384", "bp512", NULL};

static bool group_known(const char *name)
{
	for (size_t i = 0; ike_groups[i]; i++)
		if (name[0] && strncmp(ike_groups[i], name, strlen(name)) == 0)
			return true;
	return false;
}

static void check_xforms(struct ipsec_parser *p, const struct ast_ixforms *x)
{
	if (x->enc.text && !ipsec_transform(TRANSFORM_ENCR, x->enc.text))
		conf_error(p->diags, &x->enc.pos,
			"%s not a valid transform for enc, expected for example aes", x->enc.text);
	if (x->auth.text && !ipsec_transform(TRANSFORM_INTEG, x->auth.text))
		conf_error(p->diags, &x->auth.pos,
			"%s not a valid transform for auth, expected for example hmac-sha2-256",
			x->auth.text);
	if (x->group.text && !group_known(x->group.text))
		conf_error(p->diags, &x->group.pos,
			"%s not a valid transform for group, expected for example modp3072",
			x->group.text);
	if (x->comp.text)
		conf_error(
			p->diags, &x->comp.pos, "comp in an ike rule, expected enc, auth or group");
}

static struct ip_addr first_addr(struct ipsec_parser *p, const struct ast_ihost *h)
{
	struct ip_prefix *v;

	if (!h || h->is_any)
		return (struct ip_addr){0};
	v = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*v));
	if (ipsec_resolve_list(p, h, v) == 0)
		return (struct ip_addr){0};
	return v[0].addr;
}

static void copy_words(struct ipsec_parser *p, struct ipsec_ike *k, const struct ast_iike *ast)
{
	k->mode = ast->tmode.is_set ? (enum ipc_mode)ast->tmode.value : IPC_MODE_TUNNEL;
	k->start = ast->mode.value;
	k->interface = conf_strdup(&p->arena, ast->interface.text);
	k->srcid = conf_strdup(&p->arena, ast->ids.srcid.text);
	k->dstid = conf_strdup(&p->arena, ast->ids.dstid.text);
	k->psk = conf_strdup(&p->arena, ast->psk.text);
	k->tag = conf_strdup(&p->arena, ast->tag.text);
	k->is_aggressive = ast->phase1.is_aggressive;
	k->main_enc = conf_strdup(&p->arena, ast->phase1.xforms.enc.text);
	k->main_auth = conf_strdup(&p->arena, ast->phase1.xforms.auth.text);
	k->main_group = conf_strdup(&p->arena, ast->phase1.xforms.group.text);
	k->quick_enc = conf_strdup(&p->arena, ast->phase2.xforms.enc.text);
	k->quick_auth = conf_strdup(&p->arena, ast->phase2.xforms.auth.text);
	k->quick_group = conf_strdup(&p->arena, ast->phase2.xforms.group.text);
	k->main_lifetime_s = ast->phase1.lifetime_s;
	k->quick_lifetime_s = ast->phase2.lifetime_s;
	k->peer = first_addr(p, ast->peers.peer);
	k->local = first_addr(p, ast->peers.local);
}

static struct ipsec_ike *add(struct ipsec_parser *p, const struct ast_iike *ast)
{
	struct ipsec_rule *r = ipsec_rule_new(p, IPSEC_RULE_IKE, &ast->pos);

	if (!r)
		return NULL;
	r->satype = ast->satype;
	r->ike = conf_calloc(&p->arena, 1, sizeof(*r->ike));
	copy_words(p, r->ike, ast);
	return r->ike;
}

static void ports_and_proto(struct ipsec_parser *p, const struct ast_iike *ast, struct ipsec_ike *t)
{
	const struct conf_string *sport = &ast->hosts.sport, *dport = &ast->hosts.dport;
	int proto = 0;

	if (ast->proto.text)
		proto = conf_resolve_proto(p->diags, ast->proto.text, &ast->proto.pos);
	t->proto = proto > 0 ? (uint8_t)proto : 0;
	if (sport->text)
		t->sport = conf_resolve_port(p->resolver, p->diags, sport->text, &sport->pos);
	if (dport->text)
		t->dport = conf_resolve_port(p->resolver, p->diags, dport->text, &dport->pos);
	if ((sport->text || dport->text) && proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		conf_error(p->diags, sport->text ? &sport->pos : &dport->pos,
			"no protocol supplied with source/destination ports, expected proto tcp or "
			"udp");
}

void ipsec_build_ike(struct ipsec_parser *p, struct ast_iike *ast)
{
	struct ip_prefix *from = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*from));
	struct ip_prefix *to = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*to));
	size_t before = p->diags->n_errors, n_from, n_to, n = 0;
	struct ipsec_ike t = {0}, *k;

	check_xforms(p, &ast->phase1.xforms);
	check_xforms(p, &ast->phase2.xforms);
	if (ast->interface.text) {
		add(p, ast);
		return;
	}
	ports_and_proto(p, ast, &t);
	n_from = ipsec_resolve_list(p, ast->hosts.from, from);
	n_to = n_from ? ipsec_resolve_list(p, ast->hosts.to, to) : 0;
	if (ast->hosts.from->srcnat) {
		struct ip_prefix *nat = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*nat));

		t.has_srcnat = ipsec_resolve_list(p, ast->hosts.from->srcnat, nat) > 0;
		t.srcnat = nat[0];
	}
	if (p->diags->n_errors > before)
		return;
	for (size_t i = 0; i < n_from; i++)
		for (size_t j = 0; j < n_to; j++) {
			if (from[i].addr.family != to[j].addr.family)
				continue;
			n++;
			k = add(p, ast);
			if (!k || p->diags->n_errors > before)
				return;
			k->proto = t.proto;
			k->sport = t.sport;
			k->dport = t.dport;
			k->has_srcnat = t.has_srcnat;
			k->srcnat = t.srcnat;
			k->src = from[i];
			k->dst = to[j];
			if (!ast->peers.peer && to[j].len == addr_bits(to[j].addr.family))
				k->peer = to[j].addr;
		}
	if (n == 0)
		conf_error(p->diags, &ast->pos,
			"rule expands to no valid combination, expected from and to of one address "
			"family");
}
