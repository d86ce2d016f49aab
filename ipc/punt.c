#include "ipc/punt.h"

#include <string.h>

uint32_t ipc_punt_slots(size_t len)
{
	return len == 0 ? 1 : (uint32_t)((len + IPC_PUNT_ROOM - 1) / IPC_PUNT_ROOM);
}

int ipc_punt_write(
	struct ipc_ring *r, const struct ipc_punt_header *header, const void *data, size_t len)
{
	struct ipc_punt_header h = *header;
	uint32_t n = ipc_punt_slots(len);
	size_t at = 0;

	if (len > IPC_PUNT_MAX)
		return -IPC_ERR_INVALID;
	if (ipc_ring_room(r) < n)
		return r->is_broken ? -IPC_ERR_BROKEN : -IPC_ERR_FULL;
	h.total_len = (uint32_t)len;
	h.reserved = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *slot = ipc_ring_slot(r, i);

		h.offset = (uint32_t)at;
		h.len = (uint32_t)(len - at < IPC_PUNT_ROOM ? len - at : IPC_PUNT_ROOM);
		memcpy(slot, &h, sizeof(h));
		if (h.len > 0)
			memcpy(slot + sizeof(h), (const uint8_t *)data + at, h.len);
		at += h.len;
	}
	ipc_ring_publish(r, n);
	return 0;
}

static int broken(struct ipc_ring *r)
{
	r->is_broken = true;
	return -IPC_ERR_BROKEN;
}

int ipc_punt_read(
	struct ipc_ring *r, struct ipc_punt_header *header, uint8_t buf[static IPC_PUNT_MAX])
{
	uint8_t slot[IPC_SLOT_PUNT];
	struct ipc_punt_header h;
	uint32_t available = ipc_ring_available(r), at = 0, n;

	if (available == 0)
		return r->is_broken ? -IPC_ERR_BROKEN : 0;
	ipc_ring_copy(r, 0, header, sizeof(*header));
	if (header->total_len > IPC_PUNT_MAX)
		return broken(r);
	n = ipc_punt_slots(header->total_len);
	if (n > available)
		return broken(r);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t left = header->total_len - at;

		ipc_ring_copy(r, i, slot, sizeof(slot));
		memcpy(&h, slot, sizeof(h));
		if (h.total_len != header->total_len || h.offset != at ||
			h.len != (left < IPC_PUNT_ROOM ? left : IPC_PUNT_ROOM))
			return broken(r);
		memcpy(buf + at, slot + sizeof(h), h.len);
		at += h.len;
	}
	header->offset = 0;
	header->len = header->total_len;
	ipc_ring_consume(r, n);
	return 1;
}
