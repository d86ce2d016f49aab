#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/iked/messages.h"

/* What a record may be, against the table of ike's messages to the parent. */
static void records(void **state)
{
	const struct imsg_rules rules = messages_rules(IKED_IKE, IKED_PARENT);
	const struct {
		uint32_t type, header_len;
		size_t body_len;
		int fd;
		int result;
		const char *why;
	} rows[] = {
		{MSG_READY, 0, 0, -1, IMSG_OK, "no body"},
		{MSG_READY, 1, 1, -1, IMSG_E_LENGTH, "body where none may be"},
		{MSG_READY, 0, 0, 9, IMSG_E_FD, "unexpected descriptor"},
		{MSG_LOG, 4, 4, -1, IMSG_OK, "least body"},
		{MSG_LOG, 3, 3, -1, IMSG_E_LENGTH, "one less"},
		{MSG_LOG, 4096, 4096, -1, IMSG_OK, "greatest body"},
		{MSG_LOG, 4097, 4097, -1, IMSG_E_LENGTH, "one more"},
		{MSG_LOG, 5, 4, -1, IMSG_E_SHORT, "header says more than there is"},
		{MSG_LOG, 3, 4, -1, IMSG_E_SHORT, "header says less"},
		{MSG_LOG, UINT32_MAX, 4, -1, IMSG_E_SHORT, "header says 4 GiB"},
		{MSG_KEY_PRIVATE, 4, 4, -1, IMSG_E_TYPE, "the parent's word to key"},
		{MSG_AUTH, 4, 4, -1, IMSG_E_TYPE, "key's word to ike"},
		{MSG_CTL_REPLY, 8, 8, -1, IMSG_E_TYPE, "ike's word to control"},
		{MSG_NONE, 0, 0, -1, IMSG_E_TYPE, "no type"},
		{UINT32_MAX, 0, 0, -1, IMSG_E_TYPE, "unknown type"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t record[8192] = {0};
		const struct imsg_header header = {rows[i].type, rows[i].header_len, 5};
		struct imsg msg;
		int result;

		memcpy(record, &header, sizeof(header));
		result = imsg_parse(
			record, sizeof(header) + rows[i].body_len, rows[i].fd, &rules, &msg);
		if (result != rows[i].result)
			fail_msg("%s: %s", rows[i].why, imsg_error_str(result));
		for (size_t cut = 0; cut < sizeof(header); cut++)
			assert_int_equal(imsg_parse(record, cut, -1, &rules, &msg), IMSG_E_SHORT);
	}
}

/* Children that have nothing to do with each other may say nothing; secrets go one way. */
static void who_may_say_what(void **state)
{
	struct imsg_rules rules;

	(void)state;
	rules = messages_rules(IKED_CONTROL, IKED_KEY);
	assert_int_equal(rules.n, 0);
	rules = messages_rules(IKED_KEY, IKED_CONTROL);
	assert_int_equal(rules.n, 0);
	for (int from = 0; from < IKED_N_ROLES; from++) {
		for (int to = 0; to < IKED_N_ROLES; to++) {
			rules = messages_rules((enum iked_role)from, (enum iked_role)to);
			/* Of engines there may be several. */
			if (from == to && from != IKED_IKE)
				assert_int_equal(rules.n, 0);
			for (size_t i = 0; i < rules.n; i++) {
				const struct imsg_rule *rule = &rules.rule[i];

				assert_true(rule->min_len <= rule->max_len);
				assert_true(rule->max_len <= IMSG_BODY_MAX);
				assert_ptr_equal(imsg_rule_find(&rules, rule->type), rule);
				/* Secrets and descriptors come from the parent alone. */
				if (rule->has_fd || rule->type == MSG_KEY_PRIVATE ||
					rule->type == MSG_KEY_PSK)
					assert_int_equal(from, IKED_PARENT);
				if (rule->type == MSG_KEY_PRIVATE || rule->type == MSG_KEY_PSK)
					assert_int_equal(to, IKED_KEY);
			}
		}
	}
}

struct end {
	struct imsg_channel *channel;
	struct event_base *base;
	uint64_t next_serial;
	unsigned int n_got, n_fds, n_closed;
	bool destroy_in_dispatch;
};

static void end_dispatch(void *ctx, const struct imsg *msg)
{
	struct end *end = ctx;

	assert_int_equal(msg->serial, end->next_serial);
	for (size_t i = 4; i < msg->len; i++)
		assert_int_equal(msg->body[i], (uint8_t)(msg->serial + i));
	end->next_serial++;
	end->n_got++;
	if (msg->fd >= 0) {
		end->n_fds++;
		assert_int_equal(fcntl(msg->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(msg->fd);
	}
	if (end->destroy_in_dispatch) {
		imsg_channel_destroy(end->channel);
		end->channel = NULL;
	}
}

static void end_closed(void *ctx, const char *why)
{
	struct end *end = ctx;

	assert_non_null(why);
	end->n_closed++;
	imsg_channel_destroy(end->channel);
	end->channel = NULL;
}

static void end_open(
	struct end *end, struct event_base *base, int fd, enum iked_role from, enum iked_role to)
{
	const struct imsg_rules rules = messages_rules(from, to);
	const struct imsg_handler handler = {end_dispatch, end_closed, end};

	*end = (struct end){.base = base};
	end->channel = imsg_channel_create(base, fd, &rules, &handler);
	assert_non_null(end->channel);
}

static void order_is_kept_behind_a_full_socket(void **state)
{
	struct event_base *base = event_base_new();
	uint8_t body[4096];
	struct end parent, ike;
	int fds[2];

	(void)state;
	assert_int_equal(imsg_pair(fds), 0);
	end_open(&parent, base, fds[0], IKED_IKE, IKED_PARENT);
	end_open(&ike, base, fds[1], IKED_PARENT, IKED_IKE);
	for (uint64_t serial = 0; serial < 2000; serial++) {
		size_t len = 4 + serial % 4000;

		memset(body, 0, 4);
		for (size_t i = 4; i < len; i++)
			body[i] = (uint8_t)(serial + i);
		assert_int_equal(imsg_send(ike.channel, MSG_LOG, serial, body, len, -1), 0);
	}
	assert_true(imsg_queued_bytes(ike.channel) > 0);
	while (parent.n_got < 2000)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(imsg_queued_bytes(ike.channel), 0);
	imsg_channel_destroy(parent.channel);
	parent.channel = NULL;
	while (ike.n_closed == 0)
		event_base_loop(base, EVLOOP_ONCE);
	event_base_free(base);
}

static void a_queue_is_bounded(void **state)
{
	struct event_base *base = event_base_new();
	static uint8_t body[4096];
	struct end ike;
	int fds[2];
	unsigned int n = 0;

	(void)state;
	assert_int_equal(imsg_pair(fds), 0);
	end_open(&ike, base, fds[1], IKED_PARENT, IKED_IKE);
	while (imsg_send(ike.channel, MSG_LOG, n, body, sizeof(body), -1) == 0)
		assert_true(++n < 2 * IMSG_QUEUE_MAX / sizeof(body));
	assert_true(imsg_queued_bytes(ike.channel) <= IMSG_QUEUE_MAX);
	/* Told from the loop, not from the call. */
	assert_int_equal(ike.n_closed, 0);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(ike.n_closed, 1);
	close(fds[0]);
	event_base_free(base);
}

static void descriptors_travel(void **state)
{
	struct event_base *base = event_base_new();
	struct end parent, ike;
	int fds[2];

	(void)state;
	assert_int_equal(imsg_pair(fds), 0);
	end_open(&parent, base, fds[0], IKED_IKE, IKED_PARENT);
	end_open(&ike, base, fds[1], IKED_PARENT, IKED_IKE);
	for (uint64_t serial = 0; serial < 100; serial++)
		assert_int_equal(imsg_send(parent.channel, MSG_ESPD_SOCKET, serial, NULL, 0,
					 open("/dev/null", O_RDONLY | O_CLOEXEC)),
			0);
	while (ike.n_got < 100)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(ike.n_fds, 100);
	imsg_channel_destroy(parent.channel);
	imsg_channel_destroy(ike.channel);
	event_base_free(base);
}

/* Records that a process which was taken over might send: each ends the channel. */
static void broken_records_end_the_channel(void **state)
{
	const struct {
		const void *data;
		size_t len;
	} rows[] = {
		{"", 1},
		{"short", 5},
		{&(const struct imsg_header){MSG_READY, 4, 0}, sizeof(struct imsg_header)},
		{&(const struct imsg_header){MSG_KEY_COMMIT, 0, 0}, sizeof(struct imsg_header)},
		{&(const struct imsg_header){12345, 0, 0}, sizeof(struct imsg_header)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event_base *base = event_base_new();
		struct end parent;
		int fds[2];

		assert_int_equal(imsg_pair(fds), 0);
		end_open(&parent, base, fds[0], IKED_IKE, IKED_PARENT);
		assert_int_equal(send(fds[1], rows[i].data, rows[i].len, 0), rows[i].len);
		event_base_loop(base, EVLOOP_ONCE);
		assert_int_equal(parent.n_closed, 1);
		assert_int_equal(parent.n_got, 0);
		close(fds[1]);
		event_base_free(base);
	}
}

static void a_dispatch_may_destroy_its_channel(void **state)
{
	struct event_base *base = event_base_new();
	struct end parent, ike;
	int fds[2];

	(void)state;
	assert_int_equal(imsg_pair(fds), 0);
	end_open(&parent, base, fds[0], IKED_IKE, IKED_PARENT);
	end_open(&ike, base, fds[1], IKED_PARENT, IKED_IKE);
	parent.destroy_in_dispatch = true;
	for (uint64_t serial = 0; serial < 5; serial++)
		assert_int_equal(imsg_send(ike.channel, MSG_READY, serial, NULL, 0, -1), 0);
	while (ike.n_closed == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(parent.n_got, 1);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records),
		cmocka_unit_test(who_may_say_what),
		cmocka_unit_test(order_is_kept_behind_a_full_socket),
		cmocka_unit_test(a_queue_is_bounded),
		cmocka_unit_test(descriptors_travel),
		cmocka_unit_test(broken_records_end_the_channel),
		cmocka_unit_test(a_dispatch_may_destroy_its_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
