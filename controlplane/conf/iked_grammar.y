/*
 * iked.conf. The order of a policy's parts is fixed; each part may be left out. One error a
 * logical line is reported here, then parsing goes on behind its newline.
 */
%define api.pure full
%define api.prefix {iked_yy}
%define api.location.type {struct conf_pos}
%define api.value.type union
%define parse.error custom
%define parse.lac full
%locations
%param {struct iked_parser *parser}
/* Bison counts errors and never looks; clang 19 takes that for a mistake of ours. */
%initial-action { (void)yynerrs; }

%code requires {
#include "controlplane/conf/iked_ast.h"
}

%code {
#include "controlplane/conf/resolve.h"

#define YYLLOC_DEFAULT(current, rhs, n) ((current) = YYRHSLOC(rhs, (n) ? 1 : 0))

static int iked_yylex(IKED_YYSTYPE *value, struct conf_pos *pos, struct iked_parser *parser);
static void iked_yyerror(struct conf_pos *pos, struct iked_parser *parser, const char *text);
#define NEW(type) ((type *)arena_alloc(&parser->arena, sizeof(type)))
#define FLAG(v, where) ((struct ast_flag){.is_set = true, .value = (v), .pos = (where)})
}

%token EOL 10 "end of line"
%token <struct conf_string> WORD 300 "a word" QUOTED 301 "a quoted string" NUMBER 302 "a number"
%token COMMA 44 "," SLASH 47 "/" LBRACE 123 "{" RBRACE 125 "}" LPAREN 40 "(" RPAREN 41 ")"
%token ACCOUNTING "accounting" ACTIVE "active" AH "ah" ANY "any" AUTH "auth" BYTES "bytes"
%token CERT_PARTIAL_CHAIN "cert_partial_chain" CHILDSA "childsa" CLIENT "client" CONFIG "config"
%token COUPLE "couple" DAE "dae" DECOUPLE "decouple" DEFAULT "default"
%token DPD "dpd_check_interval" DSTID "dstid" DYNAMIC "dynamic" EAP "eap" ENC "enc"
%token ENFORCE "enforcesingleikesa" ESN "esn" ESP "esp" FILE_ "file" FLOW "flow"
%token FRAGMENTATION "fragmentation" FROM "from" GROUP "group" IFACE "iface" IKE "ike"
%token IKELIFETIME "ikelifetime" IKESA "ikesa" IKEV2 "ikev2" INCLUDE "include" INET "inet"
%token INET6 "inet6" IPCOMP "ipcomp" LIFETIME "lifetime" LISTEN "listen" LOCAL "local"
%token MAX_FAILOVERS "max-failovers" MAX_TRIES "max-tries" MAXAGE "maxage" MOBIKE "mobike"
%token NAME "name" NATT "natt" NOENFORCE "noenforcesingleikesa" NOESN "noesn"
%token NOFRAGMENTATION "nofragmentation" NOMOBIKE "nomobike" NOSTICKY "nostickyaddress"
%token NOVENDORID "novendorid" OCSP "ocsp" ON "on" PASSIVE "passive" PEER "peer" PORT "port"
%token PRF "prf" PROTO "proto" PSK "psk" QUICK "quick" RADIUS "radius" RDOMAIN "rdomain"
%token REQUEST "request" SA "sa" SECRET "secret" SERVER "server" SET "set" SKIP "skip"
%token SRCID "srcid" STICKY "stickyaddress" TAG "tag" TAP "tap" TCPMD5 "tcpmd5" TO "to"
%token TOLERATE "tolerate" TRANSPORT "transport" TUNNEL "tunnel" USER "user" VENDORID "vendorid"

%type <struct conf_string> string any_string name_opt scalar host_port iface_opt proto number
%type <struct ast_host> host single single_any
%type <struct ast_pair *> pair pairs
%type <struct ast_names *> protos proto_list
%type <struct ast_peers> peers
%type <struct ast_xform *> ike_xforms child_xforms
%type <struct ast_xform> ike_xform child_xform common_xform
%type <struct ast_sa *> ikesas childsas
%type <struct ast_ids> ids
%type <struct ast_lifetime> ikelifetime lifetime
%type <struct ast_auth> auth
%type <struct ast_cp *> cps
%type <struct ast_tags> tags
%type <struct ast_flag> disposition mode ipcomp tmode natt satype family rdomain
%type <int> accounting
%type <int64_t> tolerate maxage

%%

grammar: %empty
	| grammar EOL
	| grammar statement EOL
	| grammar error EOL { yyerrok; }
	;

statement: set
	| user
	| radius
	| policy
	;

string: WORD | QUOTED;
any_string: WORD | QUOTED | NUMBER;
scalar: WORD | NUMBER;
number: NUMBER;

set: SET ACTIVE { parser->config->is_passive = false; }
	| SET PASSIVE { parser->config->is_passive = true; }
	| SET COUPLE { parser->config->is_decoupled = false; }
	| SET DECOUPLE { parser->config->is_decoupled = true; }
	| SET DPD NUMBER {
		parser->config->dpd_interval_s =
			(uint32_t)iked_number(parser, &$3, "dpd_check_interval", 0, 86400);
	}
	| SET ENFORCE { parser->config->enforce_single_ikesa = true; }
	| SET NOENFORCE { parser->config->enforce_single_ikesa = false; }
	| SET STICKY {
		parser->config->sticky_address = true;
		iked_feature(parser, IKE_FEATURE_STICKY_ADDRESS, NULL, &@2);
	}
	| SET NOSTICKY { parser->config->sticky_address = false; }
	| SET FRAGMENTATION { parser->config->fragmentation = IKE_FRAGMENTS_OF_ALL; }
	| SET NOFRAGMENTATION { parser->config->fragmentation = IKE_FRAGMENTS_NONE; }
	| SET MOBIKE {
		parser->config->mobike = true;
		iked_feature(parser, IKE_FEATURE_MOBIKE, NULL, &@2);
	}
	| SET NOMOBIKE { parser->config->mobike = false; }
	| SET VENDORID { parser->config->vendorid = true; }
	| SET NOVENDORID { parser->config->vendorid = false; }
	| SET CERT_PARTIAL_CHAIN {
		parser->config->cert_partial_chain = true;
		iked_feature(parser, IKE_FEATURE_PARTIAL_CHAIN, NULL, &@2);
	}
	| SET OCSP string tolerate maxage { iked_set_ocsp(parser, &@2, &$3, $4, $5); }
	;
tolerate: %empty { $$ = -1; }
	| TOLERATE scalar { $$ = iked_time(parser, &$2); }
	;
maxage: %empty { $$ = -1; }
	| MAXAGE scalar { $$ = iked_time(parser, &$2); }
	;

user: USER any_string any_string { iked_add_user(parser, &@1, &$2, &$3); };

radius: RADIUS accounting SERVER single host_port SECRET any_string {
		$4.port = $5;
		iked_radius_server(parser, &@1, $2, &$4, &$7);
	}
	| RADIUS accounting MAX_TRIES number { iked_radius_limit(parser, &@1, $2, false, &$4); }
	| RADIUS accounting MAX_FAILOVERS number { iked_radius_limit(parser, &@1, $2, true, &$4); }
	| RADIUS CONFIG family string scalar {
		iked_radius_attribute(parser, &@1, $3.value, &$4, NULL, &$5);
	}
	| RADIUS CONFIG family string scalar scalar {
		iked_radius_attribute(parser, &@1, $3.value, &$4, &$5, &$6);
	}
	| RADIUS DAE LISTEN ON single host_port {
		$5.port = $6;
		iked_radius_dae_listen(parser, &@1, &$5);
	}
	| RADIUS DAE CLIENT single SECRET any_string {
		iked_radius_dae_client(parser, &@1, &$4, &$6);
	}
	;
accounting: %empty { $$ = 0; } | ACCOUNTING { $$ = 1; };

policy: IKEV2 name_opt disposition mode ipcomp tmode natt satype family protos rdomain pairs peers
	ikesas childsas ids ikelifetime lifetime auth cps iface_opt tags {
		struct ast_policy ast = {
			.pos = @1, .name = $2, .disposition = $3, .mode = $4, .ipcomp = $5,
			.tmode = $6, .natt = $7, .satype = $8, .family = $9, .protos = $10,
			.rdomain = $11, .pairs = $12, .peers = $13, .ikesas = $14,
			.childsas = $15, .ids = $16, .ikelifetime = $17, .lifetime = $18,
			.auth = $19, .cps = $20, .iface = $21, .tags = $22,
		};

		iked_build_policy(parser, &ast);
	}
	;

name_opt: %empty { $$ = (struct conf_string){0}; } | string;
disposition: %empty { $$ = (struct ast_flag){0}; }
	| QUICK { $$ = FLAG(IKED_QUICK, @1); }
	| SKIP { $$ = FLAG(IKED_SKIP, @1); }
	| DEFAULT { $$ = FLAG(IKED_DEFAULT, @1); }
	;
mode: %empty { $$ = (struct ast_flag){0}; }
	| PASSIVE { $$ = FLAG(0, @1); }
	| ACTIVE { $$ = FLAG(1, @1); }
	;
ipcomp: %empty { $$ = (struct ast_flag){0}; } | IPCOMP { $$ = FLAG(1, @1); };
tmode: %empty { $$ = (struct ast_flag){0}; }
	| TUNNEL { $$ = FLAG(0, @1); }
	| TRANSPORT { $$ = FLAG(1, @1); }
	;
natt: %empty { $$ = (struct ast_flag){0}; } | NATT { $$ = FLAG(1, @1); };
satype: %empty { $$ = (struct ast_flag){0}; }
	| ESP { $$ = FLAG(0, @1); }
	| AH { $$ = FLAG(1, @1); }
	;
family: %empty { $$ = (struct ast_flag){0}; }
	| INET { $$ = FLAG(4, @1); }
	| INET6 { $$ = FLAG(6, @1); }
	;
rdomain: %empty { $$ = (struct ast_flag){0}; }
	| RDOMAIN NUMBER { $$ = FLAG((int)iked_number(parser, &$2, "rdomain", 0, 255), @1); }
	;

protos: %empty { $$ = NULL; }
	| PROTO proto { $$ = NEW(struct ast_names); $$->name = $2; }
	| PROTO LBRACE proto_list RBRACE { $$ = $3; }
	;
proto_list: proto { $$ = NEW(struct ast_names); $$->name = $1; }
	| proto_list comma_opt proto {
		$$ = NEW(struct ast_names);
		$$->name = $3;
		$$->next = $1;
	}
	;
proto: any_string
	| ESP { $$ = (struct conf_string){.text = "esp", .pos = @1}; }
	| AH { $$ = (struct conf_string){.text = "ah", .pos = @1}; }
	| IPCOMP { $$ = (struct conf_string){.text = "ipcomp", .pos = @1}; }
	;
comma_opt: %empty | COMMA;

pairs: pair
	| pairs comma_opt pair { $$ = $3; $$->next = $1; }
	;
pair: FROM host host_port TO host host_port {
		$$ = NEW(struct ast_pair);
		$$->from = $2;
		$$->from.port = $3;
		$$->to = $5;
		$$->to.port = $6;
	}
	| TO host host_port FROM host host_port {
		$$ = NEW(struct ast_pair);
		$$->to = $2;
		$$->to.port = $3;
		$$->from = $5;
		$$->from.port = $6;
	}
	;
host_port: %empty { $$ = (struct conf_string){0}; } | PORT any_string { $$ = $2; };

host: single
	| ANY { $$ = (struct ast_host){.kind = AST_HOST_ANY, .name.pos = @1, .name.text = "any"}; }
	| DYNAMIC {
		$$ = (struct ast_host){
			.kind = AST_HOST_DYNAMIC, .name.pos = @1, .name.text = "dynamic"};
	}
	| host LPAREN host RPAREN {
		$$ = $1;
		$$.srcnat = NEW(struct ast_host);
		*$$.srcnat = $3;
	}
	;
single: any_string {
		$$ = (struct ast_host){.kind = AST_HOST_NAME, .name = $1};
	}
	| any_string SLASH NUMBER {
		$$ = (struct ast_host){.kind = AST_HOST_NAME, .name = $1, .has_len = true,
			.len = $3.number, .len_pos = @3};
	}
	;
single_any: single
	| ANY { $$ = (struct ast_host){.kind = AST_HOST_ANY, .name.pos = @1, .name.text = "any"}; }
	;

peers: %empty { $$ = (struct ast_peers){0}; }
	| PEER single_any { $$ = (struct ast_peers){.peer = $2}; }
	| LOCAL single_any { $$ = (struct ast_peers){.local = $2}; }
	| PEER single_any LOCAL single_any { $$ = (struct ast_peers){.peer = $2, .local = $4}; }
	| LOCAL single_any PEER single_any { $$ = (struct ast_peers){.peer = $4, .local = $2}; }
	;

ikesas: %empty { $$ = NULL; }
	| ikesas IKESA ike_xforms {
		$$ = NEW(struct ast_sa);
		*$$ = (struct ast_sa){.next = $1, .pos = @2, .xforms = $3};
	}
	;
childsas: %empty { $$ = NULL; }
	| childsas CHILDSA child_xforms {
		$$ = NEW(struct ast_sa);
		*$$ = (struct ast_sa){.next = $1, .pos = @2, .xforms = $3};
	}
	;
ike_xforms: %empty { $$ = NULL; }
	| ike_xforms ike_xform {
		$$ = NEW(struct ast_xform);
		*$$ = $2;
		$$->next = $1;
	}
	;
child_xforms: %empty { $$ = NULL; }
	| child_xforms child_xform {
		$$ = NEW(struct ast_xform);
		*$$ = $2;
		$$->next = $1;
	}
	;
common_xform: AUTH string { $$ = (struct ast_xform){.kind = TRANSFORM_INTEG, .name = $2}; }
	| ENC string { $$ = (struct ast_xform){.kind = TRANSFORM_ENCR, .name = $2}; }
	| GROUP string { $$ = (struct ast_xform){.kind = TRANSFORM_DH, .name = $2}; }
	;
ike_xform: common_xform
	| PRF string { $$ = (struct ast_xform){.kind = TRANSFORM_PRF, .name = $2}; }
	| ESN {
		conf_error(parser->diags, &@1, "cannot use ESN with ikesa.");
		$$ = (struct ast_xform){.kind = TRANSFORM_ESN};
	}
	| NOESN {
		conf_error(parser->diags, &@1, "cannot use ESN with ikesa.");
		$$ = (struct ast_xform){.kind = TRANSFORM_ESN};
	}
	;
child_xform: common_xform
	| PRF string {
		conf_error(parser->diags, &@1, "a child SA has no prf, expected auth, enc, group, esn or noesn");
		$$ = (struct ast_xform){.kind = TRANSFORM_PRF};
	}
	| ESN {
		$$ = (struct ast_xform){
			.kind = TRANSFORM_ESN, .name = {.text = "esn", .pos = @1}};
	}
	| NOESN {
		$$ = (struct ast_xform){
			.kind = TRANSFORM_ESN, .name = {.text = "noesn", .pos = @1}};
	}
	;

ids: %empty { $$ = (struct ast_ids){0}; }
	| SRCID any_string { $$ = (struct ast_ids){.srcid = $2}; }
	| SRCID any_string DSTID any_string { $$ = (struct ast_ids){.srcid = $2, .dstid = $4}; }
	| DSTID any_string { $$ = (struct ast_ids){.dstid = $2}; }
	;

ikelifetime: %empty { $$ = (struct ast_lifetime){0}; }
	| IKELIFETIME scalar {
		$$ = (struct ast_lifetime){
			.is_written = true, .seconds = (uint32_t)iked_time(parser, &$2)};
	}
	;
lifetime: %empty { $$ = (struct ast_lifetime){0}; }
	| LIFETIME scalar {
		$$ = (struct ast_lifetime){
			.is_written = true, .seconds = (uint32_t)iked_time(parser, &$2)};
	}
	| LIFETIME scalar BYTES scalar {
		$$ = (struct ast_lifetime){.is_written = true,
			.seconds = (uint32_t)iked_time(parser, &$2), .has_bytes = true,
			.bytes = iked_bytes(parser, &$4)};
	}
	;

auth: %empty { $$ = (struct ast_auth){0}; }
	| PSK any_string { $$ = (struct ast_auth){AST_AUTH_PSK, $2}; }
	| PSK FILE_ string { $$ = (struct ast_auth){AST_AUTH_PSK_FILE, $3}; }
	| EAP string { $$ = (struct ast_auth){AST_AUTH_EAP, $2}; }
	| EAP RADIUS {
		$$ = (struct ast_auth){AST_AUTH_EAP, {.text = "radius", .pos = @2}};
	}
	| string { $$ = (struct ast_auth){AST_AUTH_NAME, $1}; }
	;

cps: %empty { $$ = NULL; }
	| cps CONFIG string single {
		$$ = NEW(struct ast_cp);
		*$$ = (struct ast_cp){.next = $1, .option = $3, .value = $4, .pos = @2};
	}
	| cps REQUEST string single_any {
		$$ = NEW(struct ast_cp);
		*$$ = (struct ast_cp){.next = $1, .is_request = true, .option = $3, .value = $4,
			.pos = @2};
	}
	;
iface_opt: %empty { $$ = (struct conf_string){0}; } | IFACE string { $$ = $2; };
tags: %empty { $$ = (struct ast_tags){0}; }
	| tags TAG string { $$ = $1; $$.tag = $3; }
	| tags TAP string { $$ = $1; $$.tap = $3; }
	;

%%

static int iked_yylex(IKED_YYSTYPE *value, struct conf_pos *pos, struct iked_parser *parser)
{
	struct conf_string s;
	int token = conf_lexer_next(&parser->lx, &s, pos);

	parser->last = s;
	if (token == WORD)
		value->WORD = s;
	else if (token == QUOTED)
		value->QUOTED = s;
	else if (token == NUMBER)
		value->NUMBER = s;
	return token;
}

static void iked_yyerror(struct conf_pos *pos, struct iked_parser *parser, const char *text)
{
	conf_error(parser->diags, pos, "%s", text);
}

static int yyreport_syntax_error(const yypcontext_t *ctx, struct iked_parser *parser)
{
	yysymbol_kind_t kinds[YYNTOKENS];
	const char *expected[YYNTOKENS];
	int n = yypcontext_expected_tokens(ctx, kinds, YYNTOKENS);
	yysymbol_kind_t got = yypcontext_token(ctx);

	for (int i = 0; i < n; i++)
		expected[i] = yysymbol_name(kinds[i]);
	conf_syntax_error(&parser->lx, yypcontext_location(ctx), yysymbol_name(got),
		&parser->last, expected, n > 0 ? (size_t)n : 0);
	return 0;
}

const struct conf_keyword iked_keywords[] = {
	{"accounting", ACCOUNTING},
	{"active", ACTIVE},
	{"ah", AH},
	{"any", ANY},
	{"auth", AUTH},
	{"bytes", BYTES},
	{"cert_partial_chain", CERT_PARTIAL_CHAIN},
	{"childsa", CHILDSA},
	{"client", CLIENT},
	{"config", CONFIG},
	{"couple", COUPLE},
	{"dae", DAE},
	{"decouple", DECOUPLE},
	{"default", DEFAULT},
	{"dpd_check_interval", DPD},
	{"dstid", DSTID},
	{"dynamic", DYNAMIC},
	{"eap", EAP},
	{"enc", ENC},
	{"enforcesingleikesa", ENFORCE},
	{"esn", ESN},
	{"esp", ESP},
	{"file", FILE_},
	{"flow", FLOW},
	{"fragmentation", FRAGMENTATION},
	{"from", FROM},
	{"group", GROUP},
	{"iface", IFACE},
	{"ike", IKE},
	{"ikelifetime", IKELIFETIME},
	{"ikesa", IKESA},
	{"ikev2", IKEV2},
	{"include", INCLUDE},
	{"inet", INET},
	{"inet6", INET6},
	{"ipcomp", IPCOMP},
	{"lifetime", LIFETIME},
	{"listen", LISTEN},
	{"local", LOCAL},
	{"max-failovers", MAX_FAILOVERS},
	{"max-tries", MAX_TRIES},
	{"maxage", MAXAGE},
	{"mobike", MOBIKE},
	{"name", NAME},
	{"natt", NATT},
	{"noenforcesingleikesa", NOENFORCE},
	{"noesn", NOESN},
	{"nofragmentation", NOFRAGMENTATION},
	{"nomobike", NOMOBIKE},
	{"nostickyaddress", NOSTICKY},
	{"novendorid", NOVENDORID},
	{"ocsp", OCSP},
	{"on", ON},
	{"passive", PASSIVE},
	{"peer", PEER},
	{"port", PORT},
	{"prf", PRF},
	{"proto", PROTO},
	{"psk", PSK},
	{"quick", QUICK},
	{"radius", RADIUS},
	{"rdomain", RDOMAIN},
	{"request", REQUEST},
	{"sa", SA},
	{"secret", SECRET},
	{"server", SERVER},
	{"set", SET},
	{"skip", SKIP},
	{"srcid", SRCID},
	{"stickyaddress", STICKY},
	{"tag", TAG},
	{"tap", TAP},
	{"tcpmd5", TCPMD5},
	{"to", TO},
	{"tolerate", TOLERATE},
	{"transport", TRANSPORT},
	{"tunnel", TUNNEL},
	{"user", USER},
	{"vendorid", VENDORID},
	{NULL, 0},
};
