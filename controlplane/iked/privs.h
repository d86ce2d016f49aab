#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "controlplane/iked/role.h"

/*
 * How a process gives up what it does not need. All functions are called by the process itself,
 * before it reads anything from outside; on failure it must end.
 */
#define IKED_USER "_penstock"
#define IKED_USER_FALLBACK "nobody"

struct privs_user {
	const char *name;
	uid_t uid;
	gid_t gid;
};

/* IKED_USER, else IKED_USER_FALLBACK. 0 or -1: neither exists. */
int privs_user_find(struct privs_user *out);

/* No core dump and no ptrace by others: keys are in this memory. For every process. */
int privs_protect_memory(void);

/*
 * Root directory: one that is empty and already removed, so that nothing can appear in it.
 * Then the user's ids, without a way back, no new privileges, no further processes. 0 or -1
 * with errno.
 */
int privs_drop(const struct privs_user *user);

/*
 * The parent, once its own files and sockets are there and before it has children: gives up the
 * capabilities that neither it nor a child on its way down needs, and the system calls
 * (seccomp_parent.c). 0 or -1 with errno.
 */
int privs_parent(void);

/* The role's list of system calls (seccomp.c); anything else ends the process. 0 or -1. */
int privs_seccomp(enum iked_role role);
