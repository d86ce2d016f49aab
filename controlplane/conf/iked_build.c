#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "controlplane/conf/iked_ast.h"
#include "controlplane/conf/resolve.h"
#include "shared/bytes.h"
#include "shared/wipe.h"

/*
 * From a policy's syntax tree to struct ike_policy: the parts that are neither flows nor
 * proposals. Everything that can be wrong is looked at, so that one run shows all errors.
 */

#define CP_MAX 16
#define PSK_MAX 1024
#define CHILD_LIFETIME_S 10800
#define CHILD_LIFETIME_BYTES 4294967296

static const struct {
	const char *name;
	enum ike_auth_method method;
} auth_names[] = {
	{"rsa", IKE_AUTH_RSA},
	{"ecdsa256", IKE_AUTH_ECDSA256},
	{"ecdsa384", IKE_AUTH_ECDSA384},
	{"ecdsa521", IKE_AUTH_ECDSA521},
	{"rfc7427", IKE_AUTH_RFC7427},
	{"signature", IKE_AUTH_ANY_SIGNATURE},
};

static const char *const cp_options[] = {"address", "netmask", "name-server", "netbios-server",
	"dhcp-server", "protected-subnet", "access-server"};

static void warn_near_name(struct iked_parser *p, const struct conf_string *name)
{
	static const struct conf_keyword words[] = {{"active", 1}, {"passive", 1}, {"quick", 1},
		{"skip", 1}, {"default", 1}, {"ipcomp", 1}, {"tunnel", 1}, {"transport", 1},
		{"natt", 1}, {"esp", 1}, {"ah", 1}, {"inet", 1}, {"inet6", 1}, {"proto", 1},
		{"rdomain", 1}, {"from", 1}, {NULL, 0}};
	const char *near = name->is_quoted ? NULL : conf_near_keyword(words, name->text);

	if (near)
		conf_warning(p->diags, &name->pos,
			"'%s' is taken as the policy's name, is '%s' meant? (a quoted name is not "
			"questioned)",
			name->text, near);
}

static void build_name(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast)
{
	char name[32];

	if (!ast->name.text) {
		snprintf(name, sizeof(name), "policy%u", policy->number);
		policy->name = conf_strdup(&p->arena, name);
		return;
	}
	if (ast->name.text[0] == '\0')
		conf_error(p->diags, &ast->name.pos, "the policy's name is empty, expected text");
	warn_near_name(p, &ast->name);
	for (size_t i = 0; i + 1 < p->config->n_policies; i++)
		if (strcmp(p->config->policies[i].name, ast->name.text) == 0)
			conf_warning(p->diags, &ast->name.pos,
				"another policy in line %u has the name '%s' too",
				p->config->policies[i].pos.line, ast->name.text);
	policy->name = conf_strdup(&p->arena, ast->name.text);
}

static void build_flags(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast)
{
	if (ast->disposition.is_set) {
		policy->is_quick = ast->disposition.value == IKED_QUICK;
		policy->is_skip = ast->disposition.value == IKED_SKIP;
		policy->is_default = ast->disposition.value == IKED_DEFAULT;
	}
	for (size_t i = 0; policy->is_default && i + 1 < p->config->n_policies; i++)
		if (p->config->policies[i].is_default)
			conf_warning(p->diags, &ast->disposition.pos,
				"the policy in line %u is a default too, the last one counts",
				p->config->policies[i].pos.line);
	policy->is_active = ast->mode.value;
	policy->is_ipcomp = ast->ipcomp.is_set;
	policy->is_transport = ast->tmode.value;
	policy->is_natt = ast->natt.is_set;
	policy->is_ah = ast->satype.value;
	policy->family = (uint8_t)ast->family.value;
	policy->has_rdomain = ast->rdomain.is_set;
	policy->rdomain = (uint32_t)ast->rdomain.value;
	if (policy->is_ipcomp)
		iked_feature(p, IKE_FEATURE_IPCOMP, NULL, &ast->ipcomp.pos);
	if (policy->is_ah)
		iked_feature(p, IKE_FEATURE_AH, NULL, &ast->satype.pos);
	if (policy->has_rdomain)
		iked_feature(p, IKE_FEATURE_RDOMAIN, NULL, &ast->rdomain.pos);
}

static void build_id(struct iked_parser *p, const struct conf_string *s, bool *has,
	struct ike_id *id, char **text)
{
	if (!s->text)
		return;
	if (s->text[0] == '\0' || ike_id_parse(s->text, id) < 0) {
		conf_error(p->diags, &s->pos,
			"'%.80s' is not an identity, expected a domain name, an address, "
			"user@domain or /C=../CN=..",
			s->text);
		return;
	}
	*has = true;
	*text = conf_strdup(&p->arena, s->text);
	if (id->type == IKE_ID_ASN1_DN)
		iked_feature(p, IKE_FEATURE_ASN1_DN, s->text, &s->pos);
}

static void set_psk_hex(struct iked_parser *p, struct ike_policy *policy, const char *hex,
	size_t len, const struct conf_pos *pos)
{
	if (len == 0 || len % 2 != 0 || len / 2 > PSK_MAX) {
		conf_error(p->diags, pos,
			"a hexadecimal key of %zu digits, expected an even number from 2 to %d",
			len, 2 * PSK_MAX);
		return;
	}
	policy->psk = conf_calloc(&p->arena, 1, len / 2);
	policy->psk_len = len / 2;
	if (!bytes_from_hex(hex, policy->psk, policy->psk_len))
		conf_error(p->diags, pos, "keys need to be specified in hex digits");
}

/* A key that is not there costs its policy alone, at the time of its use. */
static bool psk_file_readable(struct iked_parser *p, struct ike_policy *policy, const char *path,
	const struct conf_pos *pos)
{
	if (strcmp(path, "-") == 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
		return true;
	conf_warning(p->diags, pos, "%s: %s: SAs of policy '%s' will fail for want of their psk",
		path, strerror(errno), policy->name);
	policy->psk_file_missing = conf_strdup(&p->arena, path);
	return false;
}

static void build_psk(struct iked_parser *p, struct ike_policy *policy, const struct ast_auth *auth)
{
	const char *text = auth->value.text;
	const struct conf_pos *pos = &auth->value.pos;
	size_t len = strlen(text);

	policy->auth = IKE_AUTH_PSK;
	if (auth->kind == AST_AUTH_PSK_FILE) {
		char *key;

		if (!psk_file_readable(p, policy, text, pos))
			return;
		key = conf_file_read(&p->lx, text, pos, 2 * PSK_MAX + 2, &len);
		if (!key)
			return;
		while (len && (key[len - 1] == '\n' || key[len - 1] == '\r'))
			len--;
		set_psk_hex(p, policy, key, len, pos);
	} else if (strncmp(text, "0x", 2) == 0) {
		set_psk_hex(p, policy, text + 2, len - 2, pos);
	} else if (len == 0 || len > PSK_MAX) {
		conf_error(p->diags, pos, "a key of %zu bytes, expected 1 to %d", len, PSK_MAX);
	} else {
		policy->psk = conf_calloc(&p->arena, 1, len);
		policy->psk_len = len;
		memcpy(policy->psk, text, len);
	}
}

/* Without case, `-` like `_`. */
static bool eap_name_equal(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		char x = *a == '_' ? '-' : *a, y = *b == '_' ? '-' : *b;

		if (strncasecmp(&x, &y, 1) != 0)
			return false;
	}
	return *a == *b;
}

static void build_eap(struct iked_parser *p, struct ike_policy *policy, const struct conf_string *s)
{
	iked_feature(p, IKE_FEATURE_EAP, s->text, &s->pos);
	if (eap_name_equal(s->text, "mschap-v2"))
		policy->auth = IKE_AUTH_EAP_MSCHAPV2;
	else if (eap_name_equal(s->text, "radius"))
		policy->auth = IKE_AUTH_EAP_RADIUS;
	else
		conf_error(p->diags, &s->pos,
			"unknown EAP method '%s', expected \"mschap-v2\" or radius", s->text);
}

void iked_build_auth(struct iked_parser *p, struct ike_policy *policy, const struct ast_auth *auth)
{
	if (auth->kind == AST_AUTH_NONE)
		return;
	if (auth->kind == AST_AUTH_PSK || auth->kind == AST_AUTH_PSK_FILE) {
		build_psk(p, policy, auth);
		return;
	}
	if (auth->kind == AST_AUTH_EAP) {
		build_eap(p, policy, &auth->value);
		return;
	}
	for (size_t i = 0; i < sizeof(auth_names) / sizeof(auth_names[0]); i++)
		if (strcmp(auth_names[i].name, auth->value.text) == 0) {
			policy->auth = auth_names[i].method;
			return;
		}
	conf_error(p->diags, &auth->value.pos,
		"unexpected '%.60s', expected an authentication (psk, eap, rsa, ecdsa256, "
		"ecdsa384, "
		"ecdsa521, rfc7427 or signature), config, request, iface, tag, tap or end of line",
		auth->value.text);
}

static void build_cp_value(struct iked_parser *p, struct ike_cp_option *o, const struct ast_cp *cp)
{
	struct ip_prefix found[RESOLVE_MAX];

	if (cp->value.kind == AST_HOST_ANY) {
		o->is_any = true;
		return;
	}
	if (conf_resolve(p->resolver, p->diags, cp->value.name.text, &cp->value.name.pos,
		    cp->value.has_len, cp->value.len, &cp->value.len_pos, found) == 0)
		return;
	o->value = found[0];
	if (strcmp(o->name, "netmask") == 0 && o->value.addr.family != 4)
		conf_error(p->diags, &cp->value.name.pos, "netmask of IPv6, expected an IPv4 mask");
}

static void build_cp(struct iked_parser *p, struct ike_policy *policy, struct ast_cp *list)
{
	const char *name = NULL;
	struct ike_cp_option *o;

	if (!list)
		return;
	build_cp(p, policy, list->next);
	for (size_t i = 0; i < sizeof(cp_options) / sizeof(cp_options[0]); i++)
		if (strcmp(cp_options[i], list->option.text) == 0)
			name = cp_options[i];
	if (!name) {
		conf_error(p->diags, &list->option.pos,
			"unknown option '%s', expected address, netmask, name-server, "
			"netbios-server, dhcp-server, protected-subnet or access-server",
			list->option.text);
		return;
	}
	if (policy->n_cp == CP_MAX) {
		conf_error(p->diags, &list->pos, "more than %d config options in a policy", CP_MAX);
		return;
	}
	o = conf_grow(&p->arena, &policy->cp, &policy->n_cp, sizeof(*o));
	o->name = name;
	o->is_request = list->is_request;
	build_cp_value(p, o, list);
	iked_feature(p, o->is_request ? IKE_FEATURE_REQUEST : IKE_FEATURE_CONFIG, name, &list->pos);
}

static void build_tags(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast)
{
	const struct conf_string *tap = &ast->tags.tap;

	if (ast->iface.text) {
		policy->iface = conf_strdup(&p->arena, ast->iface.text);
		iked_feature(p, IKE_FEATURE_IFACE, ast->iface.text, &ast->iface.pos);
	}
	if (ast->tags.tag.text) {
		policy->tag = conf_strdup(&p->arena, ast->tags.tag.text);
		iked_feature(p, IKE_FEATURE_TAG, ast->tags.tag.text, &ast->tags.tag.pos);
	}
	if (!tap->text)
		return;
	if (strncmp(tap->text, "enc", 3) != 0 || !tap->text[3] ||
		tap->text[3 + strspn(tap->text + 3, "0123456789")] != '\0')
		conf_error(p->diags, &tap->pos,
			"invalid tap interface '%s', expected enc and a number", tap->text);
	policy->tap = conf_strdup(&p->arena, tap->text);
	iked_feature(p, IKE_FEATURE_TAP, tap->text, &tap->pos);
}

void iked_build_policy(struct iked_parser *p, struct ast_policy *ast)
{
	struct ike_policy *policy = conf_grow(
		&p->arena, &p->config->policies, &p->config->n_policies, sizeof(*policy));

	policy->number = (uint32_t)p->config->n_policies;
	policy->pos = ast->pos;
	policy->pos.macro = NULL;
	build_name(p, policy, ast);
	build_flags(p, policy, ast);
	iked_build_flows(p, policy, ast);
	iked_build_proposals(p, policy, ast);
	build_id(p, &ast->ids.srcid, &policy->has_srcid, &policy->srcid, &policy->srcid_text);
	build_id(p, &ast->ids.dstid, &policy->has_dstid, &policy->dstid, &policy->dstid_text);
	policy->dstid_pos = ast->ids.dstid.pos;
	policy->dstid_pos.macro = NULL;
	policy->ike_lifetime_s = ast->ikelifetime.seconds;
	policy->child_lifetime_s = ast->lifetime.is_written ? ast->lifetime.seconds
							    : CHILD_LIFETIME_S;
	policy->child_lifetime_bytes = ast->lifetime.has_bytes ? ast->lifetime.bytes
							       : CHILD_LIFETIME_BYTES;
	iked_build_auth(p, policy, &ast->auth);
	build_cp(p, policy, ast->cps);
	build_tags(p, policy, ast);
}
