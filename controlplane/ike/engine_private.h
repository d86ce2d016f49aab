#pragma once

#include "controlplane/ike/actions.h"
#include "controlplane/ike/child_sa.h"
#include "controlplane/ike/cookie.h"
#include "controlplane/ike/engine.h"
#include "controlplane/ike/flows.h"
#include "shared/handle_map.h"
#include "shared/multi_map.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/policy_index.h"
#include "controlplane/ike/sessions.h"
#include "controlplane/ike/timer_heap.h"

/*
 * What the engine's files share; nothing of it is for callers.
 *
 * All timers, in milliseconds:
 *   RETRANSMIT_MS: a request is sent again after 2 s, then 4, 8, 16, 32 s more; 64 s after the
 *   last its SA is given up. At a clean stop peers have a second in all: STOP_RETRANSMIT_MS.
 *   RESPONSE_KEEP_MS: an answer is kept for repeats. HALF_OPEN_MS:
 *   a responder's SA without IKE_AUTH, and any set-up, ends. OLD_INBOUND_MS: the inbound SA
 *   replaced by a rekey still takes late packets. DPD: every config->dpd_interval_s: see
 *   exchange_informational.c. ACTIVE_FIRST_MS, ACTIVE_RETRY_MS: active policies start, and
 *   start again; a policy whose credentials are missing waits twice as long each time.
 */
enum {
	RETRANSMIT_MS = 2000,
	RETRANSMITS = 5,
	STOP_RETRANSMIT_MS = 250,
	STOP_RETRANSMITS = 3,
	RESPONSE_KEEP_MS = 120 * 1000,
	HALF_OPEN_MS = 120 * 1000,
	REKEYED_SA_MS = 120 * 1000,      /* a replaced IKE SA whose peer never deletes it */
	REQUEST_DEADLINE_MS = 30 * 1000, /* of the key process and of route queries */
	OLD_INBOUND_MS = 30 * 1000,
	ACTIVE_FIRST_MS = 2000,
	ACTIVE_RETRY_MS = 60 * 1000,
	ACTIVE_RETRY_MAX_MS = 3600 * 1000,
	TEMPORARY_RETRY_MS = 3000, /* and up to as much again at random */
	TEMPORARY_RETRIES = 40,
	DPD_SILENCE_MS = 300 * 1000,
	ACTIONS_FLUSH_AT = 4096,
	SPI_LEASE_COUNT = 256,
	SPI_LEASE_LOW = 64,
};

/* A lease of SAD indices from espd. */
struct spi_pool {
	struct ipc_spi_lease ranges[16];
	size_t n;
	uint32_t index_bits; /* of the last SPI taken */
	bool is_asked;
};

enum { TIMER_SA = 1, TIMER_POLICY };

/* What the engine remembers of a policy between steps; one a policy of the configuration. */
struct policy_run {
	struct ike_timer timer; /* next initiation of an active policy */
	struct ike_engine *engine;
	uint32_t number;
	uint32_t backoff_ms; /* 0: none */
	bool dstid_warned;
};

struct held {
	struct held_sa *first;
	struct handle_map by_handle, by_flow;
	struct multi_map by_peer, by_dstid, by_partner, by_selectors;
};

enum { IP_BUCKETS = 4096 };

struct ike_engine {
	struct ike_engine_params p;
	const struct ike_config *config; /* the caller's */
	uint32_t config_version;
	bool is_passive, is_forced_active, is_coupled, is_transport_up, is_stopping;
	bool is_attached; /* espd is there; is_transport_up: and has all that is ours */
	bool was_up;
	bool are_held_known; /* espd has told what an earlier engine left there */
	uint64_t now_ms, wall_s;
	struct ike_actions *out; /* during a step */
	struct secrets *secrets; /* IKE and child SAs, with their keys */

	uint64_t next_handle, next_command, next_serial;
	uint64_t down_since_ms;
	struct handle_map sa_by_handle, sa_by_spi, sa_by_init, sa_by_tunnel, child_by_handle;
	struct multi_map sa_by_peer_id, sa_by_peer_addr, sa_by_policy;
	struct handle_map command_owner; /* SA_ADD not yet acknowledged: its SA's handle */
	struct timer_heap timers;
	struct ike_sa *sas;   /* all, newest first */
	struct ike_sa *grave; /* closed in this step */
	size_t n_sas;
	struct policy_index policies; /* of config */
	struct policy_run *runs;
	size_t n_runs;
	struct spi_pool spis;
	struct flow_table flows;
	struct held held;              /* what an earlier engine left (held.c) */
	struct session_table sessions; /* other engines' (sessions.c) */
	uint16_t half_open_by_ip[IP_BUCKETS];
	uint8_t hash_key[16];
	uint64_t n_restoring; /* since the last resync */
	uint64_t stray_second;
	uint32_t stray_count;
	struct log_limit drop_log;
	struct ike_random rng;
	struct ike_cookie_keys cookies;
	uint64_t cookie_epoch;
	struct ike_message *msg; /* the one being worked on */
	struct bytes inner;      /* its decrypted payloads, and the type of the first */
	uint8_t inner_first;
	uint8_t *plain, *scratch;   /* IKE_MESSAGE_MAX bytes each */
	struct ike_builder builder; /* over scratch */
	struct ike_stats stats;
};

/* engine.c */
uint64_t engine_handle(struct ike_engine *engine);
void engine_random(struct ike_engine *engine, void *out, size_t len);
uint32_t engine_random_u32(struct ike_engine *engine);
/* A time in [ms, 2 ms), so that peers do not meet again at once. */
uint64_t engine_jitter(struct ike_engine *engine, uint64_t ms);
bool engine_may_initiate(const struct ike_engine *engine);
/* Nobody outside can aim at its values; never 0. */
uint64_t engine_hash(const struct ike_engine *engine, const void *data, size_t len);
uint64_t engine_hash_addr(const struct ike_engine *engine, const struct ip_addr *addr);

/* espd.c: commands. Each returns the command's number (0: not sent, transport is down). */
uint64_t espd_path_set(struct ike_engine *engine, const struct ike_sa *sa);
uint64_t espd_path_delete(struct ike_engine *engine, const struct ike_sa *sa);
uint64_t espd_sa_add(struct ike_engine *engine, const struct ike_sa *sa,
	const struct child_sa *child, enum ipc_direction direction, uint32_t flags);
uint64_t espd_sa_update(struct ike_engine *engine, uint64_t handle, uint32_t what);
uint64_t espd_sa_delete(struct ike_engine *engine, uint64_t handle);
/* An SA of an earlier engine. */
uint64_t espd_held_delete(struct ike_engine *engine, uint64_t handle, uint32_t generation);
uint64_t espd_held_keep(struct ike_engine *engine, uint64_t handle, uint32_t generation);
uint64_t espd_held_flow_add(struct ike_engine *engine, const struct ipc_flow *flow);
uint64_t espd_held_bind(struct ike_engine *engine, uint64_t flow, uint64_t sa, uint32_t generation);
uint64_t espd_sa_query(struct ike_engine *engine, uint64_t handle);
uint64_t espd_flow_add(struct ike_engine *engine, const struct flow_pair *pair, bool out);
uint64_t espd_flow_delete(struct ike_engine *engine, uint64_t handle);
uint64_t espd_flow_bind(struct ike_engine *engine, uint64_t flow, uint64_t sa);
uint64_t espd_route_query(struct ike_engine *engine, const struct ip_addr *dst, uint64_t token);
uint64_t espd_simple(struct ike_engine *engine, enum ipc_cmd_type type);
void espd_flush_all(struct ike_engine *engine);
/* An inbound SPI of our lease; 0 if none is left (more are asked for). */
uint32_t espd_spi_take(struct ike_engine *engine);
void espd_spi_release(struct ike_engine *engine, uint32_t spi);
void espd_lease_input(struct ike_engine *engine, const struct ipc_spi_lease *lease);
void espd_lease_want(struct ike_engine *engine);

/* Between two objects of a long list: no pointer into an action is kept. */
static inline void engine_flush(struct ike_engine *engine)
{
	struct ike_actions *out = engine->out;

	if (out->flush && out->n >= ACTIONS_FLUSH_AT && !out->no_memory)
		out->flush(out->flush_ctx, out);
}

/* initiate.c: active policies, acquire */
void initiate_policy(struct ike_engine *engine, const struct ike_policy *policy,
	const struct ipc_selector *packet);
void initiate_due(struct ike_engine *engine, struct policy_run *run);
void initiate_all_active(struct ike_engine *engine, uint64_t delay_ms);
void initiate_failed(struct ike_engine *engine, uint32_t policy_number, bool no_credential);
/* An SA of this policy is gone: an active policy gets another. */
void initiate_after_close(struct ike_engine *engine, uint32_t policy_number, bool was_established);
void initiate_succeeded(struct ike_engine *engine, uint32_t policy_number);
/* RFC 7296 2.9: a packet needs an SA; its own selectors are proposed first. */
void acquire_for_sa(struct ike_sa *sa, const struct ts_pair *packet);
struct policy_run *policy_run_find(struct ike_engine *engine, uint32_t number);

/* reload.c */
void reload_config(struct ike_engine *engine, const struct ike_config_input *in);
void reset_input(struct ike_engine *engine, const struct ike_reset *reset);

/* held.c: what an earlier engine left in espd */
void held_input(struct ike_engine *engine, const struct ipc_held *held);
void held_flow_input(struct ike_engine *engine, const struct ipc_held_flow *in);
/* Within a resync: names the SAs; takes over or adds their flows, after our own. */
void held_keep_sas(struct ike_engine *engine);
void held_push_flows(struct ike_engine *engine);
void held_delete_all(struct ike_engine *engine); /* a clean stop or reset takes them out too */
void held_delete_identity(struct ike_engine *engine, const char *dstid);
bool held_has_peer(const struct ike_engine *engine, const struct ip_addr *peer);
/* Its hard limit is reached, or espd does not have it any more. */
void held_expired(struct ike_engine *engine, uint64_t handle);
void held_free(struct ike_engine *engine);

/* restore.c: espd and ourselves coming and going */
void transport_up(struct ike_engine *engine);
void resync_if_ready(struct ike_engine *engine);
void transport_down(struct ike_engine *engine);
void held_end(struct ike_engine *engine);
void couple(struct ike_engine *engine);
void decouple(struct ike_engine *engine);
void flushed_input(struct ike_engine *engine);

/* espd_events.c */
void ack_input(struct ike_engine *engine, const struct ipc_ack *ack);
void acquire_input(struct ike_engine *engine, const struct ipc_acquire *acquire);
void sa_state_input(struct ike_engine *engine, const struct ipc_sa_state *state);
void pmtu_input(struct ike_engine *engine, const struct ipc_pmtu_event *event);
void addr_input(struct ike_engine *engine, const struct ipc_addr_event *event);
void route_input(struct ike_engine *engine, const struct ipc_route *route);
