#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/view_layout.h"

#define READ_TRIES 1000

struct view_reader {
	int fd;
	const uint8_t *base;
	struct view_header header; /* checked copy */
	struct view_layout layout;
	char drop_names[VIEW_DROPS][VIEW_NAME_LEN];
};

static int header_read(struct view_reader *r)
{
	struct view_header *h = &r->header;
	struct stat st;

	if (fstat(r->fd, &st) < 0)
		return -IPC_ERR_SYS;
	if (!S_ISREG(st.st_mode) || pread(r->fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h))
		return -IPC_ERR_INVALID;
	if (h->magic != VIEW_MAGIC)
		return -IPC_ERR_INVALID;
	if (h->version != VIEW_VERSION || h->layout_hash != view_layout_hash())
		return -IPC_ERR_VERSION;
	if (view_layout_make(h, &r->layout) < 0 || h->total_len != r->layout.total_len ||
		(uint64_t)st.st_size != h->total_len)
		return -IPC_ERR_INVALID;
	h->program[sizeof(h->program) - 1] = '\0';
	return 0;
}

static const void *entry(
	const struct view_reader *r, enum view_table table, size_t size, uint64_t index)
{
	return r->base + r->layout.offset[table] + size * index;
}

int view_reader_open(struct view_reader **out, const char *path)
{
	struct view_reader *r = calloc(1, sizeof(*r));
	void *base;
	int err;

	if (!r)
		return -IPC_ERR_NOMEM;
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	err = r->fd < 0 ? -IPC_ERR_SYS : header_read(r);
	if (err < 0)
		goto fail;
	base = mmap(NULL, r->header.total_len, PROT_READ, MAP_SHARED, r->fd, 0);
	if (base == MAP_FAILED) {
		err = -IPC_ERR_SYS;
		goto fail;
	}
	r->base = base;
	memcpy(r->drop_names, entry(r, VIEW_T_DROP_NAMES, 0, 0), sizeof(r->drop_names));
	for (int i = 0; i < VIEW_DROPS; i++)
		r->drop_names[i][VIEW_NAME_LEN - 1] = '\0';
	*out = r;
	return 0;
fail:
	view_reader_close(r);
	return err;
}

void view_reader_close(struct view_reader *r)
{
	int saved = errno;

	if (!r)
		return;
	if (r->base)
		munmap((void *)(uintptr_t)r->base, r->header.total_len);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	errno = saved;
}

void view_reader_info(const struct view_reader *r, struct view_info *out)
{
	const struct view_header *h = &r->header;

	*out = (struct view_info){.max_sa = h->max_sa,
		.max_flows = h->max_flows,
		.n_workers = h->n_workers,
		.max_ports = h->max_ports,
		.n_drops = h->n_drops,
		.pid = h->pid,
		.started_s = h->started_s};
	memcpy(out->version, h->program, sizeof(out->version));
}

bool view_reader_is_live(const struct view_reader *r)
{
	/* The writer holds the lock as long as it lives. */
	if (flock(r->fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	flock(r->fd, LOCK_UN);
	return false;
}

const char *view_reader_drop_name(const struct view_reader *r, uint32_t reason)
{
	return reason < r->header.n_drops ? r->drop_names[reason] : "?";
}

/* 1, or -IPC_ERR_AGAIN if a writer was always in the middle (or died there). */
static int entry_get(void *to, const void *from, size_t size)
{
	const _Atomic uint32_t *seq = from;

	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t before = atomic_load_explicit(seq, memory_order_acquire);

		if (before & 1)
			continue;
		memcpy(to, from, size);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(seq, memory_order_relaxed) == before) {
			memset(to, 0, sizeof(*seq));
			return 1;
		}
	}
	return -IPC_ERR_AGAIN;
}

static uint64_t word_get(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void words_get(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] = word_get((const uint64_t *)from + i);
}

int view_read_sa(const struct view_reader *r, uint32_t index, struct view_sa *out,
	struct view_sa_counters *counters)
{
	int n;

	if (index >= r->header.max_sa)
		return -IPC_ERR_INVALID;
	n = entry_get(out, entry(r, VIEW_T_SAS, sizeof(*out), index), sizeof(*out));
	if (n < 0)
		return n;
	out->srcid[IPC_ID_LEN - 1] = out->dstid[IPC_ID_LEN - 1] = '\0';
	if (counters)
		words_get(counters, entry(r, VIEW_T_SA_COUNTERS, sizeof(*counters), index),
			sizeof(*counters));
	return out->state == VIEW_SA_NONE ? 0 : 1;
}

int view_read_flow(
	const struct view_reader *r, uint32_t index, struct view_flow *out, uint64_t *hits)
{
	int n;

	if (index >= r->header.max_flows)
		return -IPC_ERR_INVALID;
	n = entry_get(out, entry(r, VIEW_T_FLOWS, sizeof(*out), index), sizeof(*out));
	if (n < 0)
		return n;
	out->flow.srcid[IPC_ID_LEN - 1] = out->flow.dstid[IPC_ID_LEN - 1] = '\0';
	if (hits) {
		*hits = 0;
		for (uint32_t w = 0; w <= r->header.n_workers; w++)
			*hits += word_get(entry(r, VIEW_T_FLOW_HITS, sizeof(uint64_t),
				w * r->layout.hits_stride + index));
	}
	return out->is_used ? 1 : 0;
}

int view_read_port_counters(
	const struct view_reader *r, uint32_t worker, uint32_t port, struct view_port_counters *out)
{
	if (worker > r->header.n_workers || port >= r->header.max_ports)
		return -IPC_ERR_INVALID;
	words_get(out,
		entry(r, VIEW_T_PORT_COUNTERS, sizeof(*out),
			(uint64_t)worker * r->header.max_ports + port),
		sizeof(*out));
	return 1;
}

int view_read_port(const struct view_reader *r, uint32_t index, struct view_port *out,
	struct view_port_counters *sum)
{
	struct view_port_counters one;
	int n;

	if (index >= r->header.max_ports)
		return -IPC_ERR_INVALID;
	n = entry_get(out, entry(r, VIEW_T_PORTS, sizeof(*out), index), sizeof(*out));
	if (n < 0)
		return n;
	out->name[VIEW_NAME_LEN - 1] = out->driver[VIEW_NAME_LEN - 1] = '\0';
	out->tap[sizeof(out->tap) - 1] = '\0';
	if (sum)
		memset(sum, 0, sizeof(*sum));
	for (uint32_t w = 0; sum && w <= r->header.n_workers; w++) {
		if (view_read_port_counters(r, w, index, &one) < 0)
			return -IPC_ERR_INVALID;
		for (size_t i = 0; i < sizeof(one) / sizeof(uint64_t); i++)
			((uint64_t *)sum)[i] += ((uint64_t *)&one)[i];
	}
	return out->is_used ? 1 : 0;
}

int view_read_owner(const struct view_reader *r, uint32_t index, struct view_owner *out)
{
	int n;

	if (index >= VIEW_OWNERS)
		return -IPC_ERR_INVALID;
	n = entry_get(out, entry(r, VIEW_T_OWNERS, sizeof(*out), index), sizeof(*out));
	return n < 0 ? n : out->is_used ? 1 : 0;
}

int view_read_globals(const struct view_reader *r, struct view_globals *out)
{
	int n = entry_get(out, entry(r, VIEW_T_GLOBALS, 0, 0), sizeof(*out));

	if (n < 0)
		return n;
	if (out->sa_high > r->header.max_sa)
		out->sa_high = r->header.max_sa;
	if (out->flow_high > r->header.max_flows)
		out->flow_high = r->header.max_flows;
	return n;
}

int view_read_worker(const struct view_reader *r, uint32_t worker, struct view_worker *out)
{
	if (worker > r->header.n_workers)
		return -IPC_ERR_INVALID;
	words_get(out, entry(r, VIEW_T_WORKERS, sizeof(*out), worker), sizeof(*out));
	return 1;
}

uint64_t view_read_drops(const struct view_reader *r, uint32_t reason)
{
	uint64_t sum = 0;

	for (uint32_t w = 0; reason < VIEW_DROPS && w <= r->header.n_workers; w++) {
		const struct view_worker *at = entry(r, VIEW_T_WORKERS, sizeof(*at), w);

		sum += word_get(&at->drops[reason]);
	}
	return sum;
}
