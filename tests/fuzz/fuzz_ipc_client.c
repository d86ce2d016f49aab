#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/client.h"
#include "ipc/server.h"

/*
 * A hostile espd: the input is a list of writes into the region (where, how many, bytes), and the
 * client of an engine takes a turn after each. What it must keep, whatever stands in the rings:
 * no command is acknowledged twice, and none that was not sent.
 */
struct seen {
	uint64_t n_sent, n_acked, first;
	uint8_t acked[4096];
};

static void on_attached(void *ctx)
{
	(void)ctx;
}

static void on_disconnected(void *ctx, int reason, uint32_t refusal, uint64_t n_dropped)
{
	(void)ctx;
	(void)reason;
	(void)refusal;
	(void)n_dropped;
}

static void on_ack(void *ctx, uint64_t number, uint32_t type, uint32_t error)
{
	struct seen *s = ctx;

	(void)error;
	if (type != IPC_CMD_HELD_QUERY || number < s->first || number >= s->first + s->n_sent ||
		s->acked[(number - s->first) % sizeof(s->acked)]++)
		__builtin_trap();
	s->n_acked++;
}

static void on_event(void *ctx, uint32_t type, const void *body)
{
	uint8_t copy[IPC_SLOT_EVENT];
	int len = ipc_event_len(type);

	(void)ctx;
	if (len < 0 || (size_t)len > sizeof(copy))
		__builtin_trap();
	if (body)
		memcpy(copy, body, (size_t)len);
}

static void on_punt(void *ctx, const struct ipc_punt_header *h, const uint8_t *data, size_t len)
{
	static uint8_t copy[IPC_PUNT_MAX];

	(void)ctx;
	if (len > sizeof(copy) || len != h->total_len)
		__builtin_trap();
	memcpy(copy, data, len);
}

static const struct ipc_client_ops ops = {
	.attached = on_attached,
	.disconnected = on_disconnected,
	.ack = on_ack,
	.event = on_event,
	.punt = on_punt,
};

static void turn(struct ipc_client *c, struct seen *s)
{
	struct ipc_punt_header h = {0};
	uint64_t number;

	if (s->n_sent < sizeof(s->acked) &&
		ipc_client_send(c, IPC_CMD_HELD_QUERY, NULL, &number) == 0) {
		if (s->n_sent++ == 0)
			s->first = number;
	}
	(void)!ipc_client_punt_send(c, &h, "datagram", 8);
	ipc_client_service(c);
}

static size_t write_one(const struct ipc_region *region, const uint8_t *data, size_t size)
{
	/* ring and kind of place, offset, length; then the bytes */
	size_t len = data[3] % 128, at;
	const struct ipc_ring *r = &region->ring[data[0] % IPC_N_RINGS];

	if (len > size - 4)
		len = size - 4;
	at = (size_t)((uint8_t *)r->shared - (uint8_t *)region->base) +
	     (data[0] & 0x80 ? sizeof(struct ipc_ring_shared) + (size_t)data[1] * 64 : 0) + data[2];
	if (at + len <= region->len)
		memcpy((uint8_t *)region->base + at, data + 4, len);
	return 4 + len;
}

/* Both ends over sv; NULL if one could not be made. */
static struct ipc_server *attach(struct ipc_client *c, const int sv[2])
{
	const struct ipc_attach_rule rule = {getuid(), IPC_OWNER_ENGINE};
	struct ipc_server_config cfg = {.max_inflight = 16, .max_events = 16, .max_parked = 4};
	struct ipc_peer peer = {.fd = sv[0], .uid = getuid()};
	struct ipc_server *s = NULL;
	struct ipc_hello hello;

	for (int i = 0; i < IPC_N_RINGS; i++)
		cfg.region.n_slots[i] = 8;
	if (ipc_client_attach(c, sv[1]) < 0 ||
		ipc_attach_read_hello(&peer, &rule, 1, &hello) != IPC_ATTACH_OK ||
		ipc_server_create(&s, &peer, &hello, &cfg) < 0) {
		close(sv[0]);
		return NULL;
	}
	ipc_client_service(c);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen seen;
	const struct ipc_client_config cfg = {
		.owner_kind = IPC_OWNER_ENGINE, .max_queued = 32, .ops = &ops, .ctx = &seen};
	struct ipc_client *c;
	struct ipc_server *s;
	int sv[2];

	memset(&seen, 0, sizeof(seen));
	if (ipc_client_create(&c, &cfg) < 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		ipc_client_destroy(c);
		return 0;
	}
	s = attach(c, sv);
	while (s && size >= 4 && ipc_client_is_attached(c)) {
		size_t n = write_one(ipc_server_region(s), data, size);

		data += n;
		size -= n;
		turn(c, &seen);
	}
	ipc_server_destroy(s);
	ipc_client_destroy(c);
	return 0;
}
