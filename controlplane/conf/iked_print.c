#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/conf/lexer.h"
#include "controlplane/conf/resolve.h"

static void print_prefix(const struct ip_prefix *p, FILE *out)
{
	char buf[PREFIX_STRLEN], addr[ADDR_STRLEN];

	if (p->len == addr_bits(p->addr.family))
		fputs(addr_str(&p->addr, addr), out);
	else
		fputs(prefix_str(p, buf), out);
}

static void print_list(const char *word, const struct ike_transform_list *list, FILE *out)
{
	for (size_t i = 0; i < list->n; i++)
		fprintf(out, "%s%s%s", word, word[0] == ' ' && word[1] ? " " : "",
			list->t[i]->name);
}

static void print_proposal(const char *word, const struct ike_proposal *p, FILE *out)
{
	fprintf(out, " %s", word);
	print_list(" enc", &p->encr, out);
	print_list(" prf", &p->prf, out);
	print_list(" auth", &p->integ, out);
	print_list(" group", &p->dh, out);
	print_list(" ", &p->esn, out);
}

static void print_protos(const struct ike_policy *p, FILE *out)
{
	char buf[16];

	if (p->n_protos == 1) {
		fprintf(out, " proto %s", conf_proto_str(p->protos[0], buf));
	} else if (p->n_protos > 1) {
		fputs(" proto {", out);
		for (size_t i = 0; i < p->n_protos; i++)
			fprintf(out, "%s %s", i ? "," : "", conf_proto_str(p->protos[i], buf));
		fputs(" }", out);
	}
}

static void print_flow(const struct ike_policy_flow *f, FILE *out)
{
	fputs(" from ", out);
	print_prefix(&f->src.prefix, out);
	if (f->has_srcnat) {
		fputs(" (", out);
		print_prefix(&f->srcnat, out);
		fputs(")", out);
	}
	if (f->src.port)
		fprintf(out, " port %u", f->src.port);
	fputs(" to ", out);
	print_prefix(&f->dst.prefix, out);
	if (f->dst.port)
		fprintf(out, " port %u", f->dst.port);
}

static void print_host(const char *word, const struct ike_host *h, FILE *out)
{
	fprintf(out, " %s ", word);
	if (h->is_any)
		fputs("any", out);
	else
		print_prefix(&h->prefix, out);
}

/* Bare where the lexer reads it back as one word, as identities are usually written. */
static void print_id(const char *word, const char *text, FILE *out)
{
	fprintf(out, " %s ", word);
	if (text[0] &&
		text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789.:@_-")] == '\0' &&
		text[strcspn(text, ".:@")] != '\0' && !strchr(".@-", text[0]))
		fputs(text, out);
	else
		conf_print_quoted(out, text);
}

static void print_auth(const struct ike_policy *p, FILE *out)
{
	static const char *const words[] = {
		[IKE_AUTH_ANY_SIGNATURE] = "signature",
		[IKE_AUTH_RSA] = "rsa",
		[IKE_AUTH_ECDSA256] = "ecdsa256",
		[IKE_AUTH_ECDSA384] = "ecdsa384",
		[IKE_AUTH_ECDSA521] = "ecdsa521",
		[IKE_AUTH_RFC7427] = "rfc7427",
		[IKE_AUTH_EAP_MSCHAPV2] = "eap \"mschap-v2\"",
		[IKE_AUTH_EAP_RADIUS] = "eap radius",
	};

	if (p->auth != IKE_AUTH_PSK) {
		fprintf(out, " %s", words[p->auth]);
		return;
	}
	if (p->psk_file_missing) {
		fputs(" psk file ", out);
		conf_print_quoted(out, p->psk_file_missing);
		return;
	}
	fputs(" psk 0x", out);
	for (size_t i = 0; i < p->psk_len; i++)
		fprintf(out, "%02x", p->psk[i]);
}

static void print_cp(const struct ike_policy *p, FILE *out)
{
	for (size_t i = 0; i < p->n_cp; i++) {
		const struct ike_cp_option *o = &p->cp[i];

		fprintf(out, " %s %s ", o->is_request ? "request" : "config", o->name);
		if (o->is_any)
			fputs("any", out);
		else
			print_prefix(&o->value, out);
	}
}

static void print_head(const struct ike_policy *p, FILE *out)
{
	fputs("ikev2 ", out);
	conf_print_quoted(out, p->name);
	fputs(p->is_quick ? " quick" : p->is_skip ? " skip" : p->is_default ? " default" : "", out);
	fputs(p->is_active ? " active" : " passive", out);
	fputs(p->is_ipcomp ? " ipcomp" : "", out);
	fputs(p->is_transport ? " transport" : " tunnel", out);
	fputs(p->is_natt ? " natt" : "", out);
	fputs(p->is_ah ? " ah" : " esp", out);
	if (p->family)
		fputs(p->family == 4 ? " inet" : " inet6", out);
	print_protos(p, out);
	if (p->has_rdomain)
		fprintf(out, " rdomain %u", p->rdomain);
}

void iked_policy_print(const struct ike_policy *p, FILE *out)
{
	print_head(p, out);
	/* There is a flow for each protocol: a pair is printed once. */
	for (size_t i = 0; i < p->n_flows; i++)
		if (p->n_protos == 0 || p->flows[i].proto == p->protos[0])
			print_flow(&p->flows[i], out);
	print_host("local", &p->local, out);
	print_host("peer", &p->peer, out);
	for (size_t i = 0; i < p->n_ike_proposals; i++)
		print_proposal("ikesa", &p->ike_proposals[i], out);
	for (size_t i = 0; i < p->n_child_proposals; i++)
		print_proposal("childsa", &p->child_proposals[i], out);
	if (p->srcid_text)
		print_id("srcid", p->srcid_text, out);
	if (p->dstid_text)
		print_id("dstid", p->dstid_text, out);
	if (p->ike_lifetime_s)
		fprintf(out, " ikelifetime %u", p->ike_lifetime_s);
	fprintf(out, " lifetime %u bytes %llu", p->child_lifetime_s,
		(unsigned long long)p->child_lifetime_bytes);
	print_auth(p, out);
	print_cp(p, out);
	if (p->iface) {
		fputs(" iface ", out);
		conf_print_quoted(out, p->iface);
	}
	if (p->tag) {
		fputs(" tag ", out);
		conf_print_quoted(out, p->tag);
	}
	if (p->tap)
		fprintf(out, " tap \"%s\"", p->tap);
	fputc('\n', out);
}

static void print_radius(const struct ike_radius *r, FILE *out)
{
	char addr[ADDR_STRLEN];

	for (size_t i = 0; i < r->n_servers; i++) {
		fprintf(out, "radius %sserver %s port %u secret ",
			r->servers[i].is_accounting ? "accounting " : "",
			addr_str(&r->servers[i].addr, addr), r->servers[i].port);
		conf_print_quoted(out, r->servers[i].secret);
		fputc('\n', out);
	}
	for (size_t i = 0; i < 2; i++) {
		if (r->max_tries[i] >= 0)
			fprintf(out, "radius %smax-tries %d\n", i ? "accounting " : "",
				r->max_tries[i]);
		if (r->max_failovers[i] >= 0)
			fprintf(out, "radius %smax-failovers %d\n", i ? "accounting " : "",
				r->max_failovers[i]);
	}
	for (size_t i = 0; i < r->n_attributes; i++) {
		const struct ike_radius_attribute *a = &r->attributes[i];

		fprintf(out, "radius config %s",
			a->family == 4   ? "inet "
			: a->family == 6 ? "inet6 "
					 : "");
		conf_print_quoted(out, a->option ? a->option : "none");
		if (a->vendor)
			fprintf(out, " %u", a->vendor);
		fprintf(out, " %u\n", a->attribute);
	}
	for (size_t i = 0; i < r->n_dae_listen; i++)
		fprintf(out, "radius dae listen on %s port %u\n",
			addr_str(&r->dae_listen[i].addr, addr), r->dae_listen[i].port);
	for (size_t i = 0; i < r->n_dae_clients; i++) {
		fprintf(out, "radius dae client %s secret ",
			addr_str(&r->dae_clients[i].addr, addr));
		conf_print_quoted(out, r->dae_clients[i].secret);
		fputc('\n', out);
	}
}

static void print_globals(const struct ike_config *c, FILE *out)
{
	fprintf(out, "set %s\n", c->is_passive ? "passive" : "active");
	fprintf(out, "set %s\n", c->is_decoupled ? "decouple" : "couple");
	fprintf(out, "set dpd_check_interval %u\n", c->dpd_interval_s);
	fprintf(out, "set %senforcesingleikesa\n", c->enforce_single_ikesa ? "" : "no");
	fprintf(out, "set %sstickyaddress\n", c->sticky_address ? "" : "no");
	if (c->fragmentation != IKE_FRAGMENTS_OF_LONG)
		fprintf(out, "set %sfragmentation\n",
			c->fragmentation == IKE_FRAGMENTS_OF_ALL ? "" : "no");
	fprintf(out, "set %smobike\n", c->mobike ? "" : "no");
	fprintf(out, "set %svendorid\n", c->vendorid ? "" : "no");
	if (c->cert_partial_chain)
		fputs("set cert_partial_chain\n", out);
	if (c->ocsp_url) {
		fputs("set ocsp ", out);
		conf_print_quoted(out, c->ocsp_url);
		if (c->ocsp_tolerate_s >= 0)
			fprintf(out, " tolerate %lld", (long long)c->ocsp_tolerate_s);
		if (c->ocsp_maxage_s >= 0)
			fprintf(out, " maxage %lld", (long long)c->ocsp_maxage_s);
		fputc('\n', out);
	}
}

void iked_conf_print(const struct ike_config *config, FILE *out)
{
	print_globals(config, out);
	for (size_t i = 0; i < config->n_users; i++) {
		fputs("user ", out);
		conf_print_quoted(out, config->users[i].name);
		fputc(' ', out);
		conf_print_quoted(out, config->users[i].password);
		fputc('\n', out);
	}
	if (config->radius)
		print_radius(config->radius, out);
	for (size_t i = 0; i < config->n_policies; i++)
		iked_policy_print(&config->policies[i], out);
}
