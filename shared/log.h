#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Where log lines go. No secret is ever an argument of these functions. Bytes that do not
 * print (from the wire, from files) are written as \xNN.
 */
enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG, LOG_LVL_TRACE };

struct logger {
	enum log_level level; /* lines above it are not formatted */
	bool to_stderr;       /* else syslog(3), facility daemon */
	const char *ident;    /* not owned */
	void (*sink)(void *ctx, enum log_level level, const char *line); /* instead, if set */
	void *sink_ctx;
};

void log_line(const struct logger *log, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void log_vline(const struct logger *log, enum log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

#define log_error(log, ...) log_line(log, LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(log, ...) log_line(log, LOG_LVL_WARN, __VA_ARGS__)
#define log_info(log, ...) log_line(log, LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_line(log, LOG_LVL_DEBUG, __VA_ARGS__)

/* At most `burst` lines at once and one more every interval_ms; the rest is counted. */
struct log_limit {
	uint32_t burst;
	uint32_t interval_ms;
	uint32_t tokens;
	uint64_t last_ms;
	uint64_t suppressed; /* since the last line that passed */
	bool primed;
};

bool log_limit_ok(struct log_limit *limit, uint64_t now_ms);
