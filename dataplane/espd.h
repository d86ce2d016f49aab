#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/control.h"
#include "dataplane/espd_conf.h"
#include "dataplane/grace.h"
#include "dataplane/kernel.h"
#include "dataplane/loop.h"
#include "dataplane/net_helper.h"
#include "dataplane/privileges.h"
#include "dataplane/worker.h"
#include "ipc/attach.h"
#include "ipc/messages.h"
#include "shared/log.h"

#ifndef PENSTOCK_VERSION
#define PENSTOCK_VERSION "0"
#endif

struct ipc_server;
struct debug;
struct keys;
struct secrets;
struct view_writer;
struct manual_store;
struct espd_seq;

#define SESSIONS_MAX 66
#define NEIGH_WAITING_MAX 256 /* packets that wait for a neighbour */

/* One attached client. */
struct session {
	struct espd *espd;
	struct ipc_server *server; /* NULL: the place is free */
	uint32_t owner;
	bool is_busy; /* work was left over at the last turn's end */
};

/* A connection that has not said hello yet. */
struct greeting {
	struct espd *espd;
	struct ipc_peer peer;
	uint64_t since_ms;
	struct greeting *next;
};

struct neigh_waiting {
	struct rte_mbuf *m;
	uint32_t ifindex;
	struct ip_addr addr;
	uint64_t until_ms;
};

/* Awaited owners (fail closed) and which of them have said what they have. */
struct readiness {
	bool waits_iked, waits_ipsecctl;
	bool ipsecctl_done;
	uint32_t engines_done; /* bits */
	uint64_t ready_epoch_s;
};

/* The program. One object, main's; workers see its dataplane alone. */
struct espd {
	struct logger log;
	struct espd_config conf;
	char conf_path[4096]; /* absolute: a daemon lives in / */
	struct dataplane dp;
	struct eal *eal;
	struct loop *loop;
	struct grace *grace;
	struct kernel *kernel;
	struct control *control;
	struct control_ops ops;
	struct crypto_mb *crypto;
	struct espd_seq *seq;
	struct manual_store *manual;
	struct view_writer *view;
	struct debug *debug;
	struct keys *keys;
	struct secrets *secrets;
	struct ipc_listener listener;
	struct session sessions[SESSIONS_MAX];
	struct greeting *greetings;
	struct privileges_user user;
	struct sandbox_set sandbox;
	struct net_helper net;
	int exit_status;
	struct readiness ready;
	struct ipc_steer steer;
	bool has_steer, is_pinned_foreground;
	uint64_t stranger_second;
	uint32_t n_strangers[IPC_ENGINES_MAX];
	uint16_t punt_ip_id;
	uint32_t next_worker; /* for packets from main: turn by turn */
	struct neigh_waiting waiting[NEIGH_WAITING_MAX];
	unsigned int n_waiting;
	struct { /* main's own counters, shown beside the workers' */
		uint64_t neigh_full, neigh_failed, punt_strangers_over, punt_unclaimed, punt_tx_bad,
			from_host_full;
	} n;
};

/* owners.c: attach, commands, acknowledgements, events. */
int owners_listen(struct espd *e, char *err, size_t cap);
void owners_close(struct espd *e);
const struct control_ops *owners_control_ops(struct espd *e);
bool owners_poll(struct espd *e); /* serves sessions with work left over */
/* An event to every engine. */
void owners_event_all(struct espd *e, uint32_t type, const void *body);
struct session *owners_session(struct espd *e, uint32_t owner);
void owners_second(struct espd *e, uint64_t now_ms);
/* The state of the owners and of forwarding, to the view. */
void owners_view(struct espd *e);
/* ipsecctl's stored entries are in place: its part of readiness is done. */
void owners_ready_check(struct espd *e);

/* host.c: TAPs, what workers gave to main, what main gives to workers. */
int host_start(struct espd *e);
bool host_poll(struct espd *e);
bool host_route(struct espd *e, struct rte_mbuf *m); /* an IP packet that passed the SPD */
void host_neigh(struct espd *e, uint32_t ifindex, const struct ip_addr *a, bool is_known);
void host_second(struct espd *e, uint64_t now_ms);

/* punt.c: IKE to and from engines; keepalives. */
void punt_rx(struct espd *e, struct rte_mbuf *m);
void punt_tx(struct espd *e, uint32_t owner, const struct ipc_punt_header *h, const uint8_t *data);
void punt_keepalive(struct espd *e, const struct path *p);

/* setup.c: from the configuration to running workers. 0 or -1 with a text. */
int setup_dataplane(struct espd *e, char *err, size_t cap);
int setup_workers(struct espd *e, char *err, size_t cap);
int setup_control(struct espd *e, char *err, size_t cap);
void setup_stop(struct espd *e);
void setup_view_counters(struct espd *e);
