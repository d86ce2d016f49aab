#include "ipc/manual_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/layout.h"
#include "shared/secret.h"
#include "shared/siphash.h"

#define MANUAL_MAGIC 0x504e4d53u /* "PNMS" */
#define MANUAL_MAX_LEN (256u << 20)

static const uint8_t no_key[16];

struct header {
	uint32_t magic, n_entries;
	uint64_t layout_hash;
	uint64_t len;   /* of the entries that follow */
	uint64_t check; /* over them */
};

struct item_header {
	uint32_t type, len;
};

struct item {
	struct item *next;
	uint32_t type, len;
	uint8_t body[];
};

struct manual_store {
	struct item *first, **last;
	size_t n;
	char *path, *temp;
	struct secrets *secrets; /* the items: SAs come with their keys */
};

int manual_store_create(struct manual_store **out, const char *path)
{
	struct manual_store *m = calloc(1, sizeof(*m));

	if (!m)
		return -IPC_ERR_NOMEM;
	m->last = &m->first;
	m->path = strdup(path);
	m->secrets = secrets_create();
	if (!m->path || !m->secrets || asprintf(&m->temp, "%s.new", path) < 0) {
		m->temp = NULL;
		manual_store_destroy(m);
		return -IPC_ERR_NOMEM;
	}
	*out = m;
	return 0;
}

static void item_remove(struct manual_store *m, struct item **at)
{
	struct item *item = *at;

	*at = item->next;
	if (!item->next)
		m->last = at;
	m->n--;
	secrets_free(m->secrets, item, sizeof(*item) + item->len);
}

void manual_store_destroy(struct manual_store *m)
{
	if (!m)
		return;
	while (m->first)
		item_remove(m, &m->first);
	free(m->path);
	free(m->temp);
	secrets_destroy(m->secrets);
	free(m);
}

static bool type_ok(uint32_t type)
{
	return type == IPC_CMD_SA_ADD || type == IPC_CMD_SA_SELECTORS || type == IPC_CMD_PATH_SET ||
	       type == IPC_CMD_FLOW_ADD || type == IPC_CMD_FLOW_BIND;
}

/* Every body begins with the reference of its object. */
static uint64_t handle_of(const void *body)
{
	struct ipc_ref ref;

	memcpy(&ref, body, sizeof(ref));
	return ref.handle;
}

static uint64_t bound_sa_of(const void *body)
{
	struct ipc_flow_bind bind;

	memcpy(&bind, body, sizeof(bind));
	return bind.sa.handle;
}

static bool replaces(uint32_t type, const void *body, const struct item *old)
{
	if (handle_of(old->body) != handle_of(body))
		return false;
	if (type == IPC_CMD_FLOW_BIND)
		return old->type == type && bound_sa_of(old->body) == bound_sa_of(body);
	/* A new SA under a handle comes with new selectors. */
	if (type == IPC_CMD_SA_ADD)
		return old->type == type || old->type == IPC_CMD_SA_SELECTORS;
	return old->type == type && type != IPC_CMD_SA_SELECTORS;
}

int manual_store_put(struct manual_store *m, uint32_t type, const void *body)
{
	uint32_t len = type_ok(type) ? (uint32_t)ipc_cmd_len(type) : 0;
	bool is_placed = false;
	struct item *item;

	if (len == 0)
		return -IPC_ERR_INVALID;
	item = secrets_alloc(m->secrets, sizeof(*item) + len);
	if (!item)
		return -IPC_ERR_NOMEM;
	item->next = NULL;
	item->type = type;
	item->len = len;
	memcpy(item->body, body, len);
	for (struct item **at = &m->first; *at;) {
		if (!replaces(type, body, *at)) {
			at = &(*at)->next;
			continue;
		}
		/* It takes the place of the old one: a path must stay before its SAs. */
		if (!is_placed && (*at)->type == type) {
			item->next = *at;
			*at = item;
			m->n++;
			is_placed = true;
			at = &item->next;
		}
		item_remove(m, at);
	}
	if (!is_placed) {
		*m->last = item;
		m->last = &item->next;
		m->n++;
	}
	return 0;
}

static bool names(uint32_t delete_type, uint64_t handle, const struct item *item)
{
	uint64_t mine = handle_of(item->body);

	switch (delete_type) {
	case IPC_CMD_SA_DELETE:
		if (item->type == IPC_CMD_FLOW_BIND)
			return bound_sa_of(item->body) == handle;
		return mine == handle &&
		       (item->type == IPC_CMD_SA_ADD || item->type == IPC_CMD_SA_SELECTORS);
	case IPC_CMD_PATH_DELETE:
		return mine == handle && item->type == IPC_CMD_PATH_SET;
	case IPC_CMD_FLOW_DELETE:
		return mine == handle &&
		       (item->type == IPC_CMD_FLOW_ADD || item->type == IPC_CMD_FLOW_BIND);
	}
	return false;
}

size_t manual_store_delete(struct manual_store *m, uint32_t delete_type, uint64_t handle)
{
	size_t before = m->n;

	for (struct item **at = &m->first; *at;) {
		if (names(delete_type, handle, *at))
			item_remove(m, at);
		else
			at = &(*at)->next;
	}
	return before - m->n;
}

size_t manual_store_flush(struct manual_store *m, uint32_t what)
{
	size_t before = m->n;

	for (struct item **at = &m->first; *at;) {
		bool is_flow = (*at)->type == IPC_CMD_FLOW_ADD;
		bool is_bind = (*at)->type == IPC_CMD_FLOW_BIND;
		bool goes = is_bind   ? what & (IPC_FLUSH_SA | IPC_FLUSH_FLOW)
			    : is_flow ? what & IPC_FLUSH_FLOW
				      : what & IPC_FLUSH_SA;

		if (goes)
			item_remove(m, at);
		else
			at = &(*at)->next;
	}
	return before - m->n;
}

size_t manual_store_count(const struct manual_store *m)
{
	return m->n;
}

bool manual_store_at(const struct manual_store *m, size_t i, uint32_t *type, const void **body)
{
	const struct item *item = m->first;

	while (item && i-- > 0)
		item = item->next;
	if (!item)
		return false;
	*type = item->type;
	*body = item->body;
	return true;
}

static int items_parse(struct manual_store *m, const uint8_t *p, size_t len, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct item_header h;
		int err;

		if (len < sizeof(h))
			return -IPC_ERR_INVALID;
		memcpy(&h, p, sizeof(h));
		p += sizeof(h);
		len -= sizeof(h);
		if (!type_ok(h.type) || (int)h.len != ipc_cmd_len(h.type) || h.len > len)
			return -IPC_ERR_INVALID;
		err = manual_store_put(m, h.type, p);
		if (err < 0)
			return err;
		p += h.len;
		len -= h.len;
	}
	return len == 0 ? 0 : -IPC_ERR_INVALID;
}

static int read_all(int fd, void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, (uint8_t *)buf + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -IPC_ERR_SYS;
		if (n == 0)
			return -IPC_ERR_INVALID;
		at += (size_t)n;
	}
	return 0;
}

static int file_load(struct manual_store *m, int fd)
{
	struct header h;
	struct stat st;
	uint8_t *data;
	int err;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		(st.st_mode & 077) != 0)
		return -IPC_ERR_PERM;
	err = read_all(fd, &h, sizeof(h));
	if (err < 0)
		return err;
	if (h.magic != MANUAL_MAGIC)
		return -IPC_ERR_INVALID;
	if (h.layout_hash != ipc_layout_hash())
		return -IPC_ERR_VERSION;
	if (h.len > MANUAL_MAX_LEN || (uint64_t)st.st_size != sizeof(h) + h.len)
		return -IPC_ERR_INVALID;
	data = secret_pages_alloc(h.len + 1);
	if (!data)
		return -IPC_ERR_NOMEM;
	err = read_all(fd, data, h.len);
	if (err == 0 && siphash24(no_key, data, h.len) != h.check)
		err = -IPC_ERR_INVALID;
	if (err == 0)
		err = items_parse(m, data, h.len, h.n_entries);
	secret_pages_free(data, h.len + 1);
	return err;
}

int manual_store_load(struct manual_store *m)
{
	int fd = open(m->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int err;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno == ELOOP ? -IPC_ERR_PERM : -IPC_ERR_SYS;
	err = file_load(m, fd);
	close(fd);
	if (err < 0)
		while (m->first)
			item_remove(m, &m->first);
	return err;
}

static int write_all(int fd, const void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, (const uint8_t *)buf + at, len - at);

		if (n < 0 && errno != EINTR)
			return -IPC_ERR_SYS;
		if (n > 0)
			at += (size_t)n;
	}
	return 0;
}

static int file_write(const char *path, const struct header *h, const uint8_t *data)
{
	int fd, err;

	/* A temporary file that a killed espd left behind is never written into. */
	if (unlink(path) < 0 && errno != ENOENT)
		return -IPC_ERR_SYS;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -IPC_ERR_SYS;
	err = write_all(fd, h, sizeof(*h));
	if (err == 0)
		err = write_all(fd, data, h->len);
	close(fd);
	if (err < 0)
		unlink(path);
	return err;
}

int manual_store_save(struct manual_store *m)
{
	struct header h = {.magic = MANUAL_MAGIC,
		.n_entries = (uint32_t)m->n,
		.layout_hash = ipc_layout_hash()};
	uint8_t *data, *p;
	int err;

	for (struct item *i = m->first; i; i = i->next)
		h.len += sizeof(struct item_header) + i->len;
	if (h.len > MANUAL_MAX_LEN)
		return -IPC_ERR_FULL;
	data = p = secret_pages_alloc(h.len + 1);
	if (!data)
		return -IPC_ERR_NOMEM;
	for (struct item *i = m->first; i; i = i->next) {
		struct item_header ih = {i->type, i->len};

		memcpy(p, &ih, sizeof(ih));
		memcpy(p + sizeof(ih), i->body, i->len);
		p += sizeof(ih) + i->len;
	}
	h.check = siphash24(no_key, data, h.len);
	err = file_write(m->temp, &h, data);
	if (err == 0 && rename(m->temp, m->path) < 0)
		err = -IPC_ERR_SYS;
	secret_pages_free(data, h.len + 1);
	return err;
}
