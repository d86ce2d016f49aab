#pragma once

#include <stdio.h>

#include "controlplane/conf/diag.h"
#include "controlplane/conf/options.h"
#include "controlplane/conf/policy.h"

/*
 * iked.conf: text to struct ike_config and back. Parsing touches nothing but the files it reads
 * and the resolver. Path "-" reads the standard input (without permission check).
 *
 * Returns 0 and *out (freed by iked_conf_free), or -1 with at least one error in diags and *out
 * NULL. Warnings may be there in both cases. options may be NULL.
 */
int iked_conf_parse(const char *path, const struct conf_options *options, struct ike_config **out,
	struct conf_diags *diags) __attribute__((warn_unused_result));

/* NULL is allowed. Wipes pre-shared keys, passwords and RADIUS secrets. */
void iked_conf_free(struct ike_config *config);

/*
 * An error for each use of a feature that the grammar knows and this build cannot carry out.
 * 0 or -1. A configuration that fails must not be loaded (but -n accepts it).
 */
int iked_conf_check_loadable(const struct ike_config *config, struct conf_diags *diags)
	__attribute__((warn_unused_result));

/*
 * The canonical form (-n -v), one statement a line; it parses to the same configuration. Secrets
 * are printed: for the administrator's terminal only, never for a log.
 */
void iked_conf_print(const struct ike_config *config, FILE *out);
void iked_policy_print(const struct ike_policy *policy, FILE *out); /* with its newline */

/* The addresses and secrets behind `eap radius`. */
struct ike_radius_server {
	bool is_accounting;
	struct ip_addr addr;
	uint16_t port;
	char *secret;
};

struct ike_radius_attribute {
	uint8_t family;  /* 0 both, 4 or 6 */
	char *option;    /* of the configuration payload; NULL: `none` */
	uint32_t vendor; /* 0: none */
	uint8_t attribute;
};

struct ike_radius_client {
	struct ip_addr addr;
	char *secret;
};

struct ike_radius {
	struct ike_radius_server *servers;
	size_t n_servers;
	struct ike_radius_attribute *attributes;
	size_t n_attributes;
	struct endpoint *dae_listen;
	size_t n_dae_listen;
	struct ike_radius_client *dae_clients;
	size_t n_dae_clients;
	/* [0] authentication, [1] accounting; -1: not written */
	int32_t max_tries[2], max_failovers[2];
};
