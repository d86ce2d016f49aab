#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/iked/child.h"

/*
 * The control process: ikectl's socket. It checks what clients send, passes requests to parent
 * or ike, and their answers back. A client that does not read is dropped, never waited for.
 */
#define CLIENTS_MAX 64
#define CLIENT_QUEUE_MAX (64u << 20)
#define COUNTERS_MAX 256
#define RECORD_MAX (sizeof(struct ctl_header) + CTL_BODY_MAX)

struct record {
	STAILQ_ENTRY(record) link;
	size_t len;
	uint8_t data[];
};

struct control;

/*
 * A request to the engines: one after the other is asked, for a listing of several parts for each
 * part, so that it reads as if one engine had all. Counters are summed.
 */
struct ask {
	enum iked_role answerer;
	enum ctl_type type;
	uint8_t *body; /* as the client sent it; owned */
	size_t len;
	uint32_t part, engine; /* who is asked now */
	int32_t status;
	struct ctl_counter *counters; /* owned */
	size_t n_counters, counter;   /* counter: the next one of this engine */
};

struct client {
	LIST_ENTRY(client) link;
	struct control *control;
	int fd;
	struct event *readable, *writable;
	uint64_t serial;      /* of its request under way, among all clients; 0: none */
	uint32_t wire_serial; /* as the client numbered it */
	struct ask ask;       /* the request, on its way from one to the next who carries it out */
	bool is_monitor, is_closing; /* closing: when its queue is written */
	STAILQ_HEAD(, record) queue;
	size_t queued_bytes;
};

struct control {
	struct child child;
	int listen_fd;
	struct event *acceptable;
	LIST_HEAD(, client) clients;
	unsigned int n_clients;
	uint64_t last_serial;
	uint32_t n_engines;
	/* What an engine that starts again must be told; CTL_NONE: nothing. */
	enum ctl_type mode, coupling;
};

static void ask_clear(struct ask *ask)
{
	free(ask->body);
	free(ask->counters);
	*ask = (struct ask){0};
}

static void client_destroy(struct client *c)
{
	struct record *r;

	ask_clear(&c->ask);

	LIST_REMOVE(c, link);
	c->control->n_clients--;
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	while ((r = STAILQ_FIRST(&c->queue))) {
		STAILQ_REMOVE_HEAD(&c->queue, link);
		free(r);
	}
	close(c->fd);
	/* A place is free again. */
	if (c->control->acceptable)
		event_add(c->control->acceptable, NULL);
	free(c);
}

static void on_client_writable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	struct record *r;

	(void)what;
	while ((r = STAILQ_FIRST(&c->queue))) {
		if (send(fd, r->data, r->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
				return;
			client_destroy(c);
			return;
		}
		STAILQ_REMOVE_HEAD(&c->queue, link);
		c->queued_bytes -= r->len;
		free(r);
	}
	event_del(c->writable);
	if (c->is_closing)
		client_destroy(c);
}

/* The client may be gone afterwards only by way of the loop. */
static void client_send(struct client *c, enum ctl_type type, const void *body, size_t len)
{
	struct record *r = malloc(sizeof(*r) + RECORD_MAX);

	if (!r || c->queued_bytes > CLIENT_QUEUE_MAX) {
		free(r);
		/* It would see an answer with a hole in it: better the end of the connection. */
		shutdown(c->fd, SHUT_RDWR);
		return;
	}
	r->len = ctl_message_build(r->data, RECORD_MAX, type, c->wire_serial, body, len);
	if (r->len == 0) {
		free(r);
		return;
	}
	STAILQ_INSERT_TAIL(&c->queue, r, link);
	c->queued_bytes += r->len;
	event_add(c->writable, NULL);
}

/* The request is answered. */
static void client_done(struct client *c, int32_t status)
{
	const struct ctl_done done = {status};

	for (size_t i = 0; i < c->ask.n_counters; i++)
		client_send(c, CTL_COUNTER, &c->ask.counters[i], sizeof(c->ask.counters[i]));
	client_send(c, CTL_DONE, &done, sizeof(done));
	ask_clear(&c->ask);
	c->serial = 0;
}

static void client_fail(struct client *c, const char *text)
{
	client_send(c, CTL_ERROR, text, strlen(text));
	ask_clear(&c->ask);
	client_done(c, 1);
}

/* Who carries a request out. */
static enum iked_role answerer_of(enum ctl_type type)
{
	switch (type) {
	case CTL_LOAD:
	case CTL_RELOAD:
	case CTL_LOG_VERBOSE:
	case CTL_LOG_BRIEF:
	case CTL_RESET_CA:
	case CTL_RESET_USER:
	case CTL_SHOW_CERTSTORE:
		return IKED_PARENT;
	default:
		return IKED_IKE;
	}
}

static void request_send(struct client *c, struct imsg_channel *to)
{
	uint8_t body[sizeof(struct msg_ctl) + CTL_BODY_MAX];
	const struct msg_ctl head = {.type = c->ask.type, .part = c->ask.part};

	c->serial = ++c->control->last_serial;
	memcpy(body, &head, sizeof(head));
	if (c->ask.len > 0)
		memcpy(body + sizeof(head), c->ask.body, c->ask.len);
	imsg_send(to, MSG_CTL_REQUEST, c->serial, body, sizeof(head) + c->ask.len, -1);
}

static uint32_t parts_of(enum ctl_type type)
{
	return type == CTL_SHOW_SA ? CTL_SHOW_SA_PARTS : 1;
}

/* The next engine that runs; 1: it was asked, 0: all were. */
static int engine_ask(struct client *c)
{
	struct control *control = c->control;
	struct ask *ask = &c->ask;

	for (; ask->part < parts_of(ask->type); ask->part++, ask->engine = 0) {
		for (; ask->engine < control->n_engines; ask->engine++) {
			struct imsg_channel *to = child_peer(
				&control->child, IKED_IKE, ask->engine);

			if (to) {
				ask->counter = 0;
				request_send(c, to);
				return 1;
			}
		}
	}
	return 0;
}

/* Says which engines are not there. */
static unsigned int engines_missing(struct client *c)
{
	char text[64];
	unsigned int n = 0;

	for (uint32_t i = 0; i < c->control->n_engines; i++) {
		if (child_peer(&c->control->child, IKED_IKE, i))
			continue;
		n++;
		snprintf(text, sizeof(text), "engine %u is being started", (unsigned int)i);
		if (c->control->n_engines > 1)
			client_send(c, CTL_ERROR, text, strlen(text));
	}
	return n;
}

static void engines_request(struct client *c)
{
	struct control *control = c->control;

	switch (c->ask.type) {
	case CTL_ACTIVE:
	case CTL_PASSIVE:
		control->mode = c->ask.type;
		break;
	case CTL_COUPLE:
	case CTL_DECOUPLE:
		control->coupling = c->ask.type;
		break;
	default:
		break;
	}
	c->ask.status = engines_missing(c) > 0;
	if (!engine_ask(c))
		client_fail(c, "the ike process is being started, try again");
}

static void client_request(struct client *c, const struct ctl_message *message)
{
	struct ask *ask = &c->ask;

	c->wire_serial = message->serial;
	if (message->type == CTL_MONITOR) {
		c->is_monitor = true;
		return;
	}
	*ask = (struct ask){.answerer = answerer_of(message->type), .type = message->type};
	ask->body = malloc(message->body_len + 1);
	if (!ask->body) {
		client_fail(c, "out of memory");
		return;
	}
	ask->len = message->body_len;
	if (ask->len > 0)
		memcpy(ask->body, message->body, ask->len);
	if (ask->answerer == IKED_PARENT)
		request_send(c, c->control->child.parent);
	else
		engines_request(c);
}

static void on_client_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	uint8_t data[RECORD_MAX + 1]; /* one more: a longer record is seen as too long */
	struct ctl_message message = {0};
	ssize_t got = recv(fd, data, sizeof(data), MSG_DONTWAIT);
	int error;

	(void)what;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		client_destroy(c);
		return;
	}
	error = ctl_request_parse(data, (size_t)got, &message);
	if (error == CTL_OK && c->serial == 0 && !c->is_monitor && !c->is_closing) {
		client_request(c, &message);
		return;
	}
	/* A request before the last one is answered, or no request: the end of this client. */
	c->wire_serial = message.serial;
	client_fail(c, error == CTL_OK ? "one request at a time" : ctl_error_str(error));
	c->is_closing = true;
	event_del(c->readable);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;
	int client_fd;
	struct client *c;

	(void)what;
	if (control->n_clients == CLIENTS_MAX) {
		event_del(control->acceptable);
		return;
	}
	client_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client_fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(client_fd);
		return;
	}
	c->control = control;
	c->fd = client_fd;
	STAILQ_INIT(&c->queue);
	LIST_INSERT_HEAD(&control->clients, c, link);
	control->n_clients++;
	c->readable = event_new(
		control->child.base, client_fd, EV_READ | EV_PERSIST, on_client_readable, c);
	c->writable = event_new(
		control->child.base, client_fd, EV_WRITE | EV_PERSIST, on_client_writable, c);
	if (!c->readable || !c->writable || event_add(c->readable, NULL) < 0)
		client_destroy(c);
}

/* Each engine sends the same counters in the same order. */
static void counter_add(struct client *c, const struct imsg *msg)
{
	struct ask *ask = &c->ask;
	struct ctl_counter counter;

	if (msg->len != sizeof(struct msg_ctl) + sizeof(counter))
		return;
	memcpy(&counter, msg->body + sizeof(struct msg_ctl), sizeof(counter));
	if (ask->counter < ask->n_counters) {
		ask->counters[ask->counter++].value += counter.value;
		return;
	}
	struct ctl_counter *grown = realloc(
		ask->counters, (ask->n_counters + 1) * sizeof(*ask->counters));

	if (!grown || ask->n_counters == COUNTERS_MAX)
		return;
	ask->counters = grown;
	grown[ask->n_counters++] = counter;
	ask->counter = ask->n_counters;
}

static void done_pass(struct client *c, const struct imsg *msg)
{
	struct ctl_done done = {1};

	if (msg->len == sizeof(struct msg_ctl) + sizeof(done))
		memcpy(&done, msg->body + sizeof(struct msg_ctl), sizeof(done));
	c->ask.status |= done.status;
	if (c->ask.answerer == IKED_IKE) {
		/* Every engine has all policies. */
		c->ask.engine = c->ask.type == CTL_WHY_POLICY ? c->control->n_engines
							      : c->ask.engine + 1;
		if (engine_ask(c))
			return;
	}
	client_done(c, c->ask.status);
}

static void reply_pass(
	struct control *control, enum iked_role from, uint32_t number, const struct imsg *msg)
{
	struct msg_ctl head;
	struct client *c;

	memcpy(&head, msg->body, sizeof(head));
	LIST_FOREACH(c, &control->clients, link)
	{
		if (c->serial != msg->serial || c->serial == 0 || c->ask.answerer != from ||
			(from == IKED_IKE && c->ask.engine != number))
			continue;
		if (head.type == CTL_DONE)
			done_pass(c, msg);
		else if (head.type == CTL_COUNTER)
			counter_add(c, msg);
		else
			client_send(c, (enum ctl_type)head.type, msg->body + sizeof(head),
				msg->len - sizeof(head));
		return;
	}
}

static void event_pass(struct control *control, const struct imsg *msg)
{
	struct client *c;

	LIST_FOREACH(c, &control->clients, link)
	{
		if (c->is_monitor)
			client_send(c, CTL_EVENT, msg->body, msg->len);
	}
}

static void socket_take(struct control *control, const struct imsg *msg)
{
	if (control->acceptable) {
		close(msg->fd);
		return;
	}
	memcpy(&control->n_engines, msg->body, sizeof(control->n_engines));
	if (control->n_engines > IPC_ENGINES_MAX)
		control->n_engines = IPC_ENGINES_MAX;
	control->listen_fd = msg->fd;
	control->acceptable = event_new(
		control->child.base, msg->fd, EV_READ | EV_PERSIST, on_acceptable, control);
	if (control->acceptable)
		event_add(control->acceptable, NULL);
}

static void from_parent(void *ctx, const struct imsg *msg)
{
	struct control *control = ctx;

	switch (msg->type) {
	case MSG_CTL_SOCKET:
		socket_take(control, msg);
		break;
	case MSG_CTL_REPLY:
		reply_pass(control, IKED_PARENT, 0, msg);
		break;
	case MSG_CTL_EVENT:
		event_pass(control, msg);
		break;
	case MSG_STOP:
		event_base_loopbreak(control->child.base);
		break;
	}
}

static void from_ike(void *ctx, uint32_t number, const struct imsg *msg)
{
	switch (msg->type) {
	case MSG_CTL_REPLY:
		reply_pass(ctx, IKED_IKE, number, msg);
		break;
	case MSG_CTL_EVENT:
		event_pass(ctx, msg);
		break;
	}
}

/* An engine that starts again is in the mode that the others were put in. */
static void modes_tell(struct control *control, uint32_t number)
{
	const enum ctl_type types[] = {control->mode, control->coupling};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const struct msg_ctl head = {.type = types[i]};

		if (types[i] != CTL_NONE)
			imsg_send(child_peer(&control->child, IKED_IKE, number), MSG_CTL_REQUEST, 0,
				&head, sizeof(head), -1);
	}
}

/* Requests that a lost engine had will not be answered. */
static void peer_changed(void *ctx, enum iked_role peer, uint32_t number, bool is_there)
{
	struct control *control = ctx;
	struct client *c;

	if (peer != IKED_IKE)
		return;
	if (is_there) {
		modes_tell(control, number);
		return;
	}
	LIST_FOREACH(c, &control->clients, link)
	{
		if (c->serial != 0 && c->ask.answerer == peer && c->ask.engine == number)
			client_fail(c, "the ike process was lost");
	}
}

int control_main(void)
{
	struct control control = {
		.child = {.role = IKED_CONTROL,
			.from_parent = from_parent,
			.peer_changed = peer_changed},
		.listen_fd = -1,
	};

	LIST_INIT(&control.clients);
	control.child.ctx = &control;
	control.child.from_peer[IKED_IKE] = from_ike;
	if (child_start(&control.child) < 0)
		return 1;
	event_base_dispatch(control.child.base);
	while (!LIST_EMPTY(&control.clients))
		client_destroy(LIST_FIRST(&control.clients));
	if (control.acceptable)
		event_free(control.acceptable);
	if (control.listen_fd >= 0)
		close(control.listen_fd);
	child_fini(&control.child);
	return 0;
}
