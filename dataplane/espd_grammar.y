/* espd.conf: one setting a line; a later line of the same setting wins, ports add up. */
%define api.pure full
%define api.prefix {espd_yy}
%define api.location.type {struct conf_pos}
%define api.value.type union
%define parse.error custom
%define parse.lac full
%locations
%param {struct espd_parser *parser}
/* Bison counts errors and never looks; clang 19 takes that for a mistake of ours. */
%initial-action { (void)yynerrs; }

%code requires {
#include "dataplane/espd_conf_ast.h"
}

%code {
#define YYLLOC_DEFAULT(current, rhs, n) ((current) = YYRHSLOC(rhs, (n) ? 1 : 0))

static int espd_yylex(ESPD_YYSTYPE *value, struct conf_pos *pos, struct espd_parser *parser);
static void espd_yyerror(struct conf_pos *pos, struct espd_parser *parser, const char *text);
#define C (parser->config)
}

%token EOL 10 "end of line"
%token <struct conf_string> WORD 300 "a word" QUOTED 301 "a quoted string" NUMBER 302 "a number"
%token COMMA 44 "," SLASH 47 "/" LBRACE 123 "{" RBRACE 125 "}" LPAREN 40 "(" RPAREN 41 ")"
%token ADAPTIVE "adaptive" AUTO "auto" CPU "cpu" DEFAULT "default" DENY "deny" DEVICE "device"
%token EAL_ARGS "eal-args" HUGEPAGES "hugepages" IDLE "idle" IKED "iked" INCLUDE "include"
%token MAC "mac" MAX_FLOWS "max-flows" MAX_SA "max-sa" MBUFS "mbufs" MEMORY "memory" MSS_CLAMP "mss-clamp" MTU "mtu"
%token NO "no" PASS "pass" PORT "port" PORTS "ports" PUNT "punt" QUEUES "queues"
%token REPLAY_WINDOW "replay-window" RUN_DIR "run-dir" SHARED "shared" SPIN "spin"
%token STANDALONE "standalone" STRICT_INBOUND "strict-inbound" TAP "tap" TELEMETRY "telemetry"
%token USER "user"
%token WAIT_FOR "wait-for" WORKERS "workers" YES "yes"

%type <struct conf_string> string
%type <bool> yes_no

%%

grammar: %empty
	| grammar EOL
	| grammar statement EOL
	| grammar error EOL { yyerrok; }
	;

string: WORD | QUOTED;
yes_no: YES { $$ = true; } | NO { $$ = false; };
comma_opt: %empty | COMMA;

statement: port
	| WORKERS NUMBER {
		C->workers_shared = false;
		C->n_workers = espd_number(parser, &$2, "workers", 1, ESPD_WORKERS_MAX);
		for (size_t i = 0; i < C->n_workers; i++)
			C->cpus[i] = ESPD_WORKER_ANY_CPU;
	}
	| WORKERS LBRACE { C->n_workers = 0; C->workers_shared = false; } cpus RBRACE
	| WORKERS SHARED {
		C->workers_shared = true;
		C->n_workers = 1;
		C->cpus[0] = ESPD_WORKER_ANY_CPU;
	}
	| DEFAULT PASS { C->default_deny = false; }
	| DEFAULT DENY { C->default_deny = true; }
	| STRICT_INBOUND yes_no { C->strict_inbound = $2; }
	| TELEMETRY yes_no { C->telemetry = $2; }
	| MSS_CLAMP yes_no { C->mss_max = $2 ? UINT16_MAX : 0; }
	| MSS_CLAMP NUMBER {
		C->mss_max = (uint16_t)espd_number(parser, &$2, "mss-clamp", 536, 9000);
	}
	| REPLAY_WINDOW NUMBER { espd_window(parser, &$2); }
	| MAX_SA NUMBER { C->max_sa = espd_number(parser, &$2, "max-sa", 16, 1 << 24); }
	| MAX_FLOWS NUMBER { C->max_flows = espd_number(parser, &$2, "max-flows", 16, 1 << 24); }
	| STANDALONE { C->wait_for_iked = false; }
	| WAIT_FOR IKED { C->wait_for_iked = true; }
	| MEMORY AUTO { C->memory_mb = 0; }
	| MEMORY NUMBER { C->memory_mb = espd_number(parser, &$2, "memory", 16, 1 << 20); }
	| MBUFS AUTO { C->mbufs = 0; }
	| MBUFS NUMBER { C->mbufs = espd_number(parser, &$2, "mbufs", 512, 1 << 24); }
	| HUGEPAGES AUTO { C->hugepages = ESPD_HUGE_AUTO; }
	| HUGEPAGES NO { C->hugepages = ESPD_HUGE_NO; }
	| HUGEPAGES QUOTED {
		C->hugepages = ESPD_HUGE_PATH;
		espd_string(parser, &C->hugepages_path, &$2, "hugepages", true);
	}
	| EAL_ARGS string { espd_string(parser, &C->eal_args, &$2, "eal-args", false); }
	| RUN_DIR QUOTED { espd_string(parser, &C->run_dir, &$2, "run-dir", true); }
	| USER string { espd_string(parser, &C->user, &$2, "user", false); }
	| IDLE SPIN { C->idle = ESPD_IDLE_SPIN; }
	| IDLE ADAPTIVE { C->idle = ESPD_IDLE_ADAPTIVE; }
	| PUNT PORTS { C->punt_ports = true; }
	| PUNT yes_no { C->punt_ports = $2; }
	;

cpus: cpu | cpus comma_opt cpu;
cpu: CPU NUMBER { espd_worker_add(parser, &$2); };

port: PORT string DEVICE string port_options {
		parser->port.device = $4.text;
		parser->port.pos = @2;
		espd_port_add(parser, &$2);
	}
	;
port_options: %empty { parser->port = (struct espd_port_config){0}; }
	| port_options TAP string { parser->port.tap = $3.text; }
	| port_options MAC string { espd_port_mac(parser, &$3); }
	| port_options MTU NUMBER {
		parser->port.mtu = (uint16_t)espd_number(parser, &$3, "mtu", 576, 9000);
	}
	| port_options QUEUES NUMBER {
		parser->port.queues =
			(uint16_t)espd_number(parser, &$3, "queues", 1, ESPD_WORKERS_MAX);
	}
	;

%%

static int espd_yylex(ESPD_YYSTYPE *value, struct conf_pos *pos, struct espd_parser *parser)
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

static void espd_yyerror(struct conf_pos *pos, struct espd_parser *parser, const char *text)
{
	conf_error(parser->diags, pos, "%s", text);
}

static int yyreport_syntax_error(const yypcontext_t *ctx, struct espd_parser *parser)
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

const struct conf_keyword espd_keywords[] = {
	{"adaptive", ADAPTIVE},
	{"auto", AUTO},
	{"cpu", CPU},
	{"default", DEFAULT},
	{"deny", DENY},
	{"device", DEVICE},
	{"eal-args", EAL_ARGS},
	{"hugepages", HUGEPAGES},
	{"idle", IDLE},
	{"iked", IKED},
	{"include", INCLUDE},
	{"mac", MAC},
	{"max-flows", MAX_FLOWS},
	{"max-sa", MAX_SA},
	{"mbufs", MBUFS},
	{"memory", MEMORY},
	{"mss-clamp", MSS_CLAMP},
	{"mtu", MTU},
	{"no", NO},
	{"pass", PASS},
	{"port", PORT},
	{"ports", PORTS},
	{"punt", PUNT},
	{"queues", QUEUES},
	{"replay-window", REPLAY_WINDOW},
	{"run-dir", RUN_DIR},
	{"shared", SHARED},
	{"spin", SPIN},
	{"standalone", STANDALONE},
	{"strict-inbound", STRICT_INBOUND},
	{"telemetry", TELEMETRY},
	{"tap", TAP},
	{"user", USER},
	{"wait-for", WAIT_FOR},
	{"workers", WORKERS},
	{"yes", YES},
	{NULL, 0},
};
