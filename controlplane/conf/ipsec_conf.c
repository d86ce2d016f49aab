#include "controlplane/conf/ipsec_conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/conf/ipsec_ast.h"
#include "controlplane/conf/source.h"
#include "shared/wipe.h"

static void free_ike(struct ipsec_ike *ike)
{
	if (!ike)
		return;
	if (ike->psk)
		wipe(ike->psk, strlen(ike->psk));
	free(ike->psk);
	free(ike->interface);
	free(ike->srcid);
	free(ike->dstid);
	free(ike->tag);
	free(ike->main_enc);
	free(ike->main_auth);
	free(ike->main_group);
	free(ike->quick_enc);
	free(ike->quick_auth);
	free(ike->quick_group);
	free(ike);
}

void ipsec_conf_free(struct ipsec_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->n_rules; i++) {
		free(config->rules[i].sa.bundle);
		free_ike(config->rules[i].ike);
	}
	if (config->rules)
		wipe(config->rules, config->n_rules * sizeof(*config->rules));
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->rules);
	free(config->files);
	free(config);
}

/* `config setup`, `conn NAME`, `ca NAME` at a line's start: strongSwan's and libreswan's form. */
static bool starts_section(const char *at, const char *end)
{
	static const char *const words[] = {"config", "conn", "ca"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(end - at) <= len + 1 || strncmp(at, words[i], len) != 0)
			continue;
		at += len;
		if (*at != ' ' && *at != '\t')
			return false;
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
		return at < end && (isalnum((unsigned char)*at) || *at == '%' || *at == '"') &&
		       (i > 0 || (end - at >= 5 && strncmp(at, "setup", 5) == 0));
	}
	return false;
}

static bool is_foreign(struct ipsec_parser *p)
{
	const struct conf_source *s = p->lx.source;
	struct conf_pos pos;

	if (!s)
		return false;
	pos = s->pos;
	for (const char *at = s->text, *end = at + s->len; at < end; pos.line++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if (starts_section(at, newline ? newline : end)) {
			conf_error(p->diags, &pos,
				"this file is in the format of strongSwan's or libreswan's "
				"ipsec.conf, expected rules of OpenBSD's ipsec.conf (flow, esp)");
			return true;
		}
		if (!newline)
			break;
		at = newline + 1;
	}
	return false;
}

static void parse(void *arg)
{
	struct ipsec_parser *p = arg;
	size_t before = p->diags->n_errors;

	if (conf_lexer_init(&p->lx, &p->arena, p->path, p->options, p->diags) < 0 || is_foreign(p))
		return;
	p->lx.keywords = ipsec_keywords;
	if (ipsec_yyparse(p) != 0 && p->diags->n_errors == before)
		conf_error(p->diags, &(struct conf_pos){.file = p->path},
			"the file is nested too deep, expected less");
}

int ipsec_conf_parse(const char *path, const struct conf_options *options,
	struct ipsec_config **out, struct conf_diags *diags)
{
	struct ipsec_parser p = {
		.path = path,
		.options = options,
		.diags = diags,
		.resolver = options && options->resolver ? options->resolver
							 : &conf_resolver_system,
		.config = calloc(1, sizeof(*p.config)),
		.lx.fd = -1,
	};
	size_t before = diags->n_errors;

	*out = NULL;
	if (!p.config || arena_run(&p.arena, parse, &p) < 0)
		conf_error(diags, &(struct conf_pos){.file = path}, "out of memory");
	if (p.config)
		conf_lexer_take_files(&p.lx, &p.config->files, &p.config->n_files);
	arena_fini(&p.arena);
	if (diags->n_errors > before) {
		ipsec_conf_free(p.config);
		return -1;
	}
	*out = p.config;
	return 0;
}

static void check_sa(const struct ipsec_rule *r, struct conf_diags *diags)
{
	const struct transform *t[] = {r->sa.encr, r->sa.integ};

	for (size_t i = 0; i < 2; i++)
		if (t[i] && t[i]->flags & TRANSFORM_F_KNOWN_ONLY)
			conf_error(diags, &r->pos,
				"the transform is known and not offered by this build: '%s'",
				t[i]->ipsecctl_name);
	if (r->sa.bundle)
		conf_error(diags, &r->pos, "bundle is not available in this build");
}

int ipsec_conf_check_loadable(const struct ipsec_config *config, struct conf_diags *diags)
{
	size_t before = diags->n_errors;

	for (size_t i = 0; i < config->n_rules; i++) {
		const struct ipsec_rule *r = &config->rules[i];

		if (r->kind == IPSEC_RULE_IKE)
			conf_error(diags, &r->pos,
				"ike rules (IKEv1, isakmpd) are not available in this build, "
				"expected an ikev2 policy in iked.conf instead");
		else if (r->satype != IPSEC_SATYPE_ESP)
			conf_error(diags, &r->pos,
				"%s is not available in this build, expected esp",
				ipsec_satype_str(r->satype));
		else if (r->kind == IPSEC_RULE_SA)
			check_sa(r, diags);
	}
	return diags->n_errors > before ? -1 : 0;
}
