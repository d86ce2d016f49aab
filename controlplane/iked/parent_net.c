#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controlplane/iked/parent.h"
#include "ipc/attach.h"
#include "shared/wipe.h"

/* Descriptors that only root can make, for the children. */

static int option_set(int fd, int level, int name)
{
	const int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on));
}

static int udp_socket(uint8_t family, uint16_t port)
{
	struct endpoint any = {.addr = {.family = family}, .port = port};
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&any, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int saved;

	if (fd < 0)
		return -1;
	if (family == 6 && (option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0 ||
				   option_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) < 0))
		goto fail;
	if (family == 4 && option_set(fd, IPPROTO_IP, IP_PKTINFO) < 0)
		goto fail;
	if (port != 0 && bind(fd, (const struct sockaddr *)&ss, len) < 0)
		goto fail;
	return fd;
fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void socket_open(struct parent *p, uint8_t family, uint16_t port, bool is_nat_t)
{
	int fd = udp_socket(family, port);

	if (fd < 0 && errno != EAFNOSUPPORT)
		log_error(&p->log, "UDP port %u of IPv%u: %s", port, family, strerror(errno));
	if (fd >= 0)
		p->sockets[p->n_sockets++] = (struct parent_socket){{port, family, is_nat_t}, fd};
}

void parent_sockets_open(struct parent *p)
{
	static const uint8_t families[] = {4, 6};

	for (size_t i = 0; i < sizeof(families) && p->options->kernel_udp; i++) {
		if (!p->options->only_nat_t)
			socket_open(p, families[i], IKED_PORT, false);
		if (!p->options->no_nat_t)
			socket_open(p, families[i], p->options->nat_port, true);
	}
}

void parent_sockets_close(struct parent *p)
{
	while (p->n_sockets > 0)
		close(p->sockets[--p->n_sockets].fd);
}

static void sockets_send(struct parent *p, uint32_t engine)
{
	for (unsigned int i = 0; i < p->n_sockets; i++) {
		const struct parent_socket *s = &p->sockets[i];
		int fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);

		if (fd >= 0)
			parent_send_engine(
				p, engine, MSG_UDP_SOCKET, 0, &s->what, sizeof(s->what), fd);
	}
}

/* Unbound: each engine asks the kernel for routes by one of its own. */
static void route_sockets_send(struct parent *p, uint32_t engine)
{
	static const uint8_t families[] = {4, 6};

	for (size_t i = 0; i < sizeof(families); i++) {
		const struct msg_udp_socket what = {0, families[i], false};
		int fd = udp_socket(families[i], 0);

		if (fd >= 0)
			parent_send_engine(p, engine, MSG_UDP_SOCKET, 0, &what, sizeof(what), fd);
	}
}

static void local_addrs_send(struct parent *p, uint32_t engine)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *ifa = list; ifa; ifa = ifa->ifa_next) {
		struct ipc_addr_event event = {.added = 1};
		struct endpoint e;

		if (!ifa->ifa_addr || endpoint_from_sockaddr(ifa->ifa_addr, &e) < 0)
			continue;
		event.addr = e.addr;
		event.ifindex = if_nametoindex(ifa->ifa_name);
		parent_send_engine(p, engine, MSG_LOCAL_ADDR, 0, &event, sizeof(event), -1);
	}
	freeifaddrs(list);
}

void parent_engine_setup(struct parent *p, uint32_t engine)
{
	struct msg_setup setup = p->setup;

	setup.engine_number = engine;
	setup.since_ms = p->child[IKED_IKE][engine].ended_ms;
	parent_send_engine(p, engine, MSG_SETUP, 0, &setup, sizeof(setup), -1);
	wipe(&setup, sizeof(setup));
	if (!p->options->kernel_udp)
		return;
	local_addrs_send(p, engine);
	sockets_send(p, engine);
	route_sockets_send(p, engine);
}

void parent_espd_connect(struct parent *p, uint32_t engine)
{
	int fd = ipc_connect(p->options->espd_path);
	char text[256];

	if (fd >= 0) {
		parent_send_engine(p, engine, MSG_ESPD_SOCKET, 0, NULL, 0, fd);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", p->options->espd_path, strerror(errno));
	parent_send_engine(p, engine, MSG_ESPD_FAILED, 0, text, strlen(text), -1);
}

/* A socket that nobody listens on is left over from a daemon that was killed. */
static bool socket_is_stale(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 &&
		     errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return stale;
}

int parent_ctl_listen(struct parent *p)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	const char *path = p->options->ctl_path;
	mode_t old_mask;
	int result;

	p->ctl_fd = -1;
	if (strlen(path) >= sizeof(sun.sun_path)) {
		log_error(&p->log, "%s: the name of the control socket is too long", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path));
	if (socket_is_stale(&sun))
		unlink(path);
	p->ctl_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* 0600 from the first moment on. */
	old_mask = umask(0177);
	result = p->ctl_fd < 0 ? -1 : bind(p->ctl_fd, (const struct sockaddr *)&sun, sizeof(sun));
	umask(old_mask);
	p->ctl_is_bound = result == 0;
	if (result == 0)
		result = listen(p->ctl_fd, 16);
	if (result < 0)
		log_error(&p->log, "control socket %s: %s%s", path, strerror(errno),
			errno == EADDRINUSE ? " (is another iked running?)" : "");
	return result;
}

void parent_ctl_unlink(struct parent *p)
{
	if (p->ctl_fd >= 0)
		close(p->ctl_fd);
	p->ctl_fd = -1;
	/* The name may be another daemon's. */
	if (p->ctl_is_bound)
		unlink(p->options->ctl_path);
	p->ctl_is_bound = false;
}
