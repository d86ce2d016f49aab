#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/iked/number_map.h"
#include "controlplane/iked/transport.h"
#include "ipc/client.h"

/*
 * The rings of espd. Attached again whenever espd went away: each pause between two tries is
 * time in which a new espd forwards nothing, and a try costs one connect().
 */
#define RETRY_FIRST_MS 10
#define RETRY_LAST_MS 80
/* Behind the ring: six commands a tunnel when all is pushed again. None may be lost then. */
#define COMMANDS_QUEUED_MAX (1u << 22)

struct transport_espd {
	struct transport t; /* first */
	struct ipc_client *client;
	struct event *socket_event, *wake_event, *retry, *again;
	struct number_map numbers;
	uint32_t retry_ms;
	bool is_up, was_told_failed;
	/* Commands that were not sent: answered from the loop, as the interface promises. */
	struct ipc_ack *failed;
	size_t n_failed, cap_failed;
	struct event *failed_event;
};

static struct transport_espd *espd_of(struct transport *t)
{
	return (struct transport_espd *)t;
}

static void input(struct transport_espd *e, struct ike_input *in)
{
	e->t.params.owner.input(e->t.params.owner.ctx, in);
}

static void retry_later(struct transport_espd *e)
{
	const struct timeval tv = {e->retry_ms / 1000, (suseconds_t)(e->retry_ms % 1000) * 1000};

	event_add(e->retry, &tv);
	e->retry_ms = e->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : e->retry_ms * 2;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct transport_espd *e = arg;

	(void)fd;
	(void)what;
	e->t.params.owner.espd_wanted(e->t.params.owner.ctx);
}

static void service(struct transport_espd *e)
{
	/* More to do: after other work of the loop. */
	if (ipc_client_service(e->client) == 1)
		event_active(e->again, EV_TIMEOUT, 0);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	service(arg);
}

static void event_drop(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

static void own_command(struct transport_espd *e, uint32_t type, const void *body)
{
	uint64_t number;

	if (ipc_client_send(e->client, type, body, &number) < 0 ||
		number_map_add(&e->numbers, number, 0) < 0)
		log_error(e->t.params.log, "espd: command %u not sent", (unsigned int)type);
}

/* Which datagrams are ours: those to our ports, whatever local address. */
static void ports_register(struct transport_espd *e)
{
	const struct msg_setup *setup = e->t.params.setup;
	struct ipc_punt_register reg = {.add = 1};

	own_command(e, IPC_CMD_STEER, e->t.params.steer);
	reg.local.port = setup->port;
	if (!setup->only_nat_t)
		own_command(e, IPC_CMD_PUNT_REGISTER, &reg);
	reg.local.port = setup->nat_port;
	reg.nat_t = 1;
	if (!setup->no_nat_t)
		own_command(e, IPC_CMD_PUNT_REGISTER, &reg);
}

static void on_attached(void *ctx)
{
	struct transport_espd *e = ctx;
	struct ike_input in = {.type = IKE_IN_TRANSPORT_UP};

	e->wake_event = event_new(
		e->t.params.base, ipc_client_wake_fd(e->client), EV_READ | EV_PERSIST, on_ready, e);
	if (e->wake_event)
		event_add(e->wake_event, NULL);
	log_info(e->t.params.log, "attached to espd");
	e->is_up = true;
	e->was_told_failed = false;
	e->retry_ms = RETRY_FIRST_MS;
	number_map_reset(&e->numbers);
	ports_register(e);
	input(e, &in);
}

static void on_closing(void *ctx)
{
	struct transport_espd *e = ctx;

	event_drop(&e->socket_event);
	event_drop(&e->wake_event);
}

static void on_disconnected(void *ctx, int reason, uint32_t refusal, uint64_t n_dropped)
{
	struct transport_espd *e = ctx;
	struct ike_input in = {.type = IKE_IN_TRANSPORT_DOWN};

	if (e->is_up || !e->was_told_failed)
		log_warn(e->t.params.log, "espd: %s%s%s; %llu commands without an answer",
			ipc_strerror(reason), reason == -IPC_ERR_REFUSED ? ": " : "",
			reason == -IPC_ERR_REFUSED ? ipc_refusal_str(refusal) : "",
			(unsigned long long)n_dropped);
	e->was_told_failed = true;
	number_map_reset(&e->numbers);
	if (e->is_up) {
		e->is_up = false;
		e->n_failed = 0;
		input(e, &in);
	}
	retry_later(e);
}

static void on_ack(void *ctx, uint64_t number, uint32_t type, uint32_t error)
{
	struct transport_espd *e = ctx;
	struct ike_input in = {.type = IKE_IN_ACK};

	in.event.ack = (struct ipc_ack){
		.number = number_map_to_engine(&e->numbers, number), .error = error, .type = type};
	if (in.event.ack.number != 0) {
		input(e, &in);
		return;
	}
	if (error != IPC_OK)
		log_error(e->t.params.log, "espd: command %u refused with %u", (unsigned int)type,
			(unsigned int)error);
}

/* The engine's input for each event, and how many bytes of body it has. */
static const struct event_row {
	uint32_t type;
	enum ike_input_type input;
	size_t len;
} event_rows[] = {
	{IPC_EVENT_ACQUIRE, IKE_IN_ACQUIRE, sizeof(struct ipc_acquire)},
	{IPC_EVENT_SA_STATE, IKE_IN_SA_STATE, sizeof(struct ipc_sa_state)},
	{IPC_EVENT_NAT_CHANGE, IKE_IN_NAT_CHANGE, sizeof(struct ipc_nat_change)},
	{IPC_EVENT_SPI_LEASE, IKE_IN_SPI_LEASE, sizeof(struct ipc_spi_lease)},
	{IPC_EVENT_ROUTE, IKE_IN_ROUTE, sizeof(struct ipc_route)},
	{IPC_EVENT_ADDR, IKE_IN_ADDR, sizeof(struct ipc_addr_event)},
	{IPC_EVENT_ROUTE_CHANGED, IKE_IN_ROUTE_CHANGED, 0},
	{IPC_EVENT_LINK, IKE_IN_LINK, sizeof(struct ipc_link_event)},
	{IPC_EVENT_HELD, IKE_IN_HELD, sizeof(struct ipc_held)},
	{IPC_EVENT_HELD_FLOW, IKE_IN_HELD_FLOW, sizeof(struct ipc_held_flow)},
	{IPC_EVENT_HELD_END, IKE_IN_HELD_END, 0},
	{IPC_EVENT_FLUSHED, IKE_IN_FLUSHED, 0},
	{IPC_EVENT_PMTU, IKE_IN_PMTU, sizeof(struct ipc_pmtu_event)},
};

static void on_event(void *ctx, uint32_t type, const void *body)
{
	struct transport_espd *e = ctx;

	for (size_t i = 0; i < sizeof(event_rows) / sizeof(event_rows[0]); i++) {
		const struct event_row *row = &event_rows[i];
		struct ike_input in = {.type = row->input};

		if (row->type != type)
			continue;
		if (row->len > 0)
			memcpy(&in.event, body, row->len);
		input(e, &in);
		return;
	}
}

static void on_punt(
	void *ctx, const struct ipc_punt_header *header, const uint8_t *data, size_t len)
{
	struct ike_input in = {.type = IKE_IN_DATAGRAM};

	in.datagram = (struct ike_datagram){
		.local = header->local,
		.remote = header->remote,
		.has_marker = (header->flags & IPC_PUNT_MARKER) != 0,
		.is_known = (header->flags & IPC_PUNT_KNOWN) != 0,
		.data = data,
		.len = len,
	};
	input(ctx, &in);
}

static const struct ipc_client_ops client_ops = {
	.attached = on_attached,
	.disconnected = on_disconnected,
	.ack = on_ack,
	.event = on_event,
	.punt = on_punt,
	.closing = on_closing,
};

static void espd_start(struct transport *t)
{
	on_retry(-1, 0, espd_of(t));
}

static void on_failed(evutil_socket_t fd, short what, void *arg)
{
	struct transport_espd *e = arg;
	size_t n = e->n_failed;
	struct ipc_ack *list = e->failed;

	(void)fd;
	(void)what;
	e->failed = NULL;
	e->n_failed = e->cap_failed = 0;
	for (size_t i = 0; i < n; i++) {
		struct ike_input in = {.type = IKE_IN_ACK};

		in.event.ack = list[i];
		input(e, &in);
	}
	free(list);
}

static void command_fail(struct transport_espd *e, const struct ike_command *command)
{
	if (e->n_failed == e->cap_failed) {
		size_t cap = e->cap_failed > 0 ? e->cap_failed * 2 : 64;
		struct ipc_ack *list = realloc(e->failed, cap * sizeof(*list));

		if (!list)
			return;
		e->failed = list;
		e->cap_failed = cap;
	}
	e->failed[e->n_failed++] = (struct ipc_ack){
		.number = command->header.number,
		.error = IPC_E_FULL,
		.type = command->header.type,
	};
	event_active(e->failed_event, EV_TIMEOUT, 0);
}

static void espd_command(struct transport *t, const struct ike_command *command)
{
	struct transport_espd *e = espd_of(t);
	const void *body = command->body_len > 0 ? &command->body : NULL;
	uint64_t number;
	int result = ipc_client_send(e->client, command->header.type, body, &number);

	/* Away: the engine hears of it by TRANSPORT_DOWN and pushes all again at TRANSPORT_UP. */
	if (result == -IPC_ERR_CLOSED)
		return;
	if (result == 0)
		result = number_map_add(&e->numbers, number, command->header.number);
	if (result < 0)
		command_fail(e, command);
}

static void espd_send(struct transport *t, const struct ike_send *send)
{
	struct transport_espd *e = espd_of(t);
	struct ipc_punt_header header = {
		.local = send->local,
		.remote = send->remote,
		.flags = send->marker ? IPC_PUNT_MARKER : 0,
	};

	if (send->after_command != 0) {
		header.after_command = number_map_to_ring(&e->numbers, send->after_command);
		/* Its command was lost with an attachment: it must not leave before that is
		 * repeated, and is sent again by retransmission. */
		if (header.after_command == 0)
			return;
	}
	if (ipc_client_punt_send(e->client, &header, send->data, send->len) < 0)
		log_debug(t->params.log, "espd: a datagram of %zu bytes was not taken", send->len);
}

static bool espd_is_idle(const struct transport *t)
{
	const struct transport_espd *e = (const struct transport_espd *)t;

	return !e->is_up || ipc_client_outstanding(e->client) == 0;
}

void transport_espd_attach(struct transport *t, int fd)
{
	struct transport_espd *e = espd_of(t);
	int socket_fd;

	if (ipc_client_attach(e->client, fd) < 0) {
		retry_later(e);
		return;
	}
	socket_fd = ipc_client_socket_fd(e->client);
	if (socket_fd >= 0)
		e->socket_event = event_new(
			t->params.base, socket_fd, EV_READ | EV_PERSIST, on_ready, e);
	if (e->socket_event)
		event_add(e->socket_event, NULL);
	event_active(e->again, EV_TIMEOUT, 0);
}

void transport_espd_failed(struct transport *t, const char *why)
{
	struct transport_espd *e = espd_of(t);

	if (!e->was_told_failed)
		log_warn(t->params.log, "espd is not there, waiting for it: %s", why);
	e->was_told_failed = true;
	retry_later(e);
}

static void espd_destroy(struct transport *t)
{
	struct transport_espd *e = espd_of(t);

	ipc_client_destroy(e->client);
	event_drop(&e->socket_event);
	event_drop(&e->wake_event);
	event_drop(&e->retry);
	event_drop(&e->again);
	event_drop(&e->failed_event);
	number_map_fini(&e->numbers);
	free(e->failed);
	free(e);
}

static const struct transport_ops espd_ops = {
	.start = espd_start,
	.send = espd_send,
	.command = espd_command,
	.is_idle = espd_is_idle,
	.destroy = espd_destroy,
};

struct transport *transport_espd_create(const struct transport_params *params)
{
	struct transport_espd *e = calloc(1, sizeof(*e));
	struct ipc_client_config config = {
		.owner_kind = IPC_OWNER_ENGINE,
		.engine = params->setup->engine_number,
		.max_queued = COMMANDS_QUEUED_MAX,
		.ops = &client_ops,
	};

	if (!e)
		return NULL;
	e->t = (struct transport){&espd_ops, *params};
	e->retry_ms = RETRY_FIRST_MS;
	config.ctx = e;
	e->retry = evtimer_new(params->base, on_retry, e);
	e->again = event_new(params->base, -1, 0, on_ready, e);
	e->failed_event = event_new(params->base, -1, 0, on_failed, e);
	if (!e->retry || !e->again || !e->failed_event ||
		ipc_client_create(&e->client, &config) < 0) {
		espd_destroy(&e->t);
		return NULL;
	}
	return &e->t;
}
