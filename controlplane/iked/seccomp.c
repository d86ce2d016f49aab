#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "controlplane/iked/privs.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define NR(name) SCMP_SYS(name)

/*
 * The lists say what each process does after its start. Any other call ends the process; calls
 * that libraries make on the way to an optional file (`refused` below) fail instead.
 */

/* All: memory, time, the event loop, random numbers, the end. No mmap of executable memory. */
static const int common[] = {
	NR(brk),
	NR(munmap),
	NR(mremap),
	NR(madvise),
	NR(mlock2), /* keys: shared/secret.h */
	NR(futex),  /* locks inside libcrypto and libc */
	NR(clock_gettime),
	NR(gettimeofday),
	NR(time),
	NR(getpid), /* libcrypto's generator looks for forks */
	NR(gettid),
	NR(getrandom),
	NR(epoll_wait),
	NR(epoll_pwait),
#ifdef __NR_epoll_pwait2
	NR(epoll_pwait2),
#endif
	NR(epoll_ctl),
	NR(poll), /* waiting for the last messages to leave */
	NR(ppoll),
	NR(read),  /* the loop's own wake-up descriptor */
	NR(write), /* the same; messages of sanitizers and of abort */
	NR(close),
	NR(recvmsg), /* channels */
	NR(sendmsg),
	NR(rt_sigreturn),
	NR(rt_sigaction),
	NR(rt_sigprocmask),
	NR(restart_syscall),
	NR(tgkill), /* abort */
	NR(sigaltstack),
	NR(sched_yield),
	NR(exit),
	NR(exit_group),
};

/* key: nothing but the above; it has no files and no network. */

/* ike: the transport. */
static const int ike_only[] = {
	NR(fstat),   /* the region that espd hands over: its size, */
	NR(pread64), /* and its header, before it is mapped */
	NR(newfstatat),
	NR(eventfd2),
	NR(connect), /* kernel-UDP transport: the route to a peer, on a socket that sends nothing */
	NR(getsockname),
	NR(getsockopt),
	NR(sendto), /* the attachment to espd, and datagrams */
	NR(recvfrom),
	NR(clock_nanosleep),
};

/* control: clients. */
static const int control_only[] = {
	NR(accept4),
	NR(getsockopt), /* credentials of a client */
	NR(sendto),
	NR(recvfrom),
	NR(shutdown),
};

/* Asked for by libraries, never needed: they live with a refusal. */
static const int refused[] = {
	NR(open),
	NR(openat),
	NR(stat),
	NR(lstat),
	NR(access),
	NR(readlink),
	NR(getcwd),
	NR(uname),
	NR(sysinfo),
	NR(sched_getaffinity),
	NR(prlimit64),
	NR(ioctl),
};

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);

		if (error < 0)
			return error;
	}
	return 0;
}

/* Memory, but none that is both from outside and executable. */
static int allow_memory(scmp_filter_ctx filter)
{
	int error = seccomp_rule_add(
		filter, SCMP_ACT_ALLOW, NR(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (error == 0)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return error;
}

/* Descriptor flags; the seals of a memfd are read this way too. */
static int allow_fcntl(scmp_filter_ctx filter)
{
	static const int commands[] = {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_GET_SEALS};

	for (size_t i = 0; i < N(commands); i++) {
		int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR(fcntl), 1,
			SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));

		if (error < 0)
			return error;
	}
	return 0;
}

static int allow_role(scmp_filter_ctx filter, enum iked_role role)
{
	switch (role) {
	case IKED_KEY:
		return 0;
	case IKED_IKE:
		return allow_all(filter, ike_only, N(ike_only));
	case IKED_CONTROL:
		return allow_all(filter, control_only, N(control_only));
	default:
		return -EINVAL;
	}
}

int privs_seccomp(enum iked_role role)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int error = filter ? 0 : -ENOMEM;

	if (error == 0)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	if (error == 0)
		error = allow_all(filter, common, N(common));
	if (error == 0)
		error = allow_memory(filter);
	if (error == 0)
		error = allow_fcntl(filter);
	if (error == 0)
		error = allow_role(filter, role);
	for (size_t i = 0; i < N(refused) && error == 0; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
	if (error == 0)
		error = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	errno = error < 0 ? -error : 0;
	return error < 0 ? -1 : 0;
}
