#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "controlplane/iked/privs.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define NR(name) SCMP_SYS(name)

/*
 * The parent is root: it reads files and hands out descriptors. Its list also covers the first
 * moments of its children, which are born under it (this program again, libc's loader, their
 * own way down to less), so it cannot be short. What matters is what is missing: other
 * programs' memory, mounts, modules, BPF, keyrings, clocks, raw devices. A call that is not
 * listed fails; one of those ends the process.
 */
static const int memory_and_time[] = {
	NR(brk),
	NR(mmap),
	NR(munmap),
	NR(mremap),
	NR(madvise),
	NR(mprotect), /* the loader maps code */
	NR(mlock),
	NR(mlock2),
	NR(munlock), /* keys, see shared/secret.h */
	NR(futex),
	NR(futex_waitv),
	NR(set_robust_list),
	NR(set_tid_address),
	NR(rseq),
	NR(arch_prctl),
	NR(clock_gettime),
	NR(gettimeofday),
	NR(time),
	NR(nanosleep),
	NR(clock_nanosleep),
	NR(getrandom),
	NR(sched_yield),
	NR(sched_getaffinity),
	NR(sysinfo),
	NR(uname),
	NR(getcpu),
	NR(restart_syscall),
	NR(membarrier),
};

static const int processes[] = {
	NR(clone),
	NR(clone3),
	NR(vfork),
	NR(fork),
	NR(execve), /* the children; nscd's and libc's threads */
	NR(wait4),
	NR(waitid),
	NR(kill),
	NR(tgkill),
	NR(exit),
	NR(exit_group),
	NR(getpid),
	NR(gettid),
	NR(getppid),
	NR(getuid),
	NR(geteuid),
	NR(getgid),
	NR(getegid),
	NR(getgroups),
	NR(rt_sigaction),
	NR(rt_sigprocmask),
	NR(rt_sigreturn),
	NR(sigaltstack),
	NR(prlimit64),
	NR(getrlimit),
	NR(setrlimit),
	/* a child on its way down */
	NR(prctl),
	NR(capset),
	NR(capget),
	NR(setgroups),
	NR(setresgid),
	NR(setresuid),
	NR(setuid),
	NR(chroot),
	NR(chdir),
	NR(fchdir),
	NR(seccomp),
	NR(close_range),
	NR(umask),
};

static const int files[] = {
	NR(open), NR(openat), NR(openat2), NR(read), NR(readv), NR(pread64), NR(write), NR(writev),
	NR(lseek), NR(close), NR(stat), NR(lstat), NR(fstat), NR(newfstatat), NR(statx), NR(statfs),
	NR(fstatfs), NR(access), NR(faccessat), NR(faccessat2), NR(readlink), NR(readlinkat),
	NR(getdents64), NR(getcwd), NR(fcntl), NR(dup), NR(dup2), NR(dup3), NR(ioctl), NR(pipe2),
	NR(flock), NR(mkdir), NR(mkdirat), NR(rmdir), NR(unlink), NR(unlinkat), NR(link),
	NR(linkat), NR(rename), NR(renameat), NR(renameat2), NR(fchmod), NR(fchown), NR(fsync),
	NR(ftruncate), /* local.key, sockets */
};

static const int sockets[] = {
	NR(socket),
	NR(socketpair),
	NR(connect),
	NR(bind),
	NR(listen),
	NR(accept4),
	NR(shutdown),
	NR(getsockname),
	NR(getpeername),
	NR(getsockopt),
	NR(setsockopt),
	NR(sendto),
	NR(recvfrom),
	NR(sendmsg),
	NR(recvmsg),
	NR(sendmmsg),
	NR(recvmmsg), /* and the resolver */
	NR(poll),
	NR(ppoll),
	NR(select),
	NR(pselect6),
	NR(epoll_create1),
	NR(epoll_ctl),
	NR(epoll_wait),
	NR(epoll_pwait),
	NR(epoll_pwait2),
	NR(eventfd2),
	NR(timerfd_create),
	NR(timerfd_settime),
};

/* Neither the parent nor a child ever does this. */
static const int never[] = {
	NR(ptrace),
	NR(process_vm_readv),
	NR(process_vm_writev),
	NR(bpf),
	NR(perf_event_open),
	NR(userfaultfd),
	NR(mount),
	NR(umount2),
	NR(pivot_root),
	NR(setns),
	NR(unshare),
	NR(init_module),
	NR(finit_module),
	NR(delete_module),
	NR(kexec_load),
	NR(kexec_file_load),
	NR(reboot),
	NR(add_key),
	NR(request_key),
	NR(keyctl),
	NR(iopl),
	NR(ioperm),
	NR(modify_ldt),
	NR(settimeofday),
	NR(clock_settime),
	NR(io_uring_setup),
	NR(io_uring_enter),
	NR(io_uring_register),
	NR(open_by_handle_at),
	NR(mknod),
	NR(mknodat),
	NR(swapon),
	NR(swapoff),
};

static int rules_add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n)
{
	int error = 0;

	for (size_t i = 0; i < n && error == 0; i++) {
		error = seccomp_rule_add(filter, action, calls[i], 0);
		if (error == -EDOM) /* not on this processor */
			error = 0;
	}
	return error;
}

static int lists_add(scmp_filter_ctx filter)
{
	const struct {
		uint32_t action;
		const int *calls;
		size_t n;
	} lists[] = {
		{SCMP_ACT_ALLOW, memory_and_time, N(memory_and_time)},
		{SCMP_ACT_ALLOW, processes, N(processes)},
		{SCMP_ACT_ALLOW, files, N(files)},
		{SCMP_ACT_ALLOW, sockets, N(sockets)},
		{SCMP_ACT_KILL_PROCESS, never, N(never)},
	};
	int error = 0;

	for (size_t i = 0; i < N(lists) && error == 0; i++)
		error = rules_add(filter, lists[i].action, lists[i].calls, lists[i].n);
	return error;
}

/* What remains of root: a child's way down, signals to it, ports below 1024, files and sockets. */
static const unsigned int kept[] = {CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_SYS_CHROOT, CAP_KILL,
	CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE};

static int capabilities_limit(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}, {0}};
	uint64_t keep = 0;

	for (size_t i = 0; i < N(kept); i++)
		keep |= UINT64_C(1) << kept[i];
	for (unsigned int capability = 0; capability < 64; capability++) {
		if (!(keep >> capability & 1))
			(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	}
	data[0].effective = data[0].permitted = (uint32_t)keep;
	return (int)syscall(SYS_capset, &head, data);
}

int privs_parent(void)
{
	scmp_filter_ctx filter;
	int error;

	if (capabilities_limit() < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	error = filter ? lists_add(filter) : -ENOMEM;
	if (error == 0)
		error = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	errno = error < 0 ? -error : 0;
	return error < 0 ? -1 : 0;
}
