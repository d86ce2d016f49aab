#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/child_negotiate.h"
#include "shared/wipe.h"

/*
 * RFC 7296 1.3.2: HDR, SK {SA, Ni, KEi}  -->   <--  HDR, SK {SA, Nr, KEr}
 *
 * The new IKE SA takes the children, flows and path of the old one; the initiator of the rekey
 * deletes the old one. When both sides do it at once, each makes two new SAs, and the children
 * move only when it is known which of them stays (RFC 7296 2.8.2).
 */
enum { IKE_INVALID_KES_MAX = 3, REKEY_RETRY_MS = 60 * 1000 };

/*
 * RFC 7296 1.3.2: what the peer asked for after a wrong guess, else the group that both agreed on
 * before, if it is still offered.
 */
static uint16_t group_guess(
	const struct ike_sa *sa, const struct ike_task *task, const struct ike_offer *offer)
{
	uint16_t now = ike_suite_group(&sa->suite);

	if (task->group)
		return task->group;
	return ike_offer_has_group(offer, now) ? now : ike_offer_first_group(offer);
}

void rekey_ike_request_send(struct ike_sa *sa, struct ike_task *task)
{
	struct ike_engine *engine = sa->engine;
	struct ike_attempt *a = calloc(1, sizeof(*a));
	struct ike_builder *b = ike_builder_begin(engine);
	struct ike_offer offer;
	size_t ke_len;

	if (!a)
		return;
	a->task = *task;
	a->task.next = NULL;
	a->spi_ike = ike_spi_fresh(engine);
	ike_nonce_fresh(engine, &a->nonce);
	if (ike_offer_build(sa->policy->ike_proposals, sa->policy->n_ike_proposals, IKE_SUITE_IKE,
		    IKE_SPI_LEN, a->spi_ike, &offer) < 0 ||
		ike_dh_create(group_guess(sa, task, &offer), &engine->rng, &a->dh) < 0) {
		ike_attempt_destroy(engine, a);
		return;
	}
	const uint8_t *ke = ike_dh_public(a->dh, &ke_len);

	ike_put_sa(b, &offer);
	ike_put_nonce(b, a->nonce.data, a->nonce.len);
	ike_put_ke(b, ike_dh_group(a->dh), ke, ke_len);
	if (ike_request_send(sa, IKE_TASK_REKEY_IKE, IKE_EXCHANGE_CREATE_CHILD_SA, b) < 0) {
		ike_attempt_destroy(engine, a);
		return;
	}
	sa->request.attempt = a;
}

/* ---- the new SA -------------------------------------------------------------------------- */

struct rekey_keys {
	const struct ike_suite *suite;
	const struct ike_nonce *ni, *nr;
	struct bytes shared;
	uint64_t spi_i, spi_r;
};

static struct ike_sa *make_sa(struct ike_sa *old, bool is_initiator, const struct rekey_keys *k)
{
	struct ike_engine *engine = old->engine;
	struct ike_sa *sa = ike_sa_create_with(
		engine, is_initiator, is_initiator ? k->spi_i : k->spi_r);
	struct ike_keymat_input in = {.ni = {k->ni->data, k->ni->len},
		.nr = {k->nr->data, k->nr->len},
		.shared = k->shared,
		.spi_i = k->spi_i,
		.spi_r = k->spi_r};

	if (!sa)
		return NULL;
	/* No policy of its own until it takes over: its end starts nothing. */
	ike_sa_move_tunnel(sa, NULL);
	sa->is_superseded = true;
	sa->spi_i = k->spi_i;
	sa->spi_r = k->spi_r;
	sa->local = old->local;
	ike_sa_set_remote(sa, &old->remote);
	sa->uses_marker = old->uses_marker;
	sa->we_are_natted = old->we_are_natted;
	sa->peer_is_natted = old->peer_is_natted;
	sa->peer_does_fragments = old->peer_does_fragments;
	sa->pmtu = old->pmtu;
	ike_sa_set_policy(sa, old->policy);
	sa->local_id = old->local_id;
	sa->peer_id = old->peer_id;
	sa->suite = *k->suite;
	memcpy(sa->auth_text, old->auth_text, sizeof(sa->auth_text));
	if (ike_keys_derive_rekey(k->suite, old->suite.prf, &old->keys, &in, &sa->keys) < 0) {
		ike_sa_close(sa, "rekey failed");
		return NULL;
	}
	ike_cipher_init(&sa->out, &sa->suite, &sa->keys, is_initiator);
	ike_cipher_init(&sa->in, &sa->suite, &sa->keys, !is_initiator);
	sa->has_keys = true;
	ike_sa_established(sa);
	engine->stats.sas_rekeyed++;
	return sa;
}

static void move_tasks(struct ike_sa *from, struct ike_sa *to)
{
	struct ike_task **at = &from->tasks;

	while (*at) {
		struct ike_task *task = *at;

		if (task->type == IKE_TASK_DELETE_IKE) {
			at = &task->next;
			continue;
		}
		*at = task->next;
		struct ike_task *moved = NULL;

		if (task->type != IKE_TASK_REKEY_IKE && task->type != IKE_TASK_DPD) {
			moved = ike_task_add(to, task->type, task->child, task->wanted);
			task->wanted = NULL;
		}
		if (moved) {
			moved->not_before_ms = task->not_before_ms;
			moved->attempts = task->attempts;
			moved->group = task->group;
			moved->spi_in = task->spi_in;
		}
		free(task->wanted);
		free(task);
	}
}

/* RFC 7296 2.18: the new SA inherits all that was negotiated under the old one. */
static void take_over(struct ike_sa *old, struct ike_sa *new)
{
	const struct transform *integ = ike_suite_integ(&new->suite);

	if (old->is_replaced)
		return;
	sa_log(old, LOG_LVL_INFO, "rekeyed as new IKESA 0x%016llx (enc %s%s%s group %s prf %s)",
		(unsigned long long)new->spi_i, new->suite.encr->name, integ ? " auth " : "",
		integ ? integ->name : "", new->suite.dh->name, new->suite.prf->name);
	child_move_all(old->engine, old, new);
	old->is_replaced = true;
	old->is_superseded = true;
	new->is_superseded = false;
	new->pending_old = 0;
	old->close_at_ms = old->engine->now_ms + REKEYED_SA_MS;
	move_tasks(old, new);
	for (struct child_sa *child = new->children; child; child = child->next)
		if (child->wants_delete)
			child_want_delete(old->engine, child);
	ike_tasks_run(new);
	ike_sa_update_timer(new);
}

static void delete_old(struct ike_sa *old)
{
	ike_task_add(old, IKE_TASK_DELETE_IKE, 0, NULL);
	old->close_reason = "SA rekeyed";
}

/* It lost: whoever made it deletes it; if that is the peer and it does not, time does. */
static void abandon(struct ike_sa *sa, bool we_made_it)
{
	sa->pending_old = 0;
	sa->is_replaced = true;
	sa->close_at_ms = sa->engine->now_ms + REKEYED_SA_MS;
	if (we_made_it)
		delete_old(sa);
	ike_tasks_run(sa);
	ike_sa_update_timer(sa);
}

/* ---- responder -------------------------------------------------------------------------- */

static void refuse(struct ike_sa *sa, uint16_t type, const void *data, size_t len)
{
	sa->engine->stats.temporary_failures += type == IKE_N_TEMPORARY_FAILURE;
	ike_response_error(
		sa, IKE_EXCHANGE_CREATE_CHILD_SA, sa->engine->msg->hdr.message_id, type, data, len);
}

static void answer_rekey(struct ike_sa *sa, const struct ike_suite *suite, uint64_t spi_i,
	struct ike_dh *dh, struct bytes shared)
{
	struct ike_engine *engine = sa->engine;
	uint32_t message_id = engine->msg->hdr.message_id;
	struct ike_nonce ni, nr;
	struct ike_offer answer;
	size_t ke_len;
	const uint8_t *ke = ike_dh_public(dh, &ke_len);

	ike_nonce_from(engine->msg, &ni);
	ike_nonce_fresh(engine, &nr);
	struct rekey_keys keys = {suite, &ni, &nr, shared, spi_i, ike_spi_fresh(engine)};
	struct ike_sa *new = make_sa(sa, false, &keys);

	if (!new) {
		refuse(sa, IKE_N_TEMPORARY_FAILURE, NULL, 0);
		return;
	}
	struct ike_builder *b = ike_builder_begin(engine);

	ike_suite_answer(suite, IKE_SPI_LEN, keys.spi_r, &answer);
	ike_put_sa(b, &answer);
	ike_put_nonce(b, nr.data, nr.len);
	ike_put_ke(b, ike_dh_group(dh), ke, ke_len);
	ike_response_send(sa, IKE_EXCHANGE_CREATE_CHILD_SA, message_id, b, 0);
	if (sa->state == IKE_SA_CLOSED)
		return;
	struct ike_attempt *a = sa->request.attempt;

	if (sa->request.type == IKE_TASK_REKEY_IKE && a) {
		engine->stats.collisions_ike++;
		sa_log(sa, LOG_LVL_INFO, "simultaneous IKE SA rekeying");
		a->rival_sa = new->handle;
		a->rival_lowest = ike_nonce_compare(&ni, &nr) < 0 ? ni : nr;
		new->pending_old = sa->handle;
		ike_sa_update_timer(new);
	} else {
		take_over(sa, new);
	}
}

void rekey_ike_request_input(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	const struct ike_message *m = engine->msg;
	enum ike_task_type out = sa->request.type;
	struct ike_suite suite;

	/* RFC 7296 2.25.2: not while children are made, replaced or closed by us. */
	if (out == IKE_TASK_REKEY_CHILD || out == IKE_TASK_CREATE_CHILD ||
		out == IKE_TASK_DELETE_CHILD) {
		refuse(sa, IKE_N_TEMPORARY_FAILURE, NULL, 0);
		return;
	}
	if (!m->ke ||
		ike_offer_select(&m->offer, sa->policy->ike_proposals, sa->policy->n_ike_proposals,
			IKE_SUITE_IKE, m->ke->ke.group, &suite) < 0 ||
		suite.spi_len != IKE_SPI_LEN) {
		engine->stats.proposals_failed++;
		refuse(sa, IKE_N_NO_PROPOSAL_CHOSEN, NULL, 0);
		return;
	}
	if (suite.dh->id != m->ke->ke.group) {
		uint8_t want[2] = {(uint8_t)(suite.dh->id >> 8), (uint8_t)suite.dh->id};

		engine->stats.invalid_ke++;
		refuse(sa, IKE_N_INVALID_KE_PAYLOAD, want, sizeof(want));
		return;
	}
	struct ike_dh *dh = NULL;
	uint8_t shared[IKE_DH_MAX_LEN];
	size_t shared_len;
	uint64_t spi_i = 0;

	for (unsigned int i = 0; i < IKE_SPI_LEN; i++)
		spi_i = spi_i << 8 | suite.spi[i];
	if (!spi_i || ike_dh_create(suite.dh->id, &engine->rng, &dh) < 0 ||
		ike_dh_shared(dh, m->ke->ke.value.data, m->ke->ke.value.len, shared, sizeof(shared),
			&shared_len) < 0)
		refuse(sa, IKE_N_INVALID_SYNTAX, NULL, 0);
	else
		answer_rekey(sa, &suite, spi_i, dh, (struct bytes){shared, shared_len});
	wipe(shared, sizeof(shared));
	ike_dh_destroy(dh);
}

/* ---- the initiator reads the answer ------------------------------------------------------ */

static struct ike_sa *live_rival(const struct ike_sa *sa, const struct ike_attempt *a)
{
	struct ike_sa *rival = a->rival_sa ? ike_sa_by_handle(sa->engine, a->rival_sa) : NULL;

	return rival && ike_sa_is_live(rival) ? rival : NULL;
}

static void rekey_refused(struct ike_sa *sa, struct ike_attempt *a, const struct ike_notify *n)
{
	struct ike_sa *rival = live_rival(sa, a);
	uint16_t error = n ? n->type : IKE_N_INVALID_SYNTAX;
	uint16_t group = n && n->data.len == 2 ? (uint16_t)(n->data.data[0] << 8 | n->data.data[1])
					       : 0;
	struct ike_task *task;

	sa_log(sa, LOG_LVL_INFO, "peer refused rekey of the IKE SA: %s", ike_notify_str(error));
	sa->engine->stats.temporary_failures += error == IKE_N_TEMPORARY_FAILURE;
	if (rival) {
		take_over(sa, rival);
		return;
	}
	if (!ike_sa_is_live(sa))
		return;
	if (error == IKE_N_INVALID_KE_PAYLOAD && group && a->task.attempts < IKE_INVALID_KES_MAX) {
		task = ike_task_add(sa, IKE_TASK_REKEY_IKE, 0, NULL);
		if (task) {
			task->group = group;
			task->attempts = a->task.attempts + 1;
		}
		return;
	}
	if (error == IKE_N_TEMPORARY_FAILURE) {
		if (!ike_task_retry(sa, &a->task))
			ike_sa_delete(sa, "rekey timeout");
		return;
	}
	sa->rekey_at_ms = sa->engine->now_ms + REKEY_RETRY_MS;
}

static struct ike_sa *make_from_answer(
	struct ike_sa *sa, struct ike_attempt *a, struct ike_nonce *theirs)
{
	const struct ike_message *m = sa->engine->msg;
	struct ike_offer sent;
	struct ike_suite suite;
	uint8_t shared[IKE_DH_MAX_LEN];
	size_t shared_len;
	uint16_t group = ike_dh_group(a->dh);
	struct rekey_keys keys = {
		.suite = &suite, .ni = &a->nonce, .nr = theirs, .spi_i = a->spi_ike};

	if (ike_offer_build(sa->policy->ike_proposals, sa->policy->n_ike_proposals, IKE_SUITE_IKE,
		    IKE_SPI_LEN, a->spi_ike, &sent) < 0 ||
		ike_offer_check_answer(&sent, &m->offer, IKE_SUITE_IKE, group, &suite) < 0 ||
		suite.spi_len != IKE_SPI_LEN || m->ke->ke.group != group ||
		ike_dh_shared(a->dh, m->ke->ke.value.data, m->ke->ke.value.len, shared,
			sizeof(shared), &shared_len) < 0)
		return NULL;
	for (unsigned int i = 0; i < IKE_SPI_LEN; i++)
		keys.spi_r = keys.spi_r << 8 | suite.spi[i];
	keys.shared = (struct bytes){shared, shared_len};
	ike_nonce_from(m, theirs);
	struct ike_sa *new = keys.spi_r ? make_sa(sa, true, &keys) : NULL;

	wipe(shared, sizeof(shared));
	return new;
}

void rekey_ike_response_input(struct ike_sa *sa, struct ike_attempt *a)
{
	const struct ike_message *m = sa->engine->msg;
	struct ike_nonce theirs;

	if (!m->sa || !m->ke || !m->nonce) {
		rekey_refused(sa, a, ike_message_error(m));
		return;
	}
	struct ike_sa *new = make_from_answer(sa, a, &theirs);

	if (!new) {
		rekey_refused(sa, a, NULL);
		return;
	}
	struct ike_sa *rival = live_rival(sa, a);
	const struct ike_nonce *lowest = ike_nonce_compare(&a->nonce, &theirs) < 0 ? &a->nonce
										   : &theirs;

	if (rival)
		sa_log(sa, LOG_LVL_INFO, "resolving simultaneous IKE SA rekeying");
	/* The peer has shown that its own stays, or the SA is gone already. */
	if (!ike_sa_is_live(sa)) {
		abandon(new, true);
		return;
	}
	/* RFC 7296 2.8.1, 2.8.2: the lowest of the four nonces loses. */
	if (rival && ike_nonce_compare(lowest, &a->rival_lowest) < 0) {
		take_over(sa, rival);
		abandon(new, true);
		return;
	}
	take_over(sa, new);
	delete_old(sa);
	if (rival)
		abandon(rival, false);
}

void rekey_ike_settle(struct ike_sa *sa)
{
	struct ike_sa *old = sa->pending_old ? ike_sa_by_handle(sa->engine, sa->pending_old) : NULL;

	/* The peer uses its new SA: it knows already that it stays. */
	if (old && !old->is_replaced && ike_sa_is_live(sa))
		take_over(old, sa);
	sa->pending_old = 0;
}

void rekey_ike_deleted(struct ike_sa *sa)
{
	struct ike_attempt *a = sa->request.attempt;
	struct ike_sa *rival;

	sa->pending_old = 0;
	if (sa->request.type != IKE_TASK_REKEY_IKE || !a || sa->is_replaced)
		return;
	/* Our own rekey is forgotten (RFC 7296 2.25.2); the peer's, if any, is what stays. */
	rival = live_rival(sa, a);
	if (rival)
		take_over(sa, rival);
}
