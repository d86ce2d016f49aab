#pragma once

#include <stdio.h>

#include "controlplane/conf/diag.h"
#include "controlplane/conf/options.h"
#include "ipc/messages.h"

/*
 * ipsec.conf: static flows and manual SAs as ipsecctl loads them. Lists, `any`, missing
 * directions and reverse SAs are already expanded: one rule here is one entry of the SPD or SAD.
 */
enum ipsec_satype {
	IPSEC_SATYPE_ESP,
	IPSEC_SATYPE_AH,
	IPSEC_SATYPE_IPCOMP,
	IPSEC_SATYPE_IPIP,
	IPSEC_SATYPE_TCPMD5,
};

#define IPSEC_KEY_MAX 128 /* bytes */

struct ipsec_sa {
	uint8_t mode; /* enum ipc_mode */
	struct ip_addr src, dst;
	uint32_t spi;
	bool has_udpencap;
	uint16_t udpencap_port;               /* 0: 4500 */
	const struct transform *encr, *integ; /* NULL: none (AH; AEAD and AH without) */
	const char *comp;                     /* "deflate" or NULL */
	uint8_t authkey[IPSEC_KEY_MAX], enckey[IPSEC_KEY_MAX]; /* with the salt */
	size_t authkey_len, enckey_len;
	char *bundle; /* NULL if none */
};

/* An isakmpd rule: parsed, printed, never loaded. */
struct ipsec_ike;

enum ipsec_rule_kind { IPSEC_RULE_FLOW, IPSEC_RULE_SA, IPSEC_RULE_IKE };

struct ipsec_rule {
	enum ipsec_rule_kind kind;
	enum ipsec_satype satype;
	uint32_t number; /* of the statement in the file, from 0; expansions share it */
	struct conf_pos pos;
	/* IPSEC_RULE_FLOW: handle, generation and policy are 0; ids as written. */
	struct ipc_flow flow;
	struct ipsec_sa sa;    /* IPSEC_RULE_SA */
	struct ipsec_ike *ike; /* IPSEC_RULE_IKE */
};

struct ipsec_config {
	struct ipsec_rule *rules; /* in order of loading */
	size_t n_rules;
	char **files; /* names that positions point to */
	size_t n_files;
};

/* As iked_conf_parse. A file in strongSwan's or libreswan's format is one error that says so. */
int ipsec_conf_parse(const char *path, const struct conf_options *options,
	struct ipsec_config **out, struct conf_diags *diags) __attribute__((warn_unused_result));
void ipsec_conf_free(struct ipsec_config *config); /* NULL is allowed; wipes keys */

/* An error for each rule that this build cannot load (ike, ah, ipcomp, ipip, tcpmd5, bundle). */
int ipsec_conf_check_loadable(const struct ipsec_config *config, struct conf_diags *diags)
	__attribute__((warn_unused_result));

enum {
	IPSEC_PRINT_NUMBERS = 1 << 0, /* -vv: "@N " before each rule */
	IPSEC_PRINT_KEYS = 1 << 1,    /* -k: the text then parses to the same rules */
	IPSEC_PRINT_LISTING = 1 << 2, /* ipsecctl -s: identities verbatim, never quoted */
};
/* One line a rule (with keys: continued lines), as ipsecctl -s prints it. */
void ipsec_rule_print(const struct ipsec_rule *rule, unsigned int flags, FILE *out);
void ipsec_conf_print(const struct ipsec_config *config, unsigned int flags, FILE *out);

/* "esp", "ah", ... */
const char *ipsec_satype_str(enum ipsec_satype satype);
/* As in ipsec.conf: "use", "acquire", ... */
const char *ipsec_flow_type_str(uint8_t flow_type);
