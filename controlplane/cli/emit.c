#include "controlplane/cli/emit.h"

#include <inttypes.h>

void emit_begin(struct emit *e, FILE *out, bool json)
{
	*e = (struct emit){.out = out, .json = json};
	if (json)
		fprintf(out, "[");
}

void emit_object(struct emit *e)
{
	if (e->json)
		fprintf(e->out, "%s\n  {", e->n_objects ? "," : "");
	e->n_objects++;
	e->in_object = false;
}

static void json_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void name_of(struct emit *e, const char *name)
{
	if (e->json)
		fprintf(e->out, "%s\"%s\": ", e->in_object ? ", " : "", name);
	else
		fprintf(e->out, "%s%s ", e->in_object ? "  " : "", name);
	e->in_object = true;
}

void emit_str(struct emit *e, const char *name, const char *value)
{
	if (!e->json && *value == '\0')
		return;
	name_of(e, name);
	if (e->json)
		json_string(e->out, value);
	else
		fprintf(e->out, "%s", value);
}

void emit_u64(struct emit *e, const char *name, uint64_t value)
{
	name_of(e, name);
	fprintf(e->out, "%" PRIu64, value);
}

void emit_hex(struct emit *e, const char *name, uint32_t value)
{
	name_of(e, name);
	fprintf(e->out, e->json ? "\"0x%08x\"" : "0x%08x", value);
}

void emit_bool(struct emit *e, const char *name, bool value)
{
	name_of(e, name);
	fprintf(e->out, e->json ? (value ? "true" : "false") : (value ? "yes" : "no"));
}

void emit_object_end(struct emit *e)
{
	fprintf(e->out, e->json ? "}" : "\n");
}

void emit_end(struct emit *e)
{
	if (e->json)
		fprintf(e->out, "%s]\n", e->n_objects ? "\n" : "");
}
