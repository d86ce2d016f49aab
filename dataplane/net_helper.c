#include "dataplane/net_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/netlink.h"

#define FD 3 /* the helper's end */

enum request_type { REQUEST_PROBE = 1, REQUEST_XDP_DETACH };

struct request {
	uint32_t type, ifindex;
	struct ip_addr addr;
};

static void request_do(struct netlink *nl, const struct request *r)
{
	/* What fails is tried again by the next packet for that neighbour. */
	if (r->type == REQUEST_PROBE && addr_len(r->addr.family) > 0)
		(void)netlink_neigh_probe(nl, r->ifindex, &r->addr);
	if (r->type == REQUEST_XDP_DETACH)
		(void)netlink_xdp_detach(nl, r->ifindex);
}

/* Main's end is the process's: the signals of a terminal and of systemd are main's to answer. */
static void signals_ignore(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
}

static void __attribute__((noreturn))
helper_run(int fd, pid_t parent, const struct privileges_user *u, const struct sandbox_set *set)
{
	struct netlink *nl;
	struct request r;
	char err[128];
	uint8_t ready = 1;

	signals_ignore();
	if ((fd != FD && dup2(fd, FD) < 0) || close_range(FD + 1, ~0U, 0) < 0)
		_exit(1);
	(void)prctl(PR_SET_NAME, "espd-net");
	nl = netlink_create_requests();
	if (!nl || privileges_user_change(u, UINT64_C(1) << CAP_NET_ADMIN, err, sizeof(err)) < 0 ||
		prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
		sandbox_thread(set, SANDBOX_NET) < 0)
		_exit(1);
	if (send(FD, &ready, sizeof(ready), MSG_NOSIGNAL) != sizeof(ready))
		_exit(1);
	for (;;) {
		ssize_t n = recv(FD, &r, sizeof(r), 0);

		if (n == 0 || (n < 0 && errno != EINTR))
			_exit(0);
		if (n == sizeof(r))
			request_do(nl, &r);
	}
}

int net_helper_start(struct net_helper *h, const struct privileges_user *u,
	const struct sandbox_set *set, char *err, size_t cap)
{
	pid_t parent = getpid();
	uint8_t ready = 0;
	int fds[2];

	h->fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		snprintf(err, cap, "net helper: %s", strerror(errno));
		return -1;
	}
	h->pid = fork();
	if (h->pid == 0)
		helper_run(fds[1], parent, u, set);
	close(fds[1]);
	h->fd = fds[0];
	if (h->pid > 0 && recv(h->fd, &ready, sizeof(ready), 0) == sizeof(ready) && ready == 1)
		return 0;
	snprintf(err, cap, "net helper: it does not start as user %s", u->name);
	net_helper_stop(h);
	return -1;
}

static void request_send(const struct net_helper *h, const struct request *r, int flags)
{
	if (h->fd >= 0)
		(void)!send(h->fd, r, sizeof(*r), MSG_NOSIGNAL | flags);
}

void net_helper_probe(const struct net_helper *h, uint32_t ifindex, const struct ip_addr *a)
{
	struct request r;

	memset(&r, 0, sizeof(r));
	r.type = REQUEST_PROBE;
	r.ifindex = ifindex;
	r.addr = *a;
	request_send(h, &r, MSG_DONTWAIT);
}

void net_helper_xdp_detach(const struct net_helper *h, uint32_t ifindex)
{
	struct request r;

	memset(&r, 0, sizeof(r));
	r.type = REQUEST_XDP_DETACH;
	r.ifindex = ifindex;
	request_send(h, &r, 0);
}

void net_helper_stop(struct net_helper *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	if (h->pid > 0)
		(void)waitpid(h->pid, NULL, 0);
	h->pid = 0;
}
