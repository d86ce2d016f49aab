#include "dataplane/keys.h"
#include "dataplane/espd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ipc/error.h"
#include "ipc/keys.h"
#include "ipc/paths.h"
#include "shared/wipe.h"

#define CLIENTS_MAX 4
#define RECORDS_A_TURN 128
#define QUIET_MS 5000

struct client {
	struct keys *keys;
	struct ipc_peer peer; /* fd -1: the place is free */
	bool is_asked;
	uint32_t at, sent; /* the SAD's cursor behind the last record that left; how many did */
	uint64_t active_ms;
};

struct keys {
	struct espd *espd;
	struct ipc_listener listener;
	struct client clients[CLIENTS_MAX];
};

static void client_close(struct client *c)
{
	loop_fd_remove(c->keys->espd->loop, c->peer.fd);
	close(c->peer.fd);
	c->peer.fd = -1;
}

static void records_send(struct client *c)
{
	struct espd *e = c->keys->espd;
	struct ipc_key_record rec;
	int rc = 0;

	for (int n = 0; n < RECORDS_A_TURN && rc == 0; n++) {
		uint32_t next = c->at;

		if (!control_keys_next(e->control, &next, &rec)) {
			rc = ipc_keys_send_end(c->peer.fd);
			if (rc != -IPC_ERR_AGAIN) {
				log_info(&e->log, "keys of %u SAs shown to uid %u, pid %d", c->sent,
					(unsigned int)c->peer.uid, (int)c->peer.pid);
				client_close(c);
				return;
			}
			break;
		}
		rc = ipc_keys_send(c->peer.fd, &rec);
		if (rc == 0) {
			c->at = next;
			c->sent++;
			c->active_ms = loop_now_ms();
		}
	}
	wipe(&rec, sizeof(rec));
	if (rc < 0 && rc != -IPC_ERR_AGAIN)
		client_close(c);
}

static void client_ready(void *ctx, int fd, uint32_t events)
{
	struct client *c = ctx;
	int rc;

	(void)events;
	if (c->is_asked) {
		records_send(c);
		return;
	}
	rc = ipc_keys_read_request(&c->peer);
	if (rc == -IPC_ERR_AGAIN)
		return;
	c->is_asked = rc == 0;
	if (rc < 0 || loop_fd_change(c->keys->espd->loop, fd, EPOLLOUT) < 0)
		client_close(c);
}

static void listener_ready(void *ctx, int fd, uint32_t events)
{
	struct keys *k = ctx;
	struct ipc_peer peer;

	(void)fd;
	(void)events;
	while (ipc_listener_accept(&k->listener, &peer) == 0) {
		struct client *c = NULL;

		for (int i = 0; i < CLIENTS_MAX && !c; i++) {
			if (k->clients[i].peer.fd < 0)
				c = &k->clients[i];
		}
		/* Root alone, whatever the socket's mode says: it is asked once more later. */
		if (!c || peer.uid != 0 ||
			loop_fd_add(k->espd->loop, peer.fd, EPOLLIN, client_ready, c) < 0) {
			close(peer.fd);
			continue;
		}
		*c = (struct client){.keys = k, .peer = peer, .active_ms = loop_now_ms()};
	}
}

struct keys *keys_create(struct espd *e, char *err, size_t cap)
{
	struct keys *k = calloc(1, sizeof(*k));
	char path[108];
	int rc;

	if (!k) {
		snprintf(err, cap, "no memory");
		return NULL;
	}
	k->espd = e;
	for (int i = 0; i < CLIENTS_MAX; i++)
		k->clients[i].peer.fd = -1;
	snprintf(path, sizeof(path), "%s/%s", e->conf.run_dir, ESPD_KEYS_SOCKET);
	rc = ipc_listener_open(&k->listener, path, 0600, (gid_t)-1);
	if (rc == 0 && loop_fd_add(e->loop, k->listener.fd, EPOLLIN, listener_ready, k) == 0)
		return k;
	snprintf(err, cap, "%s: %s", path, rc < 0 ? ipc_strerror(rc) : strerror(errno));
	ipc_listener_close(&k->listener);
	free(k);
	return NULL;
}

void keys_destroy(struct keys *k)
{
	if (!k)
		return;
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (k->clients[i].peer.fd >= 0)
			client_close(&k->clients[i]);
	}
	ipc_listener_close(&k->listener);
	free(k);
}

void keys_second(struct keys *k, uint64_t now_ms)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &k->clients[i];

		if (c->peer.fd >= 0 && now_ms - c->active_ms > QUIET_MS)
			client_close(c);
	}
}
