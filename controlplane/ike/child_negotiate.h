#pragma once

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/proposal.h"

/* SA, TSi, TSr and their notifies: the same in IKE_AUTH and in CREATE_CHILD_SA. */

struct child_agreed {
	struct ike_suite suite;
	struct ts_pairs pairs;
	bool is_transport, no_tfc;
	uint32_t spi_out;
};

/* All pairs that the SA's policy allows. */
void child_allowed_pairs(const struct ike_sa *sa, struct ts_pairs *out);

/*
 * The initiator's payloads: [N(USE_TRANSPORT_MODE)], SA, [Ni, KEi], TSi, TSr. nonce NULL in
 * IKE_AUTH; dh NULL without PFS. 0 or -1.
 */
int child_put_offer(struct ike_sa *sa, struct ike_builder *b, enum ike_suite_use use,
	uint32_t spi_in, const struct ts_pairs *pairs, const struct ike_nonce *nonce,
	const struct ike_dh *dh);

/* The responder's choice. 0, or the notify type that refuses the child. */
uint16_t child_choose(struct ike_sa *sa, const struct ike_message *m, enum ike_suite_use use,
	struct child_agreed *out);
/* The responder's payloads, in the same order. */
void child_put_answer(struct ike_sa *sa, struct ike_builder *b, const struct child_agreed *agreed,
	uint32_t spi_in, const struct ike_nonce *nonce, const struct ike_dh *dh);

/*
 * The initiator reads the answer. 0; a notify type of the peer's refusal; or -1: the answer is
 * not what was asked, the child is to be deleted if out->spi_out is set.
 */
int child_check_answer(struct ike_sa *sa, const struct ike_message *m, enum ike_suite_use use,
	uint32_t spi_in, const struct ts_pairs *proposed, uint16_t ke_group,
	struct child_agreed *out);

/* Keys of the exchange and the child itself, not yet installed. NULL on failure. */
struct child_sa *child_make(struct ike_sa *sa, const struct child_agreed *agreed, uint32_t spi_in,
	bool is_initiator, const struct ike_nonce *ni, const struct ike_nonce *nr,
	struct bytes shared);

/* What of the policy no child covers yet, after a first answer: asked for on its own (B49). */
void child_want_rest(struct ike_sa *sa, const struct ts_pairs *proposed);
/* RFC 7296 2.9: a peer that takes one pair a child (SINGLE_PAIR_REQUIRED): each on its own. */
void child_want_each(struct ike_sa *sa, const struct ts_pairs *pairs);
