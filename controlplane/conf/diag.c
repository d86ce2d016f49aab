#include "controlplane/conf/diag.h"

#include <stdlib.h>
#include <string.h>

void conf_diags_init(struct conf_diags *diags)
{
	memset(diags, 0, sizeof(*diags));
}

void conf_diags_fini(struct conf_diags *diags)
{
	for (size_t i = 0; i < diags->n; i++) {
		free(diags->v[i].file);
		free(diags->v[i].text);
	}
	free(diags->v);
	conf_diags_init(diags);
}

static void __attribute__((format(printf, 4, 0))) add(struct conf_diags *diags,
	enum conf_severity severity, const struct conf_pos *pos, const char *fmt, va_list ap)
{
	struct conf_diag *v;
	char text[1024];
	int len;

	if (severity == CONF_ERROR)
		diags->n_errors++;
	/* The last place is kept for an error, so that a failure is never without one. */
	if (diags->n >= CONF_DIAGS_MAX - (severity == CONF_WARNING))
		return;
	len = vsnprintf(text, sizeof(text), fmt, ap);
	if (pos->macro && len >= 0 && (size_t)len < sizeof(text))
		snprintf(text + len, sizeof(text) - (size_t)len, " (in macro '%.40s')", pos->macro);
	/* Without memory it is counted all the same. */
	v = reallocarray(diags->v, diags->n + 1, sizeof(*v));
	if (!v)
		return;
	diags->v = v;
	v[diags->n] = (struct conf_diag){
		.severity = severity,
		.file = strdup(pos->file ? pos->file : "(configuration)"),
		.line = pos->line,
		.column = pos->column,
		.text = strdup(text),
	};
	if (v[diags->n].file && v[diags->n].text) {
		diags->n++;
		return;
	}
	free(v[diags->n].file);
	free(v[diags->n].text);
}

void conf_error(struct conf_diags *diags, const struct conf_pos *pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(diags, CONF_ERROR, pos, fmt, ap);
	va_end(ap);
}

void conf_warning(struct conf_diags *diags, const struct conf_pos *pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(diags, CONF_WARNING, pos, fmt, ap);
	va_end(ap);
}

void conf_diags_print(const struct conf_diags *diags, FILE *out)
{
	for (size_t i = 0; i < diags->n; i++) {
		const struct conf_diag *d = &diags->v[i];

		fprintf(out, "%s:", d->file);
		if (d->line)
			fprintf(out, "%u:%u:", d->line, d->column);
		fprintf(out, " %s%s\n", d->severity == CONF_WARNING ? "warning: " : "", d->text);
	}
	if (diags->n == 0 && diags->n_errors > 0)
		fputs("out of memory\n", out);
	if (diags->n == CONF_DIAGS_MAX)
		fprintf(out, "%zu errors in all\n", diags->n_errors);
}
