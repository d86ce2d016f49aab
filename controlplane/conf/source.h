#pragma once

#include "controlplane/conf/lexer.h"

/*
 * Where the lexer's characters come from: files and macro values, stacked. Positions are physical;
 * characters of a macro have the position of the `$`.
 */
struct conf_source {
	struct conf_source *parent;
	const char *text;
	size_t len, at;
	struct conf_pos pos; /* of text[at] */
	bool is_macro;
	bool told_blank; /* reported a blank behind a backslash at `told_at` */
	size_t told_at;
};

int source_push_main(struct conf_lexer *lx, const char *path);
void source_push_file(struct conf_lexer *lx, const char *path, const struct conf_pos *pos);
void source_push_macro(
	struct conf_lexer *lx, const char *name, const char *value, const struct conf_pos *pos);
void source_pop(struct conf_lexer *lx);
/* The file that a read was left in the middle of. */
void source_close(struct conf_lexer *lx);

/* The next character or EOF, with joined lines joined and CR LF as LF. */
int source_peek(struct conf_lexer *lx);
int source_get(struct conf_lexer *lx);
/* Without joining, for quoted strings. */
int source_peek_raw(struct conf_lexer *lx);
int source_get_raw(struct conf_lexer *lx);
