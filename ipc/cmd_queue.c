#include "ipc/cmd_queue.h"

#include <stdlib.h>
#include <string.h>

#include "shared/wipe.h"

struct cmd_entry {
	struct cmd_entry *next;
	size_t len;
	struct ipc_cmd_header header;
	uint8_t body[];
};

void cmd_queue_init(struct cmd_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
	q->n = 0;
}

static void pop(struct cmd_queue *q)
{
	struct cmd_entry *e = q->first;

	q->first = e->next;
	if (!q->first)
		q->last = &q->first;
	q->n--;
	wipe(e->body, e->len);
	free(e);
}

void cmd_queue_fini(struct cmd_queue *q)
{
	while (q->first)
		pop(q);
}

int cmd_queue_push(
	struct cmd_queue *q, const struct ipc_cmd_header *header, const void *body, size_t len)
{
	struct cmd_entry *e = malloc(sizeof(*e) + len);

	if (!e)
		return -IPC_ERR_NOMEM;
	e->next = NULL;
	e->len = len;
	e->header = *header;
	if (len > 0)
		memcpy(e->body, body, len);
	*q->last = e;
	q->last = &e->next;
	q->n++;
	return 0;
}

void cmd_queue_move(struct cmd_queue *q, struct ipc_ring *r)
{
	uint32_t room, n = 0;

	if (q->n == 0)
		return;
	room = ipc_ring_room(r);
	while (n < room && q->first) {
		cmd_slot_fill(
			ipc_ring_slot(r, n++), &q->first->header, q->first->body, q->first->len);
		pop(q);
	}
	if (n > 0)
		ipc_ring_publish(r, n);
}

void cmd_slot_fill(void *slot, const struct ipc_cmd_header *header, const void *body, size_t len)
{
	uint8_t *p = slot;

	memcpy(p, header, sizeof(*header));
	if (len > 0)
		memcpy(p + sizeof(*header), body, len);
	memset(p + sizeof(*header) + len, 0, IPC_SLOT_CMD - sizeof(*header) - len);
}
