#include "ipc/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/wipe.h"

#define KEYS_MAGIC 0x504e4b59u /* "PNKY" */

struct request {
	uint32_t magic, version;
};

int ipc_keys_read_request(const struct ipc_peer *peer)
{
	struct request req;
	ssize_t n;

	if (peer->uid != 0)
		return -IPC_ERR_PERM;
	n = recv(peer->fd, &req, sizeof(req), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -IPC_ERR_AGAIN : -IPC_ERR_CLOSED;
	if (n == 0)
		return -IPC_ERR_CLOSED;
	if (n != (ssize_t)sizeof(req) || req.magic != KEYS_MAGIC)
		return -IPC_ERR_INVALID;
	return req.version == IPC_VERSION ? 0 : -IPC_ERR_VERSION;
}

static int record_send(int fd, struct ipc_key_record *rec, uint32_t type)
{
	rec->magic = KEYS_MAGIC;
	rec->type = type;
	if (send(fd, rec, sizeof(*rec), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*rec))
		return 0;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -IPC_ERR_AGAIN
								     : -IPC_ERR_CLOSED;
}

int ipc_keys_send(int fd, struct ipc_key_record *rec)
{
	return record_send(fd, rec, IPC_KEY_RECORD);
}

int ipc_keys_send_end(int fd)
{
	struct ipc_key_record rec = {0};

	return record_send(fd, &rec, IPC_KEY_END);
}

int ipc_keys_request(const char *path)
{
	const struct request req = {KEYS_MAGIC, IPC_VERSION};
	int fd = ipc_connect(path);

	if (fd < 0)
		return errno == EACCES || errno == EPERM ? -IPC_ERR_PERM : fd;
	if (fcntl(fd, F_SETFL, 0) < 0 ||
		send(fd, &req, sizeof(req), MSG_NOSIGNAL) != (ssize_t)sizeof(req)) {
		close(fd);
		return -IPC_ERR_SYS;
	}
	return fd;
}

int ipc_keys_next(int fd, struct ipc_key_record *rec)
{
	ssize_t n;

	do {
		n = recv(fd, rec, sizeof(*rec), MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -IPC_ERR_CLOSED;
	if (n != (ssize_t)sizeof(*rec) || rec->magic != KEYS_MAGIC ||
		rec->enc_key_len > IPC_KEY_MAX || rec->integ_key_len > IPC_KEY_MAX) {
		wipe(rec, sizeof(*rec));
		return -IPC_ERR_INVALID;
	}
	return rec->type == IPC_KEY_END ? 0 : 1;
}
