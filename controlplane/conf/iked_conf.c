#include "controlplane/conf/iked_conf.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/conf/iked_ast.h"
#include "shared/wipe.h"

/* RFC 7296 leaves DPD's timing open (2.4); 60 s is iked's. */
#define DPD_INTERVAL_S 60

static const char *const skipped[] = {
	"ike", "flow", "tcpmd5", "sa", "from", "to", "tunnel", "transport", NULL};

static void parse(void *arg)
{
	struct iked_parser *p = arg;
	size_t before = p->diags->n_errors;

	if (conf_lexer_init(&p->lx, &p->arena, p->path, p->options, p->diags) < 0)
		return;
	p->lx.keywords = iked_keywords;
	p->lx.skip = skipped;
	if (iked_yyparse(p) != 0 && p->diags->n_errors == before)
		conf_error(p->diags, &(struct conf_pos){.file = p->path},
			"the file is nested too deep, expected less");
}

int iked_conf_parse(const char *path, const struct conf_options *options, struct ike_config **out,
	struct conf_diags *diags)
{
	struct iked_parser p = {
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
	if (p.config) {
		p.config->dpd_interval_s = DPD_INTERVAL_S;
		p.config->vendorid = true;
		p.config->ocsp_tolerate_s = p.config->ocsp_maxage_s = -1;
	}
	if (!p.config || arena_run(&p.arena, parse, &p) < 0)
		conf_error(diags, &(struct conf_pos){.file = path}, "out of memory");
	if (p.config)
		conf_lexer_take_files(&p.lx, &p.config->files, &p.config->n_files);
	arena_fini(&p.arena);
	if (diags->n_errors > before) {
		iked_conf_free(p.config);
		return -1;
	}
	*out = p.config;
	return 0;
}

static void free_secret(char *text)
{
	if (text)
		wipe(text, strlen(text));
	free(text);
}

static void free_policy(struct ike_policy *policy)
{
	free(policy->name);
	free(policy->protos);
	free(policy->flows);
	free(policy->ike_proposals);
	free(policy->child_proposals);
	free(policy->srcid_text);
	free(policy->dstid_text);
	wipe(policy->psk, policy->psk ? policy->psk_len : 0);
	free(policy->psk);
	free(policy->psk_file_missing);
	free(policy->cp);
	free(policy->iface);
	free(policy->tag);
	free(policy->tap);
}

static void free_radius(struct ike_radius *r)
{
	for (size_t i = 0; i < r->n_servers; i++)
		free_secret(r->servers[i].secret);
	for (size_t i = 0; i < r->n_dae_clients; i++)
		free_secret(r->dae_clients[i].secret);
	for (size_t i = 0; i < r->n_attributes; i++)
		free(r->attributes[i].option);
	free(r->servers);
	free(r->attributes);
	free(r->dae_listen);
	free(r->dae_clients);
	free(r);
}

void iked_conf_free(struct ike_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->n_policies; i++)
		free_policy(&config->policies[i]);
	for (size_t i = 0; i < config->n_users; i++) {
		free(config->users[i].name);
		free_secret(config->users[i].password);
	}
	for (size_t i = 0; i < config->n_features; i++)
		free(config->features[i].detail);
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	if (config->radius)
		free_radius(config->radius);
	free(config->policies);
	free(config->users);
	free(config->features);
	free(config->files);
	free(config->ocsp_url);
	free(config);
}

/* What loading says of each feature; NULL: available. A row goes when its feature comes. */
static const char *const unavailable[IKE_N_FEATURES] = {
	[IKE_FEATURE_TRANSFORM] = "the transform is known and not offered by this build",
	[IKE_FEATURE_EAP] = "EAP is not available in this build, expected psk or a signature",
	[IKE_FEATURE_USER] = "users are not available in this build, as EAP is not",
	[IKE_FEATURE_CONFIG] = "config (address pools) is not available in this build",
	[IKE_FEATURE_REQUEST] = "request (asking for an address) is not available in this build",
	[IKE_FEATURE_OCSP] = "ocsp is not available in this build, as certificates are not",
	[IKE_FEATURE_PARTIAL_CHAIN] =
		"cert_partial_chain is not available in this build, as certificates are not",
	[IKE_FEATURE_STICKY_ADDRESS] =
		"stickyaddress is not available in this build, as address pools are not",
	[IKE_FEATURE_MOBIKE] = "mobike is not available in this build, expected nomobike",
	[IKE_FEATURE_TAG] = "tag is not available in this build",
	[IKE_FEATURE_TAP] = "tap is not available in this build",
	[IKE_FEATURE_IFACE] = "iface is not available in this build",
	[IKE_FEATURE_RDOMAIN] = "rdomain is not available in this build",
	[IKE_FEATURE_IPCOMP] = "ipcomp is not available in this build",
	[IKE_FEATURE_AH] = "ah is not available in this build, expected esp",
	[IKE_FEATURE_RADIUS] = "radius is not available in this build",
	[IKE_FEATURE_SRCNAT] = "NAT in from A (B) is not available in this build",
	[IKE_FEATURE_DYNAMIC] = "dynamic is not available in this build, as address pools are not",
	[IKE_FEATURE_ASN1_DN] =
		"a distinguished name (a certificate's) is not available in this build",
};

int iked_conf_check_loadable(const struct ike_config *config, struct conf_diags *diags)
{
	size_t before = diags->n_errors;

	for (size_t i = 0; i < config->n_features; i++) {
		const struct ike_feature *f = &config->features[i];

		if (!unavailable[f->kind])
			continue;
		if (f->detail)
			conf_error(diags, &f->pos, "%s: '%.80s'", unavailable[f->kind], f->detail);
		else
			conf_error(diags, &f->pos, "%s", unavailable[f->kind]);
	}
	return diags->n_errors > before ? -1 : 0;
}
