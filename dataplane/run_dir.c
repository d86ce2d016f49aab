#include "dataplane/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/paths.h"

/* Names of our files, and of what they are called while they are written. */
static bool is_ours(const char *name)
{
	static const char *const names[] = {ESPD_SOCKET, ESPD_KEYS_SOCKET, ESPD_DEBUG_SOCKET,
		ESPD_VIEW, ESPD_SEQUENCE_STORE, ESPD_MANUAL_STORE};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	}
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Calls fn for each entry; returns the first answer that is not 0. */
static int entries_each(int fd, uid_t uid, int (*fn)(int fd, const char *name, uid_t uid))
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *d;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return -errno;
	}
	while (rc == 0 && (d = readdir(dir)))
		rc = fn(fd, d->d_name, uid);
	closedir(dir);
	return rc;
}

static int entry_check(int fd, const char *name, uid_t uid)
{
	(void)fd;
	(void)uid;
	return is_ours(name) ? 0 : -ENOTEMPTY;
}

static int entry_give(int fd, const char *name, uid_t uid)
{
	struct stat st;

	/* A link is not followed, and a file that has a second name elsewhere is not given away. */
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid())
		return 0;
	return fchownat(fd, name, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int dir_give(int fd, uid_t uid)
{
	int rc = entries_each(fd, uid, entry_check);

	if (rc == 0)
		rc = entries_each(fd, uid, entry_give);
	if (rc == 0 && fchown(fd, uid, (gid_t)-1) < 0)
		rc = -errno;
	return rc;
}

int run_dir_prepare(const char *dir, uid_t uid, char *err, size_t cap)
{
	struct stat st;
	int fd, rc = 0;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
		snprintf(err, cap, "%s: %s", dir, strerror(errno));
		return -1;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || (st.st_uid != geteuid() && st.st_uid != uid) ||
		(st.st_mode & 022)) {
		snprintf(err, cap,
			"%s: must be a directory of root's or of espd's user that nobody else can "
			"write to",
			dir);
		rc = -1;
	} else if (st.st_uid != uid && (rc = dir_give(fd, uid)) < 0) {
		snprintf(err, cap, "%s: cannot be given to espd's user: %s", dir,
			rc == -ENOTEMPTY ? "there are files in it that are not espd's"
					 : strerror(-rc));
	}
	if (fd >= 0)
		close(fd);
	return rc < 0 ? -1 : 0;
}
