#include <stdarg.h>
#include <stdio.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/*
 * The lines of an exchange are those that iked's users know from OpenBSD's FAQ; lines about an
 * SA begin with the initiator's SPI, as newer ones do.
 */

static enum log_level exchange_level(uint8_t exchange)
{
	return exchange == IKE_EXCHANGE_INFORMATIONAL ? LOG_LVL_DEBUG : LOG_LVL_INFO;
}

void ike_log_recv(const struct ike_sa *sa, const struct ike_header *h, size_t len,
	const struct ike_policy *policy)
{
	char peer[ENDPOINT_STRLEN], local[ENDPOINT_STRLEN];

	log_line(sa->engine->p.log, exchange_level(h->exchange),
		"ikev2_recv: %s %s from %s %s to %s policy '%s' id %u, %zu bytes",
		ike_exchange_str(h->exchange), ike_header_is_response(h) ? "response" : "request",
		ike_header_from_initiator(h) ? "initiator" : "responder",
		endpoint_str(&sa->remote, peer), endpoint_str(&sa->local, local),
		policy ? policy->name : "", h->message_id, len);
}

void ike_log_send(const struct ike_sa *sa, const struct ike_header *h, size_t len)
{
	char peer[ENDPOINT_STRLEN], local[ENDPOINT_STRLEN];
	struct endpoint from = sa->local;

	/* As the FAQ shows it: the first message of a policy without `local` is sent from any. */
	if (h->exchange == IKE_EXCHANGE_SA_INIT && !ike_header_is_response(h) && sa->policy &&
		sa->policy->local.is_any)
		from.addr = (struct ip_addr){.family = sa->remote.addr.family};
	log_line(sa->engine->p.log, exchange_level(h->exchange),
		"ikev2_msg_send: %s %s from %s to %s msgid %u, %zu bytes%s",
		ike_exchange_str(h->exchange), ike_header_is_response(h) ? "response" : "request",
		endpoint_str(&from, local), endpoint_str(&sa->remote, peer), h->message_id, len,
		sa->uses_marker ? ", NAT-T" : "");
}

void sa_log(const struct ike_sa *sa, enum log_level level, const char *fmt, ...)
{
	const struct logger *log = sa->engine->p.log;

	if (!log || level > log->level)
		return;
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_line(log, level, "spi=0x%016llx: %s", (unsigned long long)sa->spi_i, text);
}

void ike_log_no_proposal(const struct logger *log, const char *who, const struct ike_offer *theirs,
	const struct ike_policy *policy, enum ike_suite_use use)
{
	bool is_ike = use == IKE_SUITE_IKE;
	char text[IKE_OFFER_STRLEN];
	struct ike_offer ours;

	log_info(log, "%s: no proposal chosen: failed to negotiate %s SA: the peer offers %s", who,
		is_ike ? "IKE" : "CHILD", ike_offer_str(theirs, text));
	if (ike_offer_build(is_ike ? policy->ike_proposals : policy->child_proposals,
		    is_ike ? policy->n_ike_proposals : policy->n_child_proposals, use, 0, 0,
		    &ours) == 0)
		log_info(log, "%s: policy '%s' takes %s", who, policy->name,
			ike_offer_str(&ours, text));
}

void ike_event(
	struct ike_engine *engine, enum ike_event_type type, uint64_t sa, const char *fmt, ...)
{
	struct ike_action *action = ike_action_add(engine->out, IKE_ACT_EVENT);
	va_list ap;

	if (!action)
		return;
	action->event.type = type;
	action->event.sa = sa;
	va_start(ap, fmt);
	vsnprintf(action->event.text, sizeof(action->event.text), fmt, ap);
	va_end(ap);
}
