#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "controlplane/conf/policy.h"

/*
 * What a parser has to say about a file, in the order found. Parsers go on after an error, so
 * there may be several; a configuration with an error is never used.
 */
enum conf_severity { CONF_WARNING, CONF_ERROR };

struct conf_diag {
	enum conf_severity severity;
	unsigned int line, column; /* physical; 0: the file as a whole */
	char *file;                /* owned */
	char *text;                /* owned */
};

struct conf_diags {
	struct conf_diag *v;
	size_t n;
	size_t n_errors;
};

#define CONF_DIAGS_MAX 100 /* later ones are counted in n_errors and not kept */

void conf_diags_init(struct conf_diags *diags);
void conf_diags_fini(struct conf_diags *diags);
void conf_error(struct conf_diags *diags, const struct conf_pos *pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void conf_warning(struct conf_diags *diags, const struct conf_pos *pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One line a diagnostic: "FILE:LINE:COLUMN: text", warnings with "warning: " before the text. */
void conf_diags_print(const struct conf_diags *diags, FILE *out);
