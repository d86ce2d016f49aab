#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "controlplane/ike/engine.h"
#include "controlplane/iked/messages.h"
#include "shared/log.h"

/*
 * What carries the engine's datagrams and commands: espd's rings, or the kernel's UDP sockets.
 * Either reports what comes in as inputs of the engine (time not filled in), always from the
 * event loop, never from inside a call of this interface.
 */
struct transport;

struct transport_owner {
	void (*input)(void *ctx, struct ike_input *in);
	/* A connected socket to espd is wanted: answered by transport_espd_attach or _failed. */
	void (*espd_wanted)(void *ctx);
	/* A datagram of another engine came in here. */
	void (*foreign)(void *ctx, uint32_t engine, const struct ike_datagram *datagram);
	void *ctx;
};

struct transport_params {
	struct event_base *base;
	const struct logger *log;
	const struct msg_setup *setup; /* not owned */
	const struct ipc_steer *steer; /* not owned */
	struct transport_owner owner;
};

struct transport_ops {
	void (*start)(struct transport *t);
	void (*send)(struct transport *t, const struct ike_send *send);
	void (*command)(struct transport *t, const struct ike_command *command);
	bool (*is_idle)(const struct transport *t); /* every command was answered */
	void (*destroy)(struct transport *t);
};

struct transport {
	const struct transport_ops *ops;
	struct transport_params params;
};

/* NULL without memory. */
struct transport *transport_espd_create(const struct transport_params *params);
/* Takes over fd. */
void transport_espd_attach(struct transport *t, int fd);
void transport_espd_failed(struct transport *t, const char *why);

/* For IKE alone, without a data plane: SAs and flows are kept in a table that moves nothing. */
struct transport *transport_udp_create(const struct transport_params *params);
/* Takes over fd. */
void transport_udp_socket_add(struct transport *t, const struct msg_udp_socket *socket, int fd);
void transport_udp_addr_add(struct transport *t, const struct ipc_addr_event *addr);

static inline void transport_destroy(struct transport *t)
{
	if (t)
		t->ops->destroy(t);
}
