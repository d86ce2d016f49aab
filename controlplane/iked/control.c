#include <errno.h>
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
#define RECORD_MAX (sizeof(struct ctl_header) + CTL_BODY_MAX)

struct record {
	STAILQ_ENTRY(record) link;
	size_t len;
	uint8_t data[];
};

struct control;

struct client {
	LIST_ENTRY(client) link;
	struct control *control;
	int fd;
	struct event *readable, *writable;
	uint64_t serial;      /* of its request under way, among all clients; 0: none */
	uint32_t wire_serial; /* as the client numbered it */
	enum iked_role answerer;
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
};

static void client_destroy(struct client *c)
{
	struct record *r;

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

static void client_fail(struct client *c, const char *text)
{
	const struct ctl_done done = {1};

	client_send(c, CTL_ERROR, text, strlen(text));
	client_send(c, CTL_DONE, &done, sizeof(done));
	c->serial = 0;
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

static void client_request(struct client *c, const struct ctl_message *message)
{
	uint8_t body[sizeof(struct msg_ctl) + CTL_BODY_MAX];
	const struct msg_ctl head = {message->type};
	struct imsg_channel *to;

	c->wire_serial = message->serial;
	if (message->type == CTL_MONITOR) {
		c->is_monitor = true;
		return;
	}
	c->answerer = answerer_of(message->type);
	to = c->answerer == IKED_PARENT ? c->control->child.parent
					: c->control->child.peer[IKED_IKE];
	if (!to) {
		client_fail(c, "the ike process is being started, try again");
		return;
	}
	c->serial = ++c->control->last_serial;
	memcpy(body, &head, sizeof(head));
	if (message->body_len > 0)
		memcpy(body + sizeof(head), message->body, message->body_len);
	imsg_send(to, MSG_CTL_REQUEST, c->serial, body, sizeof(head) + message->body_len, -1);
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

static void reply_pass(struct control *control, enum iked_role from, const struct imsg *msg)
{
	struct msg_ctl head;
	struct client *c;

	memcpy(&head, msg->body, sizeof(head));
	LIST_FOREACH(c, &control->clients, link)
	{
		if (c->serial != msg->serial || c->serial == 0 || c->answerer != from)
			continue;
		client_send(c, (enum ctl_type)head.type, msg->body + sizeof(head),
			msg->len - sizeof(head));
		if (head.type == CTL_DONE)
			c->serial = 0;
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
		reply_pass(control, IKED_PARENT, msg);
		break;
	case MSG_CTL_EVENT:
		event_pass(control, msg);
		break;
	case MSG_STOP:
		event_base_loopbreak(control->child.base);
		break;
	}
}

static void from_ike(void *ctx, const struct imsg *msg)
{
	switch (msg->type) {
	case MSG_CTL_REPLY:
		reply_pass(ctx, IKED_IKE, msg);
		break;
	case MSG_CTL_EVENT:
		event_pass(ctx, msg);
		break;
	}
}

/* Requests that the lost engine had will not be answered. */
static void peer_changed(void *ctx, enum iked_role peer, bool is_there)
{
	struct control *control = ctx;
	struct client *c;

	if (is_there)
		return;
	LIST_FOREACH(c, &control->clients, link)
	{
		if (c->serial != 0 && c->answerer == peer)
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
