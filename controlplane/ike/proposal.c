#include "controlplane/ike/proposal.h"

#include <stdio.h>
#include <string.h>

#include "controlplane/ike/wire_error.h"

const struct transform *ike_suite_integ(const struct ike_suite *suite)
{
	return suite->integ && suite->integ->id != INTEG_NONE ? suite->integ : NULL;
}

uint16_t ike_suite_group(const struct ike_suite *suite)
{
	return suite->dh ? suite->dh->id : DH_NONE;
}

uint16_t ike_offer_first_group(const struct ike_offer *offer)
{
	for (uint16_t i = 0; i < offer->n_transforms; i++)
		if (offer->transforms[i].type == TRANSFORM_DH && offer->transforms[i].id != DH_NONE)
			return offer->transforms[i].id;
	return DH_NONE;
}

bool ike_offer_has_group(const struct ike_offer *offer, uint16_t group)
{
	for (uint16_t i = 0; i < offer->n_transforms; i++)
		if (offer->transforms[i].type == TRANSFORM_DH && offer->transforms[i].id == group)
			return group != DH_NONE;
	return false;
}

static struct ike_offer_transform offer_transform(const struct transform *t)
{
	struct ike_offer_transform out = {.type = (uint8_t)t->type, .id = t->id};

	if (t->flags & TRANSFORM_F_KEYLEN_ATTR) {
		out.has_key_len = true;
		out.key_len_bits = (uint16_t)(t->key_len * 8);
	}
	return out;
}

static void transform_append(struct ike_offer *o, const struct transform *t)
{
	o->transforms[o->n_transforms++] = offer_transform(t);
	o->proposals[o->n_proposals].n++;
}

static void spi_store(struct ike_offer_proposal *p, uint8_t spi_len, uint64_t spi)
{
	p->spi_len = spi_len;
	for (uint8_t i = spi_len; i-- > 0; spi >>= 8)
		p->spi[i] = (uint8_t)spi;
}

static uint32_t use_flag(enum ike_suite_use use)
{
	return use == IKE_SUITE_IKE ? TRANSFORM_F_IKE : TRANSFORM_F_ESP;
}

static bool is_usable(const struct transform *t, enum ike_suite_use use)
{
	return (t->flags & use_flag(use)) && !(t->flags & TRANSFORM_F_KNOWN_ONLY);
}

/* Usable transforms of a list, without NONE of INTEG; returns how many. */
static unsigned int list_append(
	struct ike_offer *o, const struct ike_transform_list *list, enum ike_suite_use use)
{
	unsigned int n = 0;

	for (uint8_t i = 0; i < list->n; i++) {
		const struct transform *t = list->t[i];

		if (t->type == TRANSFORM_INTEG && t->id == INTEG_NONE)
			continue;
		if (t->type == TRANSFORM_DH && t->id == DH_NONE && use == IKE_SUITE_IKE)
			continue;
		/* ESN and NONE of DH have no flag of their own use. */
		if (t->type != TRANSFORM_ESN && t->id != DH_NONE && !is_usable(t, use))
			continue;
		transform_append(o, t);
		n++;
	}
	return n;
}

static unsigned int encr_append(struct ike_offer *o, const struct ike_transform_list *list,
	enum ike_suite_use use, bool is_aead)
{
	unsigned int n = 0;

	for (uint8_t i = 0; i < list->n; i++) {
		const struct transform *t = list->t[i];

		if (!(t->flags & TRANSFORM_F_AEAD) == is_aead || !is_usable(t, use))
			continue;
		transform_append(o, t);
		n++;
	}
	return n;
}

/* RFC 7296 3.3.3: ESN is mandatory in ESP; a policy that says nothing gets none. */
static void esn_append(struct ike_offer *o, const struct ike_proposal *p, enum ike_suite_use use)
{
	if (list_append(o, &p->esn, use) == 0)
		transform_append(o, transform_find(TRANSFORM_ESN, ESN_NO, 0));
}

/* One proposal of AEADs or of other ciphers; it is given up if a mandatory type stays empty. */
static void proposal_append(
	struct ike_offer *o, const struct ike_proposal *p, enum ike_suite_use use, bool is_aead)
{
	struct ike_offer_proposal *out = &o->proposals[o->n_proposals];
	bool is_complete;

	*out = (struct ike_offer_proposal){
		.number = (uint8_t)(o->n_proposals + 1),
		.protocol = use == IKE_SUITE_IKE ? IKE_PROTO_IKE : IKE_PROTO_ESP,
		.first = o->n_transforms,
	};
	is_complete = encr_append(o, &p->encr, use, is_aead) > 0;
	if (use == IKE_SUITE_IKE)
		is_complete &= list_append(o, &p->prf, use) > 0;
	/* RFC 5282 8: no INTEG beside an AEAD. */
	if (!is_aead && list_append(o, &p->integ, use) == 0)
		is_complete = false;
	/* RFC 7296 1.2: IKE_AUTH has no KE, so its proposals have no group. */
	if (use != IKE_SUITE_AUTH_CHILD && list_append(o, &p->dh, use) == 0 && use == IKE_SUITE_IKE)
		is_complete = false;
	if (use != IKE_SUITE_IKE)
		esn_append(o, p, use);
	if (is_complete)
		o->n_proposals++;
	else
		o->n_transforms = out->first;
}

/* True if the first cipher of the policy's proposal is an AEAD: that half goes first. */
static bool prefers_aead(const struct ike_proposal *p)
{
	return p->encr.n > 0 && (p->encr.t[0]->flags & TRANSFORM_F_AEAD);
}

int ike_offer_build(const struct ike_proposal *ours, size_t n_ours, enum ike_suite_use use,
	uint8_t spi_len, uint64_t spi, struct ike_offer *out)
{
	out->n_proposals = out->n_transforms = out->n_skipped = 0;
	for (size_t i = 0; i < n_ours; i++) {
		bool aead_first = prefers_aead(&ours[i]);

		if (out->n_proposals + 2 > IKE_OFFER_PROPOSALS_MAX ||
			out->n_transforms + 10 * IKE_TRANSFORMS_MAX > IKE_OFFER_TRANSFORMS_MAX)
			return -IKE_WIRE_E_LIMIT;
		proposal_append(out, &ours[i], use, aead_first);
		proposal_append(out, &ours[i], use, !aead_first);
	}
	for (uint16_t i = 0; i < out->n_proposals; i++)
		spi_store(&out->proposals[i], spi_len, spi);
	return out->n_proposals > 0 ? 0 : -IKE_WIRE_E_PROPOSAL;
}

void ike_suite_answer(
	const struct ike_suite *suite, uint8_t spi_len, uint64_t spi, struct ike_offer *out)
{
	const struct transform *const rows[] = {
		suite->encr, suite->prf, suite->integ, suite->dh, suite->esn};

	out->n_proposals = out->n_transforms = out->n_skipped = 0;
	out->proposals[0] = (struct ike_offer_proposal){
		.number = suite->proposal_number, .protocol = suite->protocol};
	spi_store(&out->proposals[0], spi_len, spi);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i])
			transform_append(out, rows[i]);
	out->n_proposals = 1;
}

static bool transform_same(const struct ike_offer_transform *a, const struct ike_offer_transform *b)
{
	return a->type == b->type && a->id == b->id && a->has_key_len == b->has_key_len &&
	       a->key_len_bits == b->key_len_bits && !a->has_unknown_attr && !b->has_unknown_attr;
}

static const struct ike_offer_transform *proposal_find(const struct ike_offer *o,
	const struct ike_offer_proposal *p, const struct ike_offer_transform *want)
{
	for (uint16_t i = 0; i < p->n; i++)
		if (transform_same(&o->transforms[p->first + i], want))
			return &o->transforms[p->first + i];
	return NULL;
}

static const struct ike_offer_proposal *number_find(const struct ike_offer *o, uint8_t number)
{
	for (uint16_t i = 0; i < o->n_proposals; i++)
		if (o->proposals[i].number == number)
			return &o->proposals[i];
	return NULL;
}

/* Puts one transform of the answer in its place; false for a second one of its type. */
static bool suite_set(struct ike_suite *s, const struct ike_offer_transform *t)
{
	const struct transform *row = transform_find(
		(enum transform_type)t->type, t->id, t->key_len_bits / 8u);
	const struct transform **const place[] = {[TRANSFORM_ENCR] = &s->encr,
		[TRANSFORM_PRF] = &s->prf,
		[TRANSFORM_INTEG] = &s->integ,
		[TRANSFORM_DH] = &s->dh,
		[TRANSFORM_ESN] = &s->esn};

	if (!row || t->type < TRANSFORM_ENCR || t->type > TRANSFORM_ESN || *place[t->type])
		return false;
	*place[t->type] = row;
	return true;
}

/* Each type that the offer named must be answered, or be one whose NONE was offered. */
static bool suite_is_complete(const struct ike_suite *s, enum ike_suite_use use)
{
	bool is_aead = s->encr && (s->encr->flags & TRANSFORM_F_AEAD);

	if (!s->encr || (is_aead ? ike_suite_integ(s) != NULL : ike_suite_integ(s) == NULL))
		return false;
	if (use == IKE_SUITE_IKE)
		return s->prf && ike_suite_group(s) != DH_NONE;
	return s->esn != NULL;
}

/* SPIs below 256 are reserved (RFC 4303 2.1); 0 stands for "none" in IKE (RFC 7296 3.1). */
static bool spi_is_valid(const struct ike_offer_proposal *p)
{
	if (p->protocol == IKE_PROTO_IKE)
		return p->spi_len == 0 || ike_offer_spi(p) != 0;
	return ike_offer_spi(p) > 255;
}

static void suite_take_spi(struct ike_suite *s, const struct ike_offer_proposal *p)
{
	s->proposal_number = p->number;
	s->protocol = p->protocol;
	s->spi_len = p->spi_len;
	memcpy(s->spi, p->spi, sizeof(s->spi));
}

int ike_offer_check_answer(const struct ike_offer *sent, const struct ike_offer *answer,
	enum ike_suite_use use, uint16_t ke_group, struct ike_suite *out)
{
	const struct ike_offer_proposal *a = &answer->proposals[0], *s;

	memset(out, 0, sizeof(*out));
	if (answer->n_proposals != 1 || answer->n_skipped > 0)
		return -IKE_WIRE_E_PROPOSAL;
	s = number_find(sent, a->number);
	if (!s || a->protocol != s->protocol || a->spi_len != s->spi_len || !spi_is_valid(a))
		return -IKE_WIRE_E_PROPOSAL;
	for (uint16_t i = 0; i < a->n; i++) {
		const struct ike_offer_transform *t = &answer->transforms[a->first + i];
		bool is_none = (t->type == TRANSFORM_INTEG || t->type == TRANSFORM_DH) &&
			       t->id == 0 && !t->has_key_len;

		/* Some answer NONE for a type that was left out, which means the same. */
		if (!proposal_find(sent, s, t) && !is_none)
			return -IKE_WIRE_E_PROPOSAL;
		if (!suite_set(out, t))
			return -IKE_WIRE_E_PROPOSAL;
	}
	if (!suite_is_complete(out, use) || ike_suite_group(out) != ke_group)
		return -IKE_WIRE_E_PROPOSAL;
	suite_take_spi(out, a);
	return 0;
}

const char *ike_suite_str(const struct ike_suite *suite, char buf[IKE_SUITE_STRLEN])
{
	const struct transform *const rows[] = {
		suite->encr, suite->integ, suite->prf, suite->dh, suite->esn};
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && at < IKE_SUITE_STRLEN; i++)
		if (rows[i] && (rows[i]->type == TRANSFORM_ESN || rows[i]->id != 0))
			at += (size_t)snprintf(buf + at, IKE_SUITE_STRLEN - at, "%s%s",
				at ? " " : "", rows[i]->iana_name);
	return buf;
}
