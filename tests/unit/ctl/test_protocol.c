#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/ctl/client.h"

static void requests(void **state)
{
	static const struct {
		struct ctl_header header;
		const char *body;
		size_t body_len; /* in the record */
		int result;
		const char *why;
	} rows[] = {
		{{CTL_MAGIC, CTL_VERSION, CTL_RELOAD, 0, 1}, "", 0, CTL_OK, "plain"},
		{{CTL_MAGIC, CTL_VERSION, CTL_LOAD, 4, 1}, "/a/b", 4, CTL_OK, "with a text"},
		{{CTL_MAGIC, CTL_VERSION, CTL_LOAD, 0, 1}, "", 0, CTL_OK, "empty text"},
		{{CTL_MAGIC, CTL_VERSION, CTL_LOAD, 4, 1}, "/a\0b", 4, CTL_E_BODY, "NUL inside"},
		{{CTL_MAGIC, CTL_VERSION, CTL_RELOAD, 1, 1}, "x", 1, CTL_E_BODY, "body not wanted"},
		{{CTL_MAGIC, CTL_VERSION, CTL_LOAD, 3, 1}, "/a/b", 4, CTL_E_SHORT, "len too small"},
		{{CTL_MAGIC, CTL_VERSION, CTL_LOAD, 5, 1}, "/a/b", 4, CTL_E_SHORT, "len too large"},
		{{CTL_MAGIC, CTL_VERSION, CTL_LOAD, UINT32_MAX, 1}, "/a/b", 4, CTL_E_SHORT, "huge"},
		{{CTL_MAGIC, CTL_VERSION, CTL_NONE, 0, 1}, "", 0, CTL_E_TYPE, "type 0"},
		{{CTL_MAGIC, CTL_VERSION, 999, 0, 1}, "", 0, CTL_E_TYPE, "unknown type"},
		{{CTL_MAGIC, CTL_VERSION, CTL_TEXT, 0, 1}, "", 0, CTL_E_TYPE, "a reply"},
		{{CTL_MAGIC, CTL_VERSION, CTL_DONE, 4, 1}, "\0\0\0\0", 4, CTL_E_TYPE, "a reply"},
		{{CTL_MAGIC, CTL_VERSION + 1, CTL_RELOAD, 0, 1}, "", 0, CTL_E_VERSION, "newer"},
		{{CTL_MAGIC, 0, 0xffff, 77, 1}, "", 0, CTL_E_VERSION, "version before all else"},
		{{0, CTL_VERSION, CTL_RELOAD, 0, 1}, "", 0, CTL_E_MAGIC, "another protocol"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t record[128];
		struct ctl_message message = {0};
		size_t len = sizeof(rows[i].header) + rows[i].body_len;
		int result;

		memcpy(record, &rows[i].header, sizeof(rows[i].header));
		memcpy(record + sizeof(rows[i].header), rows[i].body, rows[i].body_len);
		result = ctl_request_parse(record, len, &message);
		if (result != rows[i].result)
			fail_msg("%s: %s", rows[i].why, ctl_error_str(result));
		if (result != CTL_OK)
			continue;
		assert_int_equal(message.type, rows[i].header.type);
		assert_int_equal(message.body_len, rows[i].body_len);
		assert_memory_equal(message.body, rows[i].body, rows[i].body_len);
		/* Cut anywhere: never accepted. */
		for (size_t cut = 0; cut < len; cut++)
			assert_int_not_equal(ctl_request_parse(record, cut, &message), CTL_OK);
	}
}

static void replies_are_checked_too(void **state)
{
	struct ctl_counter counter = {.value = 7, .singular = "SA", .plural = "SAs"};
	uint8_t record[512];
	struct ctl_message message;
	size_t len;

	(void)state;
	len = ctl_message_build(record, sizeof(record), CTL_COUNTER, 3, &counter, sizeof(counter));
	assert_int_equal(ctl_reply_parse(record, len, &message), CTL_OK);
	assert_int_equal(message.serial, 3);
	memset(counter.plural, 'x', sizeof(counter.plural));
	len = ctl_message_build(record, sizeof(record), CTL_COUNTER, 3, &counter, sizeof(counter));
	assert_int_equal(ctl_reply_parse(record, len, &message), CTL_E_BODY);
	len = ctl_message_build(record, sizeof(record), CTL_RELOAD, 3, NULL, 0);
	assert_int_equal(ctl_reply_parse(record, len, &message), CTL_E_TYPE);
	assert_int_equal(ctl_message_build(record, sizeof(record), CTL_TEXT, 3, record, 512), 0);
	assert_int_equal(
		ctl_message_build(record, SIZE_MAX, CTL_TEXT, 3, record, CTL_BODY_MAX + 1), 0);
}

static int count_reply(void *ctx, const struct ctl_message *message)
{
	unsigned int *n = ctx;

	assert_int_not_equal(message->type, CTL_DONE);
	(*n)++;
	return *n == 100 ? 42 : 0;
}

static void put(int fd, enum ctl_type type, const void *body, size_t body_len)
{
	uint8_t record[sizeof(struct ctl_header) + CTL_BODY_MAX];
	size_t len = ctl_message_build(record, sizeof(record), type, 1, body, body_len);

	assert_int_equal(send(fd, record, len, 0), len);
}

static void a_client_reads_to_the_end(void **state)
{
	static const struct ctl_done done = {3};
	unsigned int n = 0;
	const struct ctl_client_handler handler = {count_reply, &n};
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	put(fds[1], CTL_TEXT, "one", 3);
	put(fds[1], CTL_ERROR, "two", 3);
	put(fds[1], CTL_DONE, &done, sizeof(done));
	assert_int_equal(ctl_client_run(fds[0], &handler), 3);
	assert_int_equal(n, 2);
	/* A handler may end it: this one does so at the hundredth. */
	n = 98;
	put(fds[1], CTL_TEXT, "x", 1);
	put(fds[1], CTL_TEXT, "x", 1);
	assert_int_equal(ctl_client_run(fds[0], &handler), 42);
	/* Not our protocol; the other end gone. */
	assert_int_equal(send(fds[1], "hello", 5, 0), 5);
	errno = 0;
	assert_int_equal(ctl_client_run(fds[0], &handler), -1);
	assert_int_equal(errno, EPROTO);
	close(fds[1]);
	assert_int_equal(ctl_client_run(fds[0], &handler), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(replies_are_checked_too),
		cmocka_unit_test(a_client_reads_to_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
