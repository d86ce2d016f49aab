#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dataplane/sandbox.h"
#include "shared/log.h"

/*
 * How penstock-espd gives up what it does not need, step by step: no dumps, first of all; the
 * user, once devices, TAPs and netlink sockets are open; system calls, last. Each step takes
 * all threads, has no way back, and is read back from /proc at the end.
 */
struct privileges_user {
	char name[64];
	uid_t uid;
	gid_t gid;
	gid_t view_gid; /* group penstock, which may read the view; (gid_t)-1: there is none */
};

/* No core dumps, no ptrace by others: key material never leaves memory. */
void privileges_no_dumps(void);
/* 0, or -1 with a text in err. */
int privileges_user_find(const char *name, struct privileges_user *out, char *err, size_t cap)
	__attribute__((warn_unused_result));
/*
 * Root's power ends: the bounding set is emptied in every thread, then user and groups change
 * (the name `root` keeps them), and with them all capabilities go but those of `keep`, which
 * the calling thread alone holds on to. 0, or -1 with a text in err.
 */
int privileges_user_change(const struct privileges_user *u, uint64_t keep, char *err, size_t cap)
	__attribute__((warn_unused_result));
/*
 * After set-up, by main: limits each thread to the system calls of its role, then reads in /proc
 * what every thread has left, and logs it. Ends the program if it is not as it should be.
 */
void privileges_drop(const struct privileges_user *u, const struct sandbox_set *set, pid_t helper,
	const struct logger *log);
