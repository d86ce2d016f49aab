#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "controlplane/ctl/protocol.h"

/* ikectl's command line after its options, as a request. */
struct ikectl_command {
	enum ctl_type type;
	const char *argument; /* path or identity; NULL if the command has none */
	bool is_ca;           /* `ca ...` and `show ca ...`: not a request to iked */
};

/*
 * Keywords may be cut to any prefix that fits one of them only. 0, or -1 with the reason and
 * the words that are possible there written to err.
 */
int ikectl_words_parse(char *const *words, struct ikectl_command *out, FILE *err)
	__attribute__((warn_unused_result));
