#include "controlplane/conf/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCLUDE_DEPTH_MAX 16
#define FILE_SIZE_MAX (8 << 20)

static const char *file_name_keep(struct conf_lexer *lx, const char *path)
{
	char **slot = conf_grow(lx->arena, &lx->files, &lx->n_files, sizeof(*slot));

	*slot = conf_strdup(lx->arena, path);
	return *slot;
}

/* The main file's own position is its path already; an included one is named beside the line. */
static void path_error(
	struct conf_lexer *lx, const char *path, const struct conf_pos *pos, const char *what)
{
	if (pos->file && strcmp(pos->file, path) == 0)
		conf_error(lx->diags, pos, "%s", what);
	else
		conf_error(lx->diags, pos, "%s: %s", path, what);
}

static bool permissions_ok(
	struct conf_lexer *lx, int fd, const char *path, const struct conf_pos *pos)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		path_error(lx, path, pos, strerror(errno));
		return false;
	}
	if (!lx->options->check_permissions)
		return true;
	if (st.st_uid != 0 && st.st_uid != getuid()) {
		path_error(lx, path, pos, "owner not root or current user");
		return false;
	}
	if (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) {
		path_error(lx, path, pos,
			"group writable or world read/writable, expected mode 0640 or less");
		return false;
	}
	return true;
}

static char *read_all(struct conf_lexer *lx, int fd, const char *path, const struct conf_pos *pos,
	size_t limit, size_t *len)
{
	size_t cap = 4096, used = 0;
	char *text = arena_alloc(lx->arena, cap + 1);

	for (;;) {
		ssize_t n = read(fd, text + used, cap - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			path_error(lx, path, pos, strerror(errno));
			return NULL;
		}
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > limit) {
			conf_error(lx->diags, pos, "%s: more than %zu bytes", path, limit);
			return NULL;
		}
		if (used == cap) {
			char *grown = arena_alloc(lx->arena, 2 * cap + 1);

			memcpy(grown, text, used);
			text = grown;
			cap *= 2;
		}
	}
	*len = used;
	return text;
}

char *conf_file_read(struct conf_lexer *lx, const char *path, const struct conf_pos *pos,
	size_t limit, size_t *len)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *text = NULL;

	if (fd < 0) {
		path_error(lx, path, pos, strerror(errno));
		return NULL;
	}
	lx->fd = is_stdin ? -1 : fd;
	if (is_stdin || permissions_ok(lx, fd, path, pos))
		text = read_all(lx, fd, path, pos, limit, len);
	source_close(lx);
	return text;
}

void source_close(struct conf_lexer *lx)
{
	if (lx->fd >= 0)
		close(lx->fd);
	lx->fd = -1;
}

static void push(struct conf_lexer *lx, const char *text, size_t len, const struct conf_pos *pos)
{
	struct conf_source *s = arena_alloc(lx->arena, sizeof(*s));

	s->text = text;
	s->len = len;
	s->pos = *pos;
	s->parent = lx->source;
	lx->source = s;
}

int source_push_main(struct conf_lexer *lx, const char *path)
{
	const char *shown = strcmp(path, "-") == 0 ? "stdin" : path;
	struct conf_pos pos = {.file = file_name_keep(lx, shown)};
	const char *text = lx->options->text;
	size_t len = lx->options->text_len;

	if (!text) {
		struct conf_pos none = {.file = pos.file};
		size_t before = lx->diags->n_errors;

		text = conf_file_read(lx, path, &none, FILE_SIZE_MAX, &len);
		if (!text)
			return lx->diags->n_errors > before ? -1 : 0;
	}
	pos.line = pos.column = 1;
	push(lx, text, len, &pos);
	return 0;
}

/* A relative name is looked for beside the file that includes it. */
static char *include_path(struct conf_lexer *lx, const char *path, const char *from)
{
	const char *slash = strrchr(from, '/');
	size_t dir_len = slash && path[0] != '/' ? (size_t)(slash - from) + 1 : 0;
	char *full = arena_alloc(lx->arena, dir_len + strlen(path) + 1);

	memcpy(full, from, dir_len);
	strcpy(full + dir_len, path);
	return full;
}

void source_push_file(struct conf_lexer *lx, const char *path, const struct conf_pos *pos)
{
	struct conf_pos start = {.line = 1, .column = 1};
	char *full = include_path(lx, path, pos->file), *text;
	size_t len;

	if (lx->depth >= INCLUDE_DEPTH_MAX) {
		conf_error(lx->diags, pos, "%s: files include each other more than %d deep", full,
			INCLUDE_DEPTH_MAX);
		return;
	}
	text = conf_file_read(lx, full, pos, FILE_SIZE_MAX, &len);
	if (!text)
		return;
	start.file = file_name_keep(lx, full);
	push(lx, text, len, &start);
	lx->depth++;
}

void source_push_macro(
	struct conf_lexer *lx, const char *name, const char *value, const struct conf_pos *pos)
{
	push(lx, value, strlen(value), pos);
	lx->source->is_macro = true;
	lx->source->pos.macro = name;
}

void source_pop(struct conf_lexer *lx)
{
	if (!lx->source->is_macro && lx->depth)
		lx->depth--;
	lx->source = lx->source->parent;
}

static void advance(struct conf_source *s)
{
	if (s->at >= s->len)
		return;
	if (s->is_macro) {
		s->at++;
		return;
	}
	if (s->text[s->at++] == '\n') {
		s->pos.line++;
		s->pos.column = 1;
	} else {
		s->pos.column++;
	}
}

static int char_at(const struct conf_source *s, size_t at)
{
	return at < s->len ? (unsigned char)s->text[at] : EOF;
}

/* The length of a newline at `at`: LF 1, CR LF 2, else 0. */
static size_t newline_len(const struct conf_source *s, size_t at)
{
	if (char_at(s, at) == '\n')
		return 1;
	return char_at(s, at) == '\r' && char_at(s, at + 1) == '\n' ? 2 : 0;
}

/* A backslash with only blanks up to the line's end joins too, but is an error that says so. */
static size_t join_len(struct conf_lexer *lx)
{
	struct conf_source *s = lx->source;
	size_t at = s->at + 1, newline;

	if (char_at(s, s->at) != '\\' || s->is_macro)
		return 0;
	while (char_at(s, at) == ' ' || char_at(s, at) == '\t')
		at++;
	newline = newline_len(s, at);
	if (newline == 0)
		return 0;
	if (at > s->at + 1 && !(s->told_blank && s->told_at == s->at)) {
		struct conf_pos pos = s->pos;

		pos.column++;
		conf_error(lx->diags, &pos,
			"blank after the backslash that continues the line, expected end of line");
		s->told_blank = true;
		s->told_at = s->at;
	}
	return at + newline - s->at;
}

int source_peek(struct conf_lexer *lx)
{
	struct conf_source *s = lx->source;

	for (size_t n; (n = join_len(lx)) > 0;)
		while (n--)
			advance(s);
	if (newline_len(s, s->at) == 2)
		advance(s);
	return char_at(s, s->at);
}

int source_get(struct conf_lexer *lx)
{
	int c = source_peek(lx);

	advance(lx->source);
	return c;
}

int source_peek_raw(struct conf_lexer *lx)
{
	return char_at(lx->source, lx->source->at);
}

int source_get_raw(struct conf_lexer *lx)
{
	int c = source_peek_raw(lx);

	/* A line continued inside quotes: backslash and newline are both dropped. */
	if (c == '\\' && newline_len(lx->source, lx->source->at + 1)) {
		advance(lx->source);
		return source_get_raw(lx);
	}
	advance(lx->source);
	return c;
}
