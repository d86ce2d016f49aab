#include "controlplane/iked/privs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int privs_user_find(struct privs_user *out)
{
	static const char *const names[] = {IKED_USER, IKED_USER_FALLBACK};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct passwd *pw = getpwnam(names[i]);

		if (!pw || pw->pw_uid == 0)
			continue;
		*out = (struct privs_user){names[i], pw->pw_uid, pw->pw_gid};
		return 0;
	}
	return -1;
}

/* Should a dump be made all the same, it holds no memory: keys may have left copies anywhere. */
static void dumps_empty(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}

int privs_protect_memory(void)
{
	const struct rlimit none = {0, 0};

	dumps_empty();
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* An empty directory that is gone: nothing can be made in it, not even by root. */
static int chroot_to_nothing(void)
{
	static const char *const parents[] = {"/run", "/tmp"};
	int fd = -1, result = -1;

	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]) && fd < 0; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/penstock-empty.XXXXXX", parents[i]);
		if (!mkdtemp(path))
			continue;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		rmdir(path);
	}
	if (fd < 0)
		return -1;
	if (fchdir(fd) == 0 && chroot(".") == 0 && chdir("/") == 0)
		result = 0;
	close(fd);
	return result;
}

int privs_drop(const struct privs_user *user)
{
	const struct rlimit no_process = {0, 0};

	if (chroot_to_nothing() < 0)
		return -1;
	for (int capability = 0; capability < 64; capability++)
		(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	if (setgroups(0, NULL) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
		setresuid(user->uid, user->uid, user->uid) < 0)
		return -1;
	/* A kernel that let us return would have dropped nothing. */
	if (setuid(0) == 0 || geteuid() == 0 || getegid() == 0) {
		errno = EPERM;
		return -1;
	}
	if (setrlimit(RLIMIT_NPROC, &no_process) < 0)
		return -1;
	/* setresuid made the process dumpable according to /proc/sys/fs/suid_dumpable. */
	if (privs_protect_memory() < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
