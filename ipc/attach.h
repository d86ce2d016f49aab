#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/error.h"
#include "ipc/region.h"

/*
 * How a client gets its region: a UNIX SOCK_SEQPACKET socket.
 *
 *   client                               espd
 *   ipc_hello                    ---->   credentials (SO_PEERCRED), magic, version, layout
 *                                <----   ipc_welcome, with 3 descriptors if it is a yes:
 *                                        memfd, eventfd espd sleeps on, eventfd client sleeps on
 *
 * Nothing else is ever sent on it; the socket stays open and its end tells either side that the
 * other is gone. All descriptors are non-blocking and close-on-exec; no function here blocks.
 * The credentials are those of the process that called connect(2): iked's parent may connect
 * and hand the descriptor to an unprivileged engine.
 */
enum ipc_refusal {
	IPC_ATTACH_OK = 0,
	IPC_ATTACH_MAGIC,   /* not our protocol */
	IPC_ATTACH_VERSION, /* version or layout hash: programs of two builds */
	IPC_ATTACH_UID,     /* this user may not attach as this owner */
	IPC_ATTACH_OWNER,   /* no such owner or engine number */
	IPC_ATTACH_TAKEN,   /* that owner is attached already */
	IPC_ATTACH_NO_ROOM, /* espd's limit or memory */
	IPC_ATTACH_STOPPING,
};

struct ipc_hello {
	uint32_t magic, version;
	uint64_t layout_hash;
	uint32_t owner_kind; /* enum ipc_owner_kind */
	uint32_t engine;     /* number of the engine; 0 for others */
};

struct ipc_welcome {
	uint32_t magic, version;
	uint64_t layout_hash;
	uint32_t refusal; /* enum ipc_refusal */
	uint32_t reserved;
};

#define IPC_ATTACH_FDS 3

const char *ipc_refusal_str(uint32_t refusal);

/* ---- espd: a listening socket (used for attach, keys and debug alike) ---- */

struct ipc_listener {
	int fd; /* in epoll: readable means ipc_listener_accept */
	char path[108];
	dev_t dev; /* the socket file is removed at the end only if it is still ours */
	ino_t ino;
};

/* A connected peer, as the kernel names it. */
struct ipc_peer {
	int fd;
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

/*
 * Binds and listens; a dead socket file of an earlier run is replaced, one that answers is
 * not (-IPC_ERR_PERM). mode is set before anyone can connect; gid (gid_t)-1: unchanged.
 */
int ipc_listener_open(struct ipc_listener *l, const char *path, mode_t mode, gid_t gid)
	__attribute__((warn_unused_result));
void ipc_listener_close(struct ipc_listener *l);
/* 0, -IPC_ERR_AGAIN (nobody there), -IPC_ERR_SYS. The caller owns out->fd. */
int ipc_listener_accept(struct ipc_listener *l, struct ipc_peer *out)
	__attribute__((warn_unused_result));

/* Which user may attach as what. */
struct ipc_attach_rule {
	uid_t uid;
	uint32_t owner_kind;
};

/*
 * espd, when peer's socket is readable for the first time: reads and checks the hello.
 * IPC_ATTACH_OK (fill in *hello; the caller now looks whether that owner is free and calls
 * ipc_attach_accept), a refusal > 0 (call ipc_attach_refuse), -IPC_ERR_AGAIN, or
 * -IPC_ERR_CLOSED (close it). Close peers that say nothing for some seconds.
 */
int ipc_attach_read_hello(const struct ipc_peer *peer, const struct ipc_attach_rule *rules,
	size_t n_rules, struct ipc_hello *hello) __attribute__((warn_unused_result));
/* Sends the reason and closes peer->fd. */
void ipc_attach_refuse(struct ipc_peer *peer, enum ipc_refusal refusal);
/* Sends welcome and the descriptors (which stay the caller's). 0 or -IPC_ERR_SYS. */
int ipc_attach_welcome(int fd, int memfd, int espd_fd, int client_fd)
	__attribute__((warn_unused_result));

/* ---- client ---- */

/* A connected, non-blocking socket, or -IPC_ERR_SYS (errno: espd is not there). */
int ipc_connect(const char *path) __attribute__((warn_unused_result));
int ipc_attach_send_hello(int fd, uint32_t owner_kind, uint32_t engine)
	__attribute__((warn_unused_result));
/*
 * 0 and fds filled (memfd, eventfd of espd, eventfd of the client; the caller's now),
 * -IPC_ERR_AGAIN, -IPC_ERR_REFUSED (*refusal says why), -IPC_ERR_VERSION, -IPC_ERR_INVALID,
 * -IPC_ERR_CLOSED. On any error no descriptor stays open.
 */
int ipc_attach_read_welcome(int fd, int fds[IPC_ATTACH_FDS], uint32_t *refusal)
	__attribute__((warn_unused_result));

/* True if the other end of a socket that must be silent is gone or has spoken out of turn. */
bool ipc_socket_is_dead(int fd);
