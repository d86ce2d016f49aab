#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/conf/ipsec_ast.h"

const char *ipsec_satype_str(enum ipsec_satype satype)
{
	static const char *const names[] = {
		[IPSEC_SATYPE_ESP] = "esp",
		[IPSEC_SATYPE_AH] = "ah",
		[IPSEC_SATYPE_IPCOMP] = "ipcomp",
		[IPSEC_SATYPE_IPIP] = "ipip",
		[IPSEC_SATYPE_TCPMD5] = "tcpmd5",
	};

	return names[satype];
}

const char *ipsec_flow_type_str(uint8_t flow_type)
{
	static const char *const names[] = {
		"unknown", "use", "acquire", "require", "deny", "bypass", "dontacq"};

	return flow_type < sizeof(names) / sizeof(names[0]) ? names[flow_type] : names[0];
}

static void print_prefix(const char *word, const struct ip_prefix *p, FILE *out)
{
	char buf[PREFIX_STRLEN], addr[ADDR_STRLEN];
	bool is_host = p->len == addr_bits(p->addr.family);

	fprintf(out, " %s %s", word, is_host ? addr_str(&p->addr, addr) : prefix_str(p, buf));
}

static void print_port(uint16_t port, uint8_t proto, FILE *out)
{
	char buf[16];

	if (port)
		fprintf(out, " port %s", conf_port_str(port, proto, buf));
}

/* Quoted only where it would not be read back as one word, and never in a listing. */
static void print_id(const char *word, const char *id, unsigned int flags, FILE *out)
{
	fprintf(out, " %s ", word);
	if ((flags & IPSEC_PRINT_LISTING) || id[strcspn(id, " \t\"'(){}<>!=/#,\\$")] == '\0')
		fputs(id, out);
	else
		conf_print_quoted(out, id);
}

static void print_flow(const struct ipsec_rule *r, unsigned int flags, FILE *out)
{
	const struct ipc_flow *f = &r->flow;
	char buf[16], addr[ADDR_STRLEN];

	fprintf(out, "flow %s %s", ipsec_satype_str(r->satype),
		f->direction == IPC_DIR_IN ? "in" : "out");
	if (f->proto)
		fprintf(out, " proto %s", conf_proto_str(f->proto, buf));
	print_prefix("from", &f->src, out);
	print_port(f->src_port, f->proto, out);
	print_prefix("to", &f->dst, out);
	print_port(f->dst_port, f->proto, out);
	if (f->flags & IPC_FLOW_F_LOCAL)
		fprintf(out, " local %s", addr_str(&f->local, addr));
	if (f->peer.family)
		fprintf(out, " peer %s", addr_str(&f->peer, addr));
	if (f->srcid[0])
		print_id("srcid", f->srcid, flags, out);
	if (f->dstid[0])
		print_id("dstid", f->dstid, flags, out);
	fprintf(out, " type %s\n", ipsec_flow_type_str(f->type));
}

static void print_key(const char *word, const uint8_t *key, size_t len, FILE *out)
{
	if (len == 0)
		return;
	fprintf(out, " \\\n\t%s 0x", word);
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%02x", key[i]);
}

static void print_sa(const struct ipsec_rule *r, bool with_keys, FILE *out)
{
	const struct ipsec_sa *sa = &r->sa;
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];

	fputs(ipsec_satype_str(r->satype), out);
	if (r->satype != IPSEC_SATYPE_TCPMD5 && r->satype != IPSEC_SATYPE_IPIP)
		fputs(sa->mode == IPC_MODE_TUNNEL ? " tunnel" : " transport", out);
	fprintf(out, " from %s to %s spi 0x%08x", addr_str(&sa->src, src), addr_str(&sa->dst, dst),
		sa->spi);
	if (sa->has_udpencap)
		fputs(" udpencap", out);
	if (sa->has_udpencap && sa->udpencap_port)
		fprintf(out, " port %u", sa->udpencap_port);
	if (sa->integ)
		fprintf(out, " auth %s", sa->integ->ipsecctl_name);
	if (sa->encr)
		fprintf(out, " enc %s", sa->encr->ipsecctl_name);
	if (sa->comp)
		fprintf(out, " comp %s", sa->comp);
	if (with_keys) {
		print_key("authkey", sa->authkey, sa->authkey_len, out);
		print_key("enckey", sa->enckey, sa->enckey_len, out);
	}
	if (sa->bundle) {
		fputs(" bundle ", out);
		conf_print_quoted(out, sa->bundle);
	}
	fputc('\n', out);
}

static void print_phase(const char *name, const char *auth, const char *enc, const char *group,
	uint32_t lifetime_s, FILE *out)
{
	if (!auth && !enc && !group && !lifetime_s)
		return;
	fprintf(out, " %s", name);
	if (auth)
		fprintf(out, " auth \"%s\"", auth);
	if (enc)
		fprintf(out, " enc \"%s\"", enc);
	if (group)
		fprintf(out, " group \"%s\"", group);
	if (lifetime_s)
		fprintf(out, " lifetime %u", lifetime_s);
}

static void print_quoted_after(const char *word, const char *text, FILE *out)
{
	if (!text)
		return;
	fprintf(out, " %s ", word);
	conf_print_quoted(out, text);
}

static void print_ike_hosts(const struct ipsec_rule *r, FILE *out)
{
	const struct ipsec_ike *k = r->ike;
	char buf[16], addr[ADDR_STRLEN];

	if (k->interface) {
		print_quoted_after("interface", k->interface, out);
	} else {
		fprintf(out, " %s %s", ipsec_satype_str(r->satype),
			k->mode == IPC_MODE_TUNNEL ? "tunnel" : "transport");
		if (k->proto)
			fprintf(out, " proto %s", conf_proto_str(k->proto, buf));
		print_prefix("from", &k->src, out);
		if (k->has_srcnat) {
			fputs(" (", out);
			print_prefix("", &k->srcnat, out);
			fputs(" )", out);
		}
		print_port(k->sport, k->proto, out);
		print_prefix("to", &k->dst, out);
		print_port(k->dport, k->proto, out);
	}
	if (k->local.family)
		fprintf(out, " local %s", addr_str(&k->local, addr));
	if (k->peer.family)
		fprintf(out, " peer %s", addr_str(&k->peer, addr));
}

static void print_ike(const struct ipsec_rule *r, bool with_keys, FILE *out)
{
	static const char *const starts[] = {"active", "passive", "dynamic"};
	const struct ipsec_ike *k = r->ike;

	fprintf(out, "ike %s", starts[k->start]);
	print_ike_hosts(r, out);
	if (k->is_aggressive && !k->main_auth && !k->main_enc && !k->main_group &&
		!k->main_lifetime_s)
		fputs(" aggressive", out);
	print_phase(k->is_aggressive ? "aggressive" : "main", k->main_auth, k->main_enc,
		k->main_group, k->main_lifetime_s, out);
	print_phase("quick", k->quick_auth, k->quick_enc, k->quick_group, k->quick_lifetime_s, out);
	print_quoted_after("srcid", k->srcid, out);
	print_quoted_after("dstid", k->dstid, out);
	if (k->psk)
		print_quoted_after("psk", with_keys ? k->psk : "(not shown)", out);
	else
		fputs(" rsa", out);
	print_quoted_after("tag", k->tag, out);
	fputc('\n', out);
}

void ipsec_rule_print(const struct ipsec_rule *rule, unsigned int flags, FILE *out)
{
	bool with_keys = flags & IPSEC_PRINT_KEYS;

	if (rule->kind == IPSEC_RULE_FLOW)
		print_flow(rule, flags, out);
	else if (rule->kind == IPSEC_RULE_SA)
		print_sa(rule, with_keys, out);
	else
		print_ike(rule, with_keys, out);
}

void ipsec_conf_print(const struct ipsec_config *config, unsigned int flags, FILE *out)
{
	for (size_t i = 0; i < config->n_rules; i++) {
		if (flags & IPSEC_PRINT_NUMBERS)
			fprintf(out, "@%zu ", i);
		ipsec_rule_print(&config->rules[i], flags, out);
	}
}
