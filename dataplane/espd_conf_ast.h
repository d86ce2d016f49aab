#pragma once

#include "controlplane/conf/lexer.h"
#include "dataplane/espd_conf.h"

struct espd_parser {
	struct arena arena;
	const char *path;
	const struct conf_options *options;
	struct conf_lexer lx;
	struct conf_diags *diags;
	struct espd_config *config;
	struct espd_port_config port; /* being read; strings in the arena */
	struct conf_string last;      /* the newest token's text, for messages */
};

int espd_yyparse(struct espd_parser *parser);
extern const struct conf_keyword espd_keywords[];

/* A number between min and max, or an error and min. */
uint32_t espd_number(struct espd_parser *p, const struct conf_string *s, const char *what,
	uint32_t min, uint32_t max);
void espd_port_mac(struct espd_parser *p, const struct conf_string *s);
void espd_port_add(struct espd_parser *p, const struct conf_string *name);
void espd_worker_add(struct espd_parser *p, const struct conf_string *cpu);
void espd_window(struct espd_parser *p, const struct conf_string *s);
void espd_string(struct espd_parser *p, char **out, const struct conf_string *s, const char *what,
	bool is_path);
