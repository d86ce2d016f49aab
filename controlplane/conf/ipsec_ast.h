#pragma once

#include "controlplane/conf/ipsec_conf.h"
#include "controlplane/conf/lexer.h"
#include "controlplane/conf/resolve.h"

/* A statement of ipsec.conf as the grammar sees it, in the arena. */
struct ipsec_parser {
	struct arena arena;
	const char *path;
	const struct conf_options *options;
	struct conf_lexer lx;
	struct conf_diags *diags;
	const struct conf_resolver *resolver;
	struct ipsec_config *config;
	uint32_t n_statements;
	struct conf_string last; /* the newest token's text, for messages */
};

struct ast_ihost {
	struct ast_ihost *next; /* of a list, newest first */
	bool is_any;
	struct conf_string name;
	bool has_len;
	int64_t len;
	struct conf_pos len_pos;
	struct ast_ihost *srcnat;
};

struct ast_ihosts {
	struct ast_ihost *from, *to;
	struct conf_string sport, dport;
};

struct ast_ipeers {
	struct ast_ihost *peer, *local;
};

struct ast_iids {
	struct conf_string srcid, dstid;
};

struct ast_ixforms {
	struct conf_string auth, enc, comp, group;
};

struct ast_pairvalue { /* A[:B] */
	struct conf_string a, b;
	bool is_file;
};

struct ast_word {
	bool is_set;
	int value;
	struct conf_pos pos;
};

struct ast_iflow {
	struct conf_pos pos;
	enum ipsec_satype satype;
	struct ast_word direction, type; /* enum ipc_direction, enum ipc_flow_type */
	struct conf_string proto;
	struct ast_ihosts hosts;
	struct ast_ipeers peers;
	struct ast_iids ids;
};

struct ast_isa {
	struct conf_pos pos;
	enum ipsec_satype satype;
	struct ast_word mode; /* enum ipc_mode */
	struct ast_ihosts hosts;
	struct conf_string spi;
	bool has_udpencap;
	struct conf_string udpencap_port;
	struct ast_ixforms xforms;
	struct ast_pairvalue authkey, enckey;
	struct conf_string bundle;
};

struct ast_iphase {
	struct ast_ixforms xforms;
	bool has_lifetime;
	uint32_t lifetime_s;
	bool is_written, is_aggressive;
};

struct ast_iike {
	struct conf_pos pos;
	struct ast_word mode; /* IPSEC_IKE_* */
	enum ipsec_satype satype;
	struct ast_word tmode;
	struct conf_string proto, interface, psk, tag;
	struct ast_ihosts hosts;
	struct ast_ipeers peers;
	struct ast_iphase phase1, phase2;
	struct ast_iids ids;
};

void ipsec_build_flow(struct ipsec_parser *p, struct ast_iflow *ast);
void ipsec_build_sa(struct ipsec_parser *p, struct ast_isa *ast);
void ipsec_build_ike(struct ipsec_parser *p, struct ast_iike *ast);
struct ipsec_rule *ipsec_rule_new(
	struct ipsec_parser *p, enum ipsec_rule_kind kind, const struct conf_pos *pos);
/* A host or list: prefixes in order, at most IPSEC_HOSTS_MAX. 0 after an error. */
#define IPSEC_HOSTS_MAX 1024
size_t ipsec_resolve_list(
	struct ipsec_parser *p, const struct ast_ihost *newest, struct ip_prefix *out);
uint32_t ipsec_time(struct ipsec_parser *p, const struct conf_string *s);
/* By prefix of the name in table order; NULL if none fits. */
const struct transform *ipsec_transform(enum transform_type type, const char *name);

struct ipsec_ike {
	enum ipc_mode mode;
	enum { IPSEC_IKE_ACTIVE, IPSEC_IKE_PASSIVE, IPSEC_IKE_DYNAMIC } start;
	uint8_t proto;
	uint16_t sport, dport;
	struct ip_prefix src, dst;
	bool has_srcnat;
	struct ip_prefix srcnat;
	char *interface; /* NULL: src and dst hold */
	struct ip_addr peer, local;
	char *srcid, *dstid, *psk, *tag;
	bool is_aggressive;
	char *main_enc, *main_auth, *main_group, *quick_enc, *quick_auth, *quick_group;
	uint32_t main_lifetime_s, quick_lifetime_s; /* 0: default */
};

int ipsec_yyparse(struct ipsec_parser *parser);
extern const struct conf_keyword ipsec_keywords[];
