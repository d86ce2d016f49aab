#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/sandbox.h"

/* What becomes of a call: it is made (and fails as bad arguments do), it is refused, or the end. */
enum outcome { MADE, REFUSED, KILLED };

static const struct {
	enum sandbox_role role;
	const char *device;
	long call, arg[3];
	enum outcome outcome;
	const char *why;
} rows[] = {
	{SANDBOX_WORKER, "net_af_packet0,iface=x", SYS_sendto, {-1}, MADE,
		"the kernel is told to send"},
	{SANDBOX_WORKER, "net_af_xdp0,iface=x", SYS_recvfrom, {-1}, MADE,
		"the kernel is told to look"},
	{SANDBOX_WORKER, "net_null0", SYS_sendto, {-1}, REFUSED, "a driver without sockets"},
	{SANDBOX_WORKER, "net_ring0", SYS_recvfrom, {-1}, REFUSED, "the same"},
	{SANDBOX_WORKER, "net_tap0,iface=x", SYS_writev, {-1}, MADE, "a frame a call"},
	{SANDBOX_WORKER, "net_pcap0,rx_pcap=x", SYS_lseek, {-1}, MADE, "libpcap reads a file"},
	{SANDBOX_WORKER, "net_memif0,role=client", SYS_recvmsg, {-1}, REFUSED,
		"DPDK's thread does it"},
	{SANDBOX_EAL, "net_memif0,role=client", SYS_recvmsg, {-1}, MADE, "the control socket"},
	{SANDBOX_EAL, "net_memif0,role=client", SYS_socket, {AF_UNIX, -1}, MADE,
		"a new connection"},
	{SANDBOX_EAL, "net_memif0,role=client", SYS_socket, {AF_INET, -1}, REFUSED,
		"never over IP"},
	{SANDBOX_EAL, "net_null0", SYS_epoll_create, {1}, MADE, "DPDK ends the program without"},
	{SANDBOX_EAL, "net_null0", SYS_epoll_create1, {0}, MADE, "another libc's way"},
	{SANDBOX_EAL, "net_af_packet0,iface=x", SYS_recvmsg, {-1}, REFUSED, "it has no sockets"},
	{SANDBOX_EAL, "net_af_packet0,iface=x", SYS_accept, {-1}, REFUSED, "nor clients"},
	{SANDBOX_EAL, SANDBOX_TELEMETRY, SYS_accept, {-1}, MADE, "telemetry has"},
	{SANDBOX_EAL, SANDBOX_TELEMETRY, SYS_clone, {0}, REFUSED, "threads alone, no process"},
	{SANDBOX_EAL, SANDBOX_TELEMETRY, SYS_openat, {-1}, REFUSED, "and opens no file"},
	{SANDBOX_WORKER, SANDBOX_TELEMETRY, SYS_accept, {-1}, REFUSED, "not a worker's matter"},
	{SANDBOX_WORKER, "0000:03:00.0", SYS_ioctl, {-1}, MADE, "VFIO"},
	{SANDBOX_WORKER, "net_null0", SYS_ioctl, {-1}, REFUSED, "no device"},
	{SANDBOX_WORKER, "net_null0", SYS_write, {-1}, MADE, "an eventfd"},
	{SANDBOX_WORKER, "net_null0", SYS_openat, {-1}, REFUSED, "a worker has no files"},
	{SANDBOX_WORKER, "net_null0", SYS_accept4, {-1}, REFUSED, "nor clients"},
	{SANDBOX_WORKER, "net_null0", SYS_epoll_wait, {-1}, REFUSED, "nor a loop"},
	{SANDBOX_WORKER, "net_tap0,iface=x", SYS_epoll_wait, {-1}, MADE, "interrupts of queues"},
	{SANDBOX_WORKER, "0000:03:00.0", SYS_epoll_wait, {-1}, MADE, "the same"},
	{SANDBOX_WORKER, "net_virtio_user0,path=x", SYS_epoll_wait, {-1}, MADE, "the same"},
	{SANDBOX_MAIN, "net_null0", SYS_openat, {-1}, MADE, "stores"},
	{SANDBOX_MAIN, "net_null0", SYS_accept4, {-1}, MADE, "clients"},
	{SANDBOX_MAIN, "net_null0", SYS_socket, {AF_UNIX, -1}, MADE, "syslog"},
	{SANDBOX_MAIN, "net_null0", SYS_socket, {AF_INET, -1}, REFUSED, "main has no network"},
	{SANDBOX_MAIN, "net_null0", SYS_socket, {AF_NETLINK, -1}, REFUSED, "what it needs is open"},
	{SANDBOX_MAIN, "net_null0", SYS_ioctl, {-1, TUNSETCARRIER}, MADE, "the mirror follows"},
	{SANDBOX_MAIN, "net_null0", SYS_ioctl, {-1, TUNSETIFF}, REFUSED, "no further TAP"},
	{SANDBOX_MAIN, "net_null0", SYS_ioctl, {-1, TIOCSTI}, REFUSED, "no keys typed for others"},
	{SANDBOX_NET, "net_af_packet0,iface=x", SYS_sendto, {-1}, MADE, "netlink"},
	{SANDBOX_NET, "0000:03:00.0", SYS_ioctl, {-1}, REFUSED, "ports are not its matter"},
	{SANDBOX_NET, "net_null0", SYS_openat, {-1}, REFUSED, "nor files"},
	{SANDBOX_NET, "net_null0", SYS_socket, {AF_UNIX, -1}, REFUSED, "nor further sockets"},
	{SANDBOX_MAIN, "net_null0", SYS_capset, {0}, REFUSED, "done for ever"},
	{SANDBOX_MAIN, "net_null0", SYS_seccomp, {-1}, REFUSED, "the list is the last one"},
	{SANDBOX_MAIN, "net_null0", SYS_execve, {0}, KILLED, "another program"},
	{SANDBOX_WORKER, "net_null0", SYS_execve, {0}, KILLED, "the same"},
	{SANDBOX_EAL, "0000:03:00.0", SYS_mount, {0}, KILLED, "no driver mounts"},
	{SANDBOX_NET, "net_null0", SYS_setns, {-1}, KILLED, "another namespace"},
	{SANDBOX_MAIN, "net_null0", SYS_io_uring_setup, {0}, KILLED, "calls past any list"},
	{SANDBOX_MAIN, "net_null0", SYS_setresuid, {0, 0, 0}, KILLED, "back to root"},
};

/* A sanitizer's reports need calls that are refused otherwise: its builds allow them to all. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
	__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

static enum outcome outcome_of(int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : (enum outcome) - 1;
	return WEXITSTATUS(status) == 0   ? MADE
	       : WEXITSTATUS(status) == 1 ? REFUSED
					  : (enum outcome) - 1;
}

static void test_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sandbox_set set;
		int status;
		pid_t pid;

		if (IS_SANITIZED && rows[i].outcome == REFUSED)
			continue;
		print_message("row %zu: %s\n", i, rows[i].why);
		assert_int_equal(sandbox_build(&set, &rows[i].device, 1), 0);
		pid = fork();
		if (pid == 0) {
			if (sandbox_all_threads(&set) != 0 ||
				sandbox_thread(&set, rows[i].role) != 0)
				_exit(9);
			errno = 0;
			syscall(rows[i].call, rows[i].arg[0], rows[i].arg[1], rows[i].arg[2], 0L,
				0L, 0L);
			_exit(errno == EPERM);
		}
		sandbox_free(&set);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(outcome_of(status), rows[i].outcome);
	}
}

static void test_memory_is_never_executable(void **state)
{
	const char *device = "net_af_packet0,iface=x";
	struct sandbox_set set;

	(void)state;
	assert_int_equal(sandbox_build(&set, &device, 1), 0);
	for (int role = 0; role < SANDBOX_ROLES; role++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (sandbox_thread(&set, (enum sandbox_role)role) != 0)
				_exit(9);
			if (mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0)
				_exit(2);
			if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				    0) != MAP_FAILED)
				_exit(3);
			_exit(mprotect(p, 4096, PROT_READ) == 0 ? 0 : 4);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	sandbox_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_memory_is_never_executable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
