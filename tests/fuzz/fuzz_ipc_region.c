#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/server.h"

/*
 * A hostile client: the input is a list of writes into the region (where, how many, bytes), and
 * espd takes a turn after each.
 */
static void turn(struct ipc_server *s)
{
	struct ipc_punt_header h = {0};
	struct ipc_server_cmd cmd;
	const uint8_t *data;

	if (ipc_server_begin(s) < 0)
		return;
	for (int n = 0; n < 16 && ipc_server_cmd_next(s, &cmd) == 1; n++) {
		ipc_server_cmd_done(s);
		ipc_server_ack(s, cmd.number, cmd.number % 3);
	}
	for (int n = 0; n < 16 && ipc_server_punt_tx_next(s, &h, &data) == 1; n++)
		ipc_server_punt_rx(s, true, &h, data, h.total_len);
	ipc_server_punt_rx(s, false, &h, "datagram", 8);
	ipc_server_end(s);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipc_hello hello = {.owner_kind = IPC_OWNER_ENGINE};
	struct ipc_server_config cfg = {.max_inflight = 16, .max_events = 16, .max_parked = 4};
	struct ipc_server *s;
	int sv[2];

	for (int i = 0; i < IPC_N_RINGS; i++)
		cfg.region.n_slots[i] = 8;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return 0;
	struct ipc_peer peer = {.fd = sv[0]};

	if (ipc_server_create(&s, &peer, &hello, &cfg) < 0) {
		close(sv[0]);
		close(sv[1]);
		return 0;
	}
	while (size >= 4) {
		size_t n = write_one(ipc_server_region(s), data, size);

		data += n;
		size -= n;
		turn(s);
	}
	ipc_server_destroy(s);
	close(sv[1]);
	return 0;
}
