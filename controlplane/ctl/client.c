#include "controlplane/ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORD_MAX (sizeof(struct ctl_header) + CTL_BODY_MAX)

int ctl_client_connect(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd, saved;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

int ctl_client_send(int fd, enum ctl_type type, const void *body, size_t len)
{
	uint8_t record[RECORD_MAX];
	size_t record_len = ctl_message_build(record, sizeof(record), type, 1, body, len);

	if (record_len == 0) {
		errno = EMSGSIZE;
		return -1;
	}
	return send(fd, record, record_len, MSG_NOSIGNAL) == (ssize_t)record_len ? 0 : -1;
}

int ctl_client_run(int fd, const struct ctl_client_handler *handler)
{
	uint8_t record[RECORD_MAX];

	for (;;) {
		struct ctl_message message = {0};
		ssize_t got = recv(fd, record, sizeof(record), 0);
		int result;

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = ECONNRESET;
		if (got <= 0)
			return -1;
		if (ctl_reply_parse(record, (size_t)got, &message) != CTL_OK) {
			errno = EPROTO;
			return -1;
		}
		if (message.type == CTL_DONE) {
			struct ctl_done done;

			memcpy(&done, message.body, sizeof(done));
			return done.status;
		}
		result = handler->reply(handler->ctx, &message);
		if (result != 0)
			return result;
	}
}
