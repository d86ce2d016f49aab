#pragma once

#include "controlplane/conf/arena.h"
#include "controlplane/conf/diag.h"
#include "controlplane/conf/options.h"

/*
 * The lexis that iked.conf, ipsec.conf and espd.conf share: statements end at a newline, `\` before
 * it joins lines, `#` comments to the end of the joined line, words, quoted strings, numbers,
 * macros, include. Macro definitions and include are handled here and never reach a grammar.
 */

/* Token codes common to the grammars; their %token lines give the same numbers. */
enum conf_token {
	CONF_TOKEN_EOF = 0,
	CONF_TOKEN_ERROR = 256, /* YYerror: already reported, start recovery */
	CONF_TOKEN_WORD = 300,
	CONF_TOKEN_QUOTED = 301,
	CONF_TOKEN_NUMBER = 302,
};

struct conf_keyword {
	const char *word;
	int token;
};

/* A word, string or number with the text it had. */
struct conf_string {
	char *text; /* in the arena */
	struct conf_pos pos;
	int64_t number; /* of a NUMBER */
	bool is_quoted;
};

struct conf_source; /* a file or macro value being read */

struct conf_macro_def {
	struct conf_macro_def *next;
	char *name, *value;
	bool is_fixed; /* from -D */
};

struct conf_lexer {
	struct arena *arena;
	struct conf_diags *diags;
	const struct conf_options *options;
	const struct conf_keyword *keywords; /* ends with {NULL, 0} */
	const char *const *skip;             /* statements to pass over, by first word; or NULL */
	struct conf_source *source;
	struct conf_macro_def *macros;
	bool at_statement; /* nothing of the current statement was read */
	unsigned int depth;
	int fd;       /* of the file that is being read, -1: none */
	char **files; /* handed over to the configuration by conf_lexer_take_files */
	size_t n_files;
};

/* Opens the file (or options->text), inside arena_run. -1 with a diagnostic. */
int conf_lexer_init(struct conf_lexer *lx, struct arena *arena, const char *path,
	const struct conf_options *options, struct conf_diags *diags);
/* The next token: a code of enum conf_token, of the keyword table, or a character. */
int conf_lexer_next(struct conf_lexer *lx, struct conf_string *value, struct conf_pos *pos);
/* The end, also of a parse that was left in the middle: closes, hands over the files' names. */
void conf_lexer_take_files(struct conf_lexer *lx, char ***files, size_t *n_files);

/* Reads a whole file of at most `limit` bytes under the permission rule; NULL with a diagnostic
 * at pos. In the arena, NUL-terminated. */
char *conf_file_read(struct conf_lexer *lx, const char *path, const struct conf_pos *pos,
	size_t limit, size_t *len);

/*
 * The message of a syntax error. `expected` are the grammar's names of what would be accepted,
 * n_total their number before it was cut to n.
 */
void conf_syntax_error(struct conf_lexer *lx, const struct conf_pos *pos, const char *got,
	const struct conf_string *value, const char *const *expected, size_t n);

/* The keyword that differs from the word by one or two letters; NULL if none. */
const char *conf_near_keyword(const struct conf_keyword *keywords, const char *word);

/* Writes text so that the lexer reads it back as one string: "..." with escapes. */
void conf_print_quoted(FILE *out, const char *text);
