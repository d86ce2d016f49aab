#include "ipc/region.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/wipe.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const uint32_t slot_sizes[IPC_N_RINGS] = {
	[IPC_RING_COMMANDS] = IPC_SLOT_CMD,
	[IPC_RING_EVENTS] = IPC_SLOT_EVENT,
	[IPC_RING_KNOWN] = IPC_SLOT_PUNT,
	[IPC_RING_STRANGERS] = IPC_SLOT_PUNT,
	[IPC_RING_PUNT_TX] = IPC_SLOT_PUNT,
};

void ipc_region_config_default(struct ipc_region_config *cfg)
{
	*cfg = (struct ipc_region_config){.n_slots = {
						  [IPC_RING_COMMANDS] = 1024,
						  [IPC_RING_EVENTS] = 2048,
						  [IPC_RING_KNOWN] = 1024,
						  [IPC_RING_STRANGERS] = 512,
						  [IPC_RING_PUNT_TX] = 1024,
					  }};
}

static bool n_slots_ok(uint32_t n)
{
	return n >= IPC_RING_SLOTS_MIN && n <= IPC_RING_SLOTS_MAX && (n & (n - 1)) == 0;
}

static uint64_t ring_len(uint32_t id, uint32_t n_slots)
{
	uint64_t len = sizeof(struct ipc_ring_shared) + (uint64_t)slot_sizes[id] * n_slots;

	return (len + IPC_PAGE - 1) / IPC_PAGE * IPC_PAGE;
}

/* The one layout that a set of slot counts has; both sides compute it. */
static int layout_make(struct ipc_region_header *h, const struct ipc_region_config *cfg)
{
	uint64_t at = IPC_PAGE;

	memset(h, 0, sizeof(*h));
	h->magic = IPC_MAGIC;
	h->version = IPC_VERSION;
	h->layout_hash = ipc_layout_hash();
	h->n_rings = IPC_N_RINGS;
	for (uint32_t i = 0; i < IPC_N_RINGS; i++) {
		if (!n_slots_ok(cfg->n_slots[i]))
			return -IPC_ERR_INVALID;
		h->ring[i].offset = at;
		h->ring[i].slot_size = slot_sizes[i];
		h->ring[i].n_slots = cfg->n_slots[i];
		at += ring_len(i, cfg->n_slots[i]);
	}
	h->total_len = at;
	return 0;
}

static void rings_init(
	struct ipc_region *region, const struct ipc_region_header *h, bool is_client, int peer_fd)
{
	for (uint32_t i = 0; i < IPC_N_RINGS; i++) {
		bool client_produces = i == IPC_RING_COMMANDS || i == IPC_RING_PUNT_TX;

		ipc_ring_init(&region->ring[i], (uint8_t *)region->base + h->ring[i].offset,
			h->ring[i].slot_size, h->ring[i].n_slots, client_produces == is_client,
			peer_fd);
	}
}

static int region_mmap(struct ipc_region *region, int memfd, uint64_t len)
{
	void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);

	if (base == MAP_FAILED)
		return -IPC_ERR_SYS;
	/* Keys pass through the command ring: no core dump shows them. */
	(void)madvise(base, len, MADV_DONTDUMP);
	region->memfd = memfd;
	region->base = base;
	region->len = len;
	return 0;
}

int ipc_region_create(struct ipc_region *region, const struct ipc_region_config *cfg,
	uint32_t owner_kind, uint32_t engine, int peer_fd)
{
	struct ipc_region_header h;
	int err = layout_make(&h, cfg), fd;

	memset(region, 0, sizeof(*region));
	region->memfd = -1;
	if (err < 0)
		return err;
	h.owner_kind = owner_kind;
	h.engine = engine;
	fd = memfd_create("penstock-ipc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -IPC_ERR_SYS;
	/* Memory is taken now: a later want of it would be a SIGBUS in the middle of work. */
	if (ftruncate(fd, (off_t)h.total_len) < 0 || fallocate(fd, 0, 0, (off_t)h.total_len) < 0 ||
		region_mmap(region, fd, h.total_len) < 0) {
		close(fd);
		return -IPC_ERR_SYS;
	}
	memcpy(region->base, &h, sizeof(h));
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
		ipc_region_fini(region);
		return -IPC_ERR_SYS;
	}
	rings_init(region, &h, false, peer_fd);
	return 0;
}

/* The header, read once, must be exactly what its slot counts demand. */
static int header_check(const struct ipc_region_header *h, uint64_t file_len)
{
	struct ipc_region_config cfg;
	struct ipc_region_header want;

	if (h->magic != IPC_MAGIC || h->version != IPC_VERSION ||
		h->layout_hash != ipc_layout_hash())
		return -IPC_ERR_VERSION;
	for (uint32_t i = 0; i < IPC_N_RINGS; i++)
		cfg.n_slots[i] = h->ring[i].n_slots;
	if (layout_make(&want, &cfg) < 0)
		return -IPC_ERR_INVALID;
	want.owner_kind = h->owner_kind;
	want.engine = h->engine;
	if (memcmp(&want, h, sizeof(want)) != 0 || h->total_len != file_len)
		return -IPC_ERR_INVALID;
	return 0;
}

int ipc_region_map(struct ipc_region *region, int memfd, int peer_fd)
{
	struct ipc_region_header h;
	struct stat st;
	int seals, err;

	memset(region, 0, sizeof(*region));
	region->memfd = -1;
	seals = fcntl(memfd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS)
		return -IPC_ERR_PERM;
	if (fstat(memfd, &st) < 0)
		return -IPC_ERR_SYS;
	if (pread(memfd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return -IPC_ERR_INVALID;
	err = header_check(&h, (uint64_t)st.st_size);
	if (err < 0)
		return err;
	err = region_mmap(region, memfd, h.total_len);
	if (err < 0)
		return err;
	rings_init(region, &h, true, peer_fd);
	return 0;
}

void ipc_region_fini(struct ipc_region *region)
{
	struct ipc_ring *cmd = &region->ring[IPC_RING_COMMANDS];

	if (!region->base)
		return;
	if (cmd->slots)
		wipe(cmd->slots, (size_t)cmd->slot_size * cmd->n_slots);
	munmap(region->base, region->len);
	close(region->memfd);
	memset(region, 0, sizeof(*region));
	region->memfd = -1;
}

bool ipc_region_is_broken(const struct ipc_region *region)
{
	for (uint32_t i = 0; i < IPC_N_RINGS; i++)
		if (region->ring[i].is_broken)
			return true;
	return false;
}
