#include "dataplane/privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
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

#include <rte_lcore.h>

#define WAIT_MS 2000
#define HELPER_CAPS (UINT64_C(1) << CAP_NET_ADMIN)

/*
 * Capabilities, the bounding set and system-call lists are a thread's. libpsx knows only threads
 * whose creation it has wrapped, and DPDK's library makes its own: so each thread is sent a
 * signal, whose handler does the step. System calls only are made there.
 */
static void (*_Atomic thread_step)(void);
static _Atomic unsigned int n_done; /* threads that have been through the handler */
static const struct sandbox_set *_Atomic thread_lists;

void privileges_no_dumps(void)
{
	static const struct rlimit none = {0, 0};
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	/* Should a dump be made all the same, it holds no memory. */
	if (fd >= 0) {
		(void)!write(fd, "0", 1);
		close(fd);
	}
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
}

int privileges_user_find(const char *name, struct privileges_user *out, char *err, size_t cap)
{
	const struct passwd *p = getpwnam(name);
	const struct group *g = getgrnam("penstock");

	memset(out, 0, sizeof(*out));
	if (!p) {
		snprintf(err, cap,
			"no user %s: systemd-sysusers makes it, or `user` in espd.conf names "
			"another",
			name);
		return -1;
	}
	snprintf(out->name, sizeof(out->name), "%s", name);
	out->uid = p->pw_uid;
	out->gid = p->pw_gid;
	out->view_gid = g ? g->gr_gid : (gid_t)-1;
	return 0;
}

static void caps_set(uint64_t caps)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)caps, .permitted = (uint32_t)caps}};

	(void)syscall(SYS_capset, &head, data);
}

static void thread_bound(void)
{
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (int capability = 0; capability < 64; capability++)
		(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static void thread_no_caps(void)
{
	caps_set(0);
}

/* Its lcore tells what a thread is: all but main's are workers, DPDK's own have none. */
static void thread_limit(void)
{
	enum sandbox_role role = rte_lcore_id() == LCORE_ID_ANY ? SANDBOX_EAL : SANDBOX_WORKER;

	/* What failed is seen when it is read back. */
	(void)!sandbox_thread(atomic_load(&thread_lists), role);
}

static void step_handler(int sig)
{
	int saved = errno;

	(void)sig;
	atomic_load (&thread_step)();
	atomic_fetch_add(&n_done, 1);
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

/* Runs step in every thread but the caller; returns how many there are. */
static unsigned int threads_step(void (*step)(void))
{
	struct sigaction act = {.sa_handler = step_handler, .sa_flags = SA_RESTART}, old;
	const struct timespec pause = {.tv_nsec = 1000000};
	int sig = SIGRTMAX - 1;
	unsigned int n;

	atomic_store(&n_done, 0);
	atomic_store(&thread_step, step);
	sigaction(sig, &act, &old);
	n = threads_each(thread_signal, &sig);
	for (int ms = 0; ms < WAIT_MS && atomic_load(&n_done) < n; ms++)
		nanosleep(&pause, NULL);
	sigaction(sig, &old, NULL);
	return n;
}

static int groups_set(const struct privileges_user *u)
{
	return setgroups(u->view_gid == (gid_t)-1 ? 0 : 1, &u->view_gid);
}

int privileges_user_change(const struct privileges_user *u, uint64_t keep, char *err, size_t cap)
{
	static const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	(void)setrlimit(RLIMIT_MEMLOCK, &all); /* keys are locked into memory later */
	threads_step(thread_bound);
	thread_bound();
	(void)prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	/* libc takes all threads along. */
	if (groups_set(u) < 0 || setresgid(u->gid, u->gid, u->gid) < 0 ||
		setresuid(u->uid, u->uid, u->uid) < 0) {
		snprintf(err, cap, "user %s: %s", u->name, strerror(errno));
		return -1;
	}
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	threads_step(thread_no_caps);
	caps_set(keep);
	privileges_no_dumps(); /* a change of user may have allowed them again */
	return 0;
}

struct expected {
	const char *dir; /* of task numbers, or /proc */
	uint64_t caps;
	const struct privileges_user *user;
};

/* A line of /proc/PID/status: 0 if it is as expected or of no matter, else 1. */
static unsigned int line_differs(const char *line, const struct expected *x, unsigned int *n_seen)
{
	unsigned int id[4], number;
	uint64_t caps;

	if (sscanf(line, "Cap%*3s: %lx", &caps) == 1) {
		(*n_seen)++;
		return (caps & ~x->caps) != 0;
	}
	if (sscanf(line, "Uid: %u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4) {
		(*n_seen)++;
		return id[0] != x->user->uid || id[1] != id[0] || id[2] != id[0] || id[3] != id[0];
	}
	if (sscanf(line, "Gid: %u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4) {
		(*n_seen)++;
		return id[0] != x->user->gid || id[1] != id[0] || id[2] != id[0] || id[3] != id[0];
	}
	if (sscanf(line, "NoNewPrivs: %u", &number) == 1) {
		(*n_seen)++;
		return number != 1;
	}
	if (sscanf(line, "Seccomp: %u", &number) == 1) {
		(*n_seen)++;
		return number != 2;
	}
	return 0;
}

#define LINES_CHECKED 9 /* five sets of capabilities, user, group, no new privileges, seccomp */

static unsigned int thread_differs(pid_t tid, void *ctx)
{
	const struct expected *x = ctx;
	unsigned int n_bad = 0, n_seen = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d/status", x->dir, (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		n_bad += line_differs(line, x, &n_seen);
	if (f)
		fclose(f);
	return n_bad > 0 || n_seen != LINES_CHECKED;
}

void privileges_drop(const struct privileges_user *u, const struct sandbox_set *set, pid_t helper,
	const struct logger *log)
{
	struct expected mine = {.dir = "/proc/self/task", .user = u};
	struct expected of_helper = {.dir = "/proc", .caps = HELPER_CAPS, .user = u};
	unsigned int n, bad;
	int rc = sandbox_all_threads(set);

	if (rc != 0)
		log_error(log, "system calls cannot be limited: %s",
			rc < 0 ? strerror(-rc) : "a thread has a list of its own");
	atomic_store(&thread_lists, set);
	n = threads_step(thread_limit);
	rc = sandbox_thread(set, SANDBOX_MAIN);
	bad = threads_each(thread_differs, &mine);
	bad += thread_differs((pid_t)syscall(SYS_gettid), &mine);
	bad += helper > 0 ? thread_differs(helper, &of_helper) : 0;
	if (bad > 0 || rc < 0) {
		log_error(log, "privileges: %u of %u threads kept what they must not have", bad,
			n + 1);
		exit(1);
	}
	log_info(log,
		"privileges: user %s; %u threads hold no capability, system calls are limited",
		u->name, n + 1);
}
