#include "controlplane/conf/lexer.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/conf/source.h"
#include "shared/wipe.h"

static bool is_blank(int c)
{
	return c == ' ' || c == '\t';
}

static bool starts_word(int c)
{
	return c >= 0 && c < 128 && (isalnum(c) || c == ':' || c == '_' || c == '*');
}

static bool in_word(int c)
{
	return c > ' ' && c < 127 && !strchr("(){}<>!=/#,\\", c);
}

/* A growing text in the arena; old copies stay there until the parse ends. */
struct text {
	struct arena *arena;
	char *at;
	size_t len, cap;
};

static void text_put(struct text *t, int c)
{
	if (t->len + 1 >= t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char *grown = arena_alloc(t->arena, cap);

		if (t->len)
			memcpy(grown, t->at, t->len);
		t->at = grown;
		t->cap = cap;
	}
	t->at[t->len++] = (char)c;
	t->at[t->len] = '\0';
}

static char *text_str(struct text *t)
{
	return t->at ? t->at : arena_strndup(t->arena, "", 0);
}

static void skip_blanks(struct conf_lexer *lx)
{
	while (is_blank(source_peek(lx)))
		source_get(lx);
}

/* To the newline of the joined line, which stays. */
static void skip_comment(struct conf_lexer *lx)
{
	unsigned int first = lx->source->pos.line;
	struct conf_pos joined = lx->source->pos;
	bool told = false;
	int c;

	while ((c = source_peek(lx)) != '\n' && c != EOF) {
		source_get(lx);
		if (!told && lx->source->pos.line != first) {
			joined.line = first;
			conf_warning(lx->diags, &joined,
				"the comment goes on in the next line because of the backslash at "
				"the end of this one");
			told = true;
		}
	}
}

static void skip_line(struct conf_lexer *lx)
{
	int c;

	while ((c = source_peek(lx)) != '\n' && c != EOF)
		source_get(lx);
}

static char *read_word(struct conf_lexer *lx)
{
	struct text t = {.arena = lx->arena};

	while (in_word(source_peek(lx)))
		text_put(&t, source_get(lx));
	return text_str(&t);
}

/* NULL after an error. A newline inside is dropped; \quote, \blank and \tab stand for the second.
 */
static char *read_quoted(struct conf_lexer *lx, const struct conf_pos *start)
{
	struct text t = {.arena = lx->arena};
	int quote = source_get(lx), c;

	while ((c = source_get_raw(lx)) != quote) {
		if (c == EOF) {
			conf_error(
				lx->diags, start, "the string is not closed, expected %c", quote);
			return NULL;
		}
		if (c == '\0') {
			conf_error(lx->diags, start, "the string holds a NUL byte");
			return NULL;
		}
		if (c == '\\') {
			int next = source_peek_raw(lx);

			if (next == quote || is_blank(next))
				c = source_get_raw(lx);
		}
		if (c != '\n' && c != '\r')
			text_put(&t, c);
	}
	return text_str(&t);
}

static int as_number(struct conf_lexer *lx, struct conf_string *value)
{
	const char *p = value->text + (value->text[0] == '-');
	int c = source_peek(lx);
	char *end;

	if (*p == '\0' || p[strspn(p, "0123456789")] != '\0' || strlen(p) > 18)
		return CONF_TOKEN_WORD;
	if (c != EOF && !is_blank(c) && c != '\n' && !strchr("),/}=#", c))
		return CONF_TOKEN_WORD;
	value->number = strtoll(value->text, &end, 10);
	return CONF_TOKEN_NUMBER;
}

static struct conf_macro_def *macro_find(struct conf_lexer *lx, const char *name)
{
	for (struct conf_macro_def *m = lx->macros; m; m = m->next)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

static void macro_set(struct conf_lexer *lx, const char *name, const char *value, bool is_fixed)
{
	struct conf_macro_def *m = macro_find(lx, name);

	if (m && m->is_fixed)
		return;
	if (!m) {
		m = arena_alloc(lx->arena, sizeof(*m));
		m->name = arena_strndup(lx->arena, name, strlen(name));
		m->next = lx->macros;
		lx->macros = m;
	}
	m->value = arena_strndup(lx->arena, value, strlen(value));
	m->is_fixed = is_fixed;
}

/* After `$`: the macro's text becomes the next input. */
static int macro_expand(struct conf_lexer *lx, const struct conf_pos *pos)
{
	struct text t = {.arena = lx->arena};
	struct conf_macro_def *m;

	source_get(lx);
	while (isalnum(source_peek(lx)) || source_peek(lx) == '_' || source_peek(lx) == '-')
		text_put(&t, source_get(lx));
	if (t.len == 0) {
		conf_error(lx->diags, pos, "a blank after $, expected the name of a macro");
		return -1;
	}
	m = macro_find(lx, t.at);
	if (!m) {
		conf_error(lx->diags, pos, "macro '%s' not defined", t.at);
		return -1;
	}
	source_push_macro(lx, m->name, m->value, pos);
	return 0;
}

/* `name = value...` after the `=`: strings without their quotes, single blanks. */
static void macro_define(struct conf_lexer *lx, const struct conf_string *name)
{
	struct text t = {.arena = lx->arena};
	struct conf_pos start;
	const char *part;
	bool blank = false;
	int c;

	source_get(lx);
	skip_blanks(lx);
	while ((c = source_peek(lx)) != '\n' && c != '#') {
		char one[2] = {(char)c, '\0'};

		if (c == EOF && !lx->source->is_macro)
			break;
		if (c == EOF) {
			source_pop(lx);
			continue;
		}

		start = lx->source->pos;
		if (is_blank(c)) {
			source_get(lx);
			blank = true;
			continue;
		}
		if (c == '"' || c == '\'') {
			part = read_quoted(lx, &start);
		} else if (c == '$' && !lx->source->is_macro) {
			if (macro_expand(lx, &start) < 0)
				part = NULL;
			else
				continue;
		} else {
			source_get(lx);
			part = one;
		}
		if (!part) {
			skip_line(lx);
			return;
		}
		if (blank && t.len)
			text_put(&t, ' ');
		blank = false;
		for (; *part; part++)
			text_put(&t, *part);
	}
	for (size_t i = 0; lx->keywords[i].word; i++)
		if (strcmp(lx->keywords[i].word, name->text) == 0) {
			conf_error(lx->diags, &name->pos,
				"'%s' is a keyword, expected another name for the macro",
				name->text);
			return;
		}
	macro_set(lx, name->text, text_str(&t), false);
	if (lx->options->show_macros) {
		fprintf(lx->options->show_macros, "%s = ", name->text);
		conf_print_quoted(lx->options->show_macros, macro_find(lx, name->text)->value);
		fputc('\n', lx->options->show_macros);
	}
}

static void include_file(struct conf_lexer *lx, const struct conf_string *word)
{
	struct conf_pos pos;
	char *path;
	int c;

	skip_blanks(lx);
	pos = lx->source->pos;
	c = source_peek(lx);
	if (c != '"' && c != '\'') {
		conf_error(lx->diags, &pos, "include without a file, expected its name in quotes");
		skip_line(lx);
		return;
	}
	path = read_quoted(lx, &pos);
	skip_blanks(lx);
	c = source_peek(lx);
	if (path && c != '\n' && c != EOF && c != '#') {
		conf_error(lx->diags, &lx->source->pos, "text after include, expected end of line");
		path = NULL;
	}
	skip_line(lx);
	if (!path)
		return;
	if (c != EOF)
		source_get(lx);
	source_push_file(lx, path, &word->pos);
}

/* What a first word may start besides a statement of the grammar. True: the line is done. */
static bool handle_first_word(struct conf_lexer *lx, const struct conf_string *word)
{
	if (strcmp(word->text, "include") == 0) {
		include_file(lx, word);
		return true;
	}
	for (size_t i = 0; lx->skip && lx->skip[i]; i++)
		if (strcmp(lx->skip[i], word->text) == 0) {
			skip_line(lx);
			return true;
		}
	if (lx->source->is_macro)
		return false;
	skip_blanks(lx);
	if (source_peek(lx) == '=') {
		macro_define(lx, word);
		return true;
	}
	return false;
}

static int next_word(struct conf_lexer *lx, struct conf_string *value)
{
	bool first = lx->at_statement;
	int token;

	value->text = read_word(lx);
	token = as_number(lx, value);
	lx->at_statement = false;
	if (first && handle_first_word(lx, value)) {
		lx->at_statement = true;
		return -1;
	}
	if (token == CONF_TOKEN_NUMBER)
		return token;
	for (size_t i = 0; lx->keywords[i].word; i++)
		if (strcmp(lx->keywords[i].word, value->text) == 0)
			return lx->keywords[i].token;
	return CONF_TOKEN_WORD;
}

static int next_punctuation(struct conf_lexer *lx, struct conf_string *value)
{
	int c = source_get(lx);

	lx->at_statement = c == '\n';
	if (c == '\n' || strchr("(){},/", c)) {
		char one[2] = {(char)c, '\0'};

		value->text = arena_strndup(lx->arena, c == '\n' ? "" : one, 1);
		return c;
	}
	if (c > ' ' && c < 127)
		conf_error(lx->diags, &value->pos,
			"unexpected '%c': words begin with a letter or digit, others are quoted",
			c);
	else
		conf_error(lx->diags, &value->pos, "unexpected byte 0x%02x", (unsigned int)c);
	return CONF_TOKEN_ERROR;
}

int conf_lexer_next(struct conf_lexer *lx, struct conf_string *value, struct conf_pos *pos)
{
	int c, token;

	for (;;) {
		if (!lx->source)
			return CONF_TOKEN_EOF;
		skip_blanks(lx);
		*value = (struct conf_string){.pos = lx->source->pos};
		*pos = value->pos;
		c = source_peek(lx);
		if (c == '#') {
			skip_comment(lx);
		} else if (c == EOF) {
			bool was_macro = lx->source->is_macro;

			/* A file without a final newline ends its last statement all the same. */
			if (!was_macro && !lx->at_statement) {
				lx->at_statement = true;
				value->text = arena_strndup(lx->arena, "", 0);
				return '\n';
			}
			source_pop(lx);
		} else if (c == '\n' && lx->at_statement) {
			source_get(lx);
		} else if (c == '$' && !lx->source->is_macro) {
			if (macro_expand(lx, pos) < 0) {
				lx->at_statement = false;
				return CONF_TOKEN_ERROR;
			}
		} else if (c == '"' || c == '\'') {
			lx->at_statement = false;
			value->is_quoted = true;
			value->text = read_quoted(lx, pos);
			return value->text ? CONF_TOKEN_QUOTED : CONF_TOKEN_ERROR;
		} else if (starts_word(c) || c == '-') {
			token = next_word(lx, value);
			if (token >= 0)
				return token;
		} else {
			return next_punctuation(lx, value);
		}
	}
}

int conf_lexer_init(struct conf_lexer *lx, struct arena *arena, const char *path,
	const struct conf_options *options, struct conf_diags *diags)
{
	static const struct conf_options none;
	static const struct conf_keyword no_keywords[] = {{NULL, 0}};

	*lx = (struct conf_lexer){
		.arena = arena,
		.fd = -1,
		.diags = diags,
		.options = options ? options : &none,
		.keywords = no_keywords,
		.at_statement = true,
	};
	for (size_t i = 0; i < lx->options->n_macros; i++)
		macro_set(lx, lx->options->macros[i].name, lx->options->macros[i].value, true);
	return source_push_main(lx, path);
}

void conf_lexer_take_files(struct conf_lexer *lx, char ***files, size_t *n_files)
{
	source_close(lx);
	*files = lx->files;
	*n_files = lx->n_files;
	lx->files = NULL;
	lx->n_files = 0;
}
