#include "ipc/client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/cmd_queue.h"
#include "ipc/inflight.h"
#include "ipc/punt.h"

enum client_state { DETACHED, EXPECT_WELCOME, ATTACHED };

struct ipc_client {
	struct ipc_client_config cfg;
	enum client_state state;
	int end_reason; /* set when the attachment shall end; reported by the next service */
	uint32_t refusal;
	int socket_fd, own_fd, peer_fd;
	struct ipc_region region;

	uint64_t next_number;  /* of the next command, over the client's whole life */
	uint64_t first_number; /* of this attachment */
	struct inflight inflight;
	struct cmd_queue queue;

	uint8_t event[IPC_SLOT_EVENT];
	uint8_t punt_buf[IPC_PUNT_MAX];
	struct ipc_client_stats stats;
};

int ipc_client_create(struct ipc_client **out, const struct ipc_client_config *cfg)
{
	struct ipc_client *c;
	struct ipc_client_config with = *cfg;

	if (!cfg->ops || cfg->max_queued > 1u << 24)
		return -IPC_ERR_INVALID;
	if (with.max_queued == 0)
		with.max_queued = 65536;
	if (with.batch == 0)
		with.batch = 256;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -IPC_ERR_NOMEM;
	if (inflight_init(&c->inflight, with.max_queued) < 0) {
		free(c);
		return -IPC_ERR_NOMEM;
	}
	c->cfg = with;
	c->socket_fd = c->own_fd = c->peer_fd = -1;
	c->region.memfd = -1;
	c->next_number = 1;
	cmd_queue_init(&c->queue);
	*out = c;
	return 0;
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Back to DETACHED; the number of commands that will not be acknowledged. */
static uint64_t attachment_end(struct ipc_client *c)
{
	uint64_t dropped = inflight_count(&c->inflight);

	if (c->cfg.ops->closing && c->socket_fd >= 0)
		c->cfg.ops->closing(c->cfg.ctx);
	cmd_queue_fini(&c->queue);
	inflight_reset(&c->inflight);
	ipc_region_fini(&c->region);
	fd_close(&c->socket_fd);
	fd_close(&c->own_fd);
	fd_close(&c->peer_fd);
	c->state = DETACHED;
	c->end_reason = 0;
	c->stats.dropped += dropped;
	return dropped;
}

void ipc_client_destroy(struct ipc_client *c)
{
	if (!c)
		return;
	attachment_end(c);
	inflight_fini(&c->inflight);
	free(c);
}

int ipc_client_attach(struct ipc_client *c, int fd)
{
	int err = c->state != DETACHED || fd < 0 ? -IPC_ERR_INVALID : 0;

	if (err == 0)
		err = ipc_attach_send_hello(fd, c->cfg.owner_kind, c->cfg.engine);
	if (err < 0) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	c->socket_fd = fd;
	c->state = EXPECT_WELCOME;
	return 0;
}

void ipc_client_detach(struct ipc_client *c)
{
	if (c->state != DETACHED && c->end_reason == 0) {
		c->end_reason = -IPC_ERR_CLOSED;
		ipc_wake(c->own_fd);
	}
}

bool ipc_client_is_attached(const struct ipc_client *c)
{
	return c->state == ATTACHED && c->end_reason == 0;
}

int ipc_client_socket_fd(const struct ipc_client *c)
{
	return c->socket_fd;
}

int ipc_client_wake_fd(const struct ipc_client *c)
{
	return c->own_fd;
}

static void welcome_read(struct ipc_client *c)
{
	int fds[IPC_ATTACH_FDS], err;

	err = ipc_attach_read_welcome(c->socket_fd, fds, &c->refusal);
	if (err == -IPC_ERR_AGAIN)
		return;
	if (err == 0) {
		c->peer_fd = fds[1];
		c->own_fd = fds[2];
		err = ipc_region_map(&c->region, fds[0], c->peer_fd);
		if (err < 0)
			close(fds[0]);
	}
	if (err < 0) {
		c->end_reason = err;
		return;
	}
	c->state = ATTACHED;
	c->first_number = c->next_number;
	c->stats.attachments++;
	c->cfg.ops->attached(c->cfg.ctx);
}

static void ack_handle(struct ipc_client *c, const struct ipc_ack *ack)
{
	uint32_t type;

	if (!inflight_finish(&c->inflight, ack->number, ack->error != IPC_OK, &type)) {
		c->stats.bad_acks++;
		return;
	}
	c->stats.acked++;
	c->cfg.ops->ack(c->cfg.ctx, ack->number, type, ack->error);
}

static void event_handle(struct ipc_client *c)
{
	struct ipc_event_header header;
	const uint8_t *body = c->event + sizeof(header);
	int len;

	memcpy(&header, c->event, sizeof(header));
	len = ipc_event_len(header.type);
	if (len < 0) {
		c->stats.bad_events++;
	} else if (header.type == IPC_EVENT_ACK) {
		struct ipc_ack ack;

		memcpy(&ack, body, sizeof(ack));
		ack_handle(c, &ack);
	} else {
		c->cfg.ops->event(c->cfg.ctx, header.type, len > 0 ? body : NULL);
	}
}

static void events_read(struct ipc_client *c)
{
	struct ipc_ring *r = &c->region.ring[IPC_RING_EVENTS];
	uint32_t n = ipc_ring_available(r);

	if (n > c->cfg.batch)
		n = c->cfg.batch;
	/* Given back one by one: a callback that detaches leaves a consistent ring. */
	for (uint32_t i = 0; i < n && c->end_reason == 0; i++) {
		ipc_ring_copy(r, 0, c->event, sizeof(c->event));
		ipc_ring_consume(r, 1);
		event_handle(c);
	}
}

static void punts_read(struct ipc_client *c, enum ipc_ring_id id, uint32_t *budget)
{
	struct ipc_punt_header header;

	while (*budget > 0 && c->end_reason == 0 &&
		ipc_punt_read(&c->region.ring[id], &header, c->punt_buf) == 1) {
		bool is_known = id == IPC_RING_KNOWN;

		(*budget)--;
		*(is_known ? &c->stats.punt_rx_known : &c->stats.punt_rx_strangers) += 1;
		header.flags = is_known ? header.flags | IPC_PUNT_KNOWN
					: header.flags & ~(uint32_t)IPC_PUNT_KNOWN;
		c->cfg.ops->punt(c->cfg.ctx, &header, c->punt_buf, header.total_len);
	}
}

/* Sets the sleep flags; true if something came before they were set. */
static bool sleep_prepare(struct ipc_client *c)
{
	static const enum ipc_ring_id read_from[] = {
		IPC_RING_EVENTS, IPC_RING_KNOWN, IPC_RING_STRANGERS};
	struct ipc_ring *ring = c->region.ring;

	for (size_t i = 0; i < sizeof(read_from) / sizeof(read_from[0]); i++)
		if (ipc_ring_sleep(&ring[read_from[i]]))
			return true;
	return c->queue.n > 0 && ipc_ring_wait_room(&ring[IPC_RING_COMMANDS], 1);
}

static void attached_service(struct ipc_client *c)
{
	uint32_t budget = c->cfg.batch;
	bool is_dead;

	/* Looked at first: what a dying espd has published is still read below. */
	is_dead = ipc_socket_is_dead(c->socket_fd);
	ipc_wake_clear(c->own_fd);
	cmd_queue_move(&c->queue, &c->region.ring[IPC_RING_COMMANDS]);
	events_read(c);
	punts_read(c, IPC_RING_KNOWN, &budget);
	punts_read(c, IPC_RING_STRANGERS, &budget);
	cmd_queue_move(&c->queue, &c->region.ring[IPC_RING_COMMANDS]);
	if (c->end_reason != 0)
		return;
	if (ipc_region_is_broken(&c->region))
		c->end_reason = -IPC_ERR_BROKEN;
	else if (is_dead && ipc_ring_available(&c->region.ring[IPC_RING_EVENTS]) == 0)
		c->end_reason = -IPC_ERR_CLOSED;
}

int ipc_client_service(struct ipc_client *c)
{
	if (c->state == EXPECT_WELCOME && c->end_reason == 0)
		welcome_read(c);
	if (c->state == ATTACHED && c->end_reason == 0)
		attached_service(c);
	if (c->end_reason != 0) {
		int reason = c->end_reason;
		uint32_t refusal = c->refusal;
		uint64_t dropped = attachment_end(c);

		c->refusal = IPC_ATTACH_OK;
		c->cfg.ops->disconnected(c->cfg.ctx, reason, refusal, dropped);
		return 0;
	}
	return c->state == ATTACHED && sleep_prepare(c) ? 1 : 0;
}

int ipc_client_send(struct ipc_client *c, uint32_t type, const void *body, uint64_t *number)
{
	struct ipc_ring *r = &c->region.ring[IPC_RING_COMMANDS];
	struct ipc_cmd_header header = {.type = type, .number = c->next_number};
	int len = ipc_cmd_len(type);

	if (len < 0 || (len > 0 && !body))
		return -IPC_ERR_INVALID;
	if (!ipc_client_is_attached(c))
		return -IPC_ERR_CLOSED;
	if (!inflight_has_room(&c->inflight) || c->queue.n >= c->cfg.max_queued) {
		c->stats.refused_full++;
		return -IPC_ERR_FULL;
	}
	/* Order is kept: nothing overtakes the queue. */
	cmd_queue_move(&c->queue, r);
	if (c->queue.n == 0 && ipc_ring_room(r) > 0) {
		cmd_slot_fill(ipc_ring_slot(r, 0), &header, body, (size_t)len);
		ipc_ring_publish(r, 1);
	} else {
		if (cmd_queue_push(&c->queue, &header, body, (size_t)len) < 0)
			return -IPC_ERR_NOMEM;
		if (c->queue.n > c->stats.queued_most)
			c->stats.queued_most = c->queue.n;
		/* Room may come while the owner sleeps for another reason. */
		if (ipc_ring_wait_room(r, 1))
			cmd_queue_move(&c->queue, r);
	}
	inflight_start(&c->inflight, header.number, type);
	c->next_number++;
	c->stats.sent++;
	if (number)
		*number = header.number;
	return 0;
}

uint64_t ipc_client_outstanding(const struct ipc_client *c)
{
	return inflight_count(&c->inflight);
}

int ipc_client_punt_send(
	struct ipc_client *c, const struct ipc_punt_header *header, const void *data, size_t len)
{
	int err;

	if (!ipc_client_is_attached(c))
		return -IPC_ERR_CLOSED;
	if (header->after_command != 0 && header->after_command < c->first_number)
		return -IPC_ERR_INVALID;
	err = ipc_punt_write(&c->region.ring[IPC_RING_PUNT_TX], header, data, len);
	if (err == 0)
		c->stats.punt_tx++;
	else if (err == -IPC_ERR_FULL)
		c->stats.punt_tx_full++;
	return err == -IPC_ERR_BROKEN ? -IPC_ERR_CLOSED : err;
}

void ipc_client_stats(const struct ipc_client *c, struct ipc_client_stats *out)
{
	*out = c->stats;
	out->queued_now = c->queue.n;
}
