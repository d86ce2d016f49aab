#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/view_layout.h"

struct view_writer {
	int fd;
	uint8_t *base;
	struct view_header header; /* own copy; nothing is read back from the file */
	struct view_layout layout;
	struct view_globals globals;
	dev_t dev;
	ino_t ino;
	char *path;
};

static void *entry(struct view_writer *v, enum view_table table, size_t size, uint64_t index)
{
	return v->base + v->layout.offset[table] + size * index;
}

/* Every locked entry begins with its sequence word, and the rest of it is copied. */
static void entry_set(void *to, const void *from, size_t size)
{
	_Atomic uint32_t *seq = to;
	uint32_t n = atomic_load_explicit(seq, memory_order_relaxed);

	atomic_store_explicit(seq, n + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	memcpy((uint8_t *)to + sizeof(*seq), (const uint8_t *)from + sizeof(*seq),
		size - sizeof(*seq));
	atomic_store_explicit(seq, n + 2, memory_order_release);
}

/*
 * Takes memory for the part of a table: a full tmpfs must be an error here, not a SIGBUS at the
 * first store. The big tables are sparse and take it as they fill.
 */
static bool reserve(struct view_writer *v, uint64_t from, uint64_t len)
{
	return len == 0 || fallocate(v->fd, 0, (off_t)from, (off_t)len) == 0;
}

static bool small_tables_reserve(struct view_writer *v)
{
	const uint64_t *at = v->layout.offset;

	return reserve(v, 0, at[VIEW_T_SAS]) &&
	       reserve(v, at[VIEW_T_SA_COUNTERS], at[VIEW_T_FLOWS] - at[VIEW_T_SA_COUNTERS]) &&
	       reserve(v, at[VIEW_T_FLOW_HITS], v->layout.total_len - at[VIEW_T_FLOW_HITS]);
}

/* Written under a temporary name: a reader never opens half a view. */
static int file_make(struct view_writer *v, const char *temp, gid_t gid)
{
	struct stat st;
	void *base;

	if (unlink(temp) < 0 && errno != ENOENT)
		return -IPC_ERR_SYS;
	v->fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (v->fd < 0)
		return -IPC_ERR_SYS;
	if (ftruncate(v->fd, (off_t)v->layout.total_len) < 0 || flock(v->fd, LOCK_EX) < 0 ||
		fstat(v->fd, &st) < 0 || !small_tables_reserve(v))
		return -IPC_ERR_SYS;
	base = mmap(NULL, v->layout.total_len, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (base == MAP_FAILED)
		return -IPC_ERR_SYS;
	v->base = base;
	v->dev = st.st_dev;
	v->ino = st.st_ino;
	memcpy(v->base, &v->header, sizeof(v->header));
	if ((gid != (gid_t)-1 && fchown(v->fd, (uid_t)-1, gid) < 0) || fchmod(v->fd, 0640) < 0)
		return -IPC_ERR_SYS;
	return 0;
}

static int header_make(struct view_writer *v, const struct view_config *cfg)
{
	v->header = (struct view_header){.magic = VIEW_MAGIC,
		.version = VIEW_VERSION,
		.layout_hash = view_layout_hash(),
		.max_sa = cfg->max_sa,
		.max_flows = cfg->max_flows,
		.n_workers = cfg->n_workers,
		.max_ports = cfg->max_ports,
		.n_drops = cfg->n_drops,
		.pid = (uint32_t)getpid(),
		.started_s = (uint64_t)time(NULL)};
	snprintf(v->header.program, sizeof(v->header.program), "%s", cfg->version);
	if (view_layout_make(&v->header, &v->layout) < 0)
		return -IPC_ERR_INVALID;
	v->header.total_len = v->layout.total_len;
	return 0;
}

int view_writer_create(
	struct view_writer **out, const char *path, const struct view_config *cfg, uint32_t gid)
{
	struct view_writer *v = calloc(1, sizeof(*v));
	char *temp = NULL;
	int err = v ? 0 : -IPC_ERR_NOMEM;

	if (err == 0) {
		v->fd = -1;
		err = header_make(v, cfg);
	}
	if (err == 0 && asprintf(&temp, "%s.new", path) < 0) {
		temp = NULL;
		err = -IPC_ERR_NOMEM;
	}
	if (err == 0)
		err = file_make(v, temp, gid);
	for (uint32_t i = 0; err == 0 && i < cfg->n_drops; i++)
		snprintf(entry(v, VIEW_T_DROP_NAMES, VIEW_NAME_LEN, i), VIEW_NAME_LEN, "%s",
			cfg->drop_name(i));
	if (err == 0 && rename(temp, path) < 0)
		err = -IPC_ERR_SYS;
	if (err == 0)
		v->path = strdup(path);
	else if (v && v->fd >= 0)
		unlink(temp);
	free(temp);
	if (err < 0) {
		view_writer_destroy(v);
		return err;
	}
	*out = v;
	return 0;
}

void view_writer_destroy(struct view_writer *v)
{
	struct stat st;

	if (!v)
		return;
	if (v->base) {
		v->globals.state = VIEW_STOPPING;
		view_set_globals(v, &v->globals);
		munmap(v->base, v->layout.total_len);
	}
	/* The name may belong to a newer espd by now. */
	if (v->path && lstat(v->path, &st) == 0 && st.st_dev == v->dev && st.st_ino == v->ino)
		unlink(v->path);
	if (v->fd >= 0)
		close(v->fd);
	free(v->path);
	free(v);
}

static void globals_write(struct view_writer *v)
{
	entry_set(entry(v, VIEW_T_GLOBALS, 0, 0), &v->globals, sizeof(v->globals));
}

void view_set_globals(struct view_writer *v, const struct view_globals *g)
{
	uint64_t sa_high = v->globals.sa_high, flow_high = v->globals.flow_high;

	if (g != &v->globals)
		memcpy(&v->globals, g, sizeof(*g));
	v->globals.sa_high = sa_high;
	v->globals.flow_high = flow_high;
	globals_write(v);
}

void view_set_sa(struct view_writer *v, uint32_t index, const struct view_sa *sa)
{
	if (index >= v->header.max_sa)
		return;
	if (index >= v->globals.sa_high &&
		!reserve(v, v->layout.offset[VIEW_T_SAS] + sizeof(*sa) * v->globals.sa_high,
			sizeof(*sa) * (index + 1 - v->globals.sa_high)))
		return;
	entry_set(entry(v, VIEW_T_SAS, sizeof(*sa), index), sa, sizeof(*sa));
	if (index >= v->globals.sa_high) {
		v->globals.sa_high = (uint64_t)index + 1;
		globals_write(v);
	}
}

void view_clear_sa(struct view_writer *v, uint32_t index)
{
	static const struct view_sa none;

	/* Beyond it nothing was ever set, nor has memory. */
	if (index >= v->globals.sa_high)
		return;
	view_set_sa(v, index, &none);
	memset(view_sa_counters_at(v, index), 0, sizeof(struct view_sa_counters));
}

void view_set_flow(struct view_writer *v, uint32_t index, const struct view_flow *flow)
{
	if (index >= v->header.max_flows)
		return;
	if (index >= v->globals.flow_high &&
		!reserve(v, v->layout.offset[VIEW_T_FLOWS] + sizeof(*flow) * v->globals.flow_high,
			sizeof(*flow) * (index + 1 - v->globals.flow_high)))
		return;
	entry_set(entry(v, VIEW_T_FLOWS, sizeof(*flow), index), flow, sizeof(*flow));
	if (index >= v->globals.flow_high) {
		v->globals.flow_high = (uint64_t)index + 1;
		globals_write(v);
	}
}

void view_clear_flow(struct view_writer *v, uint32_t index)
{
	static const struct view_flow none;

	if (index < v->globals.flow_high)
		view_set_flow(v, index, &none);
}

void view_set_port(struct view_writer *v, uint32_t index, const struct view_port *port)
{
	if (index < v->header.max_ports)
		entry_set(entry(v, VIEW_T_PORTS, sizeof(*port), index), port, sizeof(*port));
}

void view_set_owner(struct view_writer *v, uint32_t index, const struct view_owner *owner)
{
	if (index < VIEW_OWNERS)
		entry_set(entry(v, VIEW_T_OWNERS, sizeof(*owner), index), owner, sizeof(*owner));
}

struct view_sa_counters *view_sa_counters_at(struct view_writer *v, uint32_t sa_index)
{
	if (sa_index >= v->header.max_sa)
		return NULL;
	return entry(v, VIEW_T_SA_COUNTERS, sizeof(struct view_sa_counters), sa_index);
}

struct view_worker *view_worker_at(struct view_writer *v, uint32_t worker)
{
	if (worker > v->header.n_workers)
		return NULL;
	return entry(v, VIEW_T_WORKERS, sizeof(struct view_worker), worker);
}

struct view_port_counters *view_port_counters_at(
	struct view_writer *v, uint32_t worker, uint32_t port)
{
	if (worker > v->header.n_workers || port >= v->header.max_ports)
		return NULL;
	return entry(v, VIEW_T_PORT_COUNTERS, sizeof(struct view_port_counters),
		(uint64_t)worker * v->header.max_ports + port);
}

uint64_t *view_flow_hits_at(struct view_writer *v, uint32_t worker)
{
	if (worker > v->header.n_workers)
		return NULL;
	return entry(v, VIEW_T_FLOW_HITS, sizeof(uint64_t), worker * v->layout.hits_stride);
}
