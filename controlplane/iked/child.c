#include "controlplane/iked/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "controlplane/iked/privs.h"

/* Log lines that may wait for the parent; later ones are lost rather than the channel. */
#define LOG_BACKLOG_MAX (1u << 20)

static void log_to_parent(void *ctx, enum log_level level, const char *line)
{
	struct child *child = ctx;
	uint8_t body[4096];
	uint32_t level_number = (uint32_t)level;
	size_t len = strlen(line);

	if (imsg_queued_bytes(child->parent) > LOG_BACKLOG_MAX)
		return;
	if (len > sizeof(body) - sizeof(level_number))
		len = sizeof(body) - sizeof(level_number);
	memcpy(body, &level_number, sizeof(level_number));
	memcpy(body + sizeof(level_number), line, len);
	imsg_send(child->parent, MSG_LOG, 0, body, sizeof(level_number) + len, -1);
}

static void on_peer_message(void *ctx, const struct imsg *msg)
{
	struct child_peer *peer = ctx;

	peer->child->from_peer[peer->role](peer->child->ctx, peer->number, msg);
}

static void peer_lost(struct child_peer *peer)
{
	struct child *child = peer->child;

	imsg_channel_destroy(peer->channel);
	peer->channel = NULL;
	if (child->peer_changed)
		child->peer_changed(child->ctx, peer->role, peer->number, false);
}

static void on_peer_closed(void *ctx, const char *why)
{
	struct child_peer *peer = ctx;

	log_debug(&peer->child->log, "%s: channel to %s %u: %s", iked_role_str(peer->child->role),
		iked_role_str(peer->role), (unsigned int)peer->number, why);
	peer_lost(peer);
}

/* The parent made a channel between this child and another one. */
static void peer_connect(struct child *child, const struct imsg *msg)
{
	struct msg_peer which;
	struct child_peer *peer;
	struct imsg_rules rules;
	struct imsg_handler handler = {on_peer_message, on_peer_closed, NULL};

	memcpy(&which, msg->body, sizeof(which));
	if (which.role >= IKED_N_ROLES || which.role == IKED_PARENT ||
		which.number >= IPC_ENGINES_MAX || !child->from_peer[which.role]) {
		close(msg->fd);
		return;
	}
	peer = &child->peer[which.role][which.number];
	if (peer->channel)
		peer_lost(peer);
	*peer = (struct child_peer){child, (enum iked_role)which.role, which.number, NULL};
	handler.ctx = peer;
	rules = messages_rules(peer->role, child->role);
	peer->channel = imsg_channel_create(child->base, msg->fd, &rules, &handler);
	if (peer->channel && child->peer_changed)
		child->peer_changed(child->ctx, peer->role, peer->number, true);
}

static void on_parent_message(void *ctx, const struct imsg *msg)
{
	struct child *child = ctx;
	uint32_t level;

	switch (msg->type) {
	case MSG_PEER:
		peer_connect(child, msg);
		return;
	case MSG_LOG_LEVEL:
		memcpy(&level, msg->body, sizeof(level));
		if (level <= LOG_LVL_TRACE)
			child->log.level = (enum log_level)level;
		return;
	default:
		child->from_parent(child->ctx, msg);
	}
}

/* Without its parent a child has nothing to do; SAs and flows stay as they are. */
static void on_parent_closed(void *ctx, const char *why)
{
	struct child *child = ctx;

	(void)why;
	event_base_loopbreak(child->base);
}

/* Everything that would be loaded or looked up on demand, as there is no file system later. */
static void libraries_preload(void)
{
	unsigned char byte;

	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_ADD_ALL_CIPHERS |
				    OPENSSL_INIT_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_LOAD_CONFIG,
		NULL);
	RAND_priv_bytes(&byte, 1);
	RAND_bytes(&byte, 1);
}

static int child_fail(const char *what)
{
	fprintf(stderr, "penstock-iked: %s: %s\n", what, strerror(errno));
	return -1;
}

int child_start(struct child *child)
{
	const struct imsg_rules rules = messages_rules(IKED_PARENT, child->role);
	const struct imsg_handler handler = {on_parent_message, on_parent_closed, child};
	struct privs_user user;

	/* The parent asks us to end; a terminal's Ctrl-C reaches the whole group. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	libraries_preload();
	if (privs_protect_memory() < 0)
		return child_fail("cannot protect memory");
	child->base = event_base_new();
	if (!child->base)
		return child_fail("cannot make an event loop");
	child->parent = imsg_channel_create(child->base, CHILD_PARENT_FD, &rules, &handler);
	if (!child->parent)
		return child_fail("cannot use the channel to the parent");
	child->log = (struct logger){
		.level = LOG_LVL_INFO, .sink = log_to_parent, .sink_ctx = child};
	if (privs_user_find(&user) < 0) {
		errno = ENOENT;
		return child_fail("no user " IKED_USER " or " IKED_USER_FALLBACK);
	}
	if (privs_drop(&user) < 0)
		return child_fail("cannot drop privileges");
	if (privs_seccomp(child->role) < 0)
		return child_fail("cannot restrict system calls");
	return imsg_send(child->parent, MSG_READY, 0, NULL, 0, -1);
}

void child_fini(struct child *child)
{
	imsg_flush(child->parent);
	for (int i = 0; i < IKED_N_ROLES; i++) {
		for (int n = 0; n < IPC_ENGINES_MAX; n++) {
			imsg_channel_destroy(child->peer[i][n].channel);
			child->peer[i][n].channel = NULL;
		}
	}
	imsg_channel_destroy(child->parent);
	child->parent = NULL;
	event_base_free(child->base);
}
