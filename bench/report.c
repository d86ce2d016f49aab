#include "bench/report.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct report {
	char cpu[128];
	char *text;
	size_t len;
	FILE *out;
	bool has_before; /* a comma is due */
};

static void cpu_name(char *out, size_t cap)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(out, cap, "unknown CPU");
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !at)
			continue;
		at[strcspn(at, "\"\n")] = '\0';
		snprintf(out, cap, "%s", at + 2);
		break;
	}
	if (f)
		fclose(f);
}

struct report *report_create(const char *bench, double tsc_hz)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->out = open_memstream(&r->text, &r->len);
	if (!r->out) {
		free(r);
		return NULL;
	}
	cpu_name(r->cpu, sizeof(r->cpu));
	fprintf(r->out, "{\"bench\": \"%s\", \"cpu\": \"%s\", \"tsc_hz\": %.0f,\n\"rows\": [",
		bench, r->cpu, tsc_hz);
	return r;
}

const char *report_cpu(const struct report *r)
{
	return r->cpu;
}

static void name_write(struct report *r, const char *name)
{
	fputs(r->has_before ? ", " : "", r->out);
	if (name)
		fprintf(r->out, "\"%s\": ", name);
	r->has_before = true;
}

void report_object(struct report *r, const char *name)
{
	name_write(r, name);
	fputs(name ? "{" : "\n{", r->out);
	r->has_before = false;
}

void report_end(struct report *r)
{
	fputs("}", r->out);
	r->has_before = true;
}

void report_text(struct report *r, const char *name, const char *text)
{
	name_write(r, name);
	fprintf(r->out, "\"%s\"", text);
}

void report_number(struct report *r, const char *name, double v)
{
	name_write(r, name);
	if (isfinite(v))
		fprintf(r->out, "%.6g", v);
	else
		fputs("null", r->out);
}

void report_spread(struct report *r, const char *name, double p10, double median, double p90)
{
	report_object(r, name);
	report_number(r, "p10", p10);
	report_number(r, "median", median);
	report_number(r, "p90", p90);
	report_end(r);
}

int report_finish(struct report *r, const char *path)
{
	FILE *f = NULL;
	int rc = 0;

	fputs("\n]}\n", r->out);
	fclose(r->out);
	if (path)
		f = fopen(path, "we");
	if (path && (!f || fwrite(r->text, r->len, 1, f) != 1))
		rc = -1;
	if (f && fclose(f) != 0)
		rc = -1;
	free(r->text);
	free(r);
	return rc;
}
