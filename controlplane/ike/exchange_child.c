#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/child_negotiate.h"
#include "ipc/spi.h"
#include "shared/wipe.h"

/*
 * RFC 7296 1.3.1, 1.3.3:
 *
 *	HDR, SK {[N(REKEY_SA),] [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr}  -->
 *	                 <--  HDR, SK {[N(USE_TRANSPORT_MODE),] SA, Nr, [KEr,] TSi, TSr}
 *
 * A rekey: the initiator installs the new pair, sends on it at once and deletes the old one. The
 * responder installs both directions before it answers, but sends on the new one only when the
 * initiator shows that it has it: by a packet, or by the DELETE (RFC 7296 2.8).
 */
enum { CHILD_NONCE_LEN = 32, NO_SPI_RETRY_MS = 500, INVALID_KES_MAX = 3 };

int ike_nonce_compare(const struct ike_nonce *a, const struct ike_nonce *b)
{
	/* RFC 7296 2.8.1: octet by octet; a nonce that is the beginning of another is lower. */
	size_t n = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->data, b->data, n);

	return c ? c : (int)a->len - (int)b->len;
}

void ike_nonce_fresh(struct ike_engine *engine, struct ike_nonce *nonce)
{
	nonce->len = CHILD_NONCE_LEN;
	engine_random(engine, nonce->data, nonce->len);
}

void ike_nonce_from(const struct ike_message *m, struct ike_nonce *out)
{
	out->len = (uint16_t)m->nonce->nonce.len;
	memcpy(out->data, m->nonce->nonce.data, out->len);
}

/* ---- request ---------------------------------------------------------------------------- */

static struct ts_pairs *pairs_to_propose(
	struct ike_sa *sa, const struct ike_task *task, const struct child_sa *old)
{
	struct ts_pairs *pairs = calloc(1, sizeof(*pairs));

	if (!pairs)
		return NULL;
	if (old) {
		/* What was agreed, not what is configured (field case B49, RFC 7296 2.9.2). */
		pairs->n = old->n_pairs;
		memcpy(pairs->pair, old->pairs, old->n_pairs * sizeof(pairs->pair[0]));
	} else if (task->wanted) {
		*pairs = *task->wanted;
	} else {
		child_allowed_pairs(sa, pairs);
	}
	return pairs;
}

/* PFS: the group of the first child proposal, or the one that the peer asked for. */
static int make_dh(struct ike_sa *sa, uint16_t group, struct ike_dh **out)
{
	struct ike_offer offer;

	*out = NULL;
	if (!group) {
		if (ike_offer_build(sa->policy->child_proposals, sa->policy->n_child_proposals,
			    IKE_SUITE_CHILD, IKE_ESP_SPI_LEN, IPC_SPI_MIN, &offer) < 0)
			return -1;
		group = ike_offer_first_group(&offer);
	}
	return group ? ike_dh_create(group, &sa->engine->rng, out) : 0;
}

static struct ike_attempt *attempt_create(
	struct ike_sa *sa, struct ike_task *task, const struct child_sa *old)
{
	struct ike_attempt *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->pairs = pairs_to_propose(sa, task, old);
	a->task = *task;
	a->task.next = NULL;
	task->wanted = NULL; /* the attempt's now */
	ike_nonce_fresh(sa->engine, &a->nonce);
	if (!a->pairs || !a->pairs->n || make_dh(sa, task->group, &a->dh) < 0) {
		ike_attempt_destroy(sa->engine, a);
		return NULL;
	}
	return a;
}

static void later(struct ike_sa *sa, struct ike_task *task)
{
	struct ike_task *again = ike_task_add(sa, task->type, task->child, task->wanted);

	task->wanted = NULL;
	if (again) {
		again->attempts = task->attempts;
		again->group = task->group;
		again->not_before_ms = sa->engine->now_ms + NO_SPI_RETRY_MS;
	}
}

void child_request_send(struct ike_sa *sa, struct ike_task *task)
{
	struct ike_engine *engine = sa->engine;
	struct child_sa *old = NULL;

	if (task->type == IKE_TASK_REKEY_CHILD) {
		old = child_by_handle(engine, task->child);
		/* Replaced or deleted while the task waited. */
		if (!old || old->sa != sa || old->state != CHILD_ACTIVE)
			return;
		if (!child_is_known(old, engine->now_ms)) {
			later(sa, task);
			return;
		}
	}
	uint32_t spi_in = espd_spi_take(engine);

	if (!spi_in) {
		engine->stats.dropped_no_spi++;
		later(sa, task);
		return;
	}
	struct ike_attempt *a = attempt_create(sa, task, old);
	struct ike_builder *b = ike_builder_begin(engine);

	if (!a) {
		espd_spi_release(engine, spi_in);
		return;
	}
	a->spi_in = spi_in;
	if (old)
		ike_put_notify_spi(b, IKE_N_REKEY_SA, IKE_PROTO_ESP, old->spi_in, NULL, 0);
	if (child_put_offer(sa, b, IKE_SUITE_CHILD, spi_in, a->pairs, &a->nonce, a->dh) < 0 ||
		ike_request_send(sa, task->type, IKE_EXCHANGE_CREATE_CHILD_SA, b) < 0) {
		ike_attempt_destroy(engine, a);
		return;
	}
	sa->request.attempt = a;
}

/* ---- responder -------------------------------------------------------------------------- */

static void refuse(struct ike_sa *sa, uint16_t type, const void *data, size_t len)
{
	sa->engine->stats.temporary_failures += type == IKE_N_TEMPORARY_FAILURE;
	ike_response_error(
		sa, IKE_EXCHANGE_CREATE_CHILD_SA, sa->engine->msg->hdr.message_id, type, data, len);
}

/* False if it was answered with an error. *old: what is to be replaced, or NULL. */
static bool find_rekeyed(struct ike_sa *sa, const struct ike_message *m, struct child_sa **old)
{
	const struct ike_notify *n = ike_message_notify(m, IKE_N_REKEY_SA);

	*old = NULL;
	if (!n)
		return true;
	uint32_t spi = ike_notify_spi(n);
	struct child_sa *child = child_by_spi_out(sa, spi);

	if (!child || n->protocol != IKE_PROTO_ESP) {
		/* RFC 7296 2.25: the notify names the SA as the request did. */
		struct ike_builder *b = ike_builder_begin(sa->engine);

		ike_put_notify_spi(b, IKE_N_CHILD_SA_NOT_FOUND, n->protocol, spi, NULL, 0);
		ike_response_send(sa, IKE_EXCHANGE_CREATE_CHILD_SA, m->hdr.message_id, b, 0);
		return false;
	}
	/* RFC 7296 2.25.1: we are closing it, or have replaced it and are about to. */
	if (child->state != CHILD_ACTIVE) {
		refuse(sa, IKE_N_TEMPORARY_FAILURE, NULL, 0);
		return false;
	}
	*old = child;
	return true;
}

/* KE of the request, if the suite has PFS. False if it was answered with an error. */
static bool make_shared(struct ike_sa *sa, const struct ike_message *m,
	const struct ike_suite *suite, struct ike_dh **dh, uint8_t *shared, size_t *shared_len)
{
	uint16_t group = ike_suite_group(suite);
	uint8_t want[2] = {(uint8_t)(group >> 8), (uint8_t)group};

	*dh = NULL;
	*shared_len = 0;
	if (!group)
		return true;
	if (!m->ke || m->ke->ke.group != group) {
		/* RFC 7296 1.3, 2.7. */
		sa->engine->stats.invalid_ke++;
		refuse(sa, IKE_N_INVALID_KE_PAYLOAD, want, sizeof(want));
		return false;
	}
	if (ike_dh_create(group, &sa->engine->rng, dh) < 0 ||
		ike_dh_shared(*dh, m->ke->ke.value.data, m->ke->ke.value.len, shared,
			IKE_DH_MAX_LEN, shared_len) < 0) {
		refuse(sa, IKE_N_INVALID_SYNTAX, NULL, 0);
		return false;
	}
	return true;
}

/* RFC 7296 2.8.1: we have a rekey of the same child out: who wins is known with its answer. */
static bool note_rival(struct ike_sa *sa, const struct child_sa *old, const struct child_sa *made,
	const struct ike_nonce *ni, const struct ike_nonce *nr)
{
	struct ike_attempt *a = sa->request.attempt;

	if (sa->request.type != IKE_TASK_REKEY_CHILD || !a || a->task.child != old->handle_in)
		return false;
	a->rival_child = made->handle_in;
	a->rival_lowest = ike_nonce_compare(ni, nr) < 0 ? *ni : *nr;
	sa->engine->stats.collisions_child++;
	sa_log(sa, LOG_LVL_INFO, "simultaneous rekeying for CHILD SA 0x%08x/0x%08x", old->spi_in,
		old->spi_out);
	return true;
}

static void answer_with_child(struct ike_sa *sa, const struct ike_message *m,
	const struct child_agreed *agreed, struct child_sa *old, struct ike_dh *dh,
	struct bytes shared)
{
	struct ike_engine *engine = sa->engine;
	struct ike_nonce ni, nr;
	uint32_t spi_in = espd_spi_take(engine), message_id = m->hdr.message_id;

	ike_nonce_from(m, &ni);
	ike_nonce_fresh(engine, &nr);
	struct child_sa *child = spi_in ? child_make(sa, agreed, spi_in, false, &ni, &nr, shared)
					: NULL;

	if (!child) {
		engine->stats.dropped_no_spi += !spi_in;
		if (spi_in)
			espd_spi_release(engine, spi_in);
		refuse(sa, IKE_N_TEMPORARY_FAILURE, NULL, 0);
		return;
	}
	struct ike_builder *b = ike_builder_begin(engine);

	child->is_unconfirmed = true;
	child_put_answer(sa, b, agreed, spi_in, &nr, dh);
	child_install(engine, child, old != NULL, false);
	if (old) {
		engine->stats.children_rekeyed++;
		old->replaced_by = child->handle_in;
		if (!note_rival(sa, old, child, &ni, &nr))
			child_mark_replaced(old);
	}
	ike_response_send(sa, IKE_EXCHANGE_CREATE_CHILD_SA, message_id, b, child->in_command);
}

void child_request_input(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	const struct ike_message *m = engine->msg;
	struct child_sa *old;

	rekey_ike_settle(sa);
	/* RFC 7296 2.25.2: not while the IKE SA itself is being replaced or closed. */
	if (!ike_sa_is_live(sa) ||
		(sa->request.type == IKE_TASK_REKEY_IKE && m->offer.n_proposals &&
			m->offer.proposals[0].protocol != IKE_PROTO_IKE)) {
		refuse(sa, IKE_N_TEMPORARY_FAILURE, NULL, 0);
		return;
	}
	if (m->offer.n_proposals && m->offer.proposals[0].protocol == IKE_PROTO_IKE) {
		rekey_ike_request_input(sa);
		return;
	}
	if (!find_rekeyed(sa, m, &old))
		return;
	if (!old && child_count(sa) >= engine->p.limits.max_children_per_sa) {
		refuse(sa, IKE_N_NO_ADDITIONAL_SAS, NULL, 0);
		return;
	}
	struct child_agreed *agreed = malloc(sizeof(*agreed));
	uint8_t shared[IKE_DH_MAX_LEN];
	size_t shared_len;
	struct ike_dh *dh = NULL;
	uint16_t error = agreed ? child_choose(sa, m, IKE_SUITE_CHILD, agreed)
				: IKE_N_TEMPORARY_FAILURE;

	if (error)
		refuse(sa, error, NULL, 0);
	else if (make_shared(sa, m, &agreed->suite, &dh, shared, &shared_len))
		answer_with_child(sa, m, agreed, old, dh, (struct bytes){shared, shared_len});
	wipe(shared, sizeof(shared));
	ike_dh_destroy(dh);
	free(agreed);
}

/* ---- the initiator reads the answer ------------------------------------------------------ */

/* The peer's own rekey replaced the child; the peer deletes the old one. */
static void rival_stands(struct child_sa *old, struct child_sa *rival)
{
	if (!old)
		return;
	old->replaced_by = rival->handle_in;
	child_mark_replaced(old);
}

static struct child_sa *live_rival(const struct ike_sa *sa, const struct ike_attempt *a)
{
	struct child_sa *rival = a->rival_child ? child_by_handle(sa->engine, a->rival_child)
						: NULL;

	return rival && rival->sa == sa && rival->state == CHILD_ACTIVE ? rival : NULL;
}

/* RFC 7296 2.25: the peer knows no such child: what is left of it goes, another is asked for. */
static void not_found(struct ike_sa *sa, struct ike_attempt *a, struct child_sa *old)
{
	if (old) {
		old->was_replaced = false;
		child_remove(sa->engine, old, "peer does not have it");
	}
	child_want_rest(sa, a->pairs);
}

static void again_with_group(struct ike_sa *sa, struct ike_attempt *a, const struct ike_notify *n)
{
	uint16_t group = n->data.len == 2 ? (uint16_t)(n->data.data[0] << 8 | n->data.data[1]) : 0;
	struct ike_offer offer;

	/* RFC 7296 1.3: only a group that we offered. */
	if (!group || a->task.attempts >= INVALID_KES_MAX ||
		ike_offer_build(sa->policy->child_proposals, sa->policy->n_child_proposals,
			IKE_SUITE_CHILD, IKE_ESP_SPI_LEN, IPC_SPI_MIN, &offer) < 0 ||
		!ike_offer_has_group(&offer, group)) {
		sa_log(sa, LOG_LVL_WARN, "unsupported group %u in INVALID_KE message", group);
		return;
	}
	struct ike_task *task = ike_task_add(sa, a->task.type, a->task.child, a->task.wanted);

	a->task.wanted = NULL;
	if (task) {
		task->group = group;
		task->attempts = a->task.attempts + 1;
	}
}

static void refused(struct ike_sa *sa, struct ike_attempt *a, struct child_sa *old, uint16_t error)
{
	struct ike_engine *engine = sa->engine;
	const struct ike_notify *n = ike_message_notify(engine->msg, error);
	struct child_sa *rival = live_rival(sa, a);

	sa_log(sa, LOG_LVL_INFO, "peer refused %s: %s", old ? "rekey of a CHILD SA" : "a CHILD SA",
		ike_notify_str(error));
	engine->stats.temporary_failures += error == IKE_N_TEMPORARY_FAILURE;
	if (rival) {
		rival_stands(old, rival);
		return;
	}
	switch (error) {
	case IKE_N_INVALID_KE_PAYLOAD:
		again_with_group(sa, a, n);
		return;
	case IKE_N_TEMPORARY_FAILURE:
		if (!ike_task_retry(sa, &a->task))
			ike_sa_delete(sa, "rekey timeout");
		return;
	case IKE_N_CHILD_SA_NOT_FOUND:
		not_found(sa, a, old);
		return;
	case IKE_N_SINGLE_PAIR_REQUIRED:
		child_want_each(sa, a->pairs);
		break;
	default:
		break;
	}
	engine->stats.children_failed++;
	if (old) {
		/* It serves until its hard lifetime; perhaps the peer agrees later. */
		old->is_rekeying = false;
		old->rekey_at_ms = engine->now_ms + ACTIVE_RETRY_MS;
	}
}

/* RFC 7296 2.8.1: of two rekeys at once, the SA made with the lowest of the four nonces is
 * closed by the side that made it. True if that is ours. */
static bool we_lose(const struct ike_attempt *a, const struct ike_nonce *theirs)
{
	const struct ike_nonce *ours = ike_nonce_compare(&a->nonce, theirs) < 0 ? &a->nonce
										: theirs;

	return ike_nonce_compare(ours, &a->rival_lowest) < 0;
}

static void replaced(struct ike_sa *sa, struct ike_attempt *a, struct child_sa *old,
	struct child_sa *made, const struct ike_nonce *theirs)
{
	struct ike_engine *engine = sa->engine;
	struct child_sa *rival = live_rival(sa, a);

	engine->stats.children_rekeyed++;
	if (rival)
		sa_log(sa, LOG_LVL_INFO, "resolving simultaneous CHILD SA rekeying");
	if (rival && we_lose(a, theirs)) {
		child_install(engine, made, false, true);
		rival_stands(old, rival);
		child_want_delete(engine, made);
		return;
	}
	child_install(engine, made, false, false);
	if (rival) {
		rival->replaced_by = made->handle_in;
		child_mark_replaced(rival);
	}
	if (!old)
		return;
	old->replaced_by = made->handle_in;
	child_mark_replaced(old);
	child_want_delete(engine, old);
}

static struct child_sa *make_from_answer(
	struct ike_sa *sa, struct ike_attempt *a, const struct child_agreed *agreed)
{
	const struct ike_message *m = sa->engine->msg;
	struct ike_nonce theirs;
	uint8_t shared[IKE_DH_MAX_LEN];
	size_t shared_len = 0;
	struct child_sa *child = NULL;

	ike_nonce_from(m, &theirs);
	if (ike_suite_group(&agreed->suite)) {
		if (!a->dh || !m->ke || m->ke->ke.group != ike_dh_group(a->dh) ||
			ike_dh_shared(a->dh, m->ke->ke.value.data, m->ke->ke.value.len, shared,
				sizeof(shared), &shared_len) < 0)
			return NULL;
	}
	child = child_make(sa, agreed, a->spi_in, true, &a->nonce, &theirs,
		(struct bytes){shared, shared_len});
	wipe(shared, sizeof(shared));
	if (child)
		a->spi_in = 0; /* the child's now */
	return child;
}

static void answered(struct ike_sa *sa, struct ike_attempt *a)
{
	struct ike_engine *engine = sa->engine;
	const struct ike_message *m = engine->msg;
	struct child_sa *old = a->task.child ? child_by_handle(engine, a->task.child) : NULL;
	struct child_agreed *agreed = malloc(sizeof(*agreed));
	struct child_sa *made = NULL;
	struct ike_nonce theirs;

	if (old && (old->sa != sa || old->state == CHILD_LINGER))
		old = NULL;
	if (old)
		old->is_rekeying = false;
	int rc = agreed ? child_check_answer(sa, m, IKE_SUITE_CHILD, a->spi_in, a->pairs,
				  a->dh ? ike_dh_group(a->dh) : 0, agreed)
			: -1;

	if (rc == 0)
		made = make_from_answer(sa, a, agreed);
	free(agreed);
	if (rc > 0) {
		refused(sa, a, old, (uint16_t)rc);
		return;
	}
	if (!made) {
		/* The peer has a child that we cannot have. */
		engine->stats.children_failed++;
		informational_want_delete_spi(sa, a->spi_in);
		a->spi_in = 0;
		if (old)
			old->rekey_at_ms = engine->now_ms + ACTIVE_RETRY_MS;
		return;
	}
	ike_nonce_from(m, &theirs);
	if (a->task.type == IKE_TASK_REKEY_CHILD) {
		replaced(sa, a, old, made, &theirs);
		return;
	}
	child_install(engine, made, false, false);
	child_want_rest(sa, a->pairs);
}

void child_response_input(struct ike_sa *sa)
{
	struct ike_attempt *a = sa->request.attempt;
	enum ike_task_type type = sa->request.type;

	sa->request.attempt = NULL;
	ike_request_done(sa);
	if (!a)
		return;
	if (type == IKE_TASK_REKEY_IKE)
		rekey_ike_response_input(sa, a);
	else if (ike_sa_is_live(sa))
		answered(sa, a);
	ike_attempt_destroy(sa->engine, a);
}
