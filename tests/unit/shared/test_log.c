#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/log.h"

struct capture {
	char line[4096];
	unsigned int n;
};

static void capture_line(void *ctx, enum log_level level, const char *line)
{
	struct capture *c = ctx;

	(void)level;
	snprintf(c->line, sizeof(c->line), "%s", line);
	c->n++;
}

static void test_escape(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"plain text ~", "plain text ~"},
		{"two\nlines", "two\\x0alines"},
		{"\x1b[31mred", "\\x1b[31mred"},
		{"\r\t\x7f", "\\x0d\\x09\\x7f"},
		{"m\xc3\xbc", "m\\xc3\\xbc"},
		{"", ""},
	};
	struct capture c = {0};
	const struct logger log = {.level = LOG_LVL_INFO, .sink = capture_line, .sink_ctx = &c};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		log_info(&log, "%s", rows[i].in);
		assert_string_equal(c.line, rows[i].out);
	}
}

static void test_long_lines_end_whole(void **state)
{
	struct capture c = {0};
	const struct logger log = {.level = LOG_LVL_INFO, .sink = capture_line, .sink_ctx = &c};
	char text[4000];
	size_t len;

	(void)state;
	memset(text, '\n', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info(&log, "%s", text);
	len = strlen(c.line);
	assert_true(len > 1000 && len < 2048);
	assert_int_equal(len % 4, 0); /* no escape is cut */
}

static void test_levels(void **state)
{
	struct capture c = {0};
	struct logger log = {.level = LOG_LVL_WARN, .sink = capture_line, .sink_ctx = &c};

	(void)state;
	log_error(&log, "a");
	log_warn(&log, "b");
	log_info(&log, "c");
	log_debug(&log, "d");
	assert_int_equal(c.n, 2);
	assert_string_equal(c.line, "b");
	log.level = LOG_LVL_DEBUG;
	log_debug(&log, "e %d", 5);
	assert_string_equal(c.line, "e 5");
	log_error(NULL, "nowhere");
	assert_int_equal(c.n, 3);
}

static void test_limit(void **state)
{
	struct log_limit limit = {.burst = 3, .interval_ms = 1000};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(log_limit_ok(&limit, 5000));
	assert_false(log_limit_ok(&limit, 5000));
	assert_false(log_limit_ok(&limit, 5999));
	assert_true(log_limit_ok(&limit, 6000));
	assert_false(log_limit_ok(&limit, 6000));
	assert_int_equal(limit.suppressed, 3);
	/* After a long time there is one burst, not more. */
	for (int i = 0; i < 3; i++)
		assert_true(log_limit_ok(&limit, 1000000));
	assert_false(log_limit_ok(&limit, 1000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_long_lines_end_whole),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
