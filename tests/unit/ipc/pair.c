#include "tests/unit/ipc/pair.h"

#include <stdlib.h>

static void on_attached(void *ctx)
{
	((struct pair *)ctx)->attached++;
}

static void on_disconnected(void *ctx, int reason, uint32_t refusal, uint64_t n_dropped)
{
	struct pair *p = ctx;

	p->reason = reason;
	p->refusal = refusal;
	p->dropped += n_dropped;
}

static void on_ack(void *ctx, uint64_t number, uint32_t type, uint32_t error)
{
	struct pair *p = ctx;

	(void)type;
	p->acks++;
	p->last_error = error;
	p->last_number = number;
	if (p->acked && number < p->n_acked)
		p->acked[number]++;
}

static void on_event(void *ctx, uint32_t type, const void *body)
{
	(void)type;
	(void)body;
	((struct pair *)ctx)->events++;
}

static void on_punt(void *ctx, const struct ipc_punt_header *h, const uint8_t *data, size_t len)
{
	struct pair *p = ctx;

	p->punts++;
	p->punt_header = *h;
	p->punt_len = len;
	memcpy(p->punt, data, len);
}

const struct ipc_client_ops pair_ops = {
	.attached = on_attached,
	.disconnected = on_disconnected,
	.ack = on_ack,
	.event = on_event,
	.punt = on_punt,
};

void pair_open(struct pair *p, uint32_t slots, uint32_t max_queued)
{
	const struct ipc_attach_rule rule = {getuid(), IPC_OWNER_ENGINE};
	struct ipc_client_config cc = {.owner_kind = IPC_OWNER_ENGINE,
		.max_queued = max_queued,
		.ops = &pair_ops,
		.ctx = p};
	struct ipc_server_config sc = {0};
	struct ipc_hello hello;
	struct ipc_peer peer;
	int fd;

	memset(p, 0, sizeof(*p));
	ipc_region_config_default(&sc.region);
	for (int i = 0; slots && i < IPC_N_RINGS; i++)
		sc.region.n_slots[i] = slots;
	snprintf(p->dir, sizeof(p->dir), "/tmp/penstock-ipc-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/sock", p->dir);
	assert_int_equal(ipc_listener_open(&p->listener, p->path, 0600, (gid_t)-1), 0);
	assert_int_equal(ipc_client_create(&p->client, &cc), 0);
	fd = ipc_connect(p->path);
	assert_true(fd >= 0);
	assert_int_equal(ipc_client_attach(p->client, fd), 0);
	assert_int_equal(ipc_listener_accept(&p->listener, &peer), 0);
	assert_int_equal(ipc_attach_read_hello(&peer, &rule, 1, &hello), IPC_ATTACH_OK);
	assert_int_equal(ipc_server_create(&p->server, &peer, &hello, &sc), 0);
	ipc_client_service(p->client);
	assert_int_equal(p->attached, 1);
}

void pair_close(struct pair *p)
{
	ipc_client_destroy(p->client);
	ipc_server_destroy(p->server);
	ipc_listener_close(&p->listener);
	assert_int_equal(rmdir(p->dir), 0);
}
