#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/notify.h"

static int listen_at(const char *name)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sun.sun_path, name, strlen(name));
	if (name[0] == '@')
		sun.sun_path[0] = '\0';
	assert_int_equal(
		bind(fd, (const struct sockaddr *)&sun,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
		0);
	return fd;
}

static void test_both_kinds_of_names(void **state)
{
	char path[64], abstract[64];
	const char *const names[] = {path, abstract};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/penstock-notify-%d", (int)getpid());
	snprintf(abstract, sizeof(abstract), "@penstock-notify-%d", (int)getpid());
	for (size_t i = 0; i < 2; i++) {
		int fd = listen_at(names[i]);
		char text[64] = "";

		setenv("NOTIFY_SOCKET", names[i], 1);
		assert_int_equal(notify_send("READY=1\nSTATUS=up"), 1);
		assert_int_equal(recv(fd, text, sizeof(text), 0), 17);
		assert_string_equal(text, "READY=1\nSTATUS=up");
		close(fd);
	}
	unlink(path);
}

static void test_nobody_or_nonsense(void **state)
{
	static const struct {
		const char *name;
		int want, error;
		const char *why;
	} rows[] = {
		{NULL, 0, 0, "not started by a service manager"},
		{"", 0, 0, "empty"},
		{"/nowhere/at/all", -1, ENOENT, "nobody listens"},
		{"relative", -1, EINVAL, "neither absolute nor abstract"},
		{"@", -1, EINVAL, "no name"},
		{"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
			-1, EINVAL, "longer than a socket's name may be"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsetenv("NOTIFY_SOCKET");
		if (rows[i].name)
			setenv("NOTIFY_SOCKET", rows[i].name, 1);
		errno = 0;
		if (notify_send("READY=1") != rows[i].want || errno != rows[i].error)
			fail_msg("%s: errno %d", rows[i].why, errno);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_kinds_of_names),
		cmocka_unit_test(test_nobody_or_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
