#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/attach.h"
#include "ipc/messages.h"

/*
 * espd's end of one client, used by espd's main thread alone. No epoll inside: put
 * ipc_server_socket_fd and ipc_server_wake_fd (EPOLLIN) in the loop. A turn of main:
 *
 *   ipc_server_begin(s)                     clears the wake-up, sees whether the client died
 *   while (n < batch && ipc_server_cmd_next(s, &cmd) == 1) {
 *           ... start it ...                may finish later, after a grace period
 *           ipc_server_cmd_done(s);         erases the copy of the command (keys)
 *   }                                       ... ipc_server_ack(s, number, error), now or later
 *   while (n < batch && ipc_server_punt_tx_next(s, &h, &data) == 1) ...
 *   if (ipc_server_end(s)) come back before sleeping, else epoll_wait
 *
 * The client may be hostile: it can fill its own rings with nonsense and stop being served
 * (-IPC_ERR_BROKEN: destroy it, close its owner's session), and nothing else.
 *
 * Acknowledgements are never lost: a command is taken from the ring only while there is room for
 * its acknowledgement. The client's number must ascend by one; each is acknowledged once
 * (a second ipc_server_ack for a number returns -IPC_ERR_INVALID).
 */
struct ipc_server;

struct ipc_server_config {
	struct ipc_region_config region; /* ipc_region_config_default */
	uint32_t max_inflight; /* commands taken and not yet acknowledged into the ring; 0: 4096 */
	uint32_t max_events;   /* other events waiting behind a full ring; 0: 4096 */
	uint32_t max_parked;   /* datagrams that wait for their command; 0: 256 */
};

struct ipc_server_cmd {
	uint64_t number;
	uint32_t type;    /* enum ipc_cmd_type, known to be valid */
	uint32_t len;     /* of body: the size of the type's struct, 0 if it has none */
	const void *body; /* private copy, valid until ipc_server_cmd_done; fields unchecked */
};

struct ipc_server_stats {
	uint64_t commands, acks, events, events_full, bad_commands;
	uint64_t inflight;                             /* now */
	uint64_t punt_known, punt_strangers;           /* handed over */
	uint64_t punt_known_full, punt_strangers_full; /* dropped: the client is too slow */
	uint64_t punt_tx, punt_tx_failed;              /* failed: their command was refused */
	uint64_t parked;                               /* now */
	uint64_t stalls; /* turns in which commands waited because acknowledgements could not go */
};

/*
 * Makes the region and answers the client's hello (ipc_attach_read_hello said yes and the owner
 * is free). Takes peer->fd when it returns 0; on error the caller still owns it and refuses.
 */
int ipc_server_create(struct ipc_server **out, const struct ipc_peer *peer,
	const struct ipc_hello *hello, const struct ipc_server_config *cfg)
	__attribute__((warn_unused_result));
/* Wipes keys, closes socket, eventfds and region. NULL is allowed. */
void ipc_server_destroy(struct ipc_server *s);

int ipc_server_socket_fd(const struct ipc_server *s);
int ipc_server_wake_fd(const struct ipc_server *s);
uint32_t ipc_server_owner_kind(const struct ipc_server *s);
uint32_t ipc_server_engine(const struct ipc_server *s);
pid_t ipc_server_pid(const struct ipc_server *s);

/* 0, -IPC_ERR_CLOSED (the client is gone: what it published is still readable), -IPC_ERR_BROKEN. */
int ipc_server_begin(struct ipc_server *s);
/*
 * Moves waiting events into the ring and sets the sleep flags. True: there is work already
 * (commands that can be taken, datagrams): don't sleep. Call it before every sleep, also after a
 * turn that only acknowledged something.
 */
bool ipc_server_end(struct ipc_server *s);

/*
 * 1 and *cmd; 0: none, or no room for acknowledgements; -IPC_ERR_BROKEN. Commands of unknown
 * type are acknowledged here with IPC_E_INVALID and skipped. The slot in shared memory is
 * erased before this returns.
 */
int ipc_server_cmd_next(struct ipc_server *s, struct ipc_server_cmd *cmd);
/* Erases the private copy that *cmd points to. Must be called before the next cmd_next. */
void ipc_server_cmd_done(struct ipc_server *s);
/* 0, or -IPC_ERR_INVALID: not an outstanding command. error: enum ipc_error. */
int ipc_server_ack(struct ipc_server *s, uint64_t number, uint32_t error);

/*
 * Queues an event. 0, or -IPC_ERR_FULL: the caller keeps the fact (a flag on its SA, a cursor
 * in its listing) and offers it again in a later turn; -IPC_ERR_INVALID (type).
 */
int ipc_server_event(struct ipc_server *s, uint32_t type, const void *body)
	__attribute__((warn_unused_result));
/* Events that ipc_server_event would take now; for paced listings (HELD). */
uint32_t ipc_server_event_room(struct ipc_server *s);

/*
 * Hands a datagram to the client, in the ring of known SPIs or of strangers. 0, or
 * -IPC_ERR_FULL: dropped and counted here.
 */
int ipc_server_punt_rx(struct ipc_server *s, bool is_known, const struct ipc_punt_header *header,
	const void *data, size_t len);

/*
 * The next datagram that may leave: those without after_command, or whose command was
 * acknowledged with IPC_OK in this attachment; others wait in private memory (bounded; when that is
 * full the ring waits), and those whose command failed are dropped. 1 and *header, *data (valid
 * until the next call), 0, -IPC_ERR_BROKEN. header's addresses are unchecked: the caller looks
 * whether the local endpoint is registered for punting.
 */
int ipc_server_punt_tx_next(
	struct ipc_server *s, struct ipc_punt_header *header, const uint8_t **data);

/* The mapping, for tests that play a hostile client. */
const struct ipc_region *ipc_server_region(const struct ipc_server *s);

void ipc_server_stats(const struct ipc_server *s, struct ipc_server_stats *out);
