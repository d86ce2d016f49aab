#include "controlplane/cli/ikectl_words.h"

#include <string.h>

/* A word of the command language: a keyword that leads on, or ends the command. */
struct word {
	const char *keyword;     /* or one of "<path>", "<ikeid>", "<caname>": any text */
	const struct word *next; /* NULL: the command is complete */
	enum ctl_type type;      /* if it is complete */
	bool is_ca;
};

#define END                                 \
	{                                   \
		NULL, NULL, CTL_NONE, false \
	}

static const struct word load_words[] = {{"<path>", NULL, CTL_LOAD, false}, END};
static const struct word id_words[] = {{"<ikeid>", NULL, CTL_RESET_ID, false}, END};
static const struct word log_words[] = {
	{"verbose", NULL, CTL_LOG_VERBOSE, false},
	{"brief", NULL, CTL_LOG_BRIEF, false},
	END,
};
static const struct word reset_words[] = {
	{"all", NULL, CTL_RESET_ALL, false},
	{"ca", NULL, CTL_RESET_CA, false},
	{"policy", NULL, CTL_RESET_POLICY, false},
	{"sa", NULL, CTL_RESET_SA, false},
	{"user", NULL, CTL_RESET_USER, false},
	{"id", id_words, CTL_NONE, false},
	END,
};
static const struct word ca_words[] = {{"<caname>", NULL, CTL_NONE, true}, END};
static const struct word show_words[] = {
	{"ca", ca_words, CTL_NONE, false},
	{"certstore", NULL, CTL_SHOW_CERTSTORE, false},
	{"sa", NULL, CTL_SHOW_SA, false},
	{"stats", NULL, CTL_SHOW_STATS, false},
	END,
};
static const struct word main_words[] = {
	{"active", NULL, CTL_ACTIVE, false},
	{"passive", NULL, CTL_PASSIVE, false},
	{"couple", NULL, CTL_COUPLE, false},
	{"decouple", NULL, CTL_DECOUPLE, false},
	{"load", load_words, CTL_NONE, false},
	{"log", log_words, CTL_NONE, false},
	{"monitor", NULL, CTL_MONITOR, false},
	{"reload", NULL, CTL_RELOAD, false},
	{"reset", reset_words, CTL_NONE, false},
	{"show", show_words, CTL_NONE, false},
	{"ca", ca_words, CTL_NONE, false},
	END,
};

static int complain(const struct word *words, const char *what, const char *word, FILE *err)
{
	if (word)
		fprintf(err, "%s argument: %s\n", what, word);
	else
		fprintf(err, "%s argument:\n", what);
	fprintf(err, "valid commands/args:\n");
	for (; words->keyword; words++)
		fprintf(err, "  %s\n", words->keyword);
	return -1;
}

/* The row for a word: an exact keyword, a unique prefix, or a place for any text. */
static int word_find(
	const struct word *words, const char *text, const struct word **found, FILE *err)
{
	unsigned int n = 0;

	*found = NULL;
	for (const struct word *w = words; w->keyword; w++) {
		if (w->keyword[0] == '<' || strcmp(w->keyword, text) == 0) {
			*found = w;
			return 0;
		}
		if (text[0] != '\0' && strncmp(w->keyword, text, strlen(text)) == 0) {
			*found = w;
			n++;
		}
	}
	if (n == 0)
		return complain(words, "unknown", text, err);
	return n == 1 ? 0 : complain(words, "ambiguous", text, err);
}

int ikectl_words_parse(char *const *words, struct ikectl_command *out, FILE *err)
{
	const struct word *table = main_words, *found;

	*out = (struct ikectl_command){CTL_NONE, NULL, false};
	for (; table; table = found->next) {
		if (!*words)
			return complain(table, "missing", NULL, err);
		if (word_find(table, *words, &found, err) < 0)
			return -1;
		if (found->keyword[0] == '<')
			out->argument = *words;
		out->is_ca = found->is_ca;
		out->type = found->type;
		words++;
	}
	if (*words && !out->is_ca) {
		fprintf(err, "superfluous argument: %s\n", *words);
		return -1;
	}
	return 0;
}
