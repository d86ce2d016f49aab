#include "controlplane/ike/child_sa.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "shared/secret.h"

static struct ts_pair *copy_pairs(const struct ts_pairs *pairs)
{
	struct ts_pair *copy = calloc(pairs->n ? pairs->n : 1, sizeof(*copy));

	if (copy)
		memcpy(copy, pairs->pair, pairs->n * sizeof(*copy));
	return copy;
}

/* Hard limits are the policy's; the soft ones lie at 85 to 95 % of them, at random, so that the
 * two ends do not rekey at once. */
static void set_lifetimes(struct ike_engine *engine, struct child_sa *child)
{
	const struct ike_policy *policy = child->sa->policy;
	uint32_t permille = 850 + engine_random_u32(engine) % 101;

	child->created_ms = engine->now_ms;
	child->rekey_at_ms = child->expire_at_ms = child->remove_at_ms = UINT64_MAX;
	if (!policy)
		return;
	if (policy->child_lifetime_s) {
		child->hard_s = policy->child_lifetime_s;
		child->soft_s = (uint32_t)((uint64_t)child->hard_s * permille / 1000);
		child->rekey_at_ms = engine->now_ms + (uint64_t)policy->child_lifetime_s * permille;
		child->expire_at_ms = engine->now_ms + policy->child_lifetime_s * 1000ull;
	}
	child->hard_bytes = policy->child_lifetime_bytes;
	child->soft_bytes = child->hard_bytes / 1000 * permille;
}

struct child_sa *child_create(
	struct ike_engine *engine, struct ike_sa *sa, const struct child_params *params)
{
	struct child_sa *child = secrets_alloc(engine->secrets, sizeof(*child));

	if (!child)
		return NULL;
	child->sa = sa;
	child->state = CHILD_ACTIVE;
	child->spi_in = params->spi_in;
	child->spi_out = params->spi_out;
	child->is_initiator = params->is_initiator;
	child->is_transport = params->is_transport;
	child->no_tfc = params->no_tfc;
	child->encr = params->suite->encr;
	child->integ = ike_suite_integ(params->suite);
	child->has_esn = params->suite->esn && params->suite->esn->id == ESN_YES;
	child->group = ike_suite_group(params->suite);
	child->keys = *params->keys;
	child->pairs = copy_pairs(params->pairs);
	child->n_pairs = params->pairs->n;
	child->handle_in = engine_handle(engine);
	child->handle_out = engine_handle(engine);
	if (!child->pairs)
		goto fail;
	if (handle_map_insert(&engine->child_by_handle, 0, child->handle_in, child) < 0)
		goto fail;
	if (handle_map_insert(&engine->child_by_handle, 0, child->handle_out, child) < 0) {
		handle_map_remove(&engine->child_by_handle, 0, child->handle_in);
		goto fail;
	}
	set_lifetimes(engine, child);
	child->next = sa->children;
	sa->children = child;
	engine->stats.children_created++;
	return child;
fail:
	free(child->pairs);
	secrets_free(engine->secrets, child, sizeof(*child));
	return NULL;
}

static void log_loaded(const struct child_sa *child)
{
	const struct transform *dh = child->group ? transform_find(TRANSFORM_DH, child->group, 0)
						  : NULL;

	sa_log(child->sa, LOG_LVL_INFO,
		"ikev2_childsa_enable: loaded SPIs: 0x%08x, 0x%08x (enc %s%s%s%s%s%s)",
		child->spi_in, child->spi_out, child->encr->name, child->integ ? " auth " : "",
		child->integ ? child->integ->name : "", dh ? " group " : "", dh ? dh->name : "",
		child->has_esn ? " esn" : "");
}

void child_install(struct ike_engine *engine, struct child_sa *child, bool hold, bool no_flows)
{
	struct ike_sa *sa = child->sa;

	child->is_held = hold;
	if (engine->is_coupled) {
		if (!sa->has_path)
			espd_path_set(engine, sa);
		sa->has_path = true;
		/* RFC 7296 2.8: inbound first; the peer may send as soon as it knows. */
		child->in_command = espd_sa_add(engine, sa, child, IPC_DIR_IN, 0);
		espd_sa_add(engine, sa, child, IPC_DIR_OUT, hold ? IPC_SA_HOLD_OUT : 0);
		child->in_loaded = child->out_loaded = true;
		log_loaded(child);
	}
	if (!no_flows)
		flows_bind_child(engine, child);
	ike_event(engine, IKE_EVENT_CHILD_UP, sa->handle, "ESP 0x%08x 0x%08x", child->spi_in,
		child->spi_out);
}

static void unlink_child(struct child_sa *child)
{
	struct child_sa **at = &child->sa->children;

	while (*at && *at != child)
		at = &(*at)->next;
	if (*at)
		*at = child->next;
}

void child_free(struct ike_engine *engine, struct child_sa *child)
{
	unlink_child(child);
	handle_map_remove(&engine->child_by_handle, 0, child->handle_in);
	handle_map_remove(&engine->child_by_handle, 0, child->handle_out);
	free(child->pairs);
	secrets_free(engine->secrets, child, sizeof(*child));
}

void child_remove(struct ike_engine *engine, struct child_sa *child, const char *why)
{
	struct ike_sa *sa = child->sa;

	if (child->state != CHILD_LINGER) {
		engine->stats.children_removed++;
		sa_log(sa, LOG_LVL_INFO, "deleted 2 SPIs: 0x%08x, 0x%08x (%s)", child->spi_in,
			child->spi_out, why);
		ike_event(engine, IKE_EVENT_CHILD_DOWN, sa->handle, "ESP 0x%08x 0x%08x",
			child->spi_in, child->spi_out);
		if (child->out_loaded)
			espd_sa_delete(engine, child->handle_out);
		child->out_loaded = false;
		bool lingers = child->was_replaced && child->in_loaded;

		child->state = CHILD_LINGER;
		flows_unbind_child(engine, child);
		if (lingers) {
			child->rekey_at_ms = child->expire_at_ms = UINT64_MAX;
			child->remove_at_ms = engine->now_ms + OLD_INBOUND_MS;
			return;
		}
	}
	if (child->in_loaded)
		espd_sa_delete(engine, child->handle_in);
	child_free(engine, child);
}

void child_activate(struct ike_engine *engine, struct child_sa *child)
{
	if (!child->is_held || child->state != CHILD_ACTIVE)
		return;
	child->is_held = false;
	if (child->out_loaded)
		espd_sa_update(engine, child->handle_out, IPC_SA_SET_ACTIVE);
}

void child_mark_replaced(struct child_sa *child)
{
	if (child->state == CHILD_ACTIVE)
		child->state = CHILD_REKEYED;
	child->was_replaced = true;
	/* espd takes the newest bound SA that is usable: as long as the new one is held, this one
	 * goes on. */
	child->rekey_at_ms = UINT64_MAX;
}

void child_revive(struct ike_sa *sa, uint64_t successor)
{
	uint64_t now_ms = sa->engine->now_ms;

	for (struct child_sa *child = sa->children; child; child = child->next) {
		if (child->state != CHILD_REKEYED || child->replaced_by != successor)
			continue;
		child->state = CHILD_ACTIVE;
		child->was_replaced = false;
		child->replaced_by = 0;
		if (child->expire_at_ms != UINT64_MAX && child->expire_at_ms > now_ms)
			child->rekey_at_ms = now_ms + (child->expire_at_ms - now_ms) / 2;
	}
}

struct child_sa *child_by_handle(const struct ike_engine *engine, uint64_t handle)
{
	return handle_map_find(&engine->child_by_handle, 0, handle);
}

struct child_sa *child_by_spi_out(const struct ike_sa *sa, uint32_t spi_out)
{
	for (struct child_sa *child = sa->children; child; child = child->next)
		if (child->spi_out == spi_out && child->state != CHILD_LINGER)
			return child;
	return NULL;
}

struct child_sa *child_by_spi_in(const struct ike_sa *sa, uint32_t spi_in)
{
	for (struct child_sa *child = sa->children; child; child = child->next)
		if (child->spi_in == spi_in && child->state != CHILD_LINGER)
			return child;
	return NULL;
}

struct child_sa *child_covering(const struct ike_sa *sa, const struct ts_pair *pair)
{
	for (struct child_sa *child = sa->children; child; child = child->next)
		for (size_t i = 0; child->state == CHILD_ACTIVE && i < child->n_pairs; i++)
			if (narrow_pair_contains(&child->pairs[i], pair))
				return child;
	return NULL;
}

size_t child_count(const struct ike_sa *sa)
{
	size_t n = 0;

	for (const struct child_sa *child = sa->children; child; child = child->next)
		n += child->state != CHILD_LINGER;
	return n;
}

uint64_t child_deadline(const struct child_sa *child)
{
	uint64_t at = child->remove_at_ms;

	if (child->state == CHILD_ACTIVE && !child->is_rekeying && child->rekey_at_ms < at)
		at = child->rekey_at_ms;
	if (child->state != CHILD_LINGER && child->expire_at_ms < at)
		at = child->expire_at_ms;
	return at;
}

void child_timeout(struct ike_engine *engine, struct child_sa *child)
{
	struct ike_sa *sa = child->sa;
	uint64_t now_ms = engine->now_ms;

	if (child->remove_at_ms <= now_ms) {
		child_remove(engine, child, "replaced");
		return;
	}
	if (child->expire_at_ms <= now_ms) {
		child_expire(engine, child);
		return;
	}
	child->rekey_at_ms = UINT64_MAX;
	if (ike_sa_is_live(sa))
		child_want_rekey(engine, child);
}

bool child_is_known(const struct child_sa *child, uint64_t now_ms)
{
	/* A peer that has not asked again for so long has our answer, or is gone. */
	return !child->is_unconfirmed || now_ms - child->created_ms >= (uint64_t)RETRANSMIT_MS
									       << (RETRANSMITS + 1);
}

void child_confirm_all(struct ike_sa *sa)
{
	for (struct child_sa *child = sa->children; child; child = child->next)
		child->is_unconfirmed = false;
}

void child_want_rekey(struct ike_engine *engine, struct child_sa *child)
{
	(void)engine;
	if (child->state != CHILD_ACTIVE || child->is_rekeying)
		return;
	if (ike_task_add(child->sa, IKE_TASK_REKEY_CHILD, child->handle_in, NULL))
		child->is_rekeying = true;
}

void child_want_delete(struct ike_engine *engine, struct child_sa *child)
{
	(void)engine;
	if (child->state == CHILD_DELETING || child->state == CHILD_LINGER)
		return;
	if (!ike_sa_is_live(child->sa)) {
		child->wants_delete = true;
		return;
	}
	if (ike_task_add(child->sa, IKE_TASK_DELETE_CHILD, child->handle_in, NULL))
		child->state = CHILD_DELETING;
}

/* The hard limit: its keys must not be used any longer, whatever the peer says. */
void child_expire(struct ike_engine *engine, struct child_sa *child)
{
	child->expire_at_ms = UINT64_MAX;
	sa_log(child->sa, LOG_LVL_INFO, "hard lifetime of SPIs 0x%08x, 0x%08x reached",
		child->spi_in, child->spi_out);
	if (child->out_loaded)
		espd_sa_delete(engine, child->handle_out);
	child->out_loaded = false;
	if (child->in_loaded)
		espd_sa_delete(engine, child->handle_in);
	child->in_loaded = false;
	child_want_delete(engine, child);
}

void child_move_all(struct ike_engine *engine, struct ike_sa *from, struct ike_sa *to)
{
	(void)engine;
	struct child_sa **end = &to->children;

	while (*end)
		end = &(*end)->next;
	*end = from->children;
	from->children = NULL;
	for (struct child_sa *child = to->children; child; child = child->next)
		child->sa = to;
	ike_sa_move_tunnel(from, to);
	to->has_path = from->has_path;
	from->has_path = false;
}
