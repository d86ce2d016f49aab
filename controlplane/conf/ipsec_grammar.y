/* ipsec.conf: flows, manual SAs, and isakmpd's rules. One error a logical line. */
%define api.pure full
%define api.prefix {ipsec_yy}
%define api.location.type {struct conf_pos}
%define api.value.type union
%define parse.error custom
%define parse.lac full
%locations
%param {struct ipsec_parser *parser}
/* Bison counts errors and never looks; clang 19 takes that for a mistake of ours. */
%initial-action { (void)yynerrs; }

%code requires {
#include "controlplane/conf/ipsec_ast.h"
}

%code {
#define YYLLOC_DEFAULT(current, rhs, n) ((current) = YYRHSLOC(rhs, (n) ? 1 : 0))

static int ipsec_yylex(IPSEC_YYSTYPE *value, struct conf_pos *pos, struct ipsec_parser *parser);
static void ipsec_yyerror(struct conf_pos *pos, struct ipsec_parser *parser, const char *text);
static void set_once(struct ipsec_parser *parser, struct conf_string *at, const struct conf_string *v,
	const char *word, const struct conf_pos *pos);
#define NEW(type) ((type *)arena_alloc(&parser->arena, sizeof(type)))
#define SETWORD(v, where) ((struct ast_word){.is_set = true, .value = (v), .pos = (where)})
}

%token EOL 10 "end of line"
%token <struct conf_string> WORD 300 "a word" QUOTED 301 "a quoted string" NUMBER 302 "a number"
%token COMMA 44 "," SLASH 47 "/" LBRACE 123 "{" RBRACE 125 "}" LPAREN 40 "(" RPAREN 41 ")"
%token ACQUIRE "acquire" ACTIVE "active" AGGRESSIVE "aggressive" AH "ah" ANY "any" AUTH "auth"
%token AUTHKEY "authkey" BUNDLE "bundle" BYPASS "bypass" COMP "comp" DENY "deny"
%token DONTACQ "dontacq" DSTID "dstid" DYNAMIC "dynamic" ENC "enc" ENCKEY "enckey" ESP "esp"
%token FILE_ "file" FLOW "flow" FROM "from" GROUP "group" IKE "ike" IN "in" INCLUDE "include"
%token INTERFACE "interface" IPCOMP "ipcomp" IPIP "ipip" LIFETIME "lifetime" LOCAL "local"
%token MAIN "main" OUT "out" PASSIVE "passive" PEER "peer" PORT "port" PROTO "proto" PSK "psk"
%token QUICK "quick" REQUIRE "require" RSA "rsa" SPI "spi" SRCID "srcid" TAG "tag"
%token TCPMD5 "tcpmd5" TO "to" TRANSPORT "transport" TUNNEL "tunnel" TYPE "type"
%token UDPENCAP "udpencap" USE "use"

%type <struct conf_string> string any_string proto proto_opt port_opt udp_port tag_opt bundle
%type <enum ipsec_satype> satype satype_opt
%type <struct ast_word> direction type mode start
%type <struct ast_ihost *> host_list host host1 hosts_item
%type <struct ast_ihosts> hosts
%type <struct ast_ipeers> peers
%type <struct ast_iids> ids
%type <struct ast_ixforms> xforms
%type <struct ast_pairvalue> authkey enckey key
%type <struct ast_isa> udpencap
%type <struct ast_iphase> phase1 phase2
%type <struct ast_iike> ike_auth
%type <uint32_t> lifetime

%%

grammar: %empty
	| grammar EOL
	| grammar statement EOL { parser->n_statements++; }
	| grammar error EOL { yyerrok; parser->n_statements++; }
	;

statement: flow | sa | tcpmd5 | ike;

string: WORD | QUOTED;
any_string: WORD | QUOTED | NUMBER;

satype: ESP { $$ = IPSEC_SATYPE_ESP; }
	| AH { $$ = IPSEC_SATYPE_AH; }
	| IPCOMP { $$ = IPSEC_SATYPE_IPCOMP; }
	| IPIP { $$ = IPSEC_SATYPE_IPIP; }
	;
satype_opt: %empty { $$ = IPSEC_SATYPE_ESP; } | satype;

flow: FLOW satype_opt direction proto_opt hosts peers ids type {
		struct ast_iflow ast = {.pos = @1, .satype = $2, .direction = $3, .proto = $4,
			.hosts = $5, .peers = $6, .ids = $7, .type = $8};

		ipsec_build_flow(parser, &ast);
	}
	;
direction: %empty { $$ = (struct ast_word){0}; }
	| IN { $$ = SETWORD(IPC_DIR_IN, @1); }
	| OUT { $$ = SETWORD(IPC_DIR_OUT, @1); }
	;
proto_opt: %empty { $$ = (struct conf_string){0}; } | PROTO proto { $$ = $2; };
proto: any_string
	| ESP { $$ = (struct conf_string){.text = "esp", .pos = @1}; }
	| AH { $$ = (struct conf_string){.text = "ah", .pos = @1}; }
	| IPCOMP { $$ = (struct conf_string){.text = "ipcomp", .pos = @1}; }
	;
type: %empty { $$ = (struct ast_word){0}; }
	| TYPE USE { $$ = SETWORD(IPC_FLOW_USE, @2); }
	| TYPE ACQUIRE { $$ = SETWORD(IPC_FLOW_ACQUIRE, @2); }
	| TYPE REQUIRE { $$ = SETWORD(IPC_FLOW_REQUIRE, @2); }
	| TYPE DENY { $$ = SETWORD(IPC_FLOW_DENY, @2); }
	| TYPE BYPASS { $$ = SETWORD(IPC_FLOW_BYPASS, @2); }
	| TYPE DONTACQ { $$ = SETWORD(IPC_FLOW_DONTACQ, @2); }
	;

hosts: FROM hosts_item port_opt TO hosts_item port_opt {
		$$ = (struct ast_ihosts){.from = $2, .sport = $3, .to = $5, .dport = $6};
	}
	| TO hosts_item port_opt FROM hosts_item port_opt {
		$$ = (struct ast_ihosts){.to = $2, .dport = $3, .from = $5, .sport = $6};
	}
	;
hosts_item: host | LBRACE host_list RBRACE { $$ = $2; };
host_list: host
	| host_list comma_opt host { $$ = $3; $$->next = $1; }
	;
comma_opt: %empty | COMMA;
host: host1
	| ANY { $$ = NEW(struct ast_ihost); $$->is_any = true; $$->name.pos = @1; }
	| host LPAREN host RPAREN { $$ = $1; $$->srcnat = $3; }
	;
host1: any_string { $$ = NEW(struct ast_ihost); $$->name = $1; }
	| any_string SLASH NUMBER {
		$$ = NEW(struct ast_ihost);
		$$->name = $1;
		$$->has_len = true;
		$$->len = $3.number;
		$$->len_pos = @3;
	}
	;
port_opt: %empty { $$ = (struct conf_string){0}; } | PORT any_string { $$ = $2; };

peers: %empty { $$ = (struct ast_ipeers){0}; }
	| PEER host { $$ = (struct ast_ipeers){.peer = $2}; }
	| LOCAL host1 { $$ = (struct ast_ipeers){.local = $2}; }
	| PEER host LOCAL host1 { $$ = (struct ast_ipeers){.peer = $2, .local = $4}; }
	| LOCAL host1 PEER host { $$ = (struct ast_ipeers){.peer = $4, .local = $2}; }
	;
ids: %empty { $$ = (struct ast_iids){0}; }
	| SRCID any_string { $$ = (struct ast_iids){.srcid = $2}; }
	| SRCID any_string DSTID any_string { $$ = (struct ast_iids){.srcid = $2, .dstid = $4}; }
	| DSTID any_string { $$ = (struct ast_iids){.dstid = $2}; }
	;

sa: satype mode hosts SPI any_string udpencap xforms authkey enckey bundle {
		struct ast_isa ast = {.pos = @1, .satype = $1, .mode = $2, .hosts = $3, .spi = $5,
			.has_udpencap = $6.has_udpencap, .udpencap_port = $6.udpencap_port,
			.xforms = $7, .authkey = $8, .enckey = $9, .bundle = $10};

		ipsec_build_sa(parser, &ast);
	}
	| satype mode hosts { conf_error(parser->diags, &@1, "no SPI specified, expected spi N"); }
	| TUNNEL hosts SPI any_string udpencap xforms authkey enckey bundle {
		struct ast_isa ast = {.pos = @1, .mode = SETWORD(IPC_MODE_TUNNEL, @1),
			.hosts = $2, .spi = $4, .has_udpencap = $5.has_udpencap,
			.udpencap_port = $5.udpencap_port, .xforms = $6, .authkey = $7,
			.enckey = $8, .bundle = $9};

		ipsec_build_sa(parser, &ast);
	}
	| TRANSPORT hosts SPI any_string udpencap xforms authkey enckey bundle {
		struct ast_isa ast = {.pos = @1, .mode = SETWORD(IPC_MODE_TRANSPORT, @1),
			.hosts = $2, .spi = $4, .has_udpencap = $5.has_udpencap,
			.udpencap_port = $5.udpencap_port, .xforms = $6, .authkey = $7,
			.enckey = $8, .bundle = $9};

		ipsec_build_sa(parser, &ast);
	}
	| hosts SPI any_string udpencap xforms authkey enckey bundle {
		struct ast_isa ast = {.pos = @1, .hosts = $1, .spi = $3,
			.has_udpencap = $4.has_udpencap, .udpencap_port = $4.udpencap_port,
			.xforms = $5, .authkey = $6, .enckey = $7, .bundle = $8};

		ipsec_build_sa(parser, &ast);
	}
	;
mode: %empty { $$ = (struct ast_word){0}; }
	| TUNNEL { $$ = SETWORD(IPC_MODE_TUNNEL, @1); }
	| TRANSPORT { $$ = SETWORD(IPC_MODE_TRANSPORT, @1); }
	;
udpencap: %empty { $$ = (struct ast_isa){0}; }
	| UDPENCAP udp_port { $$ = (struct ast_isa){.has_udpencap = true, .udpencap_port = $2}; }
	;
udp_port: %empty { $$ = (struct conf_string){0}; } | PORT any_string { $$ = $2; };
xforms: %empty { $$ = (struct ast_ixforms){0}; }
	| xforms AUTH string { $$ = $1; set_once(parser, &$$.auth, &$3, "auth", &@2); }
	| xforms ENC string { $$ = $1; set_once(parser, &$$.enc, &$3, "enc", &@2); }
	| xforms COMP string { $$ = $1; set_once(parser, &$$.comp, &$3, "comp", &@2); }
	| xforms GROUP string { $$ = $1; set_once(parser, &$$.group, &$3, "group", &@2); }
	;
authkey: %empty { $$ = (struct ast_pairvalue){0}; } | AUTHKEY key { $$ = $2; };
enckey: %empty { $$ = (struct ast_pairvalue){0}; } | ENCKEY key { $$ = $2; };
key: any_string { $$ = (struct ast_pairvalue){.a = $1}; }
	| FILE_ string { $$ = (struct ast_pairvalue){.a = $2, .is_file = true}; }
	;
bundle: %empty { $$ = (struct conf_string){0}; } | BUNDLE string { $$ = $2; };

tcpmd5: TCPMD5 hosts SPI any_string authkey {
		struct ast_isa ast = {.pos = @1, .satype = IPSEC_SATYPE_TCPMD5, .hosts = $2,
			.spi = $4, .authkey = $5};

		ipsec_build_sa(parser, &ast);
	}
	;

ike: IKE start satype_opt mode proto_opt hosts peers phase1 phase2 ids ike_auth tag_opt {
		struct ast_iike ast = {.pos = @1, .mode = $2, .satype = $3, .tmode = $4,
			.proto = $5, .hosts = $6, .peers = $7, .phase1 = $8, .phase2 = $9,
			.ids = $10, .psk = $11.psk, .tag = $12};

		ipsec_build_ike(parser, &ast);
	}
	| IKE start INTERFACE string peers phase1 phase2 ids ike_auth {
		struct ast_iike ast = {.pos = @1, .mode = $2, .interface = $4, .peers = $5,
			.phase1 = $6, .phase2 = $7, .ids = $8, .psk = $9.psk};

		ipsec_build_ike(parser, &ast);
	}
	;
start: %empty { $$ = (struct ast_word){0}; }
	| ACTIVE { $$ = SETWORD(IPSEC_IKE_ACTIVE, @1); }
	| PASSIVE { $$ = SETWORD(IPSEC_IKE_PASSIVE, @1); }
	| DYNAMIC { $$ = SETWORD(IPSEC_IKE_DYNAMIC, @1); }
	;
phase1: %empty { $$ = (struct ast_iphase){0}; }
	| MAIN xforms lifetime {
		$$ = (struct ast_iphase){.is_written = true, .xforms = $2, .lifetime_s = $3};
	}
	| AGGRESSIVE xforms lifetime {
		$$ = (struct ast_iphase){.is_written = true, .is_aggressive = true, .xforms = $2,
			.lifetime_s = $3};
	}
	;
phase2: %empty { $$ = (struct ast_iphase){0}; }
	| QUICK xforms lifetime {
		$$ = (struct ast_iphase){.is_written = true, .xforms = $2, .lifetime_s = $3};
	}
	;
lifetime: %empty { $$ = 0; } | LIFETIME any_string { $$ = ipsec_time(parser, &$2); };
ike_auth: %empty { $$ = (struct ast_iike){0}; }
	| RSA { $$ = (struct ast_iike){0}; }
	| PSK any_string { $$ = (struct ast_iike){.psk = $2}; }
	;
tag_opt: %empty { $$ = (struct conf_string){0}; } | TAG string { $$ = $2; };

%%

static void set_once(struct ipsec_parser *parser, struct conf_string *at, const struct conf_string *v,
	const char *word, const struct conf_pos *pos)
{
	if (at->text)
		conf_error(parser->diags, pos, "%s already set, expected it once", word);
	else
		*at = *v;
}

static int ipsec_yylex(IPSEC_YYSTYPE *value, struct conf_pos *pos, struct ipsec_parser *parser)
{
	int token = conf_lexer_next(&parser->lx, &parser->last, pos);

	if (token == WORD)
		value->WORD = parser->last;
	else if (token == QUOTED)
		value->QUOTED = parser->last;
	else if (token == NUMBER)
		value->NUMBER = parser->last;
	return token;
}

static void ipsec_yyerror(struct conf_pos *pos, struct ipsec_parser *parser, const char *text)
{
	conf_error(parser->diags, pos, "%s", text);
}

static int yyreport_syntax_error(const yypcontext_t *ctx, struct ipsec_parser *parser)
{
	yysymbol_kind_t kinds[YYNTOKENS];
	const char *expected[YYNTOKENS];
	int n = yypcontext_expected_tokens(ctx, kinds, YYNTOKENS);

	for (int i = 0; i < n; i++)
		expected[i] = yysymbol_name(kinds[i]);
	conf_syntax_error(&parser->lx, yypcontext_location(ctx),
		yysymbol_name(yypcontext_token(ctx)), &parser->last, expected,
		n > 0 ? (size_t)n : 0);
	return 0;
}

const struct conf_keyword ipsec_keywords[] = {
	{"acquire", ACQUIRE},
	{"active", ACTIVE},
	{"aggressive", AGGRESSIVE},
	{"ah", AH},
	{"any", ANY},
	{"auth", AUTH},
	{"authkey", AUTHKEY},
	{"bundle", BUNDLE},
	{"bypass", BYPASS},
	{"comp", COMP},
	{"deny", DENY},
	{"dontacq", DONTACQ},
	{"dstid", DSTID},
	{"dynamic", DYNAMIC},
	{"enc", ENC},
	{"enckey", ENCKEY},
	{"esp", ESP},
	{"file", FILE_},
	{"flow", FLOW},
	{"from", FROM},
	{"group", GROUP},
	{"ike", IKE},
	{"in", IN},
	{"include", INCLUDE},
	{"interface", INTERFACE},
	{"ipcomp", IPCOMP},
	{"ipip", IPIP},
	{"lifetime", LIFETIME},
	{"local", LOCAL},
	{"main", MAIN},
	{"out", OUT},
	{"passive", PASSIVE},
	{"peer", PEER},
	{"port", PORT},
	{"proto", PROTO},
	{"psk", PSK},
	{"quick", QUICK},
	{"require", REQUIRE},
	{"rsa", RSA},
	{"spi", SPI},
	{"srcid", SRCID},
	{"tag", TAG},
	{"tcpmd5", TCPMD5},
	{"to", TO},
	{"transport", TRANSPORT},
	{"tunnel", TUNNEL},
	{"type", TYPE},
	{"udpencap", UDPENCAP},
	{"use", USE},
	{NULL, 0},
};
