#include "dataplane/sandbox_lists.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define NR(name) SCMP_SYS(name)
#define END SANDBOX_LIST_END
#define WITH(name, arg, value)              \
	{                                   \
		NR(name), (arg), (value), 0 \
	}
#define NONE_OF(name, arg, bits)           \
	{                                  \
		NR(name), (arg), 0, (bits) \
	}
#define VALUES_END           \
	{                    \
		END, 0, 0, 0 \
	}

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
	__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* Every thread: memory that is not executable, locks, time, descriptors it has, its end. */
static const int common_calls[] = {
	NR(read),
	NR(write),
	NR(close), /* events, eventfds, standard error */
	NR(brk),
	NR(munmap),
	NR(mremap),
	NR(madvise), /* malloc */
	NR(futex),
	NR(futex_waitv),
	NR(sched_yield),
	NR(set_robust_list),
	NR(rseq), /* libc, at the start of a thread */
	NR(clock_gettime),
	NR(gettimeofday),
	NR(time), /* where they are real calls */
	NR(clock_nanosleep),
	NR(nanosleep),
	NR(poll),
	NR(ppoll), /* sleep on the ports' descriptors */
	NR(getpid),
	NR(gettid),
	NR(getrandom),
	NR(getcpu),
	NR(rt_sigreturn),
	NR(rt_sigprocmask),
	NR(rt_sigaction),
	NR(sigaltstack),
	NR(restart_syscall),
	NR(tgkill), /* abort, the end of DPDK's threads */
	NR(exit),
	NR(exit_group),
#if IS_SANITIZED
	/* Reports name the place: maps, symbols; the check for leaks stops the other threads. */
	NR(open),
	NR(openat),
	NR(readlink),
	NR(readlinkat),
	NR(stat),
	NR(newfstatat),
	NR(fstat),
	NR(lseek),
	NR(getdents64),
	NR(ioctl),
	NR(prlimit64),
	NR(sysinfo),
	NR(uname),
	NR(sched_getaffinity),
	NR(arch_prctl),
	NR(clone),
	NR(wait4),
	NR(getppid),
	NR(membarrier),
	NR(pipe2),
	NR(socket),
	NR(dup),
	NR(kill),
	NR(getuid),
	NR(geteuid),
	NR(getgid),
	NR(getegid),
#endif
	END,
};
static const struct sandbox_values common_values[] = {
	NONE_OF(mmap, 2, PROT_EXEC),
	NONE_OF(mprotect, 2, PROT_EXEC),
	WITH(prctl, 0, PR_SET_TIMERSLACK), /* a worker, first of all */
	WITH(fcntl, 1, F_GETFL),
	WITH(fcntl, 1, F_SETFL),
	WITH(fcntl, 1, F_GETFD),
	WITH(fcntl, 1, F_SETFD),
	VALUES_END,
};
const struct sandbox_list sandbox_common = {common_calls, common_values};

/* In between: each thread gives up its capabilities and takes its own list. */
static const int installing_calls[] = {NR(seccomp), NR(prctl), NR(capset), NR(capget), END};
const struct sandbox_list sandbox_installing = {installing_calls, NULL};

static const int main_calls[] = {
	NR(epoll_wait),
	NR(epoll_pwait),
	NR(epoll_pwait2),
	NR(epoll_ctl),
	/* clients: attach, keys, debug; netlink's messages; the net helper; syslog */
	NR(accept4),
	NR(getsockopt),
	NR(setsockopt),
	NR(getsockname),
	NR(shutdown),
	NR(recvmsg),
	NR(sendmsg),
	NR(recvfrom),
	NR(sendto),
	NR(connect),
	/* the shared region of a client, the view's growth */
	NR(memfd_create),
	NR(ftruncate),
	NR(fallocate),
	NR(eventfd2),
	/* the store of ipsecctl's entries, espd.conf again at SIGHUP, sockets that go at the end,
	 * /proc, time zones */
	NR(open),
	NR(openat),
	NR(openat2),
	NR(unlink),
	NR(unlinkat),
	NR(rename),
	NR(renameat),
	NR(renameat2),
	NR(stat),
	NR(lstat),
	NR(fstat),
	NR(newfstatat),
	NR(statx),
	NR(access),
	NR(faccessat2),
	NR(readlink),
	NR(getdents64),
	NR(lseek),
	NR(pread64),
	NR(pwrite64),
	NR(readv),
	NR(writev),
	NR(flock),
	NR(getcwd),
	NR(uname),
	NR(sysinfo),
	NR(prlimit64),
	NR(getrlimit),
	NR(getuid),
	NR(geteuid),
	NR(getgid),
	NR(getegid),
	NR(getppid),
	NR(mlock),
	NR(mlock2),
	NR(munlock), /* keys, see shared/secret.h */
	NR(timerfd_settime),
	NR(timerfd_gettime), /* DPDK's alarms */
	NR(sched_getaffinity),
	NR(sched_setaffinity),
	NR(wait4),
	NR(waitid),
	NR(getrusage),
	END,
};
static const struct sandbox_values main_values[] = {
	WITH(socket, 0, AF_UNIX), /* syslog */
	WITH(fcntl, 1, F_ADD_SEALS),
	WITH(fcntl, 1, F_GET_SEALS),
	WITH(fcntl, 1, F_DUPFD_CLOEXEC),
	WITH(ioctl, 1, TUNSETCARRIER),
	WITH(ioctl, 1, TCGETS), /* is it a terminal? stdio's question */
	WITH(ioctl, 1, FIONREAD),
	WITH(ioctl, 1, FIONBIO),
	/* statistics and the end of ports over a kernel's device */
	WITH(ioctl, 1, SIOCGIFFLAGS),
	WITH(ioctl, 1, SIOCSIFFLAGS),
	WITH(ioctl, 1, SIOCGIFINDEX),
	WITH(ioctl, 1, SIOCGIFMTU),
	WITH(ioctl, 1, SIOCGIFHWADDR),
	WITH(ioctl, 1, SIOCETHTOOL),
	VALUES_END,
};

static const int eal_calls[] = {
	NR(epoll_wait),
	NR(epoll_pwait),
	NR(epoll_pwait2),
	NR(epoll_ctl),
	NR(epoll_create), /* anew for each descriptor that comes or goes: a memif peer, a link */
	NR(epoll_create1),
	NR(timerfd_settime),
	NR(timerfd_gettime),
	END,
};

static const int net_calls[] = {
	NR(recvfrom),
	NR(sendto),
	NR(recvmsg),
	NR(sendmsg), /* main's requests; netlink */
	END,
};

const struct sandbox_list sandbox_role_lists[SANDBOX_ROLES] = {
	[SANDBOX_MAIN] = {main_calls, main_values},
	[SANDBOX_EAL] = {eal_calls, NULL},
	[SANDBOX_NET] = {net_calls, NULL},
};

/* Frames lie in memory that is shared with the kernel; a call tells it to look. */
static const int kick_calls[] = {NR(sendto), NR(recvfrom), NR(recvmsg), END};
/* libpcap: a file, or a packet socket. */
static const int pcap_calls[] = {NR(sendto), NR(recvfrom), NR(recvmsg), NR(lseek), NR(fstat),
	NR(newfstatat), NR(writev), END};
/* A character device, a frame a call. */
static const int tap_calls[] = {NR(readv), NR(writev), NR(epoll_wait), NR(epoll_pwait), END};
static const int tap_eal_calls[] = {NR(recvmsg), NR(recvfrom), NR(sendmsg), NR(ioctl), END};
/* The other side may come and go: regions and sockets are made anew each time. */
static const int memif_calls[] = {NR(connect), NR(bind), NR(listen), NR(accept), NR(accept4),
	NR(recvmsg), NR(sendmsg), NR(getsockopt), NR(setsockopt), NR(memfd_create), NR(ftruncate),
	NR(eventfd2), NR(unlink), NR(stat), NR(fstat), NR(newfstatat), END};
static const struct sandbox_values memif_values[] = {WITH(socket, 0, AF_UNIX),
	WITH(fcntl, 1, F_ADD_SEALS), WITH(fcntl, 1, F_GET_SEALS), VALUES_END};
/* vhost and virtio-user: the same, and the kernel's or the other side's vhost. */
static const int vhost_calls[] = {NR(connect), NR(bind), NR(listen), NR(accept), NR(accept4),
	NR(recvmsg), NR(sendmsg), NR(getsockopt), NR(setsockopt), NR(memfd_create), NR(ftruncate),
	NR(eventfd2), NR(ioctl), NR(unlink), NR(stat), NR(fstat), NR(newfstatat), END};
/* A sleeping worker takes interrupts by epoll. */
static const int interrupt_calls[] = {NR(epoll_wait), NR(epoll_pwait), END};
static const int pci_worker_calls[] = {
	NR(ioctl), NR(pread64), NR(pwrite64), NR(epoll_wait), NR(epoll_pwait), END};
/* NICs: interrupts, configuration space and the device's end go through VFIO or UIO. */
static const int pci_calls[] = {NR(ioctl), NR(pread64), NR(pwrite64), NR(eventfd2), END};

/* DPDK's telemetry: a client, and a thread for it. Other calls that it makes may fail. */
static const int telemetry_calls[] = {NR(accept), NR(accept4), END};
static const struct sandbox_values telemetry_values[] = {
	{NR(clone), 0, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND,
		CLONE_VM | CLONE_THREAD | CLONE_SIGHAND},
	VALUES_END,
};

/* The longer prefix first. */
const struct sandbox_driver sandbox_drivers[] = {
	{"net_af_xdp", {[SANDBOX_WORKER] = {kick_calls, NULL}}},
	{"net_af_packet", {[SANDBOX_WORKER] = {kick_calls, NULL}}},
	{"net_pcap", {[SANDBOX_WORKER] = {pcap_calls, NULL}}},
	{"net_tap", {[SANDBOX_WORKER] = {tap_calls, NULL},
			    [SANDBOX_EAL] = {tap_eal_calls, NULL},
			    [SANDBOX_MAIN] = {tap_eal_calls, NULL}}},
	{"net_memif", {[SANDBOX_EAL] = {memif_calls, memif_values},
			      [SANDBOX_MAIN] = {memif_calls, memif_values}}},
	{"net_virtio_user", {[SANDBOX_WORKER] = {interrupt_calls, NULL},
				    [SANDBOX_EAL] = {vhost_calls, memif_values},
				    [SANDBOX_MAIN] = {vhost_calls, memif_values}}},
	{"net_vhost", {[SANDBOX_EAL] = {vhost_calls, memif_values},
			      [SANDBOX_MAIN] = {vhost_calls, memif_values}}},
	{SANDBOX_TELEMETRY, {[SANDBOX_EAL] = {telemetry_calls, telemetry_values}}},
	{"net_ring", {{0}}},
	{"net_null", {{0}}},
	{NULL, {[SANDBOX_WORKER] = {pci_worker_calls, NULL},
		       [SANDBOX_EAL] = {pci_calls, NULL},
		       [SANDBOX_MAIN] = {pci_calls, NULL}}},
};

/* Nothing here makes these calls after set-up: who makes one is an intruder. */
const int sandbox_never[] = {
	NR(execve),
	NR(execveat),
	NR(fork),
	NR(vfork),
#if !IS_SANITIZED
	NR(ptrace),
	NR(process_vm_readv),
	NR(process_vm_writev),
#endif
	NR(mount),
	NR(umount2),
	NR(pivot_root),
	NR(chroot),
	NR(move_mount),
	NR(fsopen),
	NR(open_tree),
	NR(setns),
	NR(unshare),
	NR(init_module),
	NR(finit_module),
	NR(delete_module),
	NR(kexec_load),
	NR(kexec_file_load),
	NR(reboot),
	NR(swapon),
	NR(swapoff),
	NR(sethostname),
	NR(settimeofday),
	NR(clock_settime),
	NR(adjtimex),
	NR(clock_adjtime),
	NR(acct),
	NR(quotactl),
	NR(setuid),
	NR(setgid),
	NR(setreuid),
	NR(setregid),
	NR(setresuid),
	NR(setresgid),
	NR(setgroups),
	NR(add_key),
	NR(request_key),
	NR(keyctl),
	NR(userfaultfd),
	NR(perf_event_open),
	NR(iopl),
	NR(ioperm),
	NR(io_uring_setup),
	NR(io_uring_enter),
	NR(io_uring_register),
	NR(open_by_handle_at),
	NR(name_to_handle_at),
	NR(personality),
	NR(modify_ldt),
	NR(mknod),
	NR(mknodat),
	NR(memfd_secret),
	END,
};
