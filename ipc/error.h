#pragma once

/*
 * What functions of ipc/ return, negated (-IPC_ERR_FULL). Not to be mixed up with enum
 * ipc_error of messages.h, which espd's acknowledgements carry.
 */
enum ipc_local_error {
	IPC_ERR_FULL = 1,    /* no room now: the caller keeps what it has and tries later */
	IPC_ERR_AGAIN = 2,   /* nothing there yet, or a socket would block */
	IPC_ERR_BROKEN = 3,  /* the other side broke the rules of the memory: detach it */
	IPC_ERR_CLOSED = 4,  /* not attached, or the other side is gone */
	IPC_ERR_NOMEM = 5,   /* an allocation failed */
	IPC_ERR_SYS = 6,     /* a system call failed; errno says which way */
	IPC_ERR_INVALID = 7, /* an argument, a message or a file is not what it must be */
	IPC_ERR_REFUSED = 8, /* the server said no; the reason comes with it */
	IPC_ERR_VERSION = 9, /* another build of the memory or file layout */
	IPC_ERR_PERM = 10,   /* peer credentials or file ownership are wrong */
};

/* A short text for a code, negated or not. Never NULL. */
const char *ipc_strerror(int code);
