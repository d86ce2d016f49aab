#include "ipc/debug.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int ipc_debug_send(int fd, uint16_t type, const void *a, size_t a_len, const void *b, size_t b_len)
{
	struct ipc_debug_frame frame = {.magic = IPC_DEBUG_MAGIC,
		.version = IPC_VERSION,
		.type = type,
		.len = (uint32_t)(a_len + b_len)};
	struct iovec iov[3] = {{&frame, sizeof(frame)}, {(void *)(uintptr_t)a, a_len},
		{(void *)(uintptr_t)b, b_len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};

	if (a_len > IPC_DEBUG_DATA_MAX || b_len > IPC_DEBUG_DATA_MAX - a_len)
		return -IPC_ERR_INVALID;
	if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -IPC_ERR_AGAIN
								     : -IPC_ERR_CLOSED;
}

int ipc_debug_send_text(int fd, const char *text)
{
	return ipc_debug_send(fd, IPC_DEBUG_TEXT, text, strlen(text), NULL, 0);
}

int ipc_debug_send_end(int fd, uint32_t error, uint32_t lost, const char *text)
{
	struct ipc_debug_end end = {.error = error, .lost = lost};

	return ipc_debug_send(
		fd, IPC_DEBUG_END, &end, sizeof(end), text ? text : "", text ? strlen(text) : 0);
}

int ipc_debug_recv(int fd, uint16_t *type, void *buf, size_t cap, size_t *len)
{
	struct ipc_debug_frame frame;
	struct iovec iov[2] = {{&frame, sizeof(frame)}, {buf, cap - 1}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -IPC_ERR_AGAIN : -IPC_ERR_CLOSED;
	if (n == 0)
		return -IPC_ERR_CLOSED;
	if ((size_t)n < sizeof(frame) || (msg.msg_flags & MSG_TRUNC) ||
		frame.magic != IPC_DEBUG_MAGIC || frame.version != IPC_VERSION ||
		frame.len != (size_t)n - sizeof(frame))
		return -IPC_ERR_INVALID;
	((char *)buf)[frame.len] = '\0';
	*type = frame.type;
	*len = frame.len;
	return 0;
}

int ipc_debug_connect(const char *path)
{
	int fd = ipc_connect(path);

	if (fd >= 0 && fcntl(fd, F_SETFL, 0) < 0) {
		close(fd);
		return -IPC_ERR_SYS;
	}
	return fd;
}
