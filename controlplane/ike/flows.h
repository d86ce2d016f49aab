#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/conf/policy.h"
#include "controlplane/ike/narrow.h"
#include "ipc/messages.h"
#include "shared/multi_map.h"

struct ike_engine;
struct ike_sa;
struct child_sa;

/*
 * The flows (SPD entries) of the engine. Each `from A to B` of a policy with fixed prefixes has
 * a pair of them (out: require, in: strict) from the moment the configuration is loaded until
 * the policy goes, whether there is an SA or not. What is negotiated equal to such a pair binds
 * it; what is narrower gets pairs that live as long as the tunnel's children cover them.
 */
struct flow_pair {
	struct flow_pair *next, *prev; /* of its list in the table */
	struct multi_link by_tunnel, by_selectors;
	uint64_t handle_out, handle_in;
	uint64_t tunnel;       /* ike_sa.tunnel that it serves; 0: none yet, or gone */
	uint32_t policy;       /* number */
	uint16_t policy_index; /* of policy->flows, if is_policy_flow */
	bool is_policy_flow;
	bool is_suppressed; /* `from A to A`: not installed unless a peer agrees to it */
	bool is_loaded, is_deny;
	uint64_t bound_out;              /* handle_out of the child that was bound last */
	struct ip_prefix src, dst;       /* of the outbound one; the inbound is its mirror */
	struct ip_prefix negotiated_src; /* differs from src with `from A (B)`: A */
	uint16_t src_port, dst_port;
	uint8_t proto;
	struct ip_addr peer;
	uint64_t loaded_ids; /* hash of the identities that espd has with it, 0 none */
};

struct flow_list {
	struct flow_pair *first, *last;
};

struct flow_table {
	struct flow_list policy_flows; /* in the order of the file */
	struct flow_list sa_flows;     /* in the order of their making */
	struct flow_list retired;      /* of a configuration that is being replaced */
	struct flow_pair *deny_v6;     /* `out from ::/0 to ::/0 type deny`, NULL if not there */
	bool is_paused;                /* flows_pause, flows_mark_unloaded */
	struct handle_map by_handle;   /* of the outbound flow */
	struct multi_map by_tunnel;    /* of both lists, those that serve one */
	struct multi_map by_selectors; /* of both lists */
};

/* Makes the policy flows of engine->config; equal ones of the last configuration stay. */
void flows_reload(struct ike_engine *engine);
/* All engines have made theirs: what the last configuration had besides goes. */
void flows_commit(struct ike_engine *engine);
/* (Again) adds all to espd: attach, couple. bind: to their children too. */
void flows_push(struct ike_engine *engine);
/* Takes all out of espd, they stay in memory: decouple. */
void flows_unload(struct ike_engine *engine);
/* The same, until the first child is bound again: `reset sa`. */
void flows_pause(struct ike_engine *engine);
/* espd has emptied all by itself: likewise until the first child. */
void flows_mark_unloaded(struct ike_engine *engine);
/* Takes policy flows out and SA flows away: clean stop. */
void flows_forget(struct ike_engine *engine);
void flows_fini(struct ike_engine *engine);

/* Binds a child to the flows of its pairs, making those that are missing. */
void flows_bind_child(struct ike_engine *engine, struct child_sa *child);
/* Ends the pairs of this tunnel that no child covers any more. Policy flows stay. */
void flows_unbind_child(struct ike_engine *engine, const struct child_sa *child);
/* The tunnel is gone. */
void flows_drop_tunnel(struct ike_engine *engine, uint64_t tunnel);
/* By the handle of its outbound flow; NULL. */
struct flow_pair *flows_find(const struct ike_engine *engine, uint64_t handle);
