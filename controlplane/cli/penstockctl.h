#pragma once

#include <stdbool.h>
#include <stdint.h>

struct penstockctl {
	const char *run_dir;     /* of espd */
	const char *iked_socket; /* of iked's control process */
	bool json, non_zero_only;
	uint32_t count; /* -c: packets of trace and capture; 0: until interrupted */
};

/* Exit statuses. words: what stands behind the command, NULL-terminated. */
int penstockctl_show(const struct penstockctl *p, char **words);
int penstockctl_trace(const struct penstockctl *p, char **words);
int penstockctl_capture(const struct penstockctl *p, char **words);
int penstockctl_why_policy(const struct penstockctl *p, char **words);
int penstockctl_explain(const struct penstockctl *p, char **words);
int penstockctl_top(const struct penstockctl *p, char **words);
int penstockctl_exporter(const struct penstockctl *p, char **words);
/* A SHOW request that espd answers itself. */
int penstockctl_ask_espd(const struct penstockctl *p, const char *words);
