#include "shared/log.h"

#include <stdio.h>
#include <syslog.h>

#define LINE_MAX_LEN 2048

static int syslog_priority(enum log_level level)
{
	static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG};

	return priority[level];
}

/* Escapes what a terminal or a log reader could take for something else. */
static void line_escape(const char *in, char *out, size_t cap)
{
	size_t n = 0;

	for (; *in && n + 5 < cap; in++) {
		unsigned char c = (unsigned char)*in;

		if (c >= 0x20 && c < 0x7f)
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, cap - n, "\\x%02x", c);
	}
	out[n] = '\0';
}

void log_vline(const struct logger *log, enum log_level level, const char *fmt, va_list ap)
{
	char raw[LINE_MAX_LEN], line[LINE_MAX_LEN];

	if (!log || level > log->level)
		return;
	vsnprintf(raw, sizeof(raw), fmt, ap);
	line_escape(raw, line, sizeof(line));
	if (log->sink)
		log->sink(log->sink_ctx, level, line);
	else if (log->to_stderr)
		fprintf(stderr, "%s\n", line);
	else
		syslog(LOG_DAEMON | syslog_priority(level), "%s", line);
}

void log_line(const struct logger *log, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(log, level, fmt, ap);
	va_end(ap);
}

bool log_limit_ok(struct log_limit *limit, uint64_t now_ms)
{
	if (!limit->primed) {
		limit->primed = true;
		limit->tokens = limit->burst;
		limit->last_ms = now_ms;
	}
	if (limit->interval_ms > 0 && now_ms - limit->last_ms >= limit->interval_ms) {
		uint64_t more = (now_ms - limit->last_ms) / limit->interval_ms;

		limit->tokens = more > limit->burst - limit->tokens
					? limit->burst
					: limit->tokens + (uint32_t)more;
		limit->last_ms += more * limit->interval_ms;
	}
	if (limit->tokens == 0) {
		limit->suppressed++;
		return false;
	}
	limit->tokens--;
	return true;
}
