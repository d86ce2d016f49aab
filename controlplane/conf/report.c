#include "controlplane/conf/lexer.h"

#include <string.h>

#define EXPECTED_SHOWN 16

static void append(char *buf, size_t cap, const char *text)
{
	size_t len = strlen(buf);

	if (len < cap)
		snprintf(buf + len, cap - len, "%s", text);
}

/* Optimal string alignment distance (a swap of neighbours counts one), cut at 32 letters. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int d[33][33];
	size_t n = strlen(a), m = strlen(b);

	if (n > 32 || m > 32)
		return 99;
	for (size_t i = 0; i <= n; i++)
		for (size_t j = 0; j <= m; j++) {
			unsigned int v;

			if (i == 0 || j == 0) {
				d[i][j] = (unsigned int)(i + j);
				continue;
			}
			v = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			v = d[i - 1][j] + 1 < v ? d[i - 1][j] + 1 : v;
			v = d[i][j - 1] + 1 < v ? d[i][j - 1] + 1 : v;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				d[i - 2][j - 2] + 1 < v)
				v = d[i - 2][j - 2] + 1;
			d[i][j] = v;
		}
	return d[n][m];
}

/* Two letters may differ only where at least three stay. */
static bool is_near(const char *word, const char *keyword, unsigned int *best)
{
	unsigned int d = distance(word, keyword);
	unsigned int allowed = strlen(keyword) >= 5 ? 2 : strlen(keyword) >= 3 ? 1 : 0;

	if (d == 0 || d > allowed || d >= *best)
		return false;
	*best = d;
	return true;
}

const char *conf_near_keyword(const struct conf_keyword *keywords, const char *word)
{
	const char *found = NULL;
	unsigned int best = 3;

	for (size_t i = 0; keywords[i].word; i++)
		if (is_near(word, keywords[i].word, &best))
			found = keywords[i].word;
	return found;
}

void conf_syntax_error(struct conf_lexer *lx, const struct conf_pos *pos, const char *got,
	const struct conf_string *value, const char *const *expected, size_t n)
{
	char list[512] = "";
	const char *near = NULL;
	unsigned int best = 3;

	for (size_t i = 0; i < n && i < EXPECTED_SHOWN; i++) {
		append(list, sizeof(list), i == 0 ? "" : i + 1 == n ? " or " : ", ");
		append(list, sizeof(list), expected[i]);
	}
	if (n > EXPECTED_SHOWN)
		append(list, sizeof(list), " or others");
	for (size_t i = 0; i < n && value->text && !value->is_quoted; i++)
		if (is_near(value->text, expected[i], &best))
			near = expected[i];
	if (value->text && value->text[0] && value->text[0] != '\n')
		conf_error(lx->diags, pos, "unexpected '%.60s', expected %s%s%s%s", value->text,
			list, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
	else
		conf_error(lx->diags, pos, "unexpected %s, expected %s", got, list);
}

void conf_print_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (const char *p = text; *p; p++) {
		bool after_backslash = p > text && p[-1] == '\\';

		if (*p == '"' || ((*p == ' ' || *p == '\t') && after_backslash))
			fputc('\\', out);
		fputc(*p, out);
	}
	fputc('"', out);
}
