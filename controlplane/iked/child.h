#pragma once

#include <event2/event.h>

#include "controlplane/iked/imsg.h"
#include "controlplane/iked/messages.h"
#include "controlplane/iked/role.h"
#include "shared/log.h"

/*
 * What every child of penstock-iked has: the loop, the channel to the parent, channels to other
 * children as the parent makes them, and a logger whose lines the parent writes.
 */
#define CHILD_PARENT_FD 3 /* the channel to the parent at exec */

struct child {
	enum iked_role role;
	struct event_base *base;
	struct imsg_channel *parent;
	struct logger log;
	void *ctx; /* the role's own struct, for dispatch */
	void (*from_parent)(void *ctx, const struct imsg *msg);
	/* By sender, and which of the engines; NULL: that child never talks to this one. */
	void (*from_peer[IKED_N_ROLES])(void *ctx, uint32_t number, const struct imsg *msg);
	/* May be NULL: the channel to a peer is there, or was lost. */
	void (*peer_changed)(void *ctx, enum iked_role peer, uint32_t number, bool is_there);
	/* The channels to other children, engines by their number, others 0. */
	struct child_peer {
		struct child *child;
		enum iked_role role;
		uint32_t number;
		struct imsg_channel *channel; /* NULL: there is none */
	} peer[IKED_N_ROLES][IPC_ENGINES_MAX];
};

/* NULL: it does not run. */
static inline struct imsg_channel *child_peer(
	const struct child *child, enum iked_role role, uint32_t number)
{
	return child->peer[role][number].channel;
}

/*
 * Sets up loop, channel and logger, drops all privileges and reports ready. The caller has
 * filled in role, ctx and the functions, and loaded what it needs from files. 0 or -1 (the
 * reason was written to stderr or the log).
 */
int child_start(struct child *child);
/* After the loop has ended: writes what is queued for the parent, frees what child_start made. */
void child_fini(struct child *child);

/* The programs of the children; exit status. */
int key_main(void);
int ike_main(void);
int control_main(void);
