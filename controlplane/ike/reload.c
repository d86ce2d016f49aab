#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/child_negotiate.h"
#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/policy_select.h"

/* A new configuration: SAs move to its policies; and ikectl's resets. */

static bool suite_fits(void *ctx, const struct ike_policy *policy)
{
	const struct ike_sa *sa = ctx;
	struct ike_offer as_offer;
	struct ike_suite suite;

	if (!sa->has_keys)
		return true;
	ike_suite_answer(&sa->suite, 0, 0, &as_offer);
	return ike_offer_select(&as_offer, policy->ike_proposals, policy->n_ike_proposals,
		       IKE_SUITE_IKE, 0, &suite) == 0;
}

static bool has_transport_child(const struct ike_sa *sa)
{
	return sa->children && sa->children->is_transport;
}

/* The policy of the same name if it still fits, else the one that would be chosen now. */
static const struct ike_policy *policy_for(
	const struct ike_engine *engine, struct ike_sa *sa, const char *old_name)
{
	struct policy_question q = {.index = &engine->policies,
		.local = sa->local.addr,
		.remote = sa->remote.addr,
		.peer_id = sa->peer_id.type ? &sa->peer_id : NULL,
		.local_id = sa->local_id.type ? &sa->local_id : NULL,
		.wants_transport = has_transport_child(sa),
		.has_auth = true,
		.host_id = &engine->p.local_id,
		.fits = suite_fits,
		.fits_ctx = sa};

	const struct ike_policy *policy;
	struct policy_walk walk;

	policy_walk_name(&walk, &engine->policies, old_name);
	while ((policy = policy_walk_next(&walk)) != NULL)
		if (!policy->is_skip && !policy_mismatch(policy, &q))
			return policy;
	return policy_select(engine->config, &q, NULL, NULL);
}

/* Children with selectors that the new policy does not allow go; what it has besides is asked
 * for by whoever initiated. */
static void fit_children(struct ike_engine *engine, struct ike_sa *sa)
{
	struct ts_pairs *allowed = calloc(1, sizeof(*allowed));

	if (!allowed)
		return;
	child_allowed_pairs(sa, allowed);
	for (struct child_sa *child = sa->children; child; child = child->next) {
		bool fits = true;

		for (size_t i = 0; i < child->n_pairs; i++)
			fits = fits && narrow_covered(allowed, &child->pairs[i]);
		if (child->state == CHILD_ACTIVE && !fits)
			child_want_delete(engine, child);
	}
	if (sa->is_initiator)
		child_want_rest(sa, allowed);
	free(allowed);
}

static void move_sas(struct ike_engine *engine, const struct ike_config *old)
{
	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		const struct ike_policy *was = sa->policy;

		if (!was)
			continue;
		ike_sa_set_policy(sa, policy_for(engine, sa, was->name));
		if (!sa->policy) {
			/* Its pointer must not outlive the old configuration. */
			sa->is_superseded = true;
			ike_sa_delete(sa, "Policy no longer exists");
		}
	}
	(void)old;
}

static void make_runs(struct ike_engine *engine)
{
	for (size_t i = 0; i < engine->n_runs; i++)
		timer_clear(&engine->timers, &engine->runs[i].timer);
	free(engine->runs);
	engine->n_runs = 0;
	engine->runs = calloc(engine->config->n_policies + 1, sizeof(*engine->runs));
	if (!engine->runs) {
		engine->out->no_memory = true;
		return;
	}
	for (size_t i = 0; i < engine->config->n_policies; i++) {
		engine->runs[i].timer.kind = TIMER_POLICY;
		engine->runs[i].number = engine->config->policies[i].number;
	}
	engine->n_runs = engine->config->n_policies;
}

/* Errata of the FAQ: its server2 has its own name as dstid. */
static void warn_of_own_dstid(const struct ike_engine *engine)
{
	char id[IKE_ID_STRLEN];

	for (size_t i = 0; i < engine->config->n_policies; i++) {
		const struct ike_policy *policy = &engine->config->policies[i];

		if (policy_dstid_is_own(policy, &engine->p.local_id))
			log_warn(engine->p.log,
				"%s:%u:%u: policy '%s': dstid %s is our own srcid: ignored",
				policy->pos.file ? policy->pos.file : "iked.conf", policy->pos.line,
				policy->pos.column, policy->name, ike_id_str(&policy->dstid, id));
	}
}

void reload_config(struct ike_engine *engine, const struct ike_config_input *in)
{
	const struct ike_config *old = engine->config;

	engine->config = in->config;
	engine->config_version = in->version;
	make_runs(engine);
	policy_index_fini(&engine->policies);
	if (policy_index_init(&engine->policies, in->config) < 0)
		engine->out->no_memory = true;
	warn_of_own_dstid(engine);
	move_sas(engine, old);
	sessions_reload(engine);
	if (in->config->is_decoupled)
		decouple(engine);
	else if (old && old->is_decoupled)
		couple(engine);
	flows_reload(engine);
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next) {
		if (!ike_sa_is_live(sa) || !sa->policy)
			continue;
		for (struct child_sa *child = sa->children; child; child = child->next)
			if (child->state == CHILD_ACTIVE && child->out_loaded)
				flows_bind_child(engine, child);
		fit_children(engine, sa);
	}
	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		ike_tasks_run(sa);
		if (sa->state != IKE_SA_CLOSED)
			ike_sa_update_timer(sa);
	}
	resync_if_ready(engine);
	initiate_all_active(engine, ACTIVE_FIRST_MS);
	ike_event(engine, IKE_EVENT_CONFIG, 0, "configuration %u: %zu policies", in->version,
		in->config->n_policies);
}

static void delete_sas(struct ike_engine *engine, const char *id, const char *reason)
{
	char peer[IKE_ID_STRLEN];

	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		if (!id || strcmp(ike_id_str(&sa->peer_id, peer), id) == 0)
			ike_sa_delete(sa, reason);
	}
}

void reset_input(struct ike_engine *engine, const struct ike_reset *reset)
{
	switch (reset->what) {
	case IKE_RESET_ID:
		delete_sas(engine, reset->id ? reset->id : "", "reset control message");
		if (reset->id)
			held_delete_identity(engine, reset->id);
		break;
	case IKE_RESET_SA:
		delete_sas(engine, NULL, "reset sa control message");
		held_delete_all(engine);
		flows_pause(engine);
		/* Time enough for `ikectl reset sa` and a stop (the FAQ's way to end). */
		initiate_all_active(engine, ACTIVE_RETRY_MS);
		break;
	case IKE_RESET_ALL:
		delete_sas(engine, NULL, "reset control message");
		held_delete_all(engine);
		flows_push(engine);
		initiate_all_active(engine, ACTIVE_FIRST_MS);
		break;
	case IKE_RESET_POLICY:
		if (engine->config) {
			struct ike_config_input again = {engine->config, engine->config_version};

			reload_config(engine, &again);
		}
		break;
	}
}
