#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/attach.h"
#include "ipc/messages.h"

/*
 * The client's end, for iked's engines and ipsecctl. No event library is inside: put
 * ipc_client_socket_fd and ipc_client_wake_fd (read events) in your loop and call
 * ipc_client_service when either fires, and again at once while it returns 1.
 *
 *   ipc_client_create -> (ipc_client_attach -> attached ... disconnected) * -> ipc_client_destroy
 *
 * Commands: ipc_client_send gives each a number (ascending from 1 over the client's whole life,
 * also across attachments) and puts it in the ring, or in a bounded queue in memory behind a
 * full ring, in order. Each command of an attachment is acknowledged exactly once by the ack
 * callback, in any order, unless `disconnected` comes first: then all unacknowledged commands
 * are forgotten (their keys wiped), whether espd carried them out is unknown, and the owner
 * starts a resync after the next `attached`. Numbers that were dropped are never acknowledged.
 *
 * Callbacks run inside ipc_client_service only. They may call ipc_client_send,
 * ipc_client_punt_send and ipc_client_detach, not attach, service or destroy.
 */
struct ipc_client;

struct ipc_client_ops {
	/* The rings are there; commands may be sent. */
	void (*attached)(void *ctx);
	/*
	 * The attachment ended, or never came to be. reason: -IPC_ERR_CLOSED (espd is gone),
	 * -IPC_ERR_REFUSED (refusal says why), -IPC_ERR_BROKEN, -IPC_ERR_VERSION ... The
	 * descriptors are closed; take them out of the loop in `closing`, which comes
	 * just before. n_dropped commands will not be acknowledged.
	 */
	void (*disconnected)(void *ctx, int reason, uint32_t refusal, uint64_t n_dropped);
	/* error: enum ipc_error. */
	void (*ack)(void *ctx, uint64_t number, uint32_t type, uint32_t error);
	/* Any other event; body is a private copy of the type's struct (NULL if it has none). */
	void (*event)(void *ctx, uint32_t type, const void *body);
	/* A datagram; data is valid during the call. header->flags has IPC_PUNT_KNOWN or not. */
	void (*punt)(
		void *ctx, const struct ipc_punt_header *header, const uint8_t *data, size_t len);
	/* May be NULL: just before the descriptors of an attachment are closed. */
	void (*closing)(void *ctx);
};

struct ipc_client_config {
	uint32_t owner_kind; /* enum ipc_owner_kind */
	uint32_t engine;
	uint32_t max_queued;              /* commands in memory behind the ring; 0: 65536 */
	uint32_t batch;                   /* events and datagrams a call of service; 0: 256 */
	const struct ipc_client_ops *ops; /* not owned, must outlive the client */
	void *ctx;
};

struct ipc_client_stats {
	uint64_t sent, acked, dropped, refused_full; /* commands */
	uint64_t queued_now, queued_most;            /* in memory */
	uint64_t bad_acks;   /* for a command that was not outstanding: counted, not delivered */
	uint64_t bad_events; /* of unknown type */
	uint64_t punt_rx_known, punt_rx_strangers, punt_tx, punt_tx_full;
	uint64_t attachments;
};

/* 0, -IPC_ERR_NOMEM, -IPC_ERR_INVALID. */
int ipc_client_create(struct ipc_client **out, const struct ipc_client_config *cfg)
	__attribute__((warn_unused_result));
/* Wipes and frees everything; no callback but `closing`. NULL is allowed. */
void ipc_client_destroy(struct ipc_client *c);

/*
 * Begins an attachment over a connected socket (ipc_connect, or handed over by the parent) and
 * takes the descriptor, also on failure. `attached` or `disconnected` follows from service.
 * 0, -IPC_ERR_INVALID (one is under way), -IPC_ERR_CLOSED, -IPC_ERR_SYS.
 */
int ipc_client_attach(struct ipc_client *c, int fd) __attribute__((warn_unused_result));
/* Ends it: espd sees the end of the socket. `disconnected` comes from the next service. */
void ipc_client_detach(struct ipc_client *c);
bool ipc_client_is_attached(const struct ipc_client *c);

/* -1 while there is none. wake_fd appears with `attached`. */
int ipc_client_socket_fd(const struct ipc_client *c);
int ipc_client_wake_fd(const struct ipc_client *c);

/*
 * Does all that is due, in bounded portions: handshake, death of espd, queued commands into the
 * ring, events and datagrams out of it (known ones before strangers). 1: more is waiting, call
 * again soon (after other work of the loop); 0: the sleep flags are set, wait for a descriptor.
 */
int ipc_client_service(struct ipc_client *c);

/*
 * Queues a command; body is the type's struct (NULL if it has none), copied. *number (may be
 * NULL) is the command's number. 0, -IPC_ERR_FULL (try after some acknowledgements),
 * -IPC_ERR_CLOSED (not attached), -IPC_ERR_NOMEM, -IPC_ERR_INVALID (type).
 */
int ipc_client_send(struct ipc_client *c, uint32_t type, const void *body, uint64_t *number)
	__attribute__((warn_unused_result));
/* Commands sent and neither acknowledged nor dropped. */
uint64_t ipc_client_outstanding(const struct ipc_client *c);

/*
 * Sends a datagram; header's local, remote, flags and after_command matter. 0, -IPC_ERR_FULL
 * (as on a busy network: dropped and counted, retransmission repairs it), -IPC_ERR_CLOSED,
 * -IPC_ERR_INVALID (length, or after_command is of an earlier attachment: it may never have been
 * carried out; send its message after the resync). after_command 0: at once. A datagram whose
 * command fails is dropped by espd.
 */
int ipc_client_punt_send(struct ipc_client *c, const struct ipc_punt_header *header,
	const void *data, size_t len) __attribute__((warn_unused_result));

void ipc_client_stats(const struct ipc_client *c, struct ipc_client_stats *out);
