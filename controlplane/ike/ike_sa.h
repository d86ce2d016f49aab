#pragma once

#include "controlplane/auth/sign.h"
#include "controlplane/ike/child_sa.h"
#include "controlplane/ike/dh.h"
#include "controlplane/ike/engine.h"
#include "controlplane/ike/fragment.h"
#include "controlplane/ike/keymat.h"
#include "controlplane/ike/message.h"
#include "controlplane/ike/sk.h"
#include "controlplane/ike/timer_heap.h"
#include "shared/multi_map.h"

/*
 * An IKE SA. One request of ours is out at a time, and one of the peer's is worked on (window
 * 1, RFC 7296 2.3). What we want to do waits as a list of tasks until the request before is
 * answered.
 */

enum ike_task_type {
	IKE_TASK_NONE = 0,
	IKE_TASK_SA_INIT,
	IKE_TASK_AUTH,
	IKE_TASK_DELETE_IKE, /* from here on in the order in which they are preferred */
	IKE_TASK_DELETE_CHILD,
	IKE_TASK_REKEY_IKE,
	IKE_TASK_REKEY_CHILD,
	IKE_TASK_CREATE_CHILD,
	IKE_TASK_DPD,
};

struct ike_task {
	struct ike_task *next;
	enum ike_task_type type;
	uint64_t child;         /* handle_in */
	uint64_t not_before_ms; /* TEMPORARY_FAILURE: later */
	uint32_t attempts;
	uint32_t spi_in; /* DELETE_CHILD of a child that was never made */
	uint16_t group;  /* that the peer asked for by INVALID_KE_PAYLOAD; 0: the policy's */
	struct ts_pairs *wanted; /* CREATE_CHILD; owned */
};

struct ike_nonce {
	uint16_t len;
	uint8_t data[IKE_NONCE_MAX];
};

/* A CREATE_CHILD_SA request of ours that is out. */
struct ike_attempt {
	struct ike_task task; /* what it carries out; owns task.wanted */
	uint32_t spi_in;      /* of the new child */
	uint64_t spi_ike;     /* of the new IKE SA */
	struct ike_nonce nonce;
	struct ike_dh *dh;      /* NULL without KE */
	struct ts_pairs *pairs; /* proposed; owned */
	bool is_transport;
	/* RFC 7296 2.8.1: the peer's exchange for the same SA that we answered meanwhile. */
	uint64_t rival_child;          /* handle_in of what it made; 0 none */
	uint64_t rival_sa;             /* handle */
	struct ike_nonce rival_lowest; /* the lower of its two nonces */
};

/* A request of ours that waits for its answer. */
struct ike_request {
	enum ike_task_type type; /* NONE: nothing is out */
	uint8_t exchange;
	uint32_t message_id;
	uint8_t attempts;
	uint64_t deadline_ms; /* of the next retransmission */
	uint64_t after_command;
	struct ike_datagrams bytes;
	struct ike_attempt *attempt; /* CREATE_CHILD_SA */
	uint64_t child;              /* DELETE_CHILD: handle_in */
	uint32_t spi_in;             /* DELETE_CHILD of a child that was never made */
};

/* What is asked of the key process or of espd; at most one an SA. */
enum ike_wait {
	IKE_WAIT_NONE = 0,
	IKE_WAIT_ROUTE,
	IKE_WAIT_OWN_AUTH, /* signature or PSK value */
	IKE_WAIT_PUBKEY,
	IKE_WAIT_PSK_PEER,
};

/* From IKE_SA_INIT to the end of IKE_AUTH. */
struct ike_handshake {
	uint8_t *our_init, *peer_init; /* messages as sent and received; owned (RFC 7296 2.15) */
	size_t our_init_len, peer_init_len;
	struct ike_nonce our_nonce, peer_nonce;
	struct ike_dh *dh;
	uint16_t group;
	uint8_t cookie[IKE_COOKIE_MAX];
	uint8_t cookie_len;
	uint8_t n_cookies, n_invalid_ke; /* answered so far (RFC 7296 2.6.1) */
	uint32_t peer_hashes;            /* AUTH_HASH_BIT */
	uint8_t wanted_keys;             /* IKE_WANTS_* */
	bool peer_used_pss;
	uint8_t *peer_octets; /* what the peer's AUTH covers; owned */
	size_t peer_octets_len;
	uint8_t parked_first; /* IKE_AUTH message whose handling waits for an answer */
	uint8_t *parked;      /* its decrypted payloads; owned */
	size_t parked_len;
	uint8_t parked_header[IKE_HEADER_LEN];
	uint32_t spi_in; /* of the first child */
	struct ts_pairs *pairs;
	struct ts_pair packet; /* that triggered us */
	bool has_packet, is_transport;
	uint16_t ip_bucket; /* counted as half-open there */
	bool is_counted;
	uint64_t init_key; /* in engine->sa_by_init, 0 none */
};

struct ike_sa {
	struct ike_sa *next, *prev;
	struct multi_link by_peer_id, by_peer_addr, by_policy; /* see sa_index.c */
	struct ike_timer timer;
	struct ike_engine *engine;
	uint64_t handle;
	uint32_t generation;
	uint64_t tunnel; /* handle of the first of a chain of rekeyed SAs: path, espd's `ike` */
	uint64_t pending_old; /* made by the peer's rekey of that SA while ours was out */
	uint64_t spi_i, spi_r;
	bool is_initiator; /* the original initiator of this IKE SA (flag I) */
	enum ike_sa_state state;
	struct endpoint local, remote; /* remote: ike_sa_set_remote */
	bool uses_marker;              /* floated to the NAT-T port */
	bool we_are_natted, peer_is_natted;
	bool has_path;    /* espd has its path */
	bool owns_tunnel; /* flows and path are its own, not yet a successor's */
	bool peer_does_fragments, is_replaced, is_rekeying;
	bool is_restoring;    /* SAs are to be rekeyed after a restart of espd, paced */
	bool initial_contact; /* the peer sent it */
	bool is_superseded;   /* another SA serves its policy: no new one is needed */
	/* Other engines know it since then (0: they don't), and under which policy. */
	uint64_t session_ms, session_policy;
	/* ike_sa_set_policy. Of engine->config; NULL only when closing. */
	const struct ike_policy *policy;
	struct ike_id local_id, peer_id; /* type 0: not authenticated yet */
	struct ike_suite suite;
	struct ike_sa_keys keys;
	struct ike_cipher out, in;
	bool has_keys;
	char auth_text[AUTH_SCHEME_STRLEN];

	struct ike_handshake *handshake; /* NULL once established */
	enum ike_wait wait;
	uint64_t wait_serial, wait_deadline_ms;

	struct ike_request request;
	uint32_t next_request_id, expected_id; /* ours next; the peer's next */
	struct ike_datagrams response;         /* last one, for repeats */
	uint64_t response_until_ms;
	struct ike_reassembly *reassembly;
	uint32_t pmtu; /* of the path, as espd found it; 0: not known */
	struct ike_task *tasks;

	struct child_sa *children;
	uint64_t created_ms, established_ms, last_received_ms;
	uint64_t half_open_until_ms, rekey_at_ms, close_at_ms, dpd_at_ms; /* UINT64_MAX: never */
	const char *close_reason;
};

/* Makes an SA with an SPI of ours, known to the maps. NULL: limit or memory. */
struct ike_sa *ike_sa_create(struct ike_engine *engine, bool is_initiator);
struct ike_sa *ike_sa_create_with(struct ike_engine *engine, bool is_initiator, uint64_t spi);
uint64_t ike_spi_fresh(struct ike_engine *engine); /* not in use yet */
/* Marks it CLOSED, takes children, flows and path away; freed at the end of the step. */
void ike_sa_close(struct ike_sa *sa, const char *reason);
/* Children, flows and path go, an active policy looks for another SA; the SA itself stays. */
void ike_sa_wind_down(struct ike_sa *sa);
/* DELETE to the peer if it knows us, then close. */
void ike_sa_delete(struct ike_sa *sa, const char *reason);
/* Frees what ike_sa_close marked. */
void ike_sa_collect(struct ike_engine *engine);
/* Without commands or log: the end of the engine. */
void ike_sa_free(struct ike_sa *sa);

void ike_sa_set_state(struct ike_sa *sa, enum ike_sa_state state);
uint64_t ike_sa_our_spi(const struct ike_sa *sa);

/* sa_index.c: how an SA is found. */
int ike_sa_index(struct ike_sa *sa, uint64_t our_spi); /* 0, or -1 without memory */
void ike_sa_unindex(struct ike_sa *sa);
struct ike_sa *ike_sa_by_handle(const struct ike_engine *engine, uint64_t handle);
struct ike_sa *ike_sa_by_spi(const struct ike_engine *engine, uint64_t our_spi);
/* The live one of a chain of rekeyed SAs, or NULL. */
struct ike_sa *ike_sa_by_tunnel(const struct ike_engine *engine, uint64_t tunnel);
/* `from` takes part in it no more; its successor, if any, is `to`. */
void ike_sa_move_tunnel(struct ike_sa *from, struct ike_sa *to);
void ike_sa_set_policy(struct ike_sa *sa, const struct ike_policy *policy);
void ike_sa_set_remote(struct ike_sa *sa, const struct endpoint *remote);
/* Its peer is authenticated: from now on it is found by the identity. */
void ike_sa_index_peer_id(struct ike_sa *sa);
/* The SAs whose peer may be this one, by by_peer_id; the caller compares. */
struct multi_link *ike_sa_first_of_peer(const struct ike_engine *engine, const struct ike_id *id);
/* One that is not closing or replaced, the newest; NULL. */
struct ike_sa *ike_sa_of_policy(const struct ike_engine *engine, uint32_t number);
/* Is another SA with the peer's address established? */
bool ike_sa_has_sibling(const struct ike_sa *sa);
/* Another established SA of the same authenticated peer, NULL when there is none. */
struct ike_sa *ike_sa_same_peer(const struct ike_sa *sa);

struct ike_handshake *ike_handshake_create(void);
void ike_handshake_destroy(struct ike_engine *engine, struct ike_handshake *hs);
/* After the last message of IKE_AUTH, or when a rekeyed SA takes over. */
void ike_sa_established(struct ike_sa *sa);
void ike_sa_start_timers(struct ike_sa *sa);
/* Sets the SA's timer to the earliest of its deadlines. */
void ike_sa_update_timer(struct ike_sa *sa);
void ike_sa_timeout(struct ike_sa *sa);
/* ESP in UDP: one of the two is behind NAT, or iked -t (RFC 7296 2.23). */
bool ike_sa_uses_udp_encap(const struct ike_sa *sa);
bool ike_sa_is_live(const struct ike_sa *sa); /* established, not closing or replaced */

/* tasks.c */
/* Queues it; equal ones are not queued twice. wanted is taken over. NULL without memory. */
struct ike_task *ike_task_add(
	struct ike_sa *sa, enum ike_task_type type, uint64_t child, struct ts_pairs *wanted);
bool ike_task_is_queued(const struct ike_sa *sa, enum ike_task_type type, uint64_t child);
void ike_task_remove_all(struct ike_sa *sa);
/* Sends the next request if none is out and one is due. */
void ike_tasks_run(struct ike_sa *sa);
uint64_t ike_tasks_deadline(const struct ike_sa *sa);
/* TEMPORARY_FAILURE: the task again, after a while; false: it was tried often enough. */
bool ike_task_retry(struct ike_sa *sa, struct ike_task *task);
void ike_attempt_destroy(struct ike_engine *engine, struct ike_attempt *attempt);

/* transmit.c */
/* Protects and sends a request, and keeps it for retransmission. 0 or -1 (SA is closed). */
int ike_request_send(
	struct ike_sa *sa, enum ike_task_type type, uint8_t exchange, struct ike_builder *b);
/* The request is answered or given up. */
void ike_request_done(struct ike_sa *sa);
void ike_request_timeout(struct ike_sa *sa); /* retransmit or give up */
/* At a clean stop: a request that waits already is repeated now, and not for long. */
void ike_request_hurry(struct ike_sa *sa);
/* The answer to the peer's request `message_id`; it leaves after the command (0: at once). */
void ike_response_send(struct ike_sa *sa, uint8_t exchange, uint32_t message_id,
	struct ike_builder *b, uint64_t after_command);
/* An answer that is one error notify. */
void ike_response_error(struct ike_sa *sa, uint8_t exchange, uint32_t message_id, uint16_t type,
	const void *data, size_t len);
void ike_response_repeat(struct ike_sa *sa);
/* Any datagrams to the SA's peer. */
void ike_transmit(struct ike_sa *sa, const struct ike_datagrams *d, uint64_t after_command);
/* The engine's scratch buffer as a builder for the inside of SK. */
struct ike_builder *ike_builder_begin(struct ike_engine *engine);

/* checkpoint.c: the state that the next message depends on, before it is sent. */
void ike_checkpoint_emit(struct ike_sa *sa);
void ike_checkpoint_forget(struct ike_sa *sa);

/* exchange.c */
void ike_datagram_input(struct ike_engine *engine, const struct ike_datagram *in);

/* exchange_sa_init.c */
void sa_init_start(struct ike_sa *sa); /* the route is known: send the request */
void sa_init_request_input(struct ike_engine *engine, const struct ike_datagram *in);
void sa_init_response_input(struct ike_sa *sa, const struct ike_datagram *in);

/* exchange_auth.c; the message is engine->msg */
void auth_start(struct ike_sa *sa);
void auth_request_input(struct ike_sa *sa);
void auth_response_input(struct ike_sa *sa);
/* auth_answers.c: the key process answered */
void auth_answer_input(struct ike_engine *engine, const struct ike_auth_answer *answer);
void pubkey_answer_input(struct ike_engine *engine, const struct ike_pubkey_answer *answer);
void auth_wait_timeout(struct ike_sa *sa);

/* exchange_child.c, exchange_rekey_ike.c */
int ike_nonce_compare(const struct ike_nonce *a, const struct ike_nonce *b);
void ike_nonce_fresh(struct ike_engine *engine, struct ike_nonce *nonce);
void ike_nonce_from(const struct ike_message *m, struct ike_nonce *out);
void child_request_send(struct ike_sa *sa, struct ike_task *task);
void child_request_input(struct ike_sa *sa);
void child_response_input(struct ike_sa *sa);
void rekey_ike_request_send(struct ike_sa *sa, struct ike_task *task);
void rekey_ike_request_input(struct ike_sa *sa);
void rekey_ike_response_input(struct ike_sa *sa, struct ike_attempt *a);
/* A request came on the SA that the peer's rekey made: the peer has decided for it. */
void rekey_ike_settle(struct ike_sa *sa);
/* The peer deleted this SA: what a rekey under way makes of it. */
void rekey_ike_deleted(struct ike_sa *sa);

/* exchange_informational.c */
void informational_send_delete_child(struct ike_sa *sa, struct ike_task *task);
void informational_send_delete_ike(struct ike_sa *sa);
void informational_send_dpd(struct ike_sa *sa);
/* A child that we refuse before it exists: the peer shall delete what it made for this SPI. */
void informational_want_delete_spi(struct ike_sa *sa, uint32_t spi_in);
void informational_request_input(struct ike_sa *sa);
void informational_response_input(struct ike_sa *sa);
void dpd_timeout(struct ike_sa *sa);
void dpd_state_input(
	struct ike_engine *engine, struct child_sa *child, const struct ipc_sa_state *state);

/* nat.c */
void nat_put_notifies(const struct ike_sa *sa, struct ike_builder *b);
/* Reads the peer's NAT_DETECTION notifies; false if it sent none. */
bool nat_detect(struct ike_sa *sa, const struct ike_message *m, uint64_t spi_i, uint64_t spi_r);
/* RFC 7296 2.23: an authenticated message came from elsewhere. */
void nat_follow(struct ike_sa *sa, const struct ike_datagram *in);
void nat_change_input(struct ike_engine *engine, const struct ipc_nat_change *change);

/* ike_log.c */
void ike_log_recv(const struct ike_sa *sa, const struct ike_header *h, size_t len,
	const struct ike_policy *policy);
void ike_log_send(const struct ike_sa *sa, const struct ike_header *h, size_t len);
void sa_log(const struct ike_sa *sa, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Field case B08: both sides' transforms, so that it is seen what is missing. `who`: the peer's
 * address or the SA. */
void ike_log_no_proposal(const struct logger *log, const char *who, const struct ike_offer *theirs,
	const struct ike_policy *policy, enum ike_suite_use use);
void ike_event(struct ike_engine *engine, enum ike_event_type type, uint64_t sa, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));
