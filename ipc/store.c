#include "ipc/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/messages.h"
#include "shared/siphash.h"

#define STORE_MAGIC 0x504e5351u /* "PNSQ" */
#define STORE_VERSION 1u

/* Unkeyed use of the hash: against torn and stale bytes, not against an attacker (root only). */
static const uint8_t no_key[16];

struct header {
	uint32_t magic, version, record_size, n_records;
	uint8_t pad[48];
};

struct record {
	uint64_t tag;
	uint32_t spi, direction;
	_Atomic uint64_t check; /* written last, cleared first */
	_Atomic uint64_t reserved_end;
	_Atomic uint64_t reserved_inverse; /* ~reserved_end; differs: torn, no record */
	uint64_t top;
	uint64_t pad[2];
};
_Static_assert(sizeof(struct header) == 64 && sizeof(struct record) == 64, "file layout");

struct earlier {
	uint64_t tag;
	uint32_t spi, index; /* index + 1; 0: free */
};

struct seq_store {
	int fd;
	void *base;
	size_t len;
	struct record *record;
	uint32_t n_records;
	struct earlier *earlier; /* open hash of the records found at open */
	uint32_t earlier_mask;
};

static uint64_t check_of(uint32_t index, uint64_t tag, uint32_t spi, uint32_t direction)
{
	const uint64_t text[3] = {tag, (uint64_t)spi << 32 | direction, index};

	return siphash24(no_key, text, sizeof(text)) | 1; /* never 0, which means none */
}

uint64_t seq_store_tag(uint32_t owner_kind, uint32_t engine, uint64_t handle, uint32_t generation,
	uint32_t direction)
{
	const uint64_t text[3] = {(uint64_t)owner_kind << 32 | engine, handle,
		(uint64_t)generation << 32 | direction};

	return siphash24(no_key, text, sizeof(text));
}

static int file_open(const char *path, int *out)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd < 0)
		return errno == ELOOP ? -IPC_ERR_PERM : -IPC_ERR_SYS;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		(st.st_mode & 077) != 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return -IPC_ERR_PERM;
	}
	*out = fd;
	return 0;
}

/* Records there now, 0 if the file is new, cut, or of another layout. */
static uint32_t file_records(int fd)
{
	struct header h;
	struct stat st;

	if (fstat(fd, &st) < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return 0;
	if (h.magic != STORE_MAGIC || h.version != STORE_VERSION ||
		h.record_size != sizeof(struct record) ||
		(uint64_t)st.st_size < sizeof(h) + (uint64_t)h.n_records * sizeof(struct record))
		return 0;
	return h.n_records;
}

static int file_map(struct seq_store *s, uint32_t n, bool is_fresh)
{
	struct header h = {.magic = STORE_MAGIC,
		.version = STORE_VERSION,
		.record_size = sizeof(struct record),
		.n_records = n};

	s->len = sizeof(h) + (size_t)n * sizeof(struct record);
	if (is_fresh && ftruncate(s->fd, 0) < 0)
		return -IPC_ERR_SYS;
	/* Memory is taken now: a full tmpfs must not be a SIGBUS in the middle of work. */
	if (fallocate(s->fd, 0, 0, (off_t)s->len) < 0 && ftruncate(s->fd, (off_t)s->len) < 0)
		return -IPC_ERR_SYS;
	s->base = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->base == MAP_FAILED) {
		s->base = NULL;
		return -IPC_ERR_SYS;
	}
	memcpy(s->base, &h, sizeof(h));
	s->record = (struct record *)((uint8_t *)s->base + sizeof(h));
	s->n_records = n;
	return 0;
}

static int earlier_make(struct seq_store *s)
{
	struct seq_record rec;
	uint32_t n = 0, size = 16;

	for (uint32_t i = 0; i < s->n_records; i++)
		n += seq_store_read(s, i, &rec);
	while (size < 2 * (uint64_t)n)
		size *= 2;
	s->earlier = calloc(size, sizeof(*s->earlier));
	if (!s->earlier)
		return -IPC_ERR_NOMEM;
	s->earlier_mask = size - 1;
	for (uint32_t i = 0; i < s->n_records; i++) {
		uint32_t at;

		if (!seq_store_read(s, i, &rec))
			continue;
		for (at = (uint32_t)rec.tag & s->earlier_mask; s->earlier[at].index != 0;)
			at = (at + 1) & s->earlier_mask;
		s->earlier[at] = (struct earlier){rec.tag, rec.spi, i + 1};
	}
	return 0;
}

int seq_store_open(struct seq_store **out, const char *path, uint32_t n_records, bool *is_fresh)
{
	struct seq_store *s;
	uint32_t n_old;
	int err;

	if (n_records == 0 || n_records > 1u << 28)
		return -IPC_ERR_INVALID;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -IPC_ERR_NOMEM;
	s->fd = -1;
	err = file_open(path, &s->fd);
	if (err == 0) {
		n_old = file_records(s->fd);
		*is_fresh = n_old == 0;
		err = file_map(s, n_old > n_records ? n_old : n_records, n_old == 0);
	}
	if (err == 0)
		err = earlier_make(s);
	if (err < 0) {
		seq_store_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void seq_store_close(struct seq_store *s)
{
	if (!s)
		return;
	if (s->base)
		munmap(s->base, s->len);
	if (s->fd >= 0)
		close(s->fd);
	free(s->earlier);
	free(s);
}

uint32_t seq_store_size(const struct seq_store *s)
{
	return s->n_records;
}

bool seq_store_read(const struct seq_store *s, uint32_t index, struct seq_record *out)
{
	const struct record *r;

	if (index >= s->n_records)
		return false;
	r = &s->record[index];
	out->tag = r->tag;
	out->spi = r->spi;
	out->direction = r->direction;
	out->reserved_end = atomic_load(&r->reserved_end);
	out->top = __atomic_load_n(&r->top, __ATOMIC_RELAXED);
	return atomic_load(&r->reserved_inverse) == ~out->reserved_end &&
	       atomic_load(&r->check) == check_of(index, out->tag, out->spi, out->direction);
}

int64_t seq_store_find(const struct seq_store *s, uint64_t tag, uint32_t spi, uint32_t hint)
{
	struct seq_record rec;
	uint32_t at = (uint32_t)tag & s->earlier_mask;

	if (seq_store_read(s, hint, &rec) && rec.tag == tag && rec.spi == spi)
		return hint;
	for (; s->earlier[at].index != 0; at = (at + 1) & s->earlier_mask) {
		const struct earlier *e = &s->earlier[at];

		/* It may have been released or claimed again since. */
		if (e->tag == tag && e->spi == spi && seq_store_read(s, e->index - 1, &rec) &&
			rec.tag == tag && rec.spi == spi)
			return e->index - 1;
	}
	return -1;
}

int seq_store_claim(
	struct seq_store *s, uint32_t index, uint64_t tag, uint32_t spi, uint32_t direction)
{
	struct record *r;

	if (index >= s->n_records)
		return -IPC_ERR_INVALID;
	r = &s->record[index];
	atomic_store(&r->check, 0);
	r->tag = tag;
	r->spi = spi;
	r->direction = direction;
	__atomic_store_n(&r->top, 0, __ATOMIC_RELAXED);
	atomic_store(&r->reserved_end, 0);
	atomic_store(&r->reserved_inverse, ~UINT64_C(0));
	atomic_store(&r->check, check_of(index, tag, spi, direction));
	return 0;
}

void seq_store_release(struct seq_store *s, uint32_t index)
{
	if (index < s->n_records)
		atomic_store(&s->record[index].check, 0);
}

int seq_store_reserve(struct seq_store *s, uint32_t index, uint64_t end)
{
	struct seq_record rec;

	if (!seq_store_read(s, index, &rec) || end < rec.reserved_end)
		return -IPC_ERR_INVALID;
	atomic_store(&s->record[index].reserved_end, end);
	atomic_store(&s->record[index].reserved_inverse, ~end);
	return 0;
}

uint64_t *seq_store_top_ptr(struct seq_store *s, uint32_t index)
{
	return index < s->n_records ? &s->record[index].top : NULL;
}
