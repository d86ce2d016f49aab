#pragma once

#include <stddef.h>
#include <stdint.h>

#include <linux/filter.h>

/*
 * Which system calls the threads of penstock-espd may make after set-up. A call that is not on
 * the list of its thread fails with EPERM; one that no part of this program, of DPDK or of libc
 * ever makes then (another program, ptrace, mounts, modules...) ends the process.
 */
enum sandbox_role {
	SANDBOX_WORKER, /* ports and cryptography */
	SANDBOX_MAIN,   /* sockets, stores, netlink's answers, TAPs */
	SANDBOX_EAL,    /* DPDK's own threads: interrupts, alarms, control sockets of memif */
	SANDBOX_NET,    /* the helper process with CAP_NET_ADMIN */
	SANDBOX_ROLES,
};

/* Programs, ready to be installed: that needs system calls alone. */
struct sandbox_set {
	struct sock_fprog all;                 /* what any thread may do, and the way to `role` */
	struct sock_fprog role[SANDBOX_ROLES]; /* on top of it */
};

/* devices: the `device` strings of espd.conf, as the lists have rows a driver; one more for DPDK's
 * telemetry. 0 or -errno. */
#define SANDBOX_TELEMETRY "telemetry"
int sandbox_build(struct sandbox_set *set, const char *const *devices, size_t n_devices)
	__attribute__((warn_unused_result));
void sandbox_free(struct sandbox_set *set);

/* Installs set->all in every thread of the process at once (TSYNC). 0, -errno or a thread id. */
int sandbox_all_threads(const struct sandbox_set *set) __attribute__((warn_unused_result));
/* Installs the role's list in the calling thread; no way back. May run in a signal handler. */
int sandbox_thread(const struct sandbox_set *set, enum sandbox_role role)
	__attribute__((warn_unused_result));
