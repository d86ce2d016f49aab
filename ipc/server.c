#include "ipc/server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ipc/inflight.h"
#include "ipc/punt.h"
#include "shared/secret.h"
#include "shared/wipe.h"

/* An event as it will lie in a slot, without the zeros behind it. */
struct event {
	struct ipc_event_header header;
	uint8_t body[IPC_SLOT_EVENT - sizeof(struct ipc_event_header)];
};

struct parked {
	struct parked *next;
	struct ipc_punt_header header;
	uint8_t data[];
};

struct ipc_server {
	int socket_fd, own_fd, peer_fd;
	pid_t pid;
	uint32_t owner_kind, engine;
	struct ipc_region region;

	/* Commands: numbers taken and not acknowledged, and the copy that the caller works on. */
	struct inflight inflight;
	uint64_t first_number, last_number; /* of this attachment; 0: none yet */
	uint32_t max_inflight;
	bool has_cmd;
	union {
		struct ipc_cmd_header header;
		uint8_t bytes[IPC_SLOT_CMD];
	} cmd;

	/* Events behind a full ring, oldest first; room for all acknowledgements is kept free. */
	struct event *queue;
	uint32_t queue_cap, queue_head, queue_len;
	uint32_t queued_acks, max_events;

	struct parked *parked, **parked_tail, *lent;
	uint32_t n_parked, max_parked;
	uint8_t punt_buf[IPC_PUNT_MAX];
	struct ipc_server_stats stats;
};

static int fds_make(struct ipc_server *s)
{
	s->own_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->peer_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return s->own_fd < 0 || s->peer_fd < 0 ? -IPC_ERR_SYS : 0;
}

static int tables_make(struct ipc_server *s, const struct ipc_server_config *cfg)
{
	s->max_inflight = cfg->max_inflight ? cfg->max_inflight : 4096;
	s->max_events = cfg->max_events ? cfg->max_events : 4096;
	s->max_parked = cfg->max_parked ? cfg->max_parked : 256;
	s->parked_tail = &s->parked;
	s->queue_cap = s->max_inflight + s->max_events;
	s->queue = calloc(s->queue_cap, sizeof(*s->queue));
	if (!s->queue || inflight_init(&s->inflight, s->max_inflight) < 0)
		return -IPC_ERR_NOMEM;
	return 0;
}

int ipc_server_create(struct ipc_server **out, const struct ipc_peer *peer,
	const struct ipc_hello *hello, const struct ipc_server_config *cfg)
{
	/* Commands carry keys. */
	struct ipc_server *s = secret_pages_alloc(sizeof(*s));
	int err;

	if (!s)
		return -IPC_ERR_NOMEM;
	s->socket_fd = s->own_fd = s->peer_fd = -1;
	s->pid = peer->pid;
	s->owner_kind = hello->owner_kind;
	s->engine = hello->engine;
	err = tables_make(s, cfg);
	if (err == 0)
		err = fds_make(s);
	if (err == 0)
		err = ipc_region_create(
			&s->region, &cfg->region, s->owner_kind, s->engine, s->peer_fd);
	if (err == 0)
		err = ipc_attach_welcome(peer->fd, s->region.memfd, s->own_fd, s->peer_fd);
	if (err < 0) {
		ipc_server_destroy(s);
		return err;
	}
	s->socket_fd = peer->fd;
	*out = s;
	return 0;
}

static void parked_free(struct ipc_server *s)
{
	while (s->parked) {
		struct parked *p = s->parked;

		s->parked = p->next;
		free(p);
	}
	free(s->lent);
}

void ipc_server_destroy(struct ipc_server *s)
{
	if (!s)
		return;
	parked_free(s);
	free(s->queue);
	inflight_fini(&s->inflight);
	ipc_region_fini(&s->region);
	for (int i = 0; i < 3; i++) {
		int fd = i == 0 ? s->socket_fd : i == 1 ? s->own_fd : s->peer_fd;

		if (fd >= 0)
			close(fd);
	}
	secret_pages_free(s, sizeof(*s));
}

int ipc_server_socket_fd(const struct ipc_server *s)
{
	return s->socket_fd;
}

int ipc_server_wake_fd(const struct ipc_server *s)
{
	return s->own_fd;
}

uint32_t ipc_server_owner_kind(const struct ipc_server *s)
{
	return s->owner_kind;
}

uint32_t ipc_server_engine(const struct ipc_server *s)
{
	return s->engine;
}

const struct ipc_region *ipc_server_region(const struct ipc_server *s)
{
	return &s->region;
}

pid_t ipc_server_pid(const struct ipc_server *s)
{
	return s->pid;
}

/* Moves queued events into the ring, as many as fit, at once. */
static void events_flush(struct ipc_server *s)
{
	struct ipc_ring *r = &s->region.ring[IPC_RING_EVENTS];
	uint32_t room, n = 0;

	if (s->queue_len == 0)
		return;
	room = ipc_ring_room(r);
	while (n < room && s->queue_len > 0) {
		struct event *e = &s->queue[s->queue_head];

		memcpy(ipc_ring_slot(r, n++), e, sizeof(*e));
		if (e->header.type == IPC_EVENT_ACK)
			s->queued_acks--;
		s->queue_head = (s->queue_head + 1) % s->queue_cap;
		s->queue_len--;
	}
	if (n > 0)
		ipc_ring_publish(r, n);
}

int ipc_server_begin(struct ipc_server *s)
{
	ipc_wake_clear(s->own_fd);
	events_flush(s);
	if (ipc_region_is_broken(&s->region))
		return -IPC_ERR_BROKEN;
	return ipc_socket_is_dead(s->socket_fd) ? -IPC_ERR_CLOSED : 0;
}

static bool can_take(const struct ipc_server *s)
{
	return inflight_count(&s->inflight) + s->queued_acks < s->max_inflight &&
	       inflight_has_room(&s->inflight);
}

static bool parked_is_due(const struct ipc_server *s);

bool ipc_server_end(struct ipc_server *s)
{
	struct ipc_ring *ring = s->region.ring;
	bool work = false;

	events_flush(s);
	if (s->queue_len > 0 && ipc_ring_wait_room(&ring[IPC_RING_EVENTS], 1))
		work = true;
	/* Commands that cannot be taken are no work: an acknowledgement has to go first. */
	if (!can_take(s))
		s->stats.stalls++;
	else if (ipc_ring_sleep(&ring[IPC_RING_COMMANDS]))
		work = true;
	if (s->n_parked < s->max_parked && ipc_ring_sleep(&ring[IPC_RING_PUNT_TX]))
		work = true;
	return work || parked_is_due(s);
}

static void event_append(struct ipc_server *s, uint32_t type, const void *body, size_t len)
{
	struct event *e = &s->queue[(s->queue_head + s->queue_len) % s->queue_cap];

	memset(e, 0, sizeof(*e));
	e->header.type = type;
	if (len > 0)
		memcpy(e->body, body, len);
	s->queue_len++;
	if (type == IPC_EVENT_ACK)
		s->queued_acks++;
	events_flush(s);
}

int ipc_server_ack(struct ipc_server *s, uint64_t number, uint32_t error)
{
	struct ipc_ack ack = {.number = number, .error = error};

	if (!inflight_finish(&s->inflight, number, error != IPC_OK, &ack.type))
		return -IPC_ERR_INVALID;
	s->stats.acks++;
	event_append(s, IPC_EVENT_ACK, &ack, sizeof(ack));
	return 0;
}

uint32_t ipc_server_event_room(struct ipc_server *s)
{
	uint32_t others;

	events_flush(s);
	others = s->queue_len - s->queued_acks;
	return others < s->max_events ? s->max_events - others : 0;
}

int ipc_server_event(struct ipc_server *s, uint32_t type, const void *body)
{
	int len = ipc_event_len(type);

	if (len < 0 || type == IPC_EVENT_ACK)
		return -IPC_ERR_INVALID;
	if (ipc_server_event_room(s) == 0) {
		s->stats.events_full++;
		return -IPC_ERR_FULL;
	}
	s->stats.events++;
	event_append(s, type, body, (size_t)len);
	return 0;
}

static int cmd_broken(struct ipc_server *s)
{
	s->region.ring[IPC_RING_COMMANDS].is_broken = true;
	wipe(&s->cmd, sizeof(s->cmd));
	return -IPC_ERR_BROKEN;
}

/* Copies the slot once, erases it, gives it back. */
static int cmd_take(struct ipc_server *s)
{
	struct ipc_ring *r = &s->region.ring[IPC_RING_COMMANDS];
	uint64_t number;

	ipc_ring_copy(r, 0, s->cmd.bytes, sizeof(s->cmd.bytes));
	ipc_ring_wipe(r, 0);
	ipc_ring_consume(r, 1);
	number = s->cmd.header.number;
	if (number == 0 || number == UINT64_MAX || (s->last_number && number != s->last_number + 1))
		return cmd_broken(s);
	if (s->first_number == 0)
		s->first_number = number;
	s->last_number = number;
	inflight_start(&s->inflight, number, s->cmd.header.type);
	s->stats.commands++;
	return 0;
}

int ipc_server_cmd_next(struct ipc_server *s, struct ipc_server_cmd *cmd)
{
	struct ipc_ring *r = &s->region.ring[IPC_RING_COMMANDS];

	if (s->has_cmd)
		ipc_server_cmd_done(s);
	while (can_take(s) && ipc_ring_available(r) > 0) {
		int len;

		if (cmd_take(s) < 0)
			return -IPC_ERR_BROKEN;
		len = ipc_cmd_len(s->cmd.header.type);
		if (len < 0) {
			s->stats.bad_commands++;
			ipc_server_ack(s, s->cmd.header.number, IPC_E_INVALID);
			wipe(&s->cmd, sizeof(s->cmd));
			continue;
		}
		s->has_cmd = true;
		cmd->number = s->cmd.header.number;
		cmd->type = s->cmd.header.type;
		cmd->len = (uint32_t)len;
		cmd->body = s->cmd.bytes + sizeof(s->cmd.header);
		return 1;
	}
	return r->is_broken ? -IPC_ERR_BROKEN : 0;
}

void ipc_server_cmd_done(struct ipc_server *s)
{
	wipe(&s->cmd, sizeof(s->cmd));
	s->has_cmd = false;
}

int ipc_server_punt_rx(struct ipc_server *s, bool is_known, const struct ipc_punt_header *header,
	const void *data, size_t len)
{
	struct ipc_ring *r = &s->region.ring[is_known ? IPC_RING_KNOWN : IPC_RING_STRANGERS];
	struct ipc_punt_header h = *header;
	int err;

	h.flags = is_known ? h.flags | IPC_PUNT_KNOWN : h.flags & ~(uint32_t)IPC_PUNT_KNOWN;
	err = ipc_punt_write(r, &h, data, len);
	if (err == -IPC_ERR_FULL)
		*(is_known ? &s->stats.punt_known_full : &s->stats.punt_strangers_full) += 1;
	else if (err == 0)
		*(is_known ? &s->stats.punt_known : &s->stats.punt_strangers) += 1;
	return err;
}

/* A command of an earlier attachment is not known here to have taken effect. */
static enum inflight_state awaited_state(const struct ipc_server *s, uint64_t number)
{
	if (number != 0 && s->first_number != 0 && number < s->first_number)
		return INFLIGHT_FAILED;
	return inflight_state(&s->inflight, number, s->last_number);
}

static bool parked_is_due(const struct ipc_server *s)
{
	for (const struct parked *p = s->parked; p; p = p->next)
		if (awaited_state(s, p->header.after_command) != INFLIGHT_PENDING)
			return true;
	return false;
}

/* Unlinks and lends the first parked datagram that may leave; drops those that may never. */
static bool parked_next(struct ipc_server *s, struct ipc_punt_header *header, const uint8_t **data)
{
	struct parked **at = &s->parked;

	while (*at) {
		struct parked *p = *at;
		enum inflight_state state = awaited_state(s, p->header.after_command);

		if (state == INFLIGHT_PENDING) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		if (!p->next)
			s->parked_tail = at;
		s->n_parked--;
		if (state == INFLIGHT_FAILED) {
			s->stats.punt_tx_failed++;
			free(p);
			continue;
		}
		s->lent = p;
		*header = p->header;
		*data = p->data;
		return true;
	}
	return false;
}

static void park(struct ipc_server *s, const struct ipc_punt_header *header)
{
	struct parked *p = malloc(sizeof(*p) + header->total_len);

	/* Without memory it is lost as on a network; the engine sends it again. */
	if (!p) {
		s->stats.punt_tx_failed++;
		return;
	}
	p->next = NULL;
	p->header = *header;
	memcpy(p->data, s->punt_buf, header->total_len);
	*s->parked_tail = p;
	s->parked_tail = &p->next;
	s->n_parked++;
}

int ipc_server_punt_tx_next(
	struct ipc_server *s, struct ipc_punt_header *header, const uint8_t **data)
{
	free(s->lent);
	s->lent = NULL;
	if (s->parked && parked_next(s, header, data)) {
		s->stats.punt_tx++;
		return 1;
	}
	while (s->n_parked < s->max_parked) {
		int n = ipc_punt_read(&s->region.ring[IPC_RING_PUNT_TX], header, s->punt_buf);

		if (n <= 0)
			return n;
		switch (awaited_state(s, header->after_command)) {
		case INFLIGHT_PENDING:
			park(s, header);
			break;
		case INFLIGHT_FAILED:
			s->stats.punt_tx_failed++;
			break;
		case INFLIGHT_DONE:
			*data = s->punt_buf;
			s->stats.punt_tx++;
			return 1;
		}
	}
	return 0;
}

void ipc_server_stats(const struct ipc_server *s, struct ipc_server_stats *out)
{
	*out = s->stats;
	out->inflight = inflight_count(&s->inflight);
	out->parked = s->n_parked;
}
