#include "ipc/attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

const char *ipc_refusal_str(uint32_t refusal)
{
	static const char *const text[] = {
		[IPC_ATTACH_OK] = "accepted",
		[IPC_ATTACH_MAGIC] = "not this protocol",
		[IPC_ATTACH_VERSION] = "penstock-espd is of another version",
		[IPC_ATTACH_UID] = "this user may not attach",
		[IPC_ATTACH_OWNER] = "no such engine",
		[IPC_ATTACH_TAKEN] = "already attached",
		[IPC_ATTACH_NO_ROOM] = "no room for another client",
		[IPC_ATTACH_STOPPING] = "penstock-espd is stopping",
	};

	return refusal < sizeof(text) / sizeof(text[0]) ? text[refusal] : "unknown reason";
}

static int unix_socket(int flags)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
}

static int unix_address(const char *path, struct sockaddr_un *sun)
{
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sun->sun_path))
		return -IPC_ERR_INVALID;
	memcpy(sun->sun_path, path, strlen(path) + 1);
	return 0;
}

/* A socket file that nobody listens on is a leftover; anything else stays. */
static int leftover_remove(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, err;

	if (lstat(sun->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -IPC_ERR_SYS;
	if (!S_ISSOCK(st.st_mode))
		return -IPC_ERR_PERM;
	fd = unix_socket(SOCK_NONBLOCK);
	if (fd < 0)
		return -IPC_ERR_SYS;
	err = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 ? errno : 0;
	close(fd);
	if (err != ECONNREFUSED && err != EPROTOTYPE)
		return -IPC_ERR_PERM;
	return unlink(sun->sun_path) < 0 ? -IPC_ERR_SYS : 0;
}

int ipc_listener_open(struct ipc_listener *l, const char *path, mode_t mode, gid_t gid)
{
	struct sockaddr_un sun;
	struct stat st;
	int err = unix_address(path, &sun);
	mode_t old;

	memset(l, 0, sizeof(*l));
	l->fd = -1;
	if (err == 0)
		err = leftover_remove(&sun);
	if (err < 0)
		return err;
	l->fd = unix_socket(SOCK_NONBLOCK);
	if (l->fd < 0)
		return -IPC_ERR_SYS;
	old = umask(0177);
	err = bind(l->fd, (struct sockaddr *)&sun, sizeof(sun));
	umask(old);
	if (err < 0)
		goto fail;
	memcpy(l->path, sun.sun_path, sizeof(l->path));
	if (lstat(path, &st) < 0)
		goto fail;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	/* Nobody can connect before listen: owner and mode are right by then. */
	if ((gid != (gid_t)-1 && lchown(path, (uid_t)-1, gid) < 0) || chmod(path, mode) < 0 ||
		listen(l->fd, BACKLOG) < 0)
		goto fail;
	return 0;
fail:
	ipc_listener_close(l);
	return -IPC_ERR_SYS;
}

void ipc_listener_close(struct ipc_listener *l)
{
	struct stat st;
	int saved = errno;

	if (l->fd < 0)
		return;
	if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
	errno = saved;
}

int ipc_listener_accept(struct ipc_listener *l, struct ipc_peer *out)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? -IPC_ERR_AGAIN
										  : -IPC_ERR_SYS;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof(cred)) {
		close(fd);
		return -IPC_ERR_SYS;
	}
	*out = (struct ipc_peer){.fd = fd, .uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	return 0;
}

static bool rule_allows(
	const struct ipc_attach_rule *rules, size_t n_rules, uid_t uid, uint32_t owner_kind)
{
	for (size_t i = 0; i < n_rules; i++)
		if (rules[i].uid == uid && rules[i].owner_kind == owner_kind)
			return true;
	return false;
}

int ipc_attach_read_hello(const struct ipc_peer *peer, const struct ipc_attach_rule *rules,
	size_t n_rules, struct ipc_hello *hello)
{
	ssize_t n = recv(peer->fd, hello, sizeof(*hello), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -IPC_ERR_AGAIN : -IPC_ERR_CLOSED;
	if (n == 0)
		return -IPC_ERR_CLOSED;
	if ((size_t)n < 2 * sizeof(uint32_t) || hello->magic != IPC_MAGIC)
		return IPC_ATTACH_MAGIC;
	if ((size_t)n != sizeof(*hello) || hello->version != IPC_VERSION ||
		hello->layout_hash != ipc_layout_hash())
		return IPC_ATTACH_VERSION;
	if (hello->owner_kind != IPC_OWNER_IPSECCTL && hello->owner_kind != IPC_OWNER_ENGINE)
		return IPC_ATTACH_OWNER;
	if (!rule_allows(rules, n_rules, peer->uid, hello->owner_kind))
		return IPC_ATTACH_UID;
	return IPC_ATTACH_OK;
}

static struct ipc_welcome welcome_make(uint32_t refusal)
{
	return (struct ipc_welcome){.magic = IPC_MAGIC,
		.version = IPC_VERSION,
		.layout_hash = ipc_layout_hash(),
		.refusal = refusal};
}

void ipc_attach_refuse(struct ipc_peer *peer, enum ipc_refusal refusal)
{
	struct ipc_welcome w = welcome_make(refusal);

	/* If it does not go out, the end of the socket says no as well. */
	if (peer->fd >= 0 && send(peer->fd, &w, sizeof(w), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		errno = 0;
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

int ipc_attach_welcome(int fd, int memfd, int espd_fd, int client_fd)
{
	const int fds[IPC_ATTACH_FDS] = {memfd, espd_fd, client_fd};
	struct ipc_welcome w = welcome_make(IPC_ATTACH_OK);
	union {
		char buf[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {&w, sizeof(w)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(w))
		return -IPC_ERR_SYS;
	return 0;
}

int ipc_connect(const char *path)
{
	struct sockaddr_un sun;
	int fd, saved;

	if (unix_address(path, &sun) < 0) {
		errno = ENAMETOOLONG;
		return -IPC_ERR_SYS;
	}
	fd = unix_socket(SOCK_NONBLOCK);
	if (fd < 0)
		return -IPC_ERR_SYS;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -IPC_ERR_SYS;
	}
	return fd;
}

int ipc_attach_send_hello(int fd, uint32_t owner_kind, uint32_t engine)
{
	struct ipc_hello h = {.magic = IPC_MAGIC,
		.version = IPC_VERSION,
		.layout_hash = ipc_layout_hash(),
		.owner_kind = owner_kind,
		.engine = engine};

	if (send(fd, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(h))
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? -IPC_ERR_CLOSED : -IPC_ERR_SYS;
}

/* Takes all descriptors out of a message, however many there are: none may leak. */
static size_t fds_take(struct msghdr *msg, int *fds, size_t cap)
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t here;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < cap)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static int welcome_check(const struct ipc_welcome *w, size_t len, size_t n_fds, uint32_t *refusal)
{
	if (len != sizeof(*w) || w->magic != IPC_MAGIC)
		return -IPC_ERR_INVALID;
	if (w->refusal != IPC_ATTACH_OK) {
		*refusal = w->refusal;
		return -IPC_ERR_REFUSED;
	}
	if (w->version != IPC_VERSION || w->layout_hash != ipc_layout_hash())
		return -IPC_ERR_VERSION;
	return n_fds == IPC_ATTACH_FDS ? 0 : -IPC_ERR_INVALID;
}

int ipc_attach_read_welcome(int fd, int fds[IPC_ATTACH_FDS], uint32_t *refusal)
{
	struct ipc_welcome w = {0};
	union {
		char buf[CMSG_SPACE(sizeof(int) * 8)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&w, sizeof(w)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t n_fds;
	int err;

	*refusal = IPC_ATTACH_OK;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -IPC_ERR_AGAIN : -IPC_ERR_CLOSED;
	n_fds = fds_take(&msg, fds, IPC_ATTACH_FDS);
	err = n == 0 ? -IPC_ERR_CLOSED : welcome_check(&w, (size_t)n, n_fds, refusal);
	if (err == 0 && (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
		err = -IPC_ERR_INVALID;
	if (err < 0)
		for (size_t i = 0; i < n_fds; i++)
			close(fds[i]);
	return err;
}

bool ipc_socket_is_dead(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	return !(n < 0 && (errno == EAGAIN || errno == EINTR));
}
