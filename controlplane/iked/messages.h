#pragma once

#include <stdint.h>

#include "controlplane/ctl/protocol.h"
#include "controlplane/ike/engine.h"
#include "controlplane/iked/imsg.h"
#include "controlplane/iked/role.h"

/*
 * What the processes of penstock-iked say to each other. Bodies are the structs below, at times
 * with bytes behind them; all processes are of one binary, so plain structs will do. The table of
 * who may say what to whom is messages_rules.
 */
enum msg_type {
	MSG_NONE = 0,

	/* parent to every child */
	MSG_PEER,      /* struct msg_peer; fd: a channel to that child */
	MSG_LOG_LEVEL, /* u32 enum log_level */
	MSG_STOP,      /* no body: end cleanly */

	/* every child to the parent */
	MSG_LOG,   /* u32 level, text */
	MSG_READY, /* no body: privileges are dropped, the loop runs */

	/* parent to key; one load is BEGIN, any number of KEY and PSK, COMMIT */
	MSG_KEY_BEGIN,   /* u32 configuration version */
	MSG_KEY_PRIVATE, /* PEM of private/local.key */
	MSG_KEY_PSK,     /* struct msg_psk, then the secret */
	MSG_KEY_COMMIT,  /* no body */
	MSG_KEY_FORGET,  /* u32 version: keys of that load are not needed any more */
	/* key to parent */
	MSG_KEY_LOADED, /* struct msg_key_loaded, then DER SubjectPublicKeyInfo of the private key
			 * (status 0; empty: there is none) or a text (else) */

	/* parent to ike */
	MSG_SETUP,         /* struct msg_setup: once, first */
	MSG_CONFIG_BEGIN,  /* struct msg_config_begin */
	MSG_CONFIG_CHUNK,  /* bytes of the serialised configuration (conf_serial.h), in order */
	MSG_CONFIG_END,    /* no body */
	MSG_CONFIG_COMMIT, /* u32 version: all engines have it; what it replaced may go */
	MSG_UDP_SOCKET,    /* struct msg_udp_socket; fd */
	MSG_LOCAL_ADDR,    /* struct ipc_addr_event: kernel-UDP transport only */
	MSG_ESPD_SOCKET,   /* no body; fd: connected to espd */
	MSG_ESPD_FAILED,   /* text: why there is no such socket */
	MSG_PUBKEY,        /* struct msg_pubkey, then spki_len bytes, then a text */
	/* ike to parent */
	MSG_CONFIG_DONE,    /* struct msg_config_done, then a text if it failed */
	MSG_ESPD_WANTED,    /* no body: connect (again) */
	MSG_PUBKEY_REQUEST, /* struct msg_pubkey_request */
	MSG_STOPPED,        /* no body: answer to MSG_STOP, all taken out */

	/* ike to key, and back */
	MSG_AUTH_REQUEST, /* struct msg_auth_request, then octets_len bytes */
	MSG_AUTH,         /* struct msg_auth, then auth_len, cert_len bytes, then a text */

	/* parent to control */
	MSG_CTL_SOCKET, /* u32 how many engines there are; fd: listening */

	/* control to parent and to ike, and back; the serial names the client's request */
	MSG_CTL_REQUEST, /* struct msg_ctl, then the request's body */
	MSG_CTL_REPLY,   /* struct msg_ctl, then the reply's body; the last is CTL_DONE */
	MSG_CTL_EVENT,   /* struct ctl_event: to all monitors */

	/* ike to another ike */
	MSG_SESSION,         /* struct msg_session */
	MSG_SESSION_QUERY,   /* no body: answered by all sessions that the engine has */
	MSG_SESSION_ACQUIRE, /* struct msg_session_acquire */
	MSG_DATAGRAM,        /* struct msg_datagram, then its bytes: kernel-UDP transport only */
};

struct msg_peer {
	uint32_t role, number; /* number: of an engine, else 0 */
};

struct msg_psk {
	uint32_t policy_number;
	uint32_t len; /* of the secret */
};

struct msg_key_loaded {
	uint32_t version;
	int32_t status; /* 0, or -1: the load was refused, what was there stays */
};

struct msg_setup {
	struct ike_id local_id;
	uint8_t cookie_key[32];
	uint8_t steer_key[16];
	uint16_t port, nat_port;
	uint8_t use_kernel_udp, no_nat_t, only_nat_t, start_passive;
	uint32_t engine_number, n_engines;
	uint64_t since_ms; /* what engines made before, an earlier engine knew (0: all) */
};

struct msg_config_begin {
	uint32_t version;
	uint32_t total_len;
};

struct msg_config_done {
	uint32_t version;
	int32_t status;
};

struct msg_udp_socket {
	uint16_t port;    /* 0: not bound, asks the kernel for routes */
	uint8_t family;   /* 4 or 6 */
	uint8_t is_nat_t; /* non-ESP marker rules apply */
};

struct msg_pubkey_request {
	struct ike_request_ref ref;
	struct ike_id peer;
	uint32_t auth; /* enum ike_auth_method */
};

struct msg_pubkey {
	struct ike_request_ref ref;
	int32_t error;
	uint32_t spki_len;
};

struct msg_auth_request {
	struct ike_request_ref ref;
	uint32_t kind; /* enum ike_auth_request_kind */
	uint32_t config_version, policy_number;
	uint32_t auth; /* enum ike_auth_method */
	uint32_t peer_hashes;
	uint16_t prf_id;
	uint8_t allow_sha1, peer_used_pss;
	uint8_t wanted_keys; /* IKE_WANTS_* */
	uint8_t reserved[3];
	uint32_t octets_len;
	struct ike_id local, peer;
};

struct msg_auth {
	struct ike_request_ref ref;
	int32_t error;
	uint16_t auth_len, cert_len;
	uint8_t method, cert_encoding;
	uint8_t reserved[6];
};

/* Sections of `show sa`, asked for one by one. */
#define CTL_SHOW_SA_PARTS 4

struct msg_ctl {
	uint32_t type; /* enum ctl_type */
	uint32_t part; /* of a listing: each part is asked of all engines before the next */
};

/* For an engine: what it has not to do with, or what another engine must know. */
struct msg_session {
	struct ike_session session;
};

struct msg_session_acquire {
	struct ike_session_acquire acquire;
};

struct msg_datagram {
	struct endpoint local, remote;
	uint32_t has_marker;
	uint32_t reserved;
};

/* What `from` may say to `to`. */
struct imsg_rules messages_rules(enum iked_role from, enum iked_role to);
