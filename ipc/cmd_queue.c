#include "ipc/cmd_queue.h"

#include <stdlib.h>
#include <string.h>

#include "ipc/messages.h"
#include "shared/secret.h"
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
	q->secrets = NULL;
}

static bool is_secret(const struct ipc_cmd_header *header)
{
	return header->type == IPC_CMD_SA_ADD;
}

static void pop(struct cmd_queue *q)
{
	struct cmd_entry *e = q->first;

	q->first = e->next;
	if (!q->first)
		q->last = &q->first;
	q->n--;
	if (is_secret(&e->header))
		secrets_free(q->secrets, e, sizeof(*e) + e->len);
	else
		free(e);
}

void cmd_queue_fini(struct cmd_queue *q)
{
	while (q->first)
		pop(q);
	secrets_destroy(q->secrets);
	q->secrets = NULL;
}

static struct cmd_entry *entry_alloc(
	struct cmd_queue *q, const struct ipc_cmd_header *header, size_t len)
{
	if (!is_secret(header))
		return malloc(sizeof(struct cmd_entry) + len);
	if (!q->secrets)
		q->secrets = secrets_create();
	return q->secrets ? secrets_alloc(q->secrets, sizeof(struct cmd_entry) + len) : NULL;
}

int cmd_queue_push(
	struct cmd_queue *q, const struct ipc_cmd_header *header, const void *body, size_t len)
{
	struct cmd_entry *e = entry_alloc(q, header, len);

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
