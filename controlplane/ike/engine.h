#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/conf/policy.h"
#include "ipc/messages.h"
#include "shared/addr.h"
#include "shared/bytes.h"
#include "shared/ids.h"
#include "shared/log.h"

/*
 * The IKEv2 engine (RFC 7296) without sockets, clock, files or globals. One call takes one
 * input and appends the actions that follow from it; the caller carries them out in their order.
 *
 *	in:  datagrams, the time, configuration, answers of the key process, events of espd, ikectl
 *	out: datagrams, commands for espd, requests to the key process, checkpoints, log lines
 *
 * Ownership: whatever an input points to is read during ike_engine_step only, except for the
 * configuration (see IKE_IN_CONFIG). Actions own what they point to; ike_actions_reset wipes and
 * frees it.
 *
 * An engine is not thread-safe: one thread each.
 */

struct ike_engine;

/* Bounds on what strangers can make us hold or do. 0 takes the default in brackets. */
struct ike_limits {
	uint32_t max_half_open;        /* half-open SAs as responder; beyond: dropped [4096] */
	uint32_t cookie_threshold;     /* half-open SAs from which COOKIE is asked for [256] */
	uint32_t max_half_open_per_ip; /* of one source address; beyond: COOKIE, then drop [64] */
	uint32_t max_ike_sas;          /* in all [1000000] */
	uint32_t max_children_per_sa;  /* [64] */
	uint32_t max_message_len;      /* bytes, reassembled [65535] */
	uint32_t stray_answers_per_s;  /* INVALID_IKE_SPI and INVALID_MAJOR_VERSION sent [10] */
	uint32_t restore_per_s;        /* SAs rekeyed a second after a restart of espd [100] */
};

struct ike_engine_params {
	/* Fills out with unpredictable bytes; cannot fail. */
	void (*random)(void *ctx, void *out, size_t len);
	void *random_ctx;
	/* Makes an IKE SPI of our own (design: shard and keyed check). It must not return 0. NULL:
	 * 64 random bits. Collisions are retried by the engine. */
	uint64_t (*ike_spi_make)(void *ctx);
	void *ike_spi_ctx;
	const struct logger *log; /* must outlive the engine */
	struct ike_id local_id;   /* the host's FQDN: srcid of policies that have none */
	/* Of several engines beside each other: which one, of how many (0: 1). */
	uint32_t engine_number, n_engines;
	/* Sessions that other engines began since then are news to us: earlier ones an engine of
	 * our number, whose SAs espd may hold, knew. 0: there was none. */
	uint64_t since_ms;
	uint8_t cookie_key[32];  /* shared by all engines, outlives one's restart */
	uint16_t port, nat_port; /* 0: 500 and 4500 */
	bool no_nat_t;           /* iked -T */
	bool only_nat_t;         /* iked -t: port 4500 from the start */
	bool start_passive;      /* iked -S */
	struct ike_limits limits;
};

/* NULL without memory. The engine starts decoupled from espd: transport is down. */
struct ike_engine *ike_engine_create(const struct ike_engine_params *params);
/* Frees and wipes all; sends nothing (see IKE_IN_STOP for a clean stop). */
void ike_engine_destroy(struct ike_engine *engine);

/* Whom an answer is for. The engine makes it; the answer echoes it. */
struct ike_request_ref {
	uint64_t sa; /* handle of the IKE SA */
	uint32_t generation;
	uint32_t reserved;
	uint64_t serial; /* of this request, never used twice by an engine */
};

/* ---- inputs ---------------------------------------------------------------------------- */

enum ike_input_type {
	IKE_IN_TICK = 0,        /* only the time passes; due timers fire (they do with any input) */
	IKE_IN_DATAGRAM,        /* datagram */
	IKE_IN_CONFIG,          /* config */
	IKE_IN_INITIATE,        /* policy_number: initiate now, active or not */
	IKE_IN_AUTH,            /* auth: answer to IKE_ACT_AUTH_REQUEST */
	IKE_IN_PUBKEY,          /* pubkey: answer to IKE_ACT_PUBKEY_REQUEST */
	IKE_IN_ACK,             /* event.ack */
	IKE_IN_ACQUIRE,         /* event.acquire */
	IKE_IN_SA_STATE,        /* event.sa_state */
	IKE_IN_NAT_CHANGE,      /* event.nat_change */
	IKE_IN_SPI_LEASE,       /* event.spi_lease */
	IKE_IN_ROUTE,           /* event.route: answer to a ROUTE_QUERY command */
	IKE_IN_ADDR,            /* event.addr */
	IKE_IN_ROUTE_CHANGED,   /* nothing */
	IKE_IN_LINK,            /* event.link */
	IKE_IN_HELD,            /* event.held: an SA that an earlier engine left in espd */
	IKE_IN_HELD_FLOW,       /* event.held_flow: a flow that it left, after all SAs */
	IKE_IN_HELD_END,        /* nothing: no more of them */
	IKE_IN_FLUSHED,         /* nothing: ipsecctl -F */
	IKE_IN_PMTU,            /* event.pmtu: of a path; bounds our fragments */
	IKE_IN_TRANSPORT_UP,    /* espd attached (again): paths, SAs (RESTORE) and flows are pushed
				 * between RESYNC_BEGIN and RESYNC_END before anything is sent */
	IKE_IN_TRANSPORT_DOWN,  /* timers of exchanges stand still; nothing is sent */
	IKE_IN_RESET,           /* reset */
	IKE_IN_COUPLE,          /* load SAs and flows again */
	IKE_IN_DECOUPLE,        /* unload all SAs and flows; IKE SAs stay */
	IKE_IN_ACTIVE,          /* ikectl active: initiate for active policies */
	IKE_IN_PASSIVE,         /* ikectl passive: send no requests to new peers on our own */
	IKE_IN_CONFIG_COMMIT,   /* all engines have the configuration: what it replaced goes */
	IKE_IN_SESSION,         /* session: of another engine, whose IKE_ACT_SESSION it was */
	IKE_IN_SESSION_QUERY,   /* nothing: answered by an IKE_ACT_SESSION for each that there is */
	IKE_IN_SESSION_ACQUIRE, /* session_acquire: another engine's IKE_ACT_SESSION_ACQUIRE */
	IKE_IN_ENGINE_LOST,     /* engine_number: another engine ended, and its sessions did */
	IKE_IN_STOP,            /* clean stop: DELETE to all peers, all flows and SAs out. Done when
				 * ike_engine_is_idle, or when the caller has waited enough */
};

struct ike_datagram {
	struct endpoint local, remote;
	bool has_marker; /* came on the NAT-T port behind a non-ESP marker (already cut off) */
	bool is_known;   /* espd checked our SPI's keyed check (IPC_PUNT_KNOWN); else false */
	const uint8_t *data;
	size_t len;
};

/*
 * The whole configuration. Both it and its policies must live until the step that hands over the
 * next one has returned (or the engine is destroyed): then no pointer into the old one is left.
 * SAs move to the policy of the new configuration that matches them; those without one are
 * deleted. Of several engines each leaves the flows that are not in it until CONFIG_COMMIT: they
 * may be another engine's now. `version` is echoed in requests to the key process, which has the
 * same file.
 */
struct ike_config_input {
	const struct ike_config *config;
	uint32_t version;
};

enum { IKE_AUTH_DATA_MAX = 1100, IKE_PUBKEY_MAX = 2200 };

struct ike_auth_answer {
	struct ike_request_ref ref;
	int error;      /* 0, or not: there is no such key (-1), or it is of the wrong kind (-2) */
	uint8_t method; /* RFC 7296 3.8: what goes into the AUTH payload (1, 2, 9, 10, 11, 14) */
	const uint8_t *data; /* Authentication Data; method 14: with the AlgorithmIdentifier */
	size_t len;
	uint8_t cert_encoding; /* 0: send no CERT payload */
	const uint8_t *cert;
	size_t cert_len;
	const char *text; /* for the log: "RSA_KEY 2048", "no private key"; or NULL */
};

struct ike_pubkey_answer {
	struct ike_request_ref ref;
	int error;           /* 0, or not: no key is known for this identity */
	const uint8_t *spki; /* DER SubjectPublicKeyInfo */
	size_t spki_len;
	const char *text; /* for the log, e.g. the file that was looked for; or NULL */
};

enum ike_reset_what { IKE_RESET_ALL, IKE_RESET_SA, IKE_RESET_POLICY, IKE_RESET_ID };
struct ike_reset {
	enum ike_reset_what what; /* ALL: SAs, and active policies start over. POLICY: SAs without
				   * a policy now. All with DELETE to the peers */
	const char *id;           /* RESET_ID: as printed, "FQDN/x" */
};

/* An IKE SA with an authenticated peer, as other engines know it. */
struct ike_session {
	uint32_t engine;
	uint8_t is_up;         /* 0: it is gone */
	uint8_t replaces;      /* it has just begun, and ends the peer's others */
	uint8_t is_superseded; /* gone, as another one serves its policy */
	uint8_t reserved;
	uint64_t sa; /* the same for all SAs of a chain of rekeyings */
	uint64_t since_ms;
	uint64_t policy; /* a hash of it; 0: none */
	struct ip_addr remote;
	struct ike_id peer;
};

/* A packet needs a CHILD SA of that IKE SA. */
struct ike_session_acquire {
	uint32_t engine; /* whose it is */
	uint32_t reserved;
	uint64_t sa;
	struct ipc_selector packet;
};

struct ike_input {
	enum ike_input_type type;
	uint64_t now_ms; /* monotonic, never smaller than before */
	uint64_t wall_s; /* seconds since 1970, for records and show sa only */
	union {
		struct ike_datagram datagram;
		struct ike_config_input config;
		uint32_t policy_number;
		struct ike_auth_answer auth;
		struct ike_pubkey_answer pubkey;
		struct ike_reset reset;
		struct ike_session session;
		struct ike_session_acquire session_acquire;
		uint32_t engine_number;
		union {
			struct ipc_ack ack;
			struct ipc_acquire acquire;
			struct ipc_sa_state sa_state;
			struct ipc_nat_change nat_change;
			struct ipc_spi_lease spi_lease;
			struct ipc_route route;
			struct ipc_addr_event addr;
			struct ipc_link_event link;
			struct ipc_held held;
			struct ipc_held_flow held_flow;
			struct ipc_pmtu_event pmtu;
		} event;
	};
};

/* ---- actions --------------------------------------------------------------------------- */

enum ike_action_type {
	IKE_ACT_SEND = 1,        /* send */
	IKE_ACT_COMMAND,         /* command: to espd's command ring */
	IKE_ACT_AUTH_REQUEST,    /* auth: make our AUTH value, or the one that the peer must have */
	IKE_ACT_PUBKEY_REQUEST,  /* pubkey: the raw public key of an identity */
	IKE_ACT_CHECKPOINT,      /* checkpoint: store before carrying out what follows */
	IKE_ACT_EVENT,           /* event: for ikectl monitor */
	IKE_ACT_SESSION,         /* session: to all other engines */
	IKE_ACT_SESSION_QUERY,   /* nothing: to all other engines, who answer by their sessions */
	IKE_ACT_SESSION_ACQUIRE, /* session_acquire: to that engine */
};

struct ike_send {
	struct endpoint local, remote; /* local.addr family 0: the route decides */
	bool marker;                   /* put the non-ESP marker in front (port 4500) */
	uint64_t after_command; /* leaves only after this command was acknowledged; 0: at once */
	uint8_t *data;
	size_t len;
};

/* A slot of the command ring: header.number ascends from 1 through the engine's life. */
struct ike_command {
	struct ipc_cmd_header header;
	size_t body_len; /* bytes of the body below that count */
	union {
		struct ipc_sa_add sa_add; /* holds keys: wiped by ike_actions_reset */
		struct ipc_sa_selectors sa_selectors;
		struct ipc_sa_update sa_update;
		struct ipc_ref ref;
		struct ipc_path path;
		struct ipc_flow flow;
		struct ipc_flow_bind flow_bind;
		struct ipc_spi_lease spi_lease;
		struct ipc_route_query route_query;
		struct ipc_flush flush;
	} body;
};

enum ike_auth_request_kind {
	IKE_AUTH_REQUEST_SIGN,     /* with the private key of `local` */
	IKE_AUTH_REQUEST_PSK,      /* our AUTH from the policy's PSK (RFC 7296 2.15) */
	IKE_AUTH_REQUEST_PSK_PEER, /* the peer's AUTH from the same PSK; compared by the engine */
};

struct ike_auth_request {
	struct ike_request_ref ref;
	enum ike_auth_request_kind kind;
	uint32_t config_version, policy_number; /* whose psk */
	enum ike_auth_method auth;              /* the policy's: which kind of key it demands */
	uint16_t prf_id;                        /* of the IKE SA, for PSK: transform_find's id */
	/* SIGN. RFC 7427 4: hashes that the peer announced: bit (1 << n) for 1 SHA1, 2 SHA2-256,
	 * 3 SHA2-384, 4 SHA2-512. 0: it announced none: no method 14. */
	uint32_t peer_hashes;
	bool allow_sha1;     /* method 1 (RSA with SHA-1) may be used: the policy says `rsa` */
	uint8_t wanted_keys; /* IKE_WANTS_*: the forms of a raw key that the peer asked for */
	bool peer_used_pss;  /* the peer signed with RSASSA-PSS: answer alike (field case B22) */
	struct ike_id local, peer; /* peer.type 0: not known yet */
	uint8_t *octets; /* RFC 7296 2.15: message | nonce | prf(SK_p, ID payload's body) */
	size_t octets_len;
};

struct ike_pubkey_request {
	struct ike_request_ref ref;
	uint32_t config_version, policy_number;
	enum ike_auth_method auth;
	struct ike_id peer, local;
	uint8_t cert_encoding; /* of the first CERT payload received, 0: none */
	uint8_t *cert;
	size_t cert_len;
};

#define IKE_CHECKPOINT_MAX 1024
struct ike_checkpoint {
	uint64_t sa;                        /* handle */
	uint16_t len;                       /* 0: the SA is gone, forget the record */
	uint8_t record[IKE_CHECKPOINT_MAX]; /* opaque; holds keys */
};

enum ike_event_type {
	IKE_EVENT_SA_STATE = 1, /* text: "VALID -> ESTABLISHED" */
	IKE_EVENT_CHILD_UP,
	IKE_EVENT_CHILD_DOWN,
	IKE_EVENT_AUTH_FAILED,
	IKE_EVENT_CONFIG,
};
struct ike_event {
	enum ike_event_type type;
	uint64_t sa;    /* handle, or 0 */
	char text[192]; /* one line, printable */
};

struct ike_action {
	enum ike_action_type type;
	union {
		struct ike_send send;
		struct ike_command command;
		struct ike_auth_request auth;
		struct ike_pubkey_request pubkey;
		struct ike_checkpoint checkpoint;
		struct ike_event event;
		struct ike_session session;
		struct ike_session_acquire session_acquire;
	};
};

/* Grows as needed; zero-initialised by the caller, used again after ike_actions_reset. */
struct ike_actions {
	struct ike_action **list;
	size_t n, cap;
	bool no_memory; /* an action is missing or half made: the caller carries out none
			 * and stops the process */
	/* May be NULL: a step that has very much to say, as all SAs and flows for espd, calls it
	 * in between, so that not all of it is in memory at once. It carries out what is there and
	 * calls ike_actions_reset; it must not call the engine. */
	void (*flush)(void *ctx, struct ike_actions *actions);
	void *flush_ctx;
};

void ike_actions_reset(struct ike_actions *actions); /* wipes and frees the actions */
void ike_actions_fini(struct ike_actions *actions);  /* and the list */

/* ---- driving ---------------------------------------------------------------------------- */

/*
 * Takes one input, fires timers that are due at in->now_ms, appends actions to out. Nothing
 * from outside makes it fail; out->no_memory tells of exhaustion.
 */
void ike_engine_step(
	struct ike_engine *engine, const struct ike_input *in, struct ike_actions *out);

/* The time (now_ms's clock) at which IKE_IN_TICK is due; UINT64_MAX: no timer runs. */
uint64_t ike_engine_next_deadline(const struct ike_engine *engine);

/* No IKE SA is left; after IKE_IN_STOP: none that still has something to say. */
bool ike_engine_is_idle(const struct ike_engine *engine);

/* ---- looking ---------------------------------------------------------------------------- */

enum ike_sa_state {
	IKE_SA_INIT = 0,     /* initiator: waiting for a route */
	IKE_SA_COOKIE,       /* initiator: sent again with a cookie */
	IKE_SA_SA_INIT,      /* IKE_SA_INIT sent (initiator) or answered (responder) */
	IKE_SA_AUTH_REQUEST, /* initiator: waiting for our AUTH value, or IKE_AUTH sent */
	IKE_SA_AUTH_SUCCESS, /* the peer is authenticated; our AUTH is being made */
	IKE_SA_VALID,
	IKE_SA_ESTABLISHED,
	IKE_SA_CLOSING, /* DELETE sent */
	IKE_SA_CLOSED,
};
const char *ike_sa_state_str(enum ike_sa_state state);

struct ike_child_info {
	uint64_t handle_in, handle_out;
	uint32_t spi_in, spi_out;
	bool is_loaded, is_rekeying, is_transport, has_esn, is_deleting;
	bool we_initiated;
	uint8_t dh_id;                        /* group of PFS, 0 none */
	const struct transform *encr, *integ; /* integ NULL with an AEAD */
	const struct traffic_selector *local_ts, *remote_ts;
	size_t n_local_ts, n_remote_ts;
	uint64_t created_ms;
};

struct ike_flow_info {
	uint64_t handle;
	struct ip_prefix src, dst; /* in the flow's direction */
	uint16_t src_port, dst_port;
	uint8_t proto, direction, type;
	bool is_loaded, is_policy_flow;
	uint64_t child; /* handle_out of the child it is bound to, 0 none */
};

struct ike_sa_info {
	uint64_t handle;
	uint64_t spi_i, spi_r;
	struct endpoint local, remote;
	bool is_initiator, has_nat, uses_udp_encap;
	enum ike_sa_state state;
	const struct ike_id *local_id, *peer_id; /* type 0 before they are known */
	const char *policy_name;
	uint32_t policy_number;
	const struct transform *encr, *integ, *prf, *dh;
	const char *auth_text; /* how the peer authenticated: "RSA, method 14, SHA2-256" */
	uint64_t created_ms, established_ms;
	const struct ike_child_info *children;
	size_t n_children;
	const struct ike_flow_info *flows; /* bound to its children */
	size_t n_flows;
};

/* The struct and all it points to are valid during the call only. */
typedef void (*ike_sa_info_fn)(void *ctx, const struct ike_sa_info *info);
void ike_engine_foreach_sa(const struct ike_engine *engine, ike_sa_info_fn fn, void *ctx);
/* All flows, those of policies too. */
typedef void (*ike_flow_info_fn)(void *ctx, const struct ike_flow_info *info);
void ike_engine_foreach_flow(const struct ike_engine *engine, ike_flow_info_fn fn, void *ctx);

/* `ikectl show stats`: the first block is OpenBSD's, in its order. */
struct ike_stats {
	uint64_t sas_created, sas_established_total, sas_established_current, sas_failed;
	uint64_t proposals_failed;
	uint64_t sas_rekeyed, sas_removed;
	uint64_t children_created, children_removed;
	uint64_t msg_sent, msg_send_failed, msg_received, msg_dropped;
	uint64_t requests_dropped_busy;
	uint64_t responses_retransmitted, requests_retransmitted, requests_timed_out;
	uint64_t frag_sent, frag_send_failed, frag_received, frag_dropped, frag_reassembled,
		frag_reassembly_failed;
	uint64_t update_addresses_sent, dpd_sent, keepalives_sent;
	/* ours */
	uint64_t cookies_sent, cookies_bad, half_open_refused, half_open_current;
	uint64_t dropped_short, dropped_version, dropped_unknown_spi, dropped_malformed,
		dropped_auth, dropped_window, dropped_state, dropped_no_policy, dropped_no_spi,
		dropped_transport_down;
	uint64_t stray_answered, stray_suppressed;
	uint64_t auth_failed, answers_ignored, commands_failed;
	uint64_t children_rekeyed, children_failed, collisions_child, collisions_ike;
	uint64_t temporary_failures, invalid_ke, nat_changes, orphans_adopted, orphans_deleted,
		restored, restore_rekeyed;
};
void ike_engine_stats(const struct ike_engine *engine, struct ike_stats *out);

/*
 * `penstockctl why-policy`: each candidate policy for a peer and why it lost, a line each, in
 * file order; the winner's line says so. Fields of the question that are unknown are zero.
 */
struct ike_policy_question {
	struct ip_addr local, remote;
	struct ike_id peer_id, local_id; /* type 0: not asked, as at IKE_SA_INIT */
	bool wants_transport;
};
typedef void (*ike_policy_line_fn)(
	void *ctx, const struct ike_policy *policy, bool is_winner, const char *reason);
void ike_policy_explain(const struct ike_engine *engine, const struct ike_policy_question *question,
	ike_policy_line_fn fn, void *ctx);
