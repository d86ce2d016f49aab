#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/ipc/pair.h"

/*
 * Two processes, one region, and kill -9 at random moments: whoever stays sees the end, keeps
 * its memory in order, counts each acknowledgement once and attaches again.
 */
static const struct ipc_attach_rule *rule_of(void)
{
	static struct ipc_attach_rule rule = {0, IPC_OWNER_ENGINE};

	rule.uid = getuid();
	return &rule;
}

/* espd: accepts one client after the other, acknowledges all, echoes datagrams. */
static void espd_serve(struct ipc_server *s)
{
	struct ipc_punt_header h;
	struct ipc_server_cmd cmd;
	const uint8_t *data;

	for (;;) {
		struct pollfd pfd[2] = {
			{ipc_server_socket_fd(s), POLLIN, 0}, {ipc_server_wake_fd(s), POLLIN, 0}};

		if (ipc_server_begin(s) < 0)
			return;
		while (ipc_server_cmd_next(s, &cmd) == 1) {
			ipc_server_cmd_done(s);
			ipc_server_ack(s, cmd.number, IPC_OK);
		}
		while (ipc_server_punt_tx_next(s, &h, &data) == 1)
			ipc_server_punt_rx(s, true, &h, data, h.total_len);
		if (!ipc_server_end(s))
			poll(pfd, 2, 1000);
	}
}

static void espd_main(struct ipc_listener *l)
{
	struct ipc_server_config cfg = {0};

	for (int i = 0; i < IPC_N_RINGS; i++)
		cfg.region.n_slots[i] = 64;
	for (;;) {
		struct pollfd pfd = {l->fd, POLLIN, 0};
		struct ipc_hello hello;
		struct ipc_server *s;
		struct ipc_peer peer;

		poll(&pfd, 1, 1000);
		if (ipc_listener_accept(l, &peer) < 0)
			continue;
		pfd.fd = peer.fd;
		poll(&pfd, 1, 1000);
		if (ipc_attach_read_hello(&peer, rule_of(), 1, &hello) != 0 ||
			ipc_server_create(&s, &peer, &hello, &cfg) < 0) {
			close(peer.fd);
			continue;
		}
		espd_serve(s);
		ipc_server_destroy(s);
	}
}

static void client_attach(struct pair *p)
{
	for (int i = 0; i < 1000 && !ipc_client_is_attached(p->client); i++) {
		struct pollfd pfd = {-1, POLLIN, 0};
		int fd;

		if (ipc_client_socket_fd(p->client) < 0) {
			fd = ipc_connect(p->path);
			if (fd >= 0 && ipc_client_attach(p->client, fd) < 0)
				continue;
		}
		pfd.fd = ipc_client_socket_fd(p->client);
		poll(&pfd, 1, pfd.fd < 0 ? 1 : 1000);
		ipc_client_service(p->client);
	}
	assert_true(ipc_client_is_attached(p->client));
}

static void client_pump(struct pair *p, uint64_t deadline_ns)
{
	uint8_t data[5000] = {1, 2, 3};
	struct ipc_punt_header h = {0};
	struct timespec ts;

	do {
		struct pollfd pfd[2] = {{ipc_client_socket_fd(p->client), POLLIN, 0},
			{ipc_client_wake_fd(p->client), POLLIN, 0}};

		for (int i = 0; i < 100; i++)
			if (ipc_client_send(p->client, IPC_CMD_HELD_QUERY, NULL, NULL) < 0)
				break;
		if (ipc_client_punt_send(p->client, &h, data, sizeof(data)) == -IPC_ERR_INVALID)
			fail();
		if (ipc_client_service(p->client) == 0)
			poll(pfd, 2, 1);
		if (!ipc_client_is_attached(p->client))
			return;
		clock_gettime(CLOCK_MONOTONIC, &ts);
	} while ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec < deadline_ns);
}

static uint64_t random_deadline(unsigned int *seed)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec +
	       (uint64_t)rand_r(seed) % 15000000u;
}

static pid_t espd_fork(struct pair *p)
{
	pid_t pid = fork();

	if (pid == 0) {
		espd_main(&p->listener);
		_exit(0);
	}
	return pid;
}

static void pair_prepare(struct pair *p)
{
	struct ipc_client_config cc = {
		.owner_kind = IPC_OWNER_ENGINE, .max_queued = 256, .ops = &pair_ops, .ctx = p};

	memset(p, 0, sizeof(*p));
	snprintf(p->dir, sizeof(p->dir), "/tmp/penstock-ipc-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/sock", p->dir);
	assert_int_equal(ipc_listener_open(&p->listener, p->path, 0600, (gid_t)-1), 0);
	assert_int_equal(ipc_client_create(&p->client, &cc), 0);
}

static void test_espd_dies(void **state)
{
	static struct pair p;
	struct ipc_client_stats st;
	unsigned int seed = 1;

	(void)state;
	pair_prepare(&p);
	p.n_acked = 4000000;
	p.acked = calloc(p.n_acked, 1);
	assert_non_null(p.acked);
	for (int round = 0; round < 60; round++) {
		pid_t pid = espd_fork(&p);

		client_attach(&p);
		client_pump(&p, random_deadline(&seed));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		for (int i = 0; i < 100000 && ipc_client_socket_fd(p.client) >= 0; i++)
			ipc_client_service(p.client);
		assert_int_equal(p.reason, -IPC_ERR_CLOSED);
		assert_false(ipc_client_is_attached(p.client));
	}
	ipc_client_stats(p.client, &st);
	assert_int_equal(st.attachments, 60);
	assert_int_equal(st.sent, st.acked + st.dropped); /* none lost, */
	assert_int_equal(st.bad_acks, 0);
	assert_int_equal(p.acks, st.acked);
	for (uint64_t i = 0; i < p.n_acked; i++)
		assert_true(p.acked[i] <= 1); /* none twice */
	assert_true(p.acks > 0 && p.punts > 0);
	print_message("sent %llu acknowledged %llu dropped %llu datagrams %llu\n",
		(unsigned long long)st.sent, (unsigned long long)st.acked,
		(unsigned long long)st.dropped, (unsigned long long)p.punts);
	free(p.acked);
	pair_close(&p);
}

static void test_client_dies(void **state)
{
	static struct pair p;
	unsigned int seed = 2;
	pid_t espd;

	(void)state;
	pair_prepare(&p);
	espd = espd_fork(&p);
	for (int round = 0; round < 60; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			client_attach(&p);
			client_pump(&p, UINT64_MAX);
			_exit(0);
		}
		poll(NULL, 0, rand_r(&seed) % 15);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	/* The same espd still serves the next client. */
	client_attach(&p);
	client_pump(&p, random_deadline(&seed));
	for (int i = 0; i < 1000 && ipc_client_outstanding(p.client) > 0; i++) {
		ipc_client_service(p.client);
		poll(NULL, 0, 1);
	}
	assert_true(p.acks > 0);
	assert_int_equal(ipc_client_outstanding(p.client), 0);
	assert_int_equal(waitpid(espd, NULL, WNOHANG), 0);
	kill(espd, SIGKILL);
	waitpid(espd, NULL, 0);
	pair_close(&p);
}

/* The peer is a process that writes at random over the whole region while it is used. */
static void test_hostile_peer(void **state)
{
	unsigned int seed = 3;

	(void)state;
	for (int round = 0; round < 40; round++) {
		static struct pair p;
		struct ipc_punt_header h = {0};
		struct ipc_server_cmd cmd;
		const uint8_t *data;
		uint8_t *base;
		int broken = 0;
		pid_t pid;

		pair_open(&p, 8, 16);
		base = (uint8_t *)ipc_server_region(p.server)->base;
		pid = fork();
		if (pid == 0) {
			size_t len = ipc_server_region(p.server)->len;

			for (;;) {
				uint32_t v = (uint32_t)rand_r(&seed);

				/* Indices, small and huge, more often than the slots. */
				if (v & 1)
					base[IPC_PAGE * (1 + v / 8 % (len / IPC_PAGE - 1)) +
						(v >> 20) % 256] = (uint8_t)(v >> 12) % 9;
				else
					base[v % len] = (uint8_t)(v >> 24);
			}
		}
		for (int i = 0; i < 2000; i++) {
			broken |= ipc_server_begin(p.server) < 0;
			for (int n = 0; n < 16 && ipc_server_cmd_next(p.server, &cmd) == 1; n++) {
				ipc_server_cmd_done(p.server);
				ipc_server_ack(p.server, cmd.number, IPC_OK);
			}
			for (int n = 0; n < 16; n++)
				if (ipc_server_punt_tx_next(p.server, &h, &data) != 1)
					break;
			ipc_server_punt_rx(p.server, i & 1, &h, "datagram", 8);
			(void)!ipc_server_event(p.server, IPC_EVENT_HELD_END, NULL);
			ipc_server_end(p.server);
			if (ipc_client_is_attached(p.client)) {
				(void)!ipc_client_send(p.client, IPC_CMD_HELD_QUERY, NULL, NULL);
				ipc_client_service(p.client);
			}
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		seed += 17;
		if (round == 39)
			assert_true(broken); /* it was noticed */
		pair_close(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_espd_dies),
		cmocka_unit_test(test_client_dies),
		cmocka_unit_test(test_hostile_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
