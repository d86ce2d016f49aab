#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/ring.h"

/*
 * Commands in memory behind a full ring, oldest first. Bounded by the caller. An entry takes
 * only the bytes of its command and is wiped when it leaves.
 */
struct cmd_entry;
struct secrets;

struct cmd_queue {
	struct cmd_entry *first, **last;
	uint32_t n;
	struct secrets *secrets; /* SAs' commands carry keys; made with the first one */
};

void cmd_queue_init(struct cmd_queue *q);
void cmd_queue_fini(struct cmd_queue *q); /* wipes all; the queue is empty then */
/* 0 or -IPC_ERR_NOMEM. */
int cmd_queue_push(struct cmd_queue *q, const struct ipc_cmd_header *header, const void *body,
	size_t len) __attribute__((warn_unused_result));
/* Moves as many as fit into the ring, published at once. */
void cmd_queue_move(struct cmd_queue *q, struct ipc_ring *r);
/* Fills a slot: header, body, zeros. */
void cmd_slot_fill(void *slot, const struct ipc_cmd_header *header, const void *body, size_t len);
