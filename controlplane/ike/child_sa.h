#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/ike/keymat.h"
#include "controlplane/ike/narrow.h"
#include "ipc/messages.h"

struct ike_engine;
struct ike_sa;

/*
 * A child SA: a pair of ESP SAs (RFC 7296 1.3). It is known by handle_in, its key in
 * engine->child_by_handle together with handle_out. It exists from the moment both SPIs and the
 * keys are known; before that there are only the SPI and the nonce of struct ike_attempt.
 */
enum child_state {
	CHILD_ACTIVE = 1,
	CHILD_REKEYED,  /* another took its place; a DELETE is about to come or go */
	CHILD_DELETING, /* our DELETE is queued or out */
	CHILD_LINGER,   /* gone for both sides; the inbound SA still takes late packets */
};

struct child_sa {
	struct child_sa *next; /* of ike_sa.children */
	struct ike_sa *sa;
	uint64_t handle_in, handle_out;
	uint32_t spi_in, spi_out;
	enum child_state state;
	bool is_initiator; /* of the exchange that made it: which keys are ours */
	bool is_transport, has_esn, no_tfc;
	bool in_loaded, out_loaded;
	bool is_held;        /* outbound waits for the peer to use the new SA (RFC 7296 2.8) */
	bool is_unconfirmed; /* we answered; the peer may not have seen it yet: see child_is_known
			      */
	bool is_rekeying;    /* our request to replace it is queued or out */
	bool wants_delete;   /* espd failed, or a limit was hit: delete it when possible */
	bool was_replaced;   /* by a rekey: the inbound SA lingers */
	uint16_t group;      /* of PFS, 0 none */
	const struct transform *encr, *integ; /* integ NULL with an AEAD */
	struct ike_child_keys keys;
	struct ts_pair *pairs; /* owned */
	size_t n_pairs;
	uint64_t created_ms;
	uint64_t rekey_at_ms, expire_at_ms, remove_at_ms; /* UINT64_MAX: never */
	uint64_t soft_bytes, hard_bytes;
	uint32_t soft_s, hard_s;
	uint64_t in_command;  /* number of the inbound SA_ADD, for after_command */
	uint64_t replaced_by; /* handle_in of the child that took its place, 0 none */
	bool in_moved;        /* packets came in between the last two DPD rounds */
	uint64_t last_in_packets, last_out_packets; /* from the last DPD round */
	uint32_t in_idle_s;
};

/* What a new child is made from; all of it is copied. */
struct child_params {
	uint32_t spi_in, spi_out;
	bool is_initiator, is_transport, no_tfc;
	const struct ike_suite *suite;
	const struct ike_child_keys *keys;
	const struct ts_pairs *pairs;
};

/* Adds it to the SA, not yet to espd. NULL without memory. */
struct child_sa *child_create(
	struct ike_engine *engine, struct ike_sa *sa, const struct child_params *params);

/*
 * Installs path and both directions, inbound first. `hold`: the outbound SA is kept back until
 * the peer shows that it uses the new pair. Binds it to its flows unless `no_flows`.
 */
void child_install(struct ike_engine *engine, struct child_sa *child, bool hold, bool no_flows);

/* Out of espd (the inbound SA of a replaced one after OLD_INBOUND_MS) and out of memory. */
void child_remove(struct ike_engine *engine, struct child_sa *child, const char *why);
/* Both at once and without any command if espd has forgotten it. */
void child_free(struct ike_engine *engine, struct child_sa *child);

/* The outbound SA of a held child takes the traffic now. */
void child_activate(struct ike_engine *engine, struct child_sa *child);
/* New traffic goes to its replacement. */
void child_mark_replaced(struct child_sa *child);
/*
 * The peer took back its rekey (deleted the new child, which it could not use, not the old one):
 * what `successor` (its handle_in) had replaced is current again, and will be rekeyed.
 */
void child_revive(struct ike_sa *sa, uint64_t successor);

struct child_sa *child_by_handle(const struct ike_engine *engine, uint64_t handle); /* in or out */
struct child_sa *child_by_spi_out(const struct ike_sa *sa, uint32_t spi_out);
struct child_sa *child_by_spi_in(const struct ike_sa *sa, uint32_t spi_in);
/* An active one whose selectors contain the pair, or NULL. */
struct child_sa *child_covering(const struct ike_sa *sa, const struct ts_pair *pair);
size_t child_count(const struct ike_sa *sa);

/* Rekey time, expiry and the end of lingering; all timers of a child. */
uint64_t child_deadline(const struct child_sa *child);
void child_timeout(struct ike_engine *engine, struct child_sa *child);

/*
 * Does the peer surely know this child? Until a later request of the peer, or a packet, shows
 * that our answer arrived, a rekey or DELETE of it would meet CHILD_SA_NOT_FOUND.
 */
bool child_is_known(const struct child_sa *child, uint64_t now_ms);
void child_confirm_all(struct ike_sa *sa);

/* Queues the exchange, unless it is on its way already. */
void child_want_rekey(struct ike_engine *engine, struct child_sa *child);
void child_want_delete(struct ike_engine *engine, struct child_sa *child);
void child_expire(struct ike_engine *engine, struct child_sa *child);

/* Moves all children and their flows to the SA that replaces theirs. */
void child_move_all(struct ike_engine *engine, struct ike_sa *from, struct ike_sa *to);
