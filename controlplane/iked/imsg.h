#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Messages between the processes of penstock-iked: records on a SOCK_SEQPACKET socketpair, each
 * a header and a body, at times with one descriptor. What a sender may say, and how long it may
 * be, is a table (struct imsg_rule) that the receiver checks before its one dispatch function for
 * that sender runs: a process that was taken over can send well-formed messages of its own kind
 * and nothing else.
 */
#define IMSG_BODY_MAX 16384
/* Bytes that may wait for a receiver that does not read; beyond it the channel counts as dead. */
#define IMSG_QUEUE_MAX (64u << 20)

struct imsg_header {
	uint32_t type;
	uint32_t len; /* of the body */
	uint64_t serial;
};

struct imsg {
	uint32_t type;
	uint64_t serial;
	const uint8_t *body; /* valid until the dispatch function returns */
	size_t len;
	int fd; /* -1, or a descriptor that the dispatch function takes over */
};

struct imsg_rule {
	uint32_t type;
	const char *name;
	uint32_t min_len, max_len; /* of the body */
	bool has_fd;
};

/* A set of rules: what may arrive on one end of a channel. */
struct imsg_rules {
	const struct imsg_rule *rule;
	size_t n;
};

enum imsg_error {
	IMSG_OK = 0,
	IMSG_E_SHORT = -1,  /* no header, or the length is not the record's */
	IMSG_E_TYPE = -2,   /* not in the sender's table */
	IMSG_E_LENGTH = -3, /* body too short or too long for its type */
	IMSG_E_FD = -4,     /* a descriptor is missing or unexpected */
};

struct imsg_channel;

struct imsg_handler {
	void (*dispatch)(void *ctx, const struct imsg *msg);
	/* The other end is gone or broke the rules; the channel is dead and must be destroyed,
	 * which may happen inside this call. */
	void (*closed)(void *ctx, const char *why);
	void *ctx;
};

/* Checks one record against the rules; msg->fd is taken from fd. 0 or IMSG_E_*. */
int imsg_parse(const void *record, size_t len, int fd, const struct imsg_rules *rules,
	struct imsg *msg) __attribute__((warn_unused_result));
const char *imsg_error_str(int error);
/* The rule of a type, or NULL. */
const struct imsg_rule *imsg_rule_find(const struct imsg_rules *rules, uint32_t type);

/* Two connected ends, non-blocking, close-on-exec. 0 or -1 with errno. */
int imsg_pair(int fds[2]);

/* Takes over fd. NULL if out of memory (fd is then closed). */
struct imsg_channel *imsg_channel_create(struct event_base *base, int fd,
	const struct imsg_rules *incoming, const struct imsg_handler *handler);
void imsg_channel_destroy(struct imsg_channel *channel); /* NULL allowed */

/*
 * Queues a message; it leaves at once if the socket takes it. Takes over send_fd (-1: none).
 * 0, or -1 if the body is too long, memory is out, or the queue is full: the message is lost and
 * `closed` is called from the loop.
 */
int imsg_send(struct imsg_channel *channel, uint32_t type, uint64_t serial, const void *body,
	size_t len, int send_fd);

size_t imsg_queued_bytes(const struct imsg_channel *channel);

/* Blocks until all that was queued is written (before an exit). 0 or -1. */
int imsg_flush(struct imsg_channel *channel);
