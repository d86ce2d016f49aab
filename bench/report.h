#pragma once

/*
 * A measurement as JSON: {"bench": ..., "cpu": ..., "tsc_hz": ..., "rows": [...]}; bench/plot
 * makes a picture of it. Between report_create and report_finish each report_object(r, NULL) is
 * a row.
 */
struct report;

struct report *report_create(const char *bench, double tsc_hz); /* NULL: no memory */
const char *report_cpu(const struct report *r);                 /* the CPU's name */
void report_object(struct report *r, const char *name);
void report_end(struct report *r);
void report_text(struct report *r, const char *name, const char *text);
void report_number(struct report *r, const char *name, double v);
/* {"p10": ..., "median": ..., "p90": ...} */
void report_spread(struct report *r, const char *name, double p10, double median, double p90);
/* Ends and frees. path NULL: nothing is written. 0, or -1 with errno. */
int report_finish(struct report *r, const char *path);
