#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/netlink.h"
#include "dataplane/worker.h"
#include "ipc/messages.h"
#include "shared/log.h"

/*
 * What commands do: the owners' SAs, paths, flows and leases, on top of SAD and SPD. Main's
 * alone, without sockets or clocks: commands and the time go in, acknowledgements and events
 * come out through struct control_ops. A command is acknowledged after a grace period, when all
 * workers work by it.
 *
 * An owner is spd_owner(kind, engine).
 */
struct control;
struct grace;
struct espd_seq;
struct path;
struct pmtu;
struct crypto_mb;
struct ipc_server_cmd;
struct manual_store;
struct view_writer;
struct secrets;
struct ipc_key_record;

struct control_ops {
	void *ctx;
	/* The owner may be gone: then nothing happens. */
	void (*ack)(void *ctx, uint32_t owner, uint64_t number, uint32_t error);
	/* 0, or negative when there is no room: the fact is kept and offered again. */
	int (*event)(void *ctx, uint32_t owner, uint32_t type, const void *body);
	int (*route_get)(void *ctx, const struct ip_addr *dst, const struct ip_addr *src,
		struct netlink_route_answer *out);
	/* A path is new: fills in its next hop and MTU, as it does again when routes change. */
	void (*path_resolve)(void *ctx, struct path *p, struct pmtu *pmtu, uint16_t mtu_wanted);
	/* One byte 0xff to the path's peer (RFC 3948 2.3). */
	void (*keepalive)(void *ctx, const struct path *p);
	/* The table of registered IKE endpoints changed. */
	void (*punt_changed)(void *ctx);
	void (*steer)(void *ctx, const struct ipc_steer *steer);
	/* An owner's resync ended. */
	void (*owner_ready)(void *ctx, uint32_t owner);
	/* All owners' objects are gone (ipsecctl -F): tells the engines. */
	void (*flushed)(void *ctx);
};

struct control_config {
	struct dataplane *dp; /* sad, spd */
	struct grace *grace;
	struct crypto_mb *crypto;    /* main's own */
	struct espd_seq *seq;        /* NULL: no sequence file (tests) */
	struct manual_store *manual; /* ipsecctl's entries; NULL: not kept */
	struct view_writer *view;    /* may be NULL */
	struct secrets *secrets;     /* where keys are kept */
	unsigned int index_bits;
	uint32_t default_window;
	bool keeps_punts; /* registered IKE ports stay an owner's that went away */
	const struct control_ops *ops;
	const struct logger *log;
};

struct control *control_create(const struct control_config *config); /* NULL: no memory */
void control_destroy(struct control *c);                             /* no worker runs any more */

/* now: CLOCK_MONOTONIC. Carries out a command; acknowledges it now or later, exactly once. */
void control_command(
	struct control *c, uint32_t owner, const struct ipc_server_cmd *cmd, uint64_t now_ms);
/* Puts the entries of an earlier espd's ipsecctl back. */
void control_manual_restore(struct control *c, uint64_t now_ms);
/* The replay window of SAs that do not name one, from now on. */
void control_window_set(struct control *c, uint32_t packets);
/* A session began or ended. Objects of an owner that went away stay as orphans. */
void control_owner_attached(struct control *c, uint32_t owner, uint64_t now_ms);
void control_owner_detached(struct control *c, uint32_t owner);

/* SA events that workers raised. Returns how many were looked at. */
unsigned int control_sa_events(struct control *c, uint64_t now_ms);
/* Time limits of SAs; costs nothing while none is due. */
void control_limits(struct control *c, uint64_t now_ms);
/* Once a second: keepalives, events that found no room, counters of the view. */
void control_second(struct control *c, uint64_t now_ms);
/* At the end of a turn: what changed goes to the view. */
void control_turn_end(struct control *c);
/* Routes, neighbours or links changed: resolves every path again. */
void control_paths_resolve(struct control *c);
/* An ICMP message or our own sending says that a path takes less. */
void control_pmtu(struct control *c, uint32_t spi, const struct ip_addr *remote, uint16_t mtu,
	uint64_t now_ms);

/* Is (addr, port) registered for IKE, by whom, with RFC 3948's marker? */
bool control_punt_find(const struct control *c, const struct ip_addr *local, uint16_t port,
	uint32_t *owner, bool *is_nat_t);
/* Did this owner register it? */
bool control_punt_is_of(
	const struct control *c, const struct ip_addr *local, uint16_t port, uint32_t owner);
/* All of them, each once, at most cap. */
unsigned int control_punts(
	const struct control *c, struct endpoint *out, bool *is_nat_t, unsigned int cap);
/* Every awaited owner's first resync has ended. */
void control_all_ready(struct control *c);

/*
 * The keys of the next SA in the SAD, for ipsecctl -k; *cursor starts at 0, and SAs may come and
 * go between two calls. False at the end. The caller wipes *out.
 */
bool control_keys_next(const struct control *c, uint32_t *cursor, struct ipc_key_record *out)
	__attribute__((warn_unused_result));

struct control_counts {
	uint64_t n_sa, n_path, n_flow;
	uint64_t n_resyncs; /* of all owners, in control_totals_get alone */
};
void control_counts_get(const struct control *c, uint32_t owner, struct control_counts *out);
/* Of all owners, also of those that are away. */
void control_totals_get(const struct control *c, struct control_counts *out);
