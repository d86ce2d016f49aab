#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/auth_steps.h"
#include "controlplane/ike/child_negotiate.h"
#include "controlplane/ike/policy_select.h"

/*
 * RFC 7296 1.2:
 *
 *	HDR, SK {IDi, [CERT,] [IDr,] AUTH, SAi2, TSi, TSr}  -->
 *	                 <--  HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
 *
 * Initiator: own AUTH is asked for, request, answer, the peer's key is asked for.
 * Responder: request, the peer's key is asked for, own AUTH is asked for, answer.
 * The answers of the key process arrive in auth_answers.c, which calls the steps below.
 */

void auth_start(struct ike_sa *sa)
{
	sa->local_id = *policy_srcid(sa->policy, &sa->engine->p.local_id);
	ike_sa_set_state(sa, IKE_SA_AUTH_REQUEST);
	auth_ask_own(sa);
}

/* Those the packet triggered first, then all of the policy (RFC 7296 2.9). */
static struct ts_pairs *first_pairs(const struct ike_sa *sa)
{
	const struct ike_handshake *hs = sa->handshake;
	struct ts_pairs *pairs = malloc(sizeof(*pairs)), *all = malloc(sizeof(*all));

	if (!pairs || !all) {
		free(pairs);
		free(all);
		return NULL;
	}
	child_allowed_pairs(sa, all);
	pairs->n = 0;
	if (hs->has_packet && narrow_covered(all, &hs->packet))
		pairs->pair[pairs->n++] = hs->packet;
	for (size_t i = 0; i < all->n && pairs->n < NARROW_PAIRS_MAX; i++)
		pairs->pair[pairs->n++] = all->pair[i];
	free(all);
	return pairs;
}

void auth_send_request(struct ike_sa *sa, const struct ike_auth_answer *own)
{
	struct ike_engine *engine = sa->engine;
	struct ike_handshake *hs = sa->handshake;
	struct ike_builder *b = ike_builder_begin(engine);
	const struct ike_id *dstid = policy_dstid(sa->policy, &engine->p.local_id);

	hs->spi_in = espd_spi_take(engine);
	hs->pairs = first_pairs(sa);
	if (!hs->spi_in || !hs->pairs || !hs->pairs->n) {
		ike_sa_close(sa, !hs->spi_in ? "no SPI left" : "no traffic selectors");
		return;
	}
	ike_put_id(b, IKE_PAYLOAD_IDI, &sa->local_id);
	if (own->cert_encoding && own->cert_len)
		ike_put_cert(b, IKE_PAYLOAD_CERT, own->cert_encoding, own->cert, own->cert_len);
	if (dstid)
		ike_put_id(b, IKE_PAYLOAD_IDR, dstid);
	ike_put_auth(b, own->method, own->data, own->len);
	/* RFC 7296 2.4: only when nothing with this peer is left, in espd and other engines
	 * neither. */
	if (!ike_sa_has_sibling(sa) && !held_has_peer(engine, &sa->remote.addr) &&
		!session_has_peer(engine, &sa->remote.addr))
		ike_put_notify(b, IKE_N_INITIAL_CONTACT, NULL, 0);
	if (child_put_offer(sa, b, IKE_SUITE_AUTH_CHILD, hs->spi_in, hs->pairs, NULL, NULL) < 0) {
		ike_sa_close(sa, "message could not be built");
		return;
	}
	ike_request_send(sa, IKE_TASK_AUTH, IKE_EXCHANGE_AUTH, b);
}

/* ---- responder -------------------------------------------------------------------------- */

static bool suite_fits(void *ctx, const struct ike_policy *policy)
{
	const struct ike_sa *sa = ctx;
	struct ike_offer as_offer;
	struct ike_suite suite;

	ike_suite_answer(&sa->suite, 0, 0, &as_offer);
	return ike_offer_select(&as_offer, policy->ike_proposals, policy->n_ike_proposals,
		       IKE_SUITE_IKE, 0, &suite) == 0;
}

static const struct ike_policy *select_again(struct ike_sa *sa, const struct ike_message *m)
{
	char asked[IKE_ID_STRLEN], own[IKE_ID_STRLEN];
	struct ike_id local_id;
	struct policy_question q = {.index = &sa->engine->policies,
		.local = sa->local.addr,
		.remote = sa->remote.addr,
		.peer_id = &sa->peer_id,
		.wants_transport = ike_message_notify(m, IKE_N_USE_TRANSPORT_MODE) != NULL,
		.has_auth = m->auth != NULL,
		.host_id = &sa->engine->p.local_id,
		.fits = suite_fits,
		.fits_ctx = sa};

	if (!m->idr || ike_id_from_payload(&m->idr->id, &local_id) < 0)
		return policy_select(sa->engine->config, &q, NULL, NULL);
	q.local_id = &local_id;
	const struct ike_policy *policy = policy_select(sa->engine->config, &q, NULL, NULL);

	if (policy)
		return policy;
	/* RFC 7296 1.2: another identity than the one asked for may answer; the peer decides. The
	 * FAQ's server2, whose dstid is its own name, asks for that name. */
	q.local_id = NULL;
	policy = policy_select(sa->engine->config, &q, NULL, NULL);
	if (policy)
		sa_log(sa, LOG_LVL_INFO, "peer asks for %s, answering as %s",
			ike_id_str(&local_id, asked),
			ike_id_str(policy_srcid(policy, &sa->engine->p.local_id), own));
	return policy;
}

void auth_request_input(struct ike_sa *sa)
{
	const struct ike_message *m = sa->engine->msg;
	struct ike_handshake *hs = sa->handshake;
	char id[IKE_ID_STRLEN];

	if (!hs || sa->state != IKE_SA_SA_INIT) {
		sa->engine->stats.dropped_state++;
		return;
	}
	if (!m->idi || ike_id_from_payload(&m->idi->id, &sa->peer_id) < 0) {
		auth_refuse(sa, "identity is not usable");
		return;
	}
	const struct ike_policy *policy = select_again(sa, m);

	if (!policy) {
		sa_log(sa, LOG_LVL_WARN, "no compatible policy found for %s%s",
			ike_id_str(&sa->peer_id, id), m->auth ? "" : " (EAP is not supported)");
		auth_refuse(sa, "no compatible policy found");
		return;
	}
	ike_sa_set_policy(sa, policy);
	sa->local_id = *policy_srcid(policy, &sa->engine->p.local_id);
	sa->initial_contact = ike_message_notify(m, IKE_N_INITIAL_CONTACT) != NULL;
	hs->wanted_keys = ike_message_wanted_keys(m);
	if (auth_park(sa, m) < 0) {
		ike_sa_close(sa, "no memory");
		return;
	}
	auth_check_peer(sa, m);
}

/* What is answered when the child alone fails: the IKE SA stays (RFC 7296 1.2, 2.21.2). */
static uint16_t answer_child(struct ike_sa *sa, const struct ike_message *m, struct ike_builder *b,
	struct child_sa **out)
{
	struct ike_handshake *hs = sa->handshake;
	struct child_agreed *agreed = malloc(sizeof(*agreed));
	uint16_t error = IKE_N_TEMPORARY_FAILURE;

	*out = NULL;
	if (!agreed)
		return error;
	error = child_choose(sa, m, IKE_SUITE_AUTH_CHILD, agreed);
	if (!error) {
		uint32_t spi_in = espd_spi_take(sa->engine);

		if (spi_in)
			*out = child_make(sa, agreed, spi_in, false, &hs->peer_nonce,
				&hs->our_nonce, (struct bytes){NULL, 0});
		if (*out) {
			child_put_answer(sa, b, agreed, spi_in, NULL, NULL);
		} else {
			error = IKE_N_TEMPORARY_FAILURE;
			if (spi_in)
				espd_spi_release(sa->engine, spi_in);
			sa->engine->stats.dropped_no_spi += !spi_in;
		}
	}
	free(agreed);
	return error;
}

void auth_send_answer(struct ike_sa *sa, const struct ike_auth_answer *own)
{
	struct ike_engine *engine = sa->engine;
	struct ike_message *m = engine->msg;
	struct ike_builder *b;
	struct child_sa *child = NULL;
	uint32_t message_id;

	if (auth_unpark(sa) < 0) {
		ike_sa_close(sa, "no memory");
		return;
	}
	message_id = m->hdr.message_id;
	b = ike_builder_begin(engine);
	ike_put_id(b, IKE_PAYLOAD_IDR, &sa->local_id);
	if (own->cert_encoding && own->cert_len)
		ike_put_cert(b, IKE_PAYLOAD_CERT, own->cert_encoding, own->cert, own->cert_len);
	ike_put_auth(b, own->method, own->data, own->len);
	if (m->sa && m->tsi && m->tsr) {
		uint16_t error = answer_child(sa, m, b, &child);

		if (error)
			ike_put_notify(b, error, NULL, 0);
	}
	ike_sa_set_state(sa, IKE_SA_VALID);
	/* What the new one replaces goes after it is there: nothing passes in clear between. */
	if (child)
		child_install(engine, child, false, false);
	auth_replace_others(sa);
	ike_response_send(sa, IKE_EXCHANGE_AUTH, message_id, b, child ? child->in_command : 0);
	if (sa->state != IKE_SA_CLOSED)
		auth_finish(sa);
}

/* ---- initiator -------------------------------------------------------------------------- */

void auth_response_input(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	const struct ike_message *m = engine->msg;
	const struct ike_notify *error = ike_message_error(m);
	const struct ike_id *dstid = policy_dstid(sa->policy, &engine->p.local_id);
	char want[IKE_ID_STRLEN], got[IKE_ID_STRLEN];

	if (sa->request.type != IKE_TASK_AUTH || !sa->handshake) {
		engine->stats.dropped_state++;
		return;
	}
	if (!m->idr || !m->auth) {
		sa_log(sa, LOG_LVL_WARN, "peer answered IKE_AUTH with %s",
			error ? ike_notify_str(error->type) : "no AUTH");
		engine->stats.auth_failed++;
		ike_sa_close(sa, error && error->type == IKE_N_AUTHENTICATION_FAILED
					 ? "authentication failed notification from peer"
					 : "IKE_AUTH failed");
		return;
	}
	if (ike_id_from_payload(&m->idr->id, &sa->peer_id) < 0) {
		auth_refuse(sa, "identity is not usable");
		return;
	}
	if (dstid && !ike_id_equal(dstid, &sa->peer_id)) {
		sa_log(sa, LOG_LVL_WARN, "peer is %s, dstid is %s", ike_id_str(&sa->peer_id, got),
			ike_id_str(dstid, want));
		auth_refuse(sa, "dstid differs");
		return;
	}
	sa->initial_contact = ike_message_notify(m, IKE_N_INITIAL_CONTACT) != NULL;
	if (auth_park(sa, m) < 0) {
		ike_sa_close(sa, "no memory");
		return;
	}
	auth_check_peer(sa, m);
}

/* RFC 7296 2.21.2: the IKE SA stands, the child does not: delete what the peer has, try again. */
static void first_child_failed(
	struct ike_sa *sa, int rc, uint32_t spi_in, const struct ts_pairs *pairs)
{
	struct ike_task *task;

	sa->engine->stats.children_failed++;
	sa_log(sa, LOG_LVL_WARN, "no CHILD SA: %s",
		rc > 0 ? ike_notify_str((uint16_t)rc) : "answer not acceptable");
	if (rc < 0)
		informational_want_delete_spi(sa, spi_in);
	else
		espd_spi_release(sa->engine, spi_in);
	if (rc == IKE_N_SINGLE_PAIR_REQUIRED) {
		child_want_each(sa, pairs);
		return;
	}
	task = ike_task_add(sa, IKE_TASK_CREATE_CHILD, 0, NULL);
	if (task)
		task->not_before_ms = sa->engine->now_ms + (rc == IKE_N_TEMPORARY_FAILURE
									   ? TEMPORARY_RETRY_MS
									   : ACTIVE_RETRY_MS);
}

void auth_complete_initiator(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	struct ike_handshake *hs = sa->handshake;
	struct child_agreed *agreed = malloc(sizeof(*agreed));
	struct ts_pairs *pairs = hs->pairs;
	struct child_sa *child = NULL;
	uint32_t spi_in = hs->spi_in;

	if (!agreed || auth_unpark(sa) < 0) {
		free(agreed);
		ike_sa_close(sa, "no memory");
		return;
	}
	int rc = child_check_answer(
		sa, engine->msg, IKE_SUITE_AUTH_CHILD, spi_in, pairs, 0, agreed);

	if (rc == 0) {
		child = child_make(sa, agreed, spi_in, true, &hs->our_nonce, &hs->peer_nonce,
			(struct bytes){NULL, 0});
		if (!child)
			rc = -1;
	}
	free(agreed);
	hs->spi_in = 0; /* the child's now, or released below */
	hs->pairs = NULL;
	ike_request_done(sa);
	ike_sa_set_state(sa, IKE_SA_VALID);
	auth_finish(sa);
	if (child)
		child_install(engine, child, false, false);
	auth_replace_others(sa);
	if (child)
		child_want_rest(sa, pairs);
	else
		first_child_failed(sa, rc, spi_in, pairs);
	free(pairs);
	initiate_succeeded(engine, sa->policy->number);
}
