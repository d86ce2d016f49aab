#pragma once

#include <stdint.h>

#include "ipc/attach.h"
#include "ipc/messages.h"

/*
 * Keys for `ipsecctl -k`, the only way by which they leave espd: a root-only SEQPACKET socket of
 * its own (listener of attach.h, mode 0600, and uid 0 is checked again).
 *
 *   client: request {magic, version}   espd: one record an SA ..., then a record with type END
 */
enum ipc_key_type { IPC_KEY_RECORD = 1, IPC_KEY_END = 2 };

struct ipc_key_record {
	uint32_t magic, type; /* set by ipc_keys_send */
	uint32_t spi;
	uint32_t owner_kind, engine;
	uint8_t direction, mode;
	uint16_t encr_id, encr_key_len, integ_id; /* transform_find's arguments */
	uint16_t enc_key_len, integ_key_len;
	struct ip_addr src, dst;
	uint8_t enc_key[IPC_KEY_MAX]; /* key and salt */
	uint8_t integ_key[IPC_KEY_MAX];
};

/* ---- espd. Nothing blocks: keep {peer, cursor} and go on when the socket is writable. ---- */

/* After ipc_listener_accept, when readable. 0: serve it, -IPC_ERR_AGAIN, else close it. */
int ipc_keys_read_request(const struct ipc_peer *peer) __attribute__((warn_unused_result));
/* 0, -IPC_ERR_AGAIN (not sent: again later), -IPC_ERR_CLOSED. The caller wipes rec. */
int ipc_keys_send(int fd, struct ipc_key_record *rec) __attribute__((warn_unused_result));
int ipc_keys_send_end(int fd) __attribute__((warn_unused_result));

/* ---- ipsecctl: blocking ---- */

/* A socket from which ipc_keys_next reads; -IPC_ERR_SYS, -IPC_ERR_PERM. */
int ipc_keys_request(const char *path) __attribute__((warn_unused_result));
/* 1: *rec filled (the caller wipes it), 0: the end, or -IPC_ERR_PERM, _CLOSED, _INVALID. */
int ipc_keys_next(int fd, struct ipc_key_record *rec) __attribute__((warn_unused_result));
