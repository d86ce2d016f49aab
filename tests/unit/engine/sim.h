#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "controlplane/ike/engine.h"

/*
 * Two engines in memory: a network that loses, doubles, delays and reorders, a key service and
 * an espd that answer late or twice, and a clock that jumps to the next event. All follows from
 * the seed (but for ECDSA's own nonces).
 */

enum { SIM_NODES = 2, SIM_SAS = 512, SIM_FLOWS = 128, SIM_BOUND = 16, SIM_SELECTORS = 255 };

/* ---- the espd of a node ----------------------------------------------------------------- */

struct sim_esp_sa {
	struct ipc_sa_add add;
	bool is_used, is_held, is_dying, saw_first, is_old;
	uint64_t packets, added_at;
	uint16_t n_selectors;
	struct ipc_selector selectors[SIM_SELECTORS];
};

struct sim_flow {
	struct ipc_flow flow;
	bool is_used, is_old;
	size_t n_bound;
	uint64_t bound[SIM_BOUND]; /* SA handles, newest last */
};

struct sim_espd {
	struct sim_esp_sa *sas; /* SIM_SAS */
	struct sim_flow flows[SIM_FLOWS];
	uint64_t n_commands, n_paths, serial;
	struct ipc_path last_path;
	uint32_t next_index;
	uint64_t last_number;   /* of the commands: must ascend */
	uint64_t busy_until_ms; /* commands take effect in order */
	bool forgets;           /* restarted without records: RESTORE is refused */
	uint32_t fail_next_add; /* error code for the next SA_ADD */
	size_t n_held;
	struct ipc_held held[4];
	bool is_resyncing, is_ready;
};

/* ---- nodes ------------------------------------------------------------------------------ */

struct sim;

struct sim_node {
	struct sim *sim;
	int index;
	char name;
	struct ike_engine *engine;
	struct logger log;
	struct ike_config *config, *old_config;
	uint32_t config_version;
	struct ike_actions actions;
	struct ip_addr addr;    /* what the node itself sees */
	struct ip_addr outside; /* what others see; differs behind NAT */
	uint16_t nat_ports[2];  /* outside ports of 500 and 4500; 0: no mapping yet */
	struct sim_espd espd;
	EVP_PKEY *key;   /* own private key, or NULL */
	bool no_pubkeys; /* knows no peer */
	const char *psk;
	uint64_t rng;
	uint64_t n_sent, n_sent_bytes, n_auth_requests, n_pubkey_requests, n_checkpoints;
	bool only_nat_t;  /* iked -t */
	bool is_down;     /* receives nothing (process dead, cable cut) */
	bool keys_silent; /* the key process does not answer */
	bool may_restart; /* an engine without memory is replaced, as its process is */
	uint64_t n_restarts;
	uint32_t engine_number, n_engines; /* of the node's iked; 0: one */
	uint64_t since_ms;
	/* What it told the engines beside it: the last of each kind. */
	struct ike_session session;
	struct ike_session_acquire session_acquire;
	uint64_t n_sessions, n_session_queries, n_session_acquires;
};

struct sim_faults {
	unsigned int loss, twice;     /* of 100 datagrams */
	uint64_t delay_ms, jitter_ms; /* jitter reorders */
	unsigned int answer_twice;    /* of 100 answers of the key service */
	uint64_t answer_jitter_ms;
	uint64_t command_jitter_ms;
};

typedef bool (*sim_filter_fn)(struct sim *sim, int from, const struct ike_send *send);

struct sim_event;

struct sim {
	uint64_t now_ms;
	uint64_t rng;
	struct sim_node node[SIM_NODES];
	struct sim_faults faults;
	sim_filter_fn filter; /* false: the datagram is lost */
	void *filter_ctx;
	struct sim_event *events;
	uint64_t n_delivered, n_lost;
	uint64_t packets_sent, packets_lost; /* of sim_traffic */
	char *log;                           /* of both nodes, "a: line\n" */
	size_t log_len, log_cap;
};

/* Texts in iked.conf's language. Node a is 192.0.2.1 server1.domain, b 198.51.100.1
 * server2.domain; both have ECDSA keys that the other knows. Not started yet. */
struct sim *sim_create(uint64_t seed, const char *conf_a, const char *conf_b);
void sim_destroy(struct sim *sim);
/* Puts b behind a NAT with the address 198.51.100.1; b itself is 10.9.0.2. */
void sim_nat_b(struct sim *sim);
void sim_use_v6(struct sim *sim);  /* a is 2001:db8::1, b 2001:db8::2 */
void sim_use_rsa(struct sim *sim); /* both nodes get RSA-2048 keys */
/* Creates the engines, loads the configuration, attaches espd. */
void sim_start(struct sim *sim);
void sim_start_node(struct sim_node *n);
void sim_run(struct sim *sim, uint64_t ms);
void sim_input(struct sim_node *node, const struct ike_input *in);
void sim_simple(struct sim_node *node, enum ike_input_type type);
void sim_reload(struct sim_node *node, const char *conf);
void sim_datagram(struct sim_node *node, const struct endpoint *from, uint16_t to_port, bool marker,
	const void *data, size_t len);
uint64_t sim_random(struct sim *sim, uint64_t below);
bool sim_logged(const struct sim *sim, const char *text);
struct ike_stats sim_stats(struct sim *sim, int node);
/* iked.conf's language; fails the test if it does not parse. Freed by iked_conf_free. */
struct ike_config *sim_config_parse(const char *text);

/* Events that espd of the node reports. */
void sim_acquire(struct sim_node *node, const char *src, const char *dst);
void sim_soft_expire(struct sim_node *node); /* all its outbound SAs */

/* One packet over each installed outbound flow of both nodes. */
void sim_traffic(struct sim *sim);

/* ---- what must hold once all is quiet ----------------------------------------------------- */

struct sim_counts {
	size_t sas, children, esp_in, esp_out, flows;
};
struct sim_counts sim_count(struct sim_node *node);
/* Fails the test (cmocka) if: children of the two differ, an outbound SA has no equal inbound
 * one at the other end, flows with a tunnel have no usable SA, SAs are left over in espd. */
void sim_check_invariants(struct sim *sim);
void sim_check_tunnel(struct sim *sim, size_t n_sas, size_t n_children); /* and the above */

/* sim_espd.c */
void sim_espd_command(struct sim_node *node, const struct ike_command *c);
void sim_espd_fini(struct sim_espd *espd);
void sim_espd_restart(struct sim_node *node, bool forgets); /* empties it */
struct sim_esp_sa *sim_espd_find(struct sim_espd *espd, uint64_t handle);
/* sim_key.c */
void sim_key_auth(struct sim_node *node, const struct ike_auth_request *r);
void sim_key_pubkey(struct sim_node *node, const struct ike_pubkey_request *r);
/* sim.c, for those */
void sim_later(struct sim_node *node, uint64_t delay_ms, const struct ike_input *in);
