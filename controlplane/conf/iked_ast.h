#pragma once

#include "controlplane/conf/iked_conf.h"
#include "controlplane/conf/lexer.h"

/* A statement of iked.conf as the grammar sees it, in the arena; iked_build.c makes it policy. */
struct iked_parser {
	struct arena arena;
	const char *path;
	const struct conf_options *options;
	struct conf_lexer lx;
	struct conf_diags *diags;
	const struct conf_resolver *resolver;
	struct ike_config *config;
	struct conf_string last; /* the newest token's text, for messages */
};

enum { IKED_QUICK, IKED_SKIP, IKED_DEFAULT }; /* ast_policy.disposition */

enum ast_host_kind { AST_HOST_NONE, AST_HOST_ANY, AST_HOST_DYNAMIC, AST_HOST_NAME };

struct ast_host {
	enum ast_host_kind kind;
	struct conf_string name;
	bool has_len;
	int64_t len;
	struct conf_pos len_pos;
	struct ast_host *srcnat;
	struct conf_string port; /* text NULL: none */
};

struct ast_pair {
	struct ast_pair *next;
	struct ast_host from, to;
};

struct ast_names {
	struct ast_names *next;
	struct conf_string name;
};

struct ast_xform {
	struct ast_xform *next; /* newest first */
	enum transform_type kind;
	struct conf_string name;
};

struct ast_sa {
	struct ast_sa *next; /* newest first */
	struct conf_pos pos;
	struct ast_xform *xforms;
};

struct ast_cp {
	struct ast_cp *next; /* newest first */
	bool is_request;
	struct conf_string option;
	struct ast_host value;
	struct conf_pos pos;
};

struct ast_peers {
	struct ast_host peer, local;
};

struct ast_ids {
	struct conf_string srcid, dstid;
};

struct ast_lifetime {
	bool is_written;
	uint32_t seconds;
	bool has_bytes;
	uint64_t bytes;
};

enum ast_auth_kind { AST_AUTH_NONE, AST_AUTH_PSK, AST_AUTH_PSK_FILE, AST_AUTH_EAP, AST_AUTH_NAME };
struct ast_auth {
	enum ast_auth_kind kind;
	struct conf_string value;
};

struct ast_flag {
	bool is_set;
	int value;
	struct conf_pos pos;
};

struct ast_tags {
	struct conf_string tag, tap;
};

struct ast_policy {
	struct conf_pos pos;
	struct conf_string name;
	struct ast_flag disposition, mode, ipcomp, tmode, natt, satype, family, rdomain;
	struct ast_names *protos; /* newest first */
	struct ast_pair *pairs;   /* newest first */
	struct ast_peers peers;
	struct ast_sa *ikesas, *childsas; /* newest first */
	struct ast_ids ids;
	struct ast_lifetime ikelifetime, lifetime;
	struct ast_auth auth;
	struct ast_cp *cps; /* newest first */
	struct conf_string iface;
	struct ast_tags tags;
};

void iked_build_policy(struct iked_parser *p, struct ast_policy *ast);
/* Parts of it, in iked_build_sa.c and iked_build_flow.c. Errors go to p->diags. */
void iked_build_proposals(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast);
void iked_build_flows(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast);
void iked_build_auth(struct iked_parser *p, struct ike_policy *policy, const struct ast_auth *auth);

/* Global statements (iked_globals.c). */
void iked_set_ocsp(struct iked_parser *p, const struct conf_pos *pos, const struct conf_string *url,
	int64_t tolerate_s, int64_t maxage_s);
void iked_add_user(struct iked_parser *p, const struct conf_pos *pos,
	const struct conf_string *name, const struct conf_string *password);
void iked_radius_server(struct iked_parser *p, const struct conf_pos *pos, bool is_accounting,
	const struct ast_host *host, const struct conf_string *secret);
void iked_radius_limit(struct iked_parser *p, const struct conf_pos *pos, bool is_accounting,
	bool is_failovers, const struct conf_string *value);
void iked_radius_attribute(struct iked_parser *p, const struct conf_pos *pos, int family,
	const struct conf_string *option, const struct conf_string *vendor,
	const struct conf_string *attribute);
void iked_radius_dae_listen(
	struct iked_parser *p, const struct conf_pos *pos, const struct ast_host *host);
void iked_radius_dae_client(struct iked_parser *p, const struct conf_pos *pos,
	const struct ast_host *host, const struct conf_string *secret);
void iked_feature(struct iked_parser *p, enum ike_feature_kind kind, const char *detail,
	const struct conf_pos *pos);

/* NUMBER or Nm, Nh: seconds. 0 with an error. */
int64_t iked_time(struct iked_parser *p, const struct conf_string *s);
/* NUMBER or NK, NM, NG. */
uint64_t iked_bytes(struct iked_parser *p, const struct conf_string *s);
/* A NUMBER between min and max, or an error and min. */
int64_t iked_number(struct iked_parser *p, const struct conf_string *s, const char *what,
	int64_t min, int64_t max);

int iked_yyparse(struct iked_parser *parser);
extern const struct conf_keyword iked_keywords[];
