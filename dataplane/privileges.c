#include "dataplane/privileges.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAIN_CAPS (UINT64_C(1) << CAP_NET_ADMIN)
#define WAIT_MS 2000

/*
 * Capabilities are a thread's. libpsx knows only threads whose creation it has wrapped, and
 * DPDK's library makes its own: so each thread is sent a signal, whose handler drops them.
 */
static _Atomic unsigned int n_dropped; /* threads that have been through the handler */

void privileges_no_dumps(void)
{
	static const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
}

/* System calls only: it runs in a signal handler too. */
static void thread_drop(uint64_t keep)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)keep, .permitted = (uint32_t)keep}};

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (int cap = 0; cap < 64; cap++) {
		if (!(keep >> cap & 1))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	(void)syscall(SYS_capset, &head, data);
}

static void drop_handler(int sig)
{
	int saved = errno;

	(void)sig;
	thread_drop(0);
	atomic_fetch_add(&n_dropped, 1);
	errno = saved;
}

/* Calls fn for each thread but the caller; returns the sum of its answers. */
static unsigned int threads_each(unsigned int (*fn)(pid_t tid, void *ctx), void *ctx)
{
	DIR *dir = opendir("/proc/self/task");
	pid_t self = (pid_t)syscall(SYS_gettid);
	unsigned int sum = 0;
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		pid_t tid = (pid_t)atoi(d->d_name);

		if (tid > 0 && tid != self)
			sum += fn(tid, ctx);
	}
	if (dir)
		closedir(dir);
	return sum;
}

static unsigned int thread_signal(pid_t tid, void *ctx)
{
	const int *sig = ctx;

	return syscall(SYS_tgkill, getpid(), tid, *sig) == 0;
}

/* 1 if /proc says that the thread holds more than *allowed. */
static unsigned int thread_exceeds(pid_t tid, void *ctx)
{
	const uint64_t *allowed = ctx;
	unsigned int exceeds = 0;
	char path[64], line[256];
	uint64_t caps;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if ((sscanf(line, "CapEff: %lx", &caps) == 1 ||
			    sscanf(line, "CapPrm: %lx", &caps) == 1 ||
			    sscanf(line, "CapBnd: %lx", &caps) == 1) &&
			(caps & ~*allowed))
			exceeds = 1;
	}
	if (f)
		fclose(f);
	return f ? exceeds : 1;
}

void privileges_drop(const struct logger *log)
{
	struct sigaction act = {.sa_handler = drop_handler, .sa_flags = SA_RESTART}, old;
	const struct timespec step = {.tv_nsec = 1000000};
	uint64_t none = 0, main_caps = MAIN_CAPS;
	int sig = SIGRTMAX - 1;
	unsigned int n, bad;

	sigaction(sig, &act, &old);
	n = threads_each(thread_signal, &sig);
	for (int ms = 0; ms < WAIT_MS && atomic_load(&n_dropped) < n; ms++)
		nanosleep(&step, NULL);
	sigaction(sig, &old, NULL);
	thread_drop(MAIN_CAPS);
	bad = threads_each(thread_exceeds, &none);
	bad += thread_exceeds((pid_t)syscall(SYS_gettid), &main_caps);
	if (bad) {
		log_error(log, "privileges: %u of %u threads kept what they must not have", bad,
			n + 1);
		exit(1);
	}
	log_info(log, "privileges: main holds CAP_NET_ADMIN alone, %u other threads hold nothing",
		n);
}
