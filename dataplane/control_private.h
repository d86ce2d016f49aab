#pragma once

#include "dataplane/control.h"
#include "dataplane/grace.h"
#include "shared/handle_map.h"
#include "dataplane/lease.h"
#include "dataplane/path.h"
#include "dataplane/pmtu.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"

#define PUNT_REGISTERED_MAX 64

/* A path of an owner: its handle stays, the struct path is replaced when it moves. */
struct path_obj {
	uint32_t owner;
	struct ipc_path conf;
	struct path *path;
	struct pmtu pmtu;
	uint32_t n_sas;
	bool is_old; /* resync: not set again yet */
};

/* What listings and `ipsecctl -k` show of an SA beside what its sa_cold holds. */
struct sa_listed {
	uint16_t encr_id, encr_key_len, integ_id;
	uint16_t enc_key_len, integ_key_len;
	uint32_t soft_s, hard_s;
	uint64_t soft_bytes, hard_bytes;
};

struct sa_obj {
	uint32_t owner;
	struct ipc_ref ref;
	uint64_t partner, ike;
	uint32_t spi, flags;
	uint8_t direction, mode;
	bool is_old, is_dying, is_held, is_deleting;
	struct path_obj *path;
	struct sa_hot *hot;              /* NULL: selectors are still coming */
	int64_t seq_index;               /* in the sequence file; -1: none */
	uint64_t soft_at_ms, hard_at_ms; /* monotonic; 0: none */
	uint32_t added_s;
	uint32_t why_told, why_pending; /* IPC_SA_WHY_* */
	bool is_nat_pending;
	uint64_t added_epoch_s;
	struct ipc_sa_add *add; /* as sent, in secret memory; NULL once it is installed */
	struct sa_listed listed;
	uint8_t *keys; /* encryption, then integrity key, as sent, in secret memory */
	struct sa_selector_pair *pairs;
	uint16_t n_pairs;
	uint64_t number; /* of the SA_ADD to acknowledge */
};

struct punt_entry {
	uint32_t owner;
	struct endpoint local;
	bool is_nat_t;
	bool is_old; /* its owner went away and has not registered it again */
};

/* A listing of an owner's SAs that goes on as its events find room. */
struct held_cursor {
	struct held_cursor *next;
	bool no_memory;
	uint32_t owner;
	size_t at;
	struct ipc_held_flow *flows; /* all of the owner, by handle */
	size_t n_flows, cap_flows, at_flow;
};

#define OWNERS_KNOWN_MAX 68
struct owner_set {
	uint32_t owner[OWNERS_KNOWN_MAX];
	unsigned int n;
};
void owner_set_add(struct owner_set *set, uint32_t owner);
void owner_set_remove(struct owner_set *set, uint32_t owner);
bool owner_set_has(const struct owner_set *set, uint32_t owner);

struct control {
	struct control_config cfg;
	const struct control_ops *ops;
	struct handle_map *sas, *paths;
	struct lease_table *leases;
	struct punt_entry punts[PUNT_REGISTERED_MAX];
	unsigned int n_punts;
	struct held_cursor *held; /* a list: an engine that asks has one */
	struct owner_set away;    /* owners that went away: their SAs are orphans */
	bool flows_dirty, is_restoring, is_manual_dirty;
	uint64_t n_resyncs;
	uint64_t now_ms;
	uint64_t next_limit_ms; /* no SA's time limit is due before */
};

static inline uint32_t control_now_s(const struct control *c)
{
	return (uint32_t)(c->now_ms / 1000);
}

/* Acknowledges at once, or when all workers have seen what was done before. */
void control_ack(struct control *c, uint32_t owner, uint64_t number, uint32_t error);
void control_ack_after_grace(struct control *c, uint32_t owner, uint64_t number);

/* control_sa.c: each returns an ipc_error, or CONTROL_LATER if it acknowledges by itself. */
#define CONTROL_LATER UINT32_MAX
uint32_t control_sa_add(
	struct control *c, uint32_t owner, const struct ipc_sa_add *add, uint64_t number);
uint32_t control_sa_selectors(
	struct control *c, uint32_t owner, const struct ipc_sa_selectors *more, uint64_t number);
uint32_t control_sa_update(struct control *c, uint32_t owner, const struct ipc_sa_update *u);
uint32_t control_sa_delete(
	struct control *c, uint32_t owner, const struct ipc_ref *ref, uint64_t number);
uint32_t control_sa_query(
	struct control *c, uint32_t owner, const struct ipc_ref *ref, uint64_t number);
void control_sa_obj_free(struct control *c, struct sa_obj *sa);
void control_sa_remove(struct control *c, struct sa_obj *sa, uint64_t ack_number);
struct sa_obj *control_sa_find(struct control *c, uint32_t owner, uint64_t handle);
/* The owner's object with that generation, or the error. */
uint32_t control_sa_get(
	struct control *c, uint32_t owner, const struct ipc_ref *ref, struct sa_obj **out);
void control_sa_set_usable(struct control *c, struct sa_obj *sa);
/* The selectors are complete: makes and publishes the SA. */
uint32_t control_sa_install(struct control *c, struct sa_obj *sa);

/* control_punt.c */
uint32_t control_punt_register(
	struct control *c, uint32_t owner, const struct ipc_punt_register *r);
void control_punts_remove(struct control *c, uint32_t owner, bool only_old);
/* Ports of owners that have nothing left. */
void control_punts_second(struct control *c);

/* control_owner.c: what engines beyond n_engines left goes to those that there are. */
void control_engines_move(struct control *c, uint32_t n_engines);

/* control_path.c */
uint32_t control_path_set(struct control *c, uint32_t owner, const struct ipc_path *p);
uint32_t control_path_delete(struct control *c, uint32_t owner, const struct ipc_ref *ref);
void control_paths_second(struct control *c);
void control_path_remove(struct control *c, struct path_obj *p);

/* control_flow.c */
uint32_t control_flow_add(struct control *c, uint32_t owner, const struct ipc_flow *f);
uint32_t control_flow_bind(struct control *c, uint32_t owner, const struct ipc_flow_bind *b);
void control_flow_autobind(struct control *c, struct sa_obj *sa);

/* control_events.c */
uint32_t control_held_query(struct control *c, uint32_t owner);
void control_held_continue(struct control *c);
void control_held_stop(struct control *c, uint32_t owner); /* 0: all */
void control_limits_note(struct control *c, const struct sa_obj *sa);
void control_sa_tell(struct control *c, struct sa_obj *sa, uint32_t why);

/* control_view.c */
void control_view_sa(struct control *c, const struct sa_obj *sa);
void control_ids_copy(const struct sa_cold *cold, char srcid[IPC_ID_LEN], char dstid[IPC_ID_LEN]);
void control_view_sa_gone(struct control *c, const struct sa_obj *sa);
void control_view_flows(struct control *c);
void control_view_counters(struct control *c);
/* Packets that each flow decided; for many flows not every second. */
void control_view_hits(struct control *c);
