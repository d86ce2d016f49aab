#include "dataplane/espd_seq.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/messages.h"
#include "ipc/paths.h"
#include "ipc/store.h"

enum record_use { RECORD_FREE = 0, RECORD_USED, RECORD_WAITING };

struct espd_seq {
	struct seq_store *store;
	uint64_t *tops; /* mapped, n */
	uint32_t n, cursor, n_waiting;
	uint8_t use[];
};

static uint64_t *tops_map(const char *path, uint32_t n, bool drop)
{
	size_t len = (size_t)n * sizeof(uint64_t);
	struct stat st;
	void *p = MAP_FAILED;
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
		(st.st_mode & 077) == 0 && (!drop || ftruncate(fd, 0) == 0) &&
		((size_t)st.st_size >= len || ftruncate(fd, (off_t)len) == 0))
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

int espd_seq_open(
	struct espd_seq **out, const char *dir, uint32_t n_records, char *err, unsigned int err_cap)
{
	struct espd_seq *s = calloc(1, sizeof(*s) + n_records);
	char path[512], tops[520];
	bool is_fresh = false;
	int rc;

	if (!s) {
		snprintf(err, err_cap, "no memory");
		return -1;
	}
	snprintf(path, sizeof(path), "%s/%s", dir, ESPD_SEQUENCE_STORE);
	rc = seq_store_open(&s->store, path, n_records, &is_fresh);
	if (rc < 0) {
		snprintf(err, err_cap, "%s: %s", path, ipc_strerror(rc));
		free(s);
		return -1;
	}
	s->n = seq_store_size(s->store) < n_records ? seq_store_size(s->store) : n_records;
	snprintf(tops, sizeof(tops), "%s.tops", path);
	s->tops = tops_map(tops, s->n, is_fresh);
	if (!s->tops) {
		snprintf(err, err_cap, "%s: cannot be mapped, or is not ours alone", tops);
		seq_store_close(s->store);
		free(s);
		return -1;
	}
	for (uint32_t i = 0; i < s->n; i++) {
		struct seq_record r;

		if (seq_store_read(s->store, i, &r)) {
			s->use[i] = RECORD_WAITING;
			s->n_waiting++;
		}
	}
	*out = s;
	return 0;
}

void espd_seq_close(struct espd_seq *s)
{
	if (!s)
		return;
	munmap(s->tops, (size_t)s->n * sizeof(uint64_t));
	seq_store_close(s->store);
	free(s);
}

static int64_t free_find(struct espd_seq *s)
{
	for (uint32_t k = 0; k < s->n; k++) {
		uint32_t i = (s->cursor + k) % s->n;

		if (s->use[i] == RECORD_FREE) {
			s->cursor = (i + 1) % s->n;
			return i;
		}
	}
	return -1;
}

int espd_seq_new(struct espd_seq *s, uint64_t tag, uint32_t spi, uint32_t direction,
	struct espd_seq_state *out)
{
	int64_t i = free_find(s);

	*out = (struct espd_seq_state){.index = -1};
	if (i < 0 || seq_store_claim(s->store, (uint32_t)i, tag, spi, direction) < 0)
		return -1;
	s->use[i] = RECORD_USED;
	s->tops[i] = 0;
	out->index = i;
	out->stored_top = direction == IPC_DIR_IN ? &s->tops[i] : NULL;
	return 0;
}

int espd_seq_restore(struct espd_seq *s, uint64_t tag, uint32_t spi, uint32_t direction,
	struct espd_seq_state *out)
{
	int64_t i = seq_store_find(s->store, tag, spi, 0);
	struct seq_record r;

	*out = (struct espd_seq_state){.index = -1};
	if (i < 0 || i >= s->n || s->use[i] != RECORD_WAITING ||
		!seq_store_read(s->store, (uint32_t)i, &r) || r.direction != direction)
		return -1;
	s->use[i] = RECORD_USED;
	s->n_waiting--;
	out->index = i;
	out->reserved_end = r.reserved_end;
	out->top = s->tops[i];
	out->stored_top = direction == IPC_DIR_IN ? &s->tops[i] : NULL;
	return 0;
}

int espd_seq_reserve(struct espd_seq *s, int64_t index, uint64_t last)
{
	if (index < 0 || last == UINT64_MAX)
		return -1;
	return seq_store_reserve(s->store, (uint32_t)index, last + 1) < 0 ? -1 : 0;
}

void espd_seq_release(struct espd_seq *s, int64_t index)
{
	if (index < 0 || index >= s->n)
		return;
	seq_store_release(s->store, (uint32_t)index);
	s->tops[index] = 0;
	s->use[index] = RECORD_FREE;
}

uint32_t espd_seq_drop_unclaimed(struct espd_seq *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n && s->n_waiting; i++) {
		if (s->use[i] != RECORD_WAITING)
			continue;
		espd_seq_release(s, i);
		s->n_waiting--;
		n++;
	}
	return n;
}

bool espd_seq_waiting(const struct espd_seq *s, uint32_t *cursor, uint32_t *spi)
{
	struct seq_record r;

	for (; *cursor < s->n; (*cursor)++) {
		if (s->use[*cursor] != RECORD_WAITING || !seq_store_read(s->store, *cursor, &r) ||
			r.direction != IPC_DIR_IN)
			continue;
		(*cursor)++;
		*spi = r.spi;
		return true;
	}
	return false;
}
