#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/client.h"
#include "ipc/debug.h"
#include "ipc/spi.h"
#include "shared/transform.h"

/*
 * An engine without IKE: it pushes tunnels and flows to espd as fast as its rings take them, or
 * at a rate, beside a worker whose progress it reads. Commands on standard input, one JSON
 * object a line as the answer:
 *
 *   tunnels N      N pairs of SAs (AES-256-GCM), each with a path and two flows
 *   flows N        N more flows, hosts behind tunnel 0
 *   change R P MS  P pairs of slices of MS milliseconds, with R changes of flows a second and
 *                  without: packets for a CPU second of the worker in each
 *   quit
 *
 * Tunnel i: 172.16.0.0/16 here, 10.0.0.0 + i there, its peer 198.18.0.0 + i.
 */

#define LEASE 1024u
#define SPARE_HANDLES 0x1000000u /* flows of `flows` have handles from here */

struct push {
	struct ipc_client *client;
	bool is_attached, is_over;
	uint64_t n_errors;
	uint32_t last_error, last_type;
	struct ipc_spi_lease lease;
	uint32_t n_tunnels, n_flows;
	const char *schedstat; /* of the worker's thread */
	const char *debug_path;
	char text[IPC_DEBUG_DATA_MAX + 1];
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "push: %s\n", what);
	exit(1);
}

static void on_attached(void *ctx)
{
	((struct push *)ctx)->is_attached = true;
}

static void on_disconnected(void *ctx, int reason, uint32_t refusal, uint64_t n_dropped)
{
	(void)n_dropped;
	((struct push *)ctx)->is_over = true;
	fprintf(stderr, "push: disconnected: %d, %s\n", reason, ipc_refusal_str(refusal));
}

static void on_ack(void *ctx, uint64_t number, uint32_t type, uint32_t error)
{
	struct push *p = ctx;

	(void)number;
	if (error == 0)
		return;
	p->n_errors++;
	p->last_error = error;
	p->last_type = type;
}

static void on_event(void *ctx, uint32_t type, const void *body)
{
	if (type == IPC_EVENT_SPI_LEASE)
		memcpy(&((struct push *)ctx)->lease, body, sizeof(struct ipc_spi_lease));
}

static void on_punt(
	void *ctx, const struct ipc_punt_header *header, const uint8_t *data, size_t len)
{
	(void)ctx;
	(void)header;
	(void)data;
	(void)len;
}

static const struct ipc_client_ops ops = {.attached = on_attached,
	.disconnected = on_disconnected,
	.ack = on_ack,
	.event = on_event,
	.punt = on_punt};

/* wait_ms 0: does not sleep. */
static void service(struct push *p, int wait_ms)
{
	int more = ipc_client_service(p->client);

	if (p->is_over)
		die("espd is gone");
	if (!more && wait_ms > 0) {
		struct pollfd fds[2] = {
			{.fd = ipc_client_socket_fd(p->client), .events = POLLIN},
			{.fd = ipc_client_wake_fd(p->client), .events = POLLIN},
		};

		poll(fds, 2, wait_ms);
	}
}

static void settle(struct push *p)
{
	while (ipc_client_outstanding(p->client) > 0)
		service(p, 50);
	if (p->n_errors == 0)
		return;
	fprintf(stderr, "push: %llu commands failed, the last: %s: %s\n",
		(unsigned long long)p->n_errors, ipc_cmd_str(p->last_type),
		ipc_error_str(p->last_error));
	exit(1);
}

static void send_cmd(struct push *p, uint32_t type, const void *body)
{
	int rc;

	while ((rc = ipc_client_send(p->client, type, body, NULL)) == -IPC_ERR_FULL)
		service(p, 50);
	if (rc != 0)
		die("a command could not be sent");
}

static struct ip_addr v4(uint32_t a)
{
	struct ip_addr out = {.family = 4};

	for (unsigned i = 0; i < 4; i++)
		out.b[i] = (uint8_t)(a >> (24 - 8 * i));
	return out;
}

#define HERE 0xc0000201u /* 192.0.2.1 */

static uint32_t peer_of(uint32_t i)
{
	return 0xc6120000u + i;
}

static uint32_t host_of(uint32_t i)
{
	return 0x0a000000u + i;
}

static uint64_t handle_of(uint32_t i, unsigned what)
{
	return (uint64_t)(i + 1) * 8 + what;
}

enum { H_PATH, H_IN, H_OUT, H_FLOW_IN, H_FLOW_OUT };

static void path_push(struct push *p, uint32_t i)
{
	struct ipc_path path;

	memset(&path, 0, sizeof(path));
	path.path = (struct ipc_ref){.handle = handle_of(i, H_PATH), .generation = 1};
	path.local.addr = v4(HERE);
	path.remote.addr = v4(peer_of(i));
	send_cmd(p, IPC_CMD_PATH_SET, &path);
}

static void sa_push(struct push *p, uint32_t i, bool is_in, uint32_t spi)
{
	struct traffic_selector here = {
		.range = {v4(0xac100000), v4(0xac10ffff)}, .port_hi = 65535};
	struct traffic_selector there = {
		.range = {v4(host_of(i)), v4(host_of(i))}, .port_hi = 65535};
	struct ipc_sa_add a;

	memset(&a, 0, sizeof(a));
	a.sa = (struct ipc_ref){.handle = handle_of(i, is_in ? H_IN : H_OUT), .generation = 1};
	a.path = handle_of(i, H_PATH);
	a.partner = handle_of(i, is_in ? H_OUT : H_IN);
	a.ike = handle_of(i, H_PATH);
	a.spi = spi;
	a.flags = IPC_SA_ESN;
	a.direction = is_in ? IPC_DIR_IN : IPC_DIR_OUT;
	a.mode = IPC_MODE_TUNNEL;
	a.encr_id = ENCR_AES_GCM_16;
	a.encr_key_len = 32;
	a.integ_id = INTEG_NONE;
	a.enc_key_len = 36;
	for (unsigned k = 0; k < a.enc_key_len; k++)
		a.enc_key[k] = (uint8_t)(i >> (k % 4 * 8)) ^ (uint8_t)(k * 31);
	a.replay_window = 1024;
	a.tunnel_src = v4(is_in ? peer_of(i) : HERE);
	a.tunnel_dst = v4(is_in ? HERE : peer_of(i));
	snprintf(a.srcid, sizeof(a.srcid), "FQDN/gateway.example.org");
	snprintf(a.dstid, sizeof(a.dstid), "FQDN/peer%u.example.org", i);
	a.n_selectors = a.n_selectors_total = 1;
	a.selectors[0].src = is_in ? there : here;
	a.selectors[0].dst = is_in ? here : there;
	send_cmd(p, IPC_CMD_SA_ADD, &a);
}

static void flow_push(struct push *p, uint64_t handle, bool is_in, uint32_t host, uint32_t peer)
{
	struct ipc_flow f;
	struct ip_prefix here = {.addr = v4(0xac100000), .len = 16};
	struct ip_prefix there = {.addr = v4(host), .len = 32};

	memset(&f, 0, sizeof(f));
	f.flow = (struct ipc_ref){.handle = handle, .generation = 1};
	f.src = is_in ? there : here;
	f.dst = is_in ? here : there;
	f.direction = is_in ? IPC_DIR_IN : IPC_DIR_OUT;
	f.type = is_in ? IPC_FLOW_USE : IPC_FLOW_REQUIRE;
	f.flags = is_in ? IPC_FLOW_F_STRICT_IN : 0;
	f.policy = 1;
	f.peer = v4(peer_of(peer));
	snprintf(f.srcid, sizeof(f.srcid), "FQDN/gateway.example.org");
	snprintf(f.dstid, sizeof(f.dstid), "FQDN/peer%u.example.org", peer);
	send_cmd(p, IPC_CMD_FLOW_ADD, &f);
}

static void leases_take(struct push *p)
{
	struct ipc_spi_lease wish = {.count = LEASE};

	p->lease.count = 0;
	send_cmd(p, IPC_CMD_SPI_LEASE, &wish);
	while (p->lease.count == 0)
		service(p, 50);
}

static void tunnel_push(struct push *p, uint32_t i)
{
	struct ipc_flow_bind bind;
	uint32_t spi;

	if (p->lease.count == 0)
		leases_take(p);
	spi = ipc_spi_make(p->lease.first++, p->lease.index_bits, i * 2654435761u + 12345u);
	p->lease.count--;
	path_push(p, i);
	sa_push(p, i, true, spi);
	sa_push(p, i, false, 0x10000u + i);
	flow_push(p, handle_of(i, H_FLOW_IN), true, host_of(i), i);
	flow_push(p, handle_of(i, H_FLOW_OUT), false, host_of(i), i);
	memset(&bind, 0, sizeof(bind));
	bind.flow = (struct ipc_ref){.handle = handle_of(i, H_FLOW_OUT), .generation = 1};
	bind.sa = (struct ipc_ref){.handle = handle_of(i, H_OUT), .generation = 1};
	send_cmd(p, IPC_CMD_FLOW_BIND, &bind);
}

struct progress {
	double cpu_ns, packets;
};

/* The worker's CPU time and packets, as near to each other as can be. */
static struct progress progress_read(struct push *p)
{
	struct progress out = {0};
	uint16_t type = 0;
	size_t len;
	char *at;
	FILE *f;
	int fd;

	fd = ipc_debug_connect(p->debug_path);
	if (fd < 0 || ipc_debug_send(fd, IPC_DEBUG_SHOW, "worker --json", 14, NULL, 0) != 0)
		die("the debug socket is gone");
	while (type != IPC_DEBUG_END) {
		if (ipc_debug_recv(fd, &type, p->text, IPC_DEBUG_DATA_MAX + 1, &len) != 0)
			die("the debug socket is gone");
		at = strstr(p->text, "\"esp_out\":");
		if (at != NULL)
			out.packets = strtod(at + strlen("\"esp_out\":"), NULL);
	}
	close(fd);
	f = fopen(p->schedstat, "re");
	if (f == NULL || fscanf(f, "%lf", &out.cpu_ns) != 1)
		die(p->schedstat);
	fclose(f);
	return out;
}

static void cmd_tunnels(struct push *p, uint32_t n)
{
	double start = now_s(), seconds;

	for (uint32_t i = 0; i < n; i++)
		tunnel_push(p, p->n_tunnels++);
	settle(p);
	seconds = now_s() - start;
	printf("{\"tunnels\": %u, \"seconds\": %.3f, \"pairs_a_second\": %.0f}\n", n, seconds,
		n / seconds);
}

static void cmd_flows(struct push *p, uint32_t n)
{
	double start = now_s(), seconds;

	for (uint32_t i = 0; i < n; i++, p->n_flows++)
		flow_push(p, SPARE_HANDLES + p->n_flows, false, 0x40000000u + p->n_flows, 0);
	settle(p);
	seconds = now_s() - start;
	printf("{\"flows\": %u, \"seconds\": %.3f, \"flows_a_second\": %.0f}\n", n, seconds,
		n / seconds);
}

/*
 * One change is a deletion or an addition of one of the flows of `flows` at random. Pushed in
 * portions of a millisecond, as an engine with many peers would.
 */
static void changes_push(struct push *p, uint32_t *state, uint32_t n)
{
	for (uint32_t i = 0; i + 1 < n; i += 2) {
		uint32_t at;
		struct ipc_ref ref;

		*state = *state * 1664525u + 1013904223u;
		at = (uint32_t)((uint64_t)*state * p->n_flows >> 32);
		ref = (struct ipc_ref){.handle = SPARE_HANDLES + at, .generation = 1};
		send_cmd(p, IPC_CMD_FLOW_DELETE, &ref);
		flow_push(p, SPARE_HANDLES + at, false, 0x40000000u + at, 0);
	}
}

/* Packets for a CPU second in one slice. */
static double slice_run(struct push *p, uint32_t *state, double rate, unsigned ms, double *made)
{
	struct progress before = progress_read(p), after;
	double start = now_s(), end = start + ms / 1e3, due;

	*made = 0;
	for (double t = now_s(); t < end; t = now_s()) {
		due = (t - start) * rate;
		if (due - *made >= 2) {
			changes_push(p, state, (uint32_t)(due - *made) & ~1u);
			*made += (uint32_t)(due - *made) & ~1u;
		}
		service(p, 1);
		if (rate == 0)
			usleep(1000);
	}
	settle(p);
	after = progress_read(p);
	*made /= now_s() - start;
	return (after.packets - before.packets) / ((after.cpu_ns - before.cpu_ns) / 1e9);
}

static void cmd_change(struct push *p, double rate, unsigned pairs, unsigned ms)
{
	uint32_t state = 1;
	double made;

	printf("{\"rate\": %.0f, \"pairs\": [", rate);
	for (unsigned i = 0; i < pairs; i++) {
		/* Which comes first changes from pair to pair. */
		double first = slice_run(p, &state, i % 2 ? rate : 0, ms, &made);
		double made_first = made;
		double second = slice_run(p, &state, i % 2 ? 0 : rate, ms, &made);

		printf("%s{\"without\": %.0f, \"with\": %.0f, \"made\": %.0f}", i ? ", " : "",
			i % 2 ? second : first, i % 2 ? first : second, i % 2 ? made_first : made);
	}
	printf("]}\n");
}

static void commands_run(struct push *p)
{
	char line[128];
	unsigned pairs, ms;
	double rate;
	uint32_t n;

	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (sscanf(line, "tunnels %u", &n) == 1)
			cmd_tunnels(p, n);
		else if (sscanf(line, "flows %u", &n) == 1)
			cmd_flows(p, n);
		else if (sscanf(line, "change %lf %u %u", &rate, &pairs, &ms) == 3)
			cmd_change(p, rate, pairs, ms);
		else if (strncmp(line, "quit", 4) == 0)
			return;
		else
			die("an unknown command");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	static struct push p;
	struct ipc_client_config config = {.owner_kind = IPC_OWNER_ENGINE, .ops = &ops, .ctx = &p};
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: push ESPD-SOCKET DEBUG-SOCKET SCHEDSTAT-OF-WORKER\n");
		return 2;
	}
	p.schedstat = argv[3];
	fd = ipc_connect(argv[1]);
	p.debug_path = argv[2];
	if (fd < 0 || ipc_client_create(&p.client, &config) != 0 ||
		ipc_client_attach(p.client, fd) != 0)
		die("espd does not answer");
	while (!p.is_attached)
		service(&p, 50);
	send_cmd(&p, IPC_CMD_RESYNC_BEGIN, NULL);
	send_cmd(&p, IPC_CMD_RESYNC_END, NULL);
	settle(&p);
	printf("{\"attached\": true}\n");
	fflush(stdout);
	commands_run(&p);
	ipc_client_destroy(p.client);
	return 0;
}
