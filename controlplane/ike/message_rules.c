#include "controlplane/ike/message_rules.h"

#include <stddef.h>

/*
 * RFC 7296 1.2:    SAi1 KEi Ni -->            <-- SAr1 KEr Nr [CERTREQ]
 *       SK{IDi [CERT] [CERTREQ] [IDr] AUTH SAi2 TSi TSr} -->
 *                                             <-- SK{IDr [CERT] AUTH SAr2 TSi TSr}
 * RFC 7296 1.3.1:  SK{SA Ni [KEi] TSi TSr} --> <-- SK{SA Nr [KEr] TSi TSr}
 * RFC 7296 1.3.2:  SK{SA Ni KEi} -->           <-- SK{SA Nr KEr}
 */
struct rule {
	uint8_t type, min, max;
};

struct rule_set {
	const struct rule *rules;
	size_t n;
	bool is_clear; /* no SK */
};

#define MANY UINT8_MAX

static const struct rule sa_init[] = {
	{IKE_PAYLOAD_SA, 1, 1},
	{IKE_PAYLOAD_KE, 1, 1},
	{IKE_PAYLOAD_NONCE, 1, 1},
	{IKE_PAYLOAD_IDI, 0, 0},
	{IKE_PAYLOAD_IDR, 0, 0},
	{IKE_PAYLOAD_AUTH, 0, 0},
	{IKE_PAYLOAD_DELETE, 0, 0},
	{IKE_PAYLOAD_TSI, 0, 0},
	{IKE_PAYLOAD_TSR, 0, 0},
	{IKE_PAYLOAD_CP, 0, 0},
	{IKE_PAYLOAD_EAP, 0, 0},
};
/* AUTH is missing when EAP is asked for (RFC 7296 2.16); a child need not be asked for
 * (RFC 6023), but then neither are its selectors: checked below. */
static const struct rule auth_first_request[] = {
	{IKE_PAYLOAD_IDI, 1, 1},
	{IKE_PAYLOAD_IDR, 0, 1},
	{IKE_PAYLOAD_AUTH, 0, 1},
	{IKE_PAYLOAD_SA, 0, 1},
	{IKE_PAYLOAD_TSI, 0, 1},
	{IKE_PAYLOAD_TSR, 0, 1},
	{IKE_PAYLOAD_CP, 0, 1},
	{IKE_PAYLOAD_EAP, 0, 0},
};
static const struct rule auth_first_response[] = {
	{IKE_PAYLOAD_IDR, 1, 1},
	{IKE_PAYLOAD_AUTH, 0, 1},
	{IKE_PAYLOAD_EAP, 0, 1},
	{IKE_PAYLOAD_SA, 0, 1},
	{IKE_PAYLOAD_TSI, 0, 1},
	{IKE_PAYLOAD_TSR, 0, 1},
	{IKE_PAYLOAD_CP, 0, 1},
};
static const struct rule auth_later[] = {
	{IKE_PAYLOAD_AUTH, 0, 1},
	{IKE_PAYLOAD_EAP, 0, 1},
	{IKE_PAYLOAD_SA, 0, 1},
	{IKE_PAYLOAD_TSI, 0, 1},
	{IKE_PAYLOAD_TSR, 0, 1},
	{IKE_PAYLOAD_CP, 0, 1},
};
static const struct rule child[] = {
	{IKE_PAYLOAD_SA, 1, 1},
	{IKE_PAYLOAD_NONCE, 1, 1},
	{IKE_PAYLOAD_KE, 0, 1},
	{IKE_PAYLOAD_TSI, 1, 1},
	{IKE_PAYLOAD_TSR, 1, 1},
};
static const struct rule rekey_ike[] = {
	{IKE_PAYLOAD_SA, 1, 1},
	{IKE_PAYLOAD_NONCE, 1, 1},
	{IKE_PAYLOAD_KE, 1, 1},
};
static const struct rule informational[] = {
	{IKE_PAYLOAD_DELETE, 0, MANY},
	{IKE_PAYLOAD_CP, 0, 1},
};

#define SET(rules_, clear)                                          \
	{                                                           \
		rules_, sizeof(rules_) / sizeof((rules_)[0]), clear \
	}

static const struct rule_set set_sa_init = SET(sa_init, true);
static const struct rule_set set_auth_first_request = SET(auth_first_request, false);
static const struct rule_set set_auth_first_response = SET(auth_first_response, false);
static const struct rule_set set_auth_later = SET(auth_later, false);
static const struct rule_set set_child = SET(child, false);
static const struct rule_set set_rekey_ike = SET(rekey_ike, false);
static const struct rule_set set_informational = SET(informational, false);

static const struct rule_set *set_find(const struct ike_message *m)
{
	switch (m->hdr.exchange) {
	case IKE_EXCHANGE_SA_INIT:
		return &set_sa_init;
	case IKE_EXCHANGE_AUTH:
		if (m->hdr.message_id != 1)
			return &set_auth_later;
		return ike_header_is_response(&m->hdr) ? &set_auth_first_response
						       : &set_auth_first_request;
	case IKE_EXCHANGE_CREATE_CHILD_SA:
		if (m->offer.n_proposals > 0 && m->offer.proposals[0].protocol == IKE_PROTO_IKE)
			return &set_rekey_ike;
		return &set_child;
	case IKE_EXCHANGE_INFORMATIONAL:
		return &set_informational;
	default:
		return NULL;
	}
}

static unsigned int payload_count(const struct ike_message *m, uint8_t type)
{
	const struct ike_payload *p = NULL;
	unsigned int n = 0;

	while ((p = ike_message_next(m, p, type)))
		n++;
	return n;
}

/* What the sender could not give because it refuses or asks for another try. */
static bool is_refusal(const struct ike_message *m)
{
	return ike_header_is_response(&m->hdr) &&
	       (ike_message_error(m) || ike_message_notify(m, IKE_N_COOKIE) ||
		       ike_message_notify(m, IKE_N_REDIRECT));
}

/* Nothing is taken from outside SK once there are keys. */
static const char *protection_check(const struct ike_message *m, const struct rule_set *set)
{
	if (set->is_clear)
		return m->sk ? "encrypted payload in IKE_SA_INIT" : NULL;
	if (!m->sk)
		return "no encrypted payload";
	for (uint8_t i = 0; i < m->n_payloads; i++) {
		const struct ike_payload *p = &m->payloads[i];

		if (!p->is_encrypted && p != m->sk)
			return "payload outside of the encrypted one";
	}
	return NULL;
}

static const char *counts_check(const struct ike_message *m, const struct rule_set *set)
{
	bool is_short = is_refusal(m);

	for (size_t i = 0; i < set->n; i++) {
		const struct rule *rule = &set->rules[i];
		unsigned int n = payload_count(m, rule->type);

		if (n < rule->min && !is_short)
			return "a payload is missing";
		if (n > rule->max)
			return rule->max ? "a payload is there twice"
					 : "a payload must not be here";
	}
	return NULL;
}

/* RFC 7296 2.9: SA, TSi and TSr of a child come together. */
static const char *child_check(const struct ike_message *m)
{
	if (m->hdr.exchange == IKE_EXCHANGE_AUTH && !is_refusal(m) &&
		(!m->sa != !m->tsi || !m->tsi != !m->tsr))
		return "SA, TSi and TSr must come together";
	return NULL;
}

int ike_message_check(const struct ike_message *m, const char **why)
{
	const struct rule_set *set = set_find(m);
	const char *fault = set ? protection_check(m, set) : "unknown exchange";

	if (!fault)
		fault = counts_check(m, set);
	if (!fault)
		fault = child_check(m);
	if (why)
		*why = fault;
	return fault ? -IKE_WIRE_E_RULES : 0;
}
