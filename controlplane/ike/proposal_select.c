#include <string.h>

#include "controlplane/ike/proposal.h"
#include "controlplane/ike/wire_error.h"

/*
 * The choice among an offer. For each of our proposals and each of theirs the transforms of a
 * type are independent of each other, so the best of each type is found alone; the ranks
 * (positions in our lists) compare as one number, ENCR first.
 */
enum { RANK_ENCR, RANK_INTEG, RANK_PRF, RANK_DH, RANK_ESN, N_RANKS };

struct candidate {
	struct ike_suite suite;
	uint8_t rank[N_RANKS];
};

struct chooser {
	const struct ike_offer *offer;
	const struct ike_offer_proposal *theirs;
	const struct ike_proposal *ours;
	enum ike_suite_use use;
	uint16_t only_group; /* 0: any */
};

static bool theirs_has_type(const struct chooser *c, uint8_t type)
{
	for (uint16_t i = 0; i < c->theirs->n; i++)
		if (c->offer->transforms[c->theirs->first + i].type == type)
			return true;
	return false;
}

/* RFC 7296 3.3.6: an unknown attribute or a wrong key length makes a transform unacceptable. */
static bool theirs_has(const struct chooser *c, const struct transform *t)
{
	bool wants_len = t->flags & TRANSFORM_F_KEYLEN_ATTR;

	for (uint16_t i = 0; i < c->theirs->n; i++) {
		const struct ike_offer_transform *o = &c->offer->transforms[c->theirs->first + i];

		if (o->type == t->type && o->id == t->id && !o->has_unknown_attr &&
			o->has_key_len == wants_len &&
			(!wants_len || o->key_len_bits == t->key_len * 8))
			return true;
	}
	return false;
}

/* RFC 7296 3.3.6: a type that we don't know makes the whole proposal unacceptable. */
static bool theirs_is_understood(const struct chooser *c)
{
	uint8_t protocol = c->use == IKE_SUITE_IKE ? IKE_PROTO_IKE : IKE_PROTO_ESP;

	if (c->theirs->protocol != protocol)
		return false;
	if (protocol == IKE_PROTO_ESP ? ike_offer_spi(c->theirs) < 256
				      : c->theirs->spi_len > 0 && ike_offer_spi(c->theirs) == 0)
		return false;
	for (uint16_t i = 0; i < c->theirs->n; i++) {
		uint8_t type = c->offer->transforms[c->theirs->first + i].type;

		if (type < TRANSFORM_ENCR || type > TRANSFORM_ESN)
			return false;
		/* A type that has no place in this protocol is as unknown. */
		if (type == TRANSFORM_ESN && c->use == IKE_SUITE_IKE)
			return false;
		if (type == TRANSFORM_PRF && c->use != IKE_SUITE_IKE)
			return false;
	}
	return true;
}

static const struct transform *list_choose(
	const struct chooser *c, const struct ike_transform_list *list, uint8_t *rank)
{
	for (uint8_t i = 0; i < list->n; i++) {
		const struct transform *t = list->t[i];

		if ((t->flags & TRANSFORM_F_KNOWN_ONLY) || !theirs_has(c, t))
			continue;
		*rank = i;
		return t;
	}
	return NULL;
}

/* INTEG beside this cipher; false if they do not go together. */
static bool integ_choose(
	const struct chooser *c, const struct transform *encr, struct candidate *out)
{
	const struct transform *none = transform_find(TRANSFORM_INTEG, INTEG_NONE, 0);
	struct ike_transform_list list = {0};

	out->suite.integ = NULL;
	out->rank[RANK_INTEG] = 0;
	if (encr->flags & TRANSFORM_F_AEAD) {
		/* RFC 5282 8, RFC 7296 3.3.3: none, or NONE. */
		if (!theirs_has_type(c, TRANSFORM_INTEG))
			return true;
		if (!theirs_has(c, none))
			return false;
		out->suite.integ = none;
		return true;
	}
	for (uint8_t i = 0; i < c->ours->integ.n; i++)
		if (c->ours->integ.t[i]->id != INTEG_NONE)
			list.t[list.n++] = c->ours->integ.t[i];
	out->suite.integ = list_choose(c, &list, &out->rank[RANK_INTEG]);
	return out->suite.integ != NULL;
}

static bool cipher_choose(const struct chooser *c, struct candidate *out)
{
	uint32_t flag = c->use == IKE_SUITE_IKE ? TRANSFORM_F_IKE : TRANSFORM_F_ESP;

	for (uint8_t i = 0; i < c->ours->encr.n; i++) {
		const struct transform *t = c->ours->encr.t[i];

		if (!(t->flags & flag) || (t->flags & TRANSFORM_F_KNOWN_ONLY) ||
			!theirs_has(c, t) || !integ_choose(c, t, out))
			continue;
		out->suite.encr = t;
		out->rank[RANK_ENCR] = i;
		return true;
	}
	return false;
}

static bool dh_choose(const struct chooser *c, struct candidate *out)
{
	const struct transform *none = transform_find(TRANSFORM_DH, DH_NONE, 0);
	struct ike_transform_list list = {0};
	bool we_want_none = c->ours->dh.n == 0;

	out->suite.dh = NULL;
	out->rank[RANK_DH] = 0;
	if (c->use == IKE_SUITE_AUTH_CHILD)
		return true;
	for (uint8_t i = 0; i < c->ours->dh.n; i++) {
		if (c->ours->dh.t[i]->id == DH_NONE)
			we_want_none = true;
		if (c->only_group == 0 || c->ours->dh.t[i]->id == c->only_group)
			list.t[list.n++] = c->ours->dh.t[i];
	}
	if (c->use == IKE_SUITE_CHILD && we_want_none && c->ours->dh.n == 0) {
		/* No PFS wanted: the type is absent, or NONE is among theirs. */
		if (!theirs_has_type(c, TRANSFORM_DH))
			return true;
		out->suite.dh = theirs_has(c, none) ? none : NULL;
		return out->suite.dh != NULL;
	}
	out->suite.dh = list_choose(c, &list, &out->rank[RANK_DH]);
	if (out->suite.dh)
		return c->use == IKE_SUITE_CHILD || out->suite.dh->id != DH_NONE;
	/* A policy whose list has NONE takes a proposal without the type. */
	return c->use == IKE_SUITE_CHILD && we_want_none && !theirs_has_type(c, TRANSFORM_DH);
}

static bool esn_choose(const struct chooser *c, struct candidate *out)
{
	struct ike_transform_list list = c->ours->esn;

	if (list.n == 0)
		list.t[list.n++] = transform_find(TRANSFORM_ESN, ESN_NO, 0);
	out->suite.esn = list_choose(c, &list, &out->rank[RANK_ESN]);
	return out->suite.esn != NULL;
}

static bool candidate_make(const struct chooser *c, struct candidate *out)
{
	memset(out, 0, sizeof(*out));
	if (!theirs_is_understood(c) || !cipher_choose(c, out) || !dh_choose(c, out))
		return false;
	if (c->use == IKE_SUITE_IKE) {
		out->suite.prf = list_choose(c, &c->ours->prf, &out->rank[RANK_PRF]);
		if (!out->suite.prf)
			return false;
	} else if (!esn_choose(c, out)) {
		return false;
	}
	out->suite.proposal_number = c->theirs->number;
	out->suite.protocol = c->theirs->protocol;
	out->suite.spi_len = c->theirs->spi_len;
	memcpy(out->suite.spi, c->theirs->spi, sizeof(out->suite.spi));
	return true;
}

/* The best of their proposals for one of ours; of equal ones the first. */
static bool best_of_theirs(struct chooser *c, struct candidate *best)
{
	bool found = false;

	for (uint16_t i = 0; i < c->offer->n_proposals; i++) {
		struct candidate candidate;

		c->theirs = &c->offer->proposals[i];
		if (!candidate_make(c, &candidate))
			continue;
		if (!found || memcmp(candidate.rank, best->rank, sizeof(best->rank)) < 0)
			*best = candidate;
		found = true;
	}
	return found;
}

int ike_offer_select(const struct ike_offer *offer, const struct ike_proposal *ours, size_t n_ours,
	enum ike_suite_use use, uint16_t ke_group, struct ike_suite *out)
{
	/* RFC 7296 1.2, 2.7: what goes with the KE that came is looked for first. */
	const uint16_t groups[] = {ke_group, DH_NONE};

	for (size_t g = ke_group != DH_NONE ? 0 : 1; g < 2; g++) {
		for (size_t i = 0; i < n_ours; i++) {
			struct chooser c = {.offer = offer,
				.ours = &ours[i],
				.use = use,
				.only_group = groups[g]};
			struct candidate best;

			if (!best_of_theirs(&c, &best))
				continue;
			*out = best.suite;
			return 0;
		}
	}
	memset(out, 0, sizeof(*out));
	return -IKE_WIRE_E_PROPOSAL;
}
