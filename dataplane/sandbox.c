#include "dataplane/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/sandbox_lists.h"

#define ALL SANDBOX_ROLES /* the list for set->all */

static int calls_add(scmp_filter_ctx f, uint32_t action, const int *calls)
{
	int error = 0;

	for (; error == 0 && calls && *calls != SANDBOX_LIST_END; calls++) {
		error = seccomp_rule_add(f, action, *calls, 0);
		/* Not on this processor or not known to this libseccomp: nothing to allow. */
		if (error == -EDOM || error == -EEXIST)
			error = 0;
	}
	return error;
}

static int values_add(scmp_filter_ctx f, const struct sandbox_values *v)
{
	int error = 0;

	for (; error == 0 && v && v->call != SANDBOX_LIST_END; v++) {
		struct scmp_arg_cmp cmp = {.arg = v->arg,
			.op = v->mask ? SCMP_CMP_MASKED_EQ : SCMP_CMP_EQ,
			.datum_a = v->mask ? v->mask : v->value,
			.datum_b = v->mask ? v->value : 0};

		error = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, v->call, 1, &cmp);
		if (error == -EEXIST)
			error = 0;
	}
	return error;
}

static int list_add(scmp_filter_ctx f, const struct sandbox_list *l)
{
	int error = calls_add(f, SCMP_ACT_ALLOW, l->calls);

	return error == 0 ? values_add(f, l->values) : error;
}

static int driver_add(scmp_filter_ctx f, const char *device, unsigned int role)
{
	const struct sandbox_driver *d = sandbox_drivers;

	while (d->prefix && strncmp(device, d->prefix, strlen(d->prefix)) != 0)
		d++;
	return list_add(f, &d->list[role]);
}

static int role_add(scmp_filter_ctx f, unsigned int role, const char *const *devices, size_t n)
{
	int error = list_add(f, &sandbox_common);

	if (error == 0)
		error = list_add(f, &sandbox_role_lists[role]);
	for (size_t i = 0; i < n && error == 0 && role != SANDBOX_NET; i++)
		error = driver_add(f, devices[i], role);
	return error;
}

static const int unseen[] = {SCMP_SYS(clone3), SANDBOX_LIST_END};

static int filter_fill(scmp_filter_ctx f, unsigned int role, const char *const *devices, size_t n)
{
	int error;

	if (role < ALL) {
		error = role_add(f, role, devices, n);
	} else {
		error = list_add(f, &sandbox_installing);
		for (unsigned int r = 0; r < ALL && error == 0; r++)
			error = role_add(f, r, devices, n);
	}
	if (error == 0)
		error = calls_add(f, SCMP_ACT_KILL_PROCESS, sandbox_never);
	/* Its flags cannot be seen here; libc then takes clone, whose can. */
	if (error == 0)
		error = calls_add(f, SCMP_ACT_ERRNO(ENOSYS), unseen);
	return error;
}

/* libseccomp writes the program to a descriptor. */
static int program_read(scmp_filter_ctx f, struct sock_fprog *out)
{
	int fd = memfd_create("sandbox", MFD_CLOEXEC), error = -ENOMEM;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (seccomp_export_bpf(f, fd) < 0 || fstat(fd, &st) < 0 || st.st_size == 0 ||
		(size_t)st.st_size / sizeof(*out->filter) > BPF_MAXINSNS)
		goto out;
	out->filter = malloc((size_t)st.st_size);
	if (!out->filter || pread(fd, out->filter, (size_t)st.st_size, 0) != st.st_size)
		goto out;
	out->len = (unsigned short)((size_t)st.st_size / sizeof(*out->filter));
	error = 0;
out:
	close(fd);
	return error;
}

static int program_build(
	struct sock_fprog *out, unsigned int role, const char *const *devices, size_t n)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int error = f ? 0 : -ENOMEM;

	/* A balanced tree: no call that is allowed walks the whole list. */
	if (error == 0)
		error = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* 32-bit calls of a 64-bit program come from nobody but an intruder. */
	if (error == 0)
		error = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (error == 0)
		error = filter_fill(f, role, devices, n);
	if (error == 0)
		error = program_read(f, out);
	if (f)
		seccomp_release(f);
	return error;
}

int sandbox_build(struct sandbox_set *set, const char *const *devices, size_t n_devices)
{
	int error = 0;

	memset(set, 0, sizeof(*set));
	for (unsigned int role = 0; role <= ALL && error == 0; role++)
		error = program_build(
			role < ALL ? &set->role[role] : &set->all, role, devices, n_devices);
	if (error < 0)
		sandbox_free(set);
	return error;
}

void sandbox_free(struct sandbox_set *set)
{
	free(set->all.filter);
	for (unsigned int role = 0; role < SANDBOX_ROLES; role++)
		free(set->role[role].filter);
	memset(set, 0, sizeof(*set));
}

int sandbox_all_threads(const struct sandbox_set *set)
{
	long rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &set->all);
	return rc < 0 ? -errno : (int)rc;
}

int sandbox_thread(const struct sandbox_set *set, enum sandbox_role role)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &set->role[role]) < 0)
		return -errno;
	return 0;
}
