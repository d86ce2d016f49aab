#include "controlplane/iked/imsg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/wipe.h"

/* Records read in one go before the loop may do other work. */
#define READS_PER_WAKE 64

struct queued {
	STAILQ_ENTRY(queued) link;
	int fd;
	size_t len;
	uint8_t data[];
};

struct imsg_channel {
	int fd;
	struct imsg_rules incoming;
	struct imsg_handler handler;
	struct event *readable, *writable, *failed;
	STAILQ_HEAD(, queued) queue;
	size_t queued_bytes;
	bool is_dead;
	bool *destroyed; /* set while a callback runs, so that the caller sees a destroy */
	uint8_t record[sizeof(struct imsg_header) + IMSG_BODY_MAX];
};

const char *imsg_error_str(int error)
{
	switch (error) {
	case IMSG_OK:
		return "no error";
	case IMSG_E_SHORT:
		return "record and header disagree on the length";
	case IMSG_E_TYPE:
		return "message of a type that this sender may not send";
	case IMSG_E_LENGTH:
		return "body of a wrong length";
	case IMSG_E_FD:
		return "descriptor missing or unexpected";
	default:
		return "unknown error";
	}
}

const struct imsg_rule *imsg_rule_find(const struct imsg_rules *rules, uint32_t type)
{
	for (size_t i = 0; i < rules->n; i++) {
		if (rules->rule[i].type == type)
			return &rules->rule[i];
	}
	return NULL;
}

int imsg_parse(
	const void *record, size_t len, int fd, const struct imsg_rules *rules, struct imsg *msg)
{
	struct imsg_header header;
	const struct imsg_rule *rule;

	if (len < sizeof(header))
		return IMSG_E_SHORT;
	memcpy(&header, record, sizeof(header));
	if (header.len != len - sizeof(header))
		return IMSG_E_SHORT;
	rule = imsg_rule_find(rules, header.type);
	if (!rule)
		return IMSG_E_TYPE;
	if (header.len < rule->min_len || header.len > rule->max_len)
		return IMSG_E_LENGTH;
	if (rule->has_fd != (fd >= 0))
		return IMSG_E_FD;
	*msg = (struct imsg){
		.type = header.type,
		.serial = header.serial,
		.body = (const uint8_t *)record + sizeof(header),
		.len = header.len,
		.fd = fd,
	};
	return IMSG_OK;
}

int imsg_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
}

static void queued_free(struct queued *q)
{
	if (q->fd >= 0)
		close(q->fd);
	wipe(q->data, q->len);
	free(q);
}

/* The one way to tell the owner; afterwards the channel may be gone. */
static void channel_fail(struct imsg_channel *channel, const char *why)
{
	if (channel->is_dead)
		return;
	channel->is_dead = true;
	event_del(channel->readable);
	event_del(channel->writable);
	channel->handler.closed(channel->handler.ctx, why);
}

/* Takes the descriptors that came with a record; more than one is a fault and closes them. */
static int control_take_fd(struct msghdr *mh, int *fd)
{
	int result = 0;

	*fd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (*fd < 0) {
				*fd = got;
				continue;
			}
			close(got);
			result = -1;
		}
	}
	return result;
}

/* 1 a record, 0 nothing there, -1 the channel failed (with *why). */
static int record_receive(struct imsg_channel *channel, struct imsg *msg, const char **why)
{
	uint8_t control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = {channel->record, sizeof(channel->record)};
	struct msghdr mh = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(channel->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd, error;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	*why = "the other process is gone";
	if (got <= 0)
		return -1;
	*why = "too many descriptors";
	if (control_take_fd(&mh, &fd) < 0)
		goto bad;
	*why = "a record was cut";
	if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		goto bad;
	error = imsg_parse(channel->record, (size_t)got, fd, &channel->incoming, msg);
	*why = imsg_error_str(error);
	if (error == IMSG_OK)
		return 1;
bad:
	if (fd >= 0)
		close(fd);
	return -1;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct imsg_channel *channel = arg;
	bool destroyed = false;

	(void)fd;
	(void)what;
	channel->destroyed = &destroyed;
	for (int i = 0; i < READS_PER_WAKE; i++) {
		struct imsg msg;
		const char *why = NULL;
		int got = record_receive(channel, &msg, &why);

		if (got == 0)
			break;
		if (got < 0) {
			channel_fail(channel, why);
			if (destroyed)
				return;
			break;
		}
		channel->handler.dispatch(channel->handler.ctx, &msg);
		if (destroyed)
			return;
		/* Bodies may hold keys: nothing stays in the buffer. */
		wipe(channel->record, sizeof(struct imsg_header) + msg.len);
		if (channel->is_dead)
			break;
	}
	channel->destroyed = NULL;
}

/* 1 sent, 0 would block, -1 failed. */
static int record_send(struct imsg_channel *channel, const void *data, size_t len, int fd)
{
	uint8_t control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(channel->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		return 1;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
		return 0;
	return -1;
}

/* Writes what it can. 1 all written, 0 some left, -1 failed. */
static int queue_drain(struct imsg_channel *channel)
{
	struct queued *q;

	while ((q = STAILQ_FIRST(&channel->queue))) {
		int sent = record_send(channel, q->data, q->len, q->fd);

		if (sent <= 0)
			return sent;
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		channel->queued_bytes -= q->len;
		queued_free(q);
	}
	return 1;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct imsg_channel *channel = arg;

	(void)fd;
	(void)what;
	switch (queue_drain(channel)) {
	case 1:
		event_del(channel->writable);
		break;
	case -1:
		channel_fail(channel, "cannot write to the other process");
		break;
	}
}

/* A send that failed is told from the loop, never from inside the caller's call. */
static void on_failed(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	channel_fail(arg, "cannot queue for the other process");
}

struct imsg_channel *imsg_channel_create(struct event_base *base, int fd,
	const struct imsg_rules *incoming, const struct imsg_handler *handler)
{
	struct imsg_channel *channel = calloc(1, sizeof(*channel));

	if (!channel) {
		close(fd);
		return NULL;
	}
	channel->fd = fd;
	channel->incoming = *incoming;
	channel->handler = *handler;
	STAILQ_INIT(&channel->queue);
	channel->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, channel);
	channel->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, channel);
	channel->failed = event_new(base, -1, 0, on_failed, channel);
	if (!channel->readable || !channel->writable || !channel->failed ||
		event_add(channel->readable, NULL) < 0) {
		imsg_channel_destroy(channel);
		return NULL;
	}
	return channel;
}

void imsg_channel_destroy(struct imsg_channel *channel)
{
	struct queued *q;

	if (!channel)
		return;
	if (channel->destroyed)
		*channel->destroyed = true;
	if (channel->readable)
		event_free(channel->readable);
	if (channel->writable)
		event_free(channel->writable);
	if (channel->failed)
		event_free(channel->failed);
	while ((q = STAILQ_FIRST(&channel->queue))) {
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		queued_free(q);
	}
	close(channel->fd);
	wipe(channel->record, sizeof(channel->record));
	free(channel);
}

int imsg_send(struct imsg_channel *channel, uint32_t type, uint64_t serial, const void *body,
	size_t len, int send_fd)
{
	struct imsg_header header = {.type = type, .len = (uint32_t)len, .serial = serial};
	struct queued *q = NULL;
	int sent = 0;

	if (!channel || channel->is_dead || len > IMSG_BODY_MAX)
		goto lost;
	if (channel->queued_bytes + sizeof(header) + len > IMSG_QUEUE_MAX)
		goto lost;
	q = malloc(sizeof(*q) + sizeof(header) + len);
	if (!q)
		goto lost;
	q->fd = send_fd;
	q->len = sizeof(header) + len;
	memcpy(q->data, &header, sizeof(header));
	if (len > 0)
		memcpy(q->data + sizeof(header), body, len);
	if (STAILQ_EMPTY(&channel->queue))
		sent = record_send(channel, q->data, q->len, q->fd);
	if (sent > 0) {
		queued_free(q);
		return 0;
	}
	if (sent < 0) {
		send_fd = -1; /* queued_free closes it */
		queued_free(q);
		goto lost;
	}
	STAILQ_INSERT_TAIL(&channel->queue, q, link);
	channel->queued_bytes += q->len;
	event_add(channel->writable, NULL);
	return 0;
lost:
	if (send_fd >= 0)
		close(send_fd);
	if (channel && !channel->is_dead)
		event_active(channel->failed, EV_TIMEOUT, 0);
	return -1;
}

size_t imsg_queued_bytes(const struct imsg_channel *channel)
{
	return channel->queued_bytes;
}

int imsg_flush(struct imsg_channel *channel)
{
	while (!channel->is_dead && !STAILQ_EMPTY(&channel->queue)) {
		struct pollfd p = {.fd = channel->fd, .events = POLLOUT};

		if (poll(&p, 1, 1000) <= 0 || queue_drain(channel) < 0)
			return -1;
	}
	return channel->is_dead ? -1 : 0;
}
