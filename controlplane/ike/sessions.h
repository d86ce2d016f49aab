#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/conf/policy.h"
#include "controlplane/ike/engine.h"
#include "shared/handle_map.h"
#include "shared/multi_map.h"

struct ike_sa;

/*
 * Several engines of one iked: each policy has a home, the engine that has its flows and initiates
 * for it; a peer that initiates meets any. What the others must know of an IKE SA they are told
 * (IKE_ACT_SESSION), from its AUTH until its tunnel is gone, rekeyings included.
 */
struct session_table {
	struct handle_map by_handle; /* space: the engine */
	struct multi_map by_addr, by_policy;
	struct handle_map runs; /* struct policy_run by the policy's key */
};

/* The engine that has this policy's flows and initiates: the same for all policies of a peer, so
 * that an engine knows whether it is the first contact (RFC 7296 2.4). */
uint32_t policy_home(const struct ike_engine *engine, const struct ike_policy *policy);
bool policy_is_ours(const struct ike_engine *engine, const struct ike_policy *policy);
/* What names a policy in all engines, also when a reload has renumbered it. Never 0. */
uint64_t policy_key(const struct ike_policy *policy);

/* The peer of sa is authenticated; replaces: its other SAs end. */
void session_begin(struct ike_sa *sa, bool replaces);
/* Its address or its policy is another now. */
void session_changed(struct ike_sa *sa);
void session_end(struct ike_sa *sa);
/* The configuration is a new one. */
void sessions_reload(struct ike_engine *engine);
/* All to who asks for it. */
void sessions_tell(struct ike_engine *engine);

void session_input(struct ike_engine *engine, const struct ike_session *session);
void session_acquire_input(struct ike_engine *engine, const struct ike_session_acquire *acquire);
void engine_lost(struct ike_engine *engine, uint32_t number);
/* Has another engine an SA with this peer; for this policy? */
bool session_has_peer(const struct ike_engine *engine, const struct ip_addr *peer);
bool session_has_policy(const struct ike_engine *engine, const struct ike_policy *policy);
/* A packet needs an SA of a policy that another engine has one for: that shall see to it. */
void session_acquire(struct ike_engine *engine, const struct ike_policy *policy,
	const struct ipc_selector *packet);
void sessions_fini(struct ike_engine *engine);
