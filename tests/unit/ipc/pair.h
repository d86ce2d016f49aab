#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/client.h"
#include "ipc/server.h"

/* A client and espd's end of it in one process, joined by a real socket and region. */
struct pair {
	char dir[64], path[96];
	struct ipc_listener listener;
	struct ipc_client *client;
	struct ipc_server *server;
	uint64_t acks, events, punts, last_error, last_number, dropped;
	int attached, reason;
	uint32_t refusal;
	uint8_t *acked; /* times each number was acknowledged, if set */
	uint64_t n_acked;
	size_t punt_len;
	uint8_t punt[IPC_PUNT_MAX];
	struct ipc_punt_header punt_header;
};

extern const struct ipc_client_ops pair_ops;

/* slots 0: the defaults; else of every ring. */
void pair_open(struct pair *p, uint32_t slots, uint32_t max_queued);
void pair_close(struct pair *p);
