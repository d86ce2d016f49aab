#include "dataplane/debug_filter.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "shared/addr.h"

/* what between two characters of which the first is in before, the second in after (or the end) */
static bool stands(const char *text, const char *what, const char *before, const char *after)
{
	size_t len = strlen(what);

	for (const char *at = strstr(text, what); at && len > 0; at = strstr(at + 1, what)) {
		bool begins = at == text || strchr(before, at[-1]);

		if (begins && (at[len] == '\0' || strchr(after, at[len])))
			return true;
	}
	return false;
}

/* The texts write "10.0.1.2.53 > ", and addresses of ICMP without a port. */
static bool address_fits(const char *word, const char *text)
{
	char printed[ADDR_STRLEN];
	struct ip_addr a;

	if (addr_parse(word, &a) < 0)
		return false;
	return stands(text, addr_str(&a, printed), " ", ". \n");
}

/* ".N" behind a whole address: behind three dots or a colon in the same word. */
static bool port_fits(const char *dot_port, const char *text)
{
	size_t len = strlen(dot_port);

	for (const char *at = strstr(text, dot_port); at; at = strstr(at + 1, dot_port)) {
		unsigned int dots = 0, colons = 0;

		for (const char *c = at; c > text && c[-1] != ' '; c--) {
			dots += c[-1] == '.';
			colons += c[-1] == ':';
		}
		if ((dots == 3 || colons > 0) && strchr(" \n", at[len]))
			return true; /* the text's end counts too */
	}
	return false;
}

static bool pair_fits(const char *name, const char *value, const char *text)
{
	char both[64];

	if (strcmp(name, "host") == 0)
		return address_fits(value, text);
	if (strcmp(name, "port") == 0) {
		snprintf(both, sizeof(both), ".%s", value);
		return isdigit((unsigned char)*value) && port_fits(both, text);
	}
	snprintf(both, sizeof(both), "%s %s", name, value);
	return stands(text, both, " ", " \n");
}

static bool word_fits(const char *word, const char *text)
{
	static const char *const protocols[][2] = {
		{"tcp", "6"}, {"udp", "17"}, {"icmp", "1"}, {"icmp6", "58"}, {"esp", "50"}};
	struct ip_addr a;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (strcmp(word, protocols[i][0]) == 0)
			return pair_fits("proto", protocols[i][1], text);
	return addr_parse(word, &a) == 0 ? address_fits(word, text) : strstr(text, word) != NULL;
}

bool debug_filter_fits(const char *filter, const char *text)
{
	static const char *const names[] = {"host", "port", "proto", "spi"};
	char copy[256], *save = NULL, *word, *value;

	snprintf(copy, sizeof(copy), "%s", filter);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		bool is_pair = false;

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			is_pair |= strcmp(word, names[i]) == 0;
		value = is_pair ? strtok_r(NULL, " ", &save) : NULL;
		if (is_pair && value ? !pair_fits(word, value, text) : !word_fits(word, text))
			return false;
	}
	return true;
}
