#include "controlplane/ike/sessions.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/policy_select.h"
#include "shared/siphash.h"

/* An IKE SA of another engine. */
struct other_session {
	struct multi_link by_addr, by_policy;
	uint64_t sa;
	uint32_t engine;
	struct ip_addr remote;
};

static bool is_alone(const struct ike_engine *engine)
{
	return engine->p.n_engines <= 1;
}

/* ---- policies ----------------------------------------------------------------------------- */

/*
 * The administrator's words are hashed, nobody else's, and all engines must agree, those of the
 * next run too: the key is a constant.
 */
static const uint8_t policy_hash_key[16] = "Penstock policy";

static void write_host(struct writer *w, const struct ike_host *host)
{
	write_u8(w, host->is_any ? 0 : host->prefix.addr.family);
	if (host->is_any)
		return;
	write_u8(w, host->prefix.len);
	write_bytes(w, host->prefix.addr.b, addr_len(host->prefix.addr.family));
}

static void write_id(struct writer *w, bool is_there, const struct ike_id *id)
{
	write_u8(w, is_there ? id->type : 0);
	write_u16(w, is_there ? id->len : 0);
	if (is_there)
		write_bytes(w, id->data, id->len);
}

static uint64_t hash_written(const uint8_t *text, const struct writer *w)
{
	uint64_t h = siphash24(policy_hash_key, text, w->len);

	return h ? h : 1;
}

uint64_t policy_key(const struct ike_policy *policy)
{
	uint8_t text[2 * IKE_ID_MAXLEN + 256];
	struct writer w = writer_init(text, sizeof(text));
	size_t len = strlen(policy->name);

	write_bytes(&w, policy->name, len < 128 ? len : 128);
	write_u8(&w, 0);
	write_host(&w, &policy->peer);
	write_host(&w, &policy->local);
	write_id(&w, policy->has_srcid, &policy->srcid);
	write_id(&w, policy->has_dstid, &policy->dstid);
	return hash_written(text, &w);
}

uint32_t policy_home(const struct ike_engine *engine, const struct ike_policy *policy)
{
	uint8_t text[IKE_ID_MAXLEN + 256];
	struct writer w = writer_init(text, sizeof(text));

	if (is_alone(engine))
		return 0;
	write_host(&w, &policy->peer);
	/* Many peers under one prefix are spread: nobody initiates to them. */
	if (!policy_peer_is_host(policy)) {
		write_id(&w, policy->has_dstid, &policy->dstid);
		if (policy->n_flows > 0)
			write_bytes(&w, policy->flows[0].dst.prefix.addr.b, 16);
	}
	return (uint32_t)(hash_written(text, &w) % engine->p.n_engines);
}

bool policy_is_ours(const struct ike_engine *engine, const struct ike_policy *policy)
{
	return policy_home(engine, policy) == engine->p.engine_number;
}

static const struct ike_policy *policy_of_key(const struct ike_engine *engine, uint64_t key)
{
	const struct policy_run *run = key ? handle_map_find(&engine->sessions.runs, 0, key) : NULL;

	return run ? policy_by_number(engine->config, run->number) : NULL;
}

/* ---- ours --------------------------------------------------------------------------------- */

static void tell(struct ike_sa *sa, bool is_up, bool replaces)
{
	struct ike_action *action = ike_action_add(sa->engine->out, IKE_ACT_SESSION);

	if (!action)
		return;
	action->session = (struct ike_session){.engine = sa->engine->p.engine_number,
		.sa = sa->tunnel,
		.since_ms = sa->session_ms,
		.policy = sa->session_policy,
		.is_up = is_up,
		.replaces = replaces,
		.is_superseded = sa->is_superseded,
		.remote = sa->remote.addr,
		.peer = sa->peer_id};
}

void session_begin(struct ike_sa *sa, bool replaces)
{
	if (is_alone(sa->engine))
		return;
	sa->session_ms = sa->engine->now_ms;
	sa->session_policy = sa->policy ? policy_key(sa->policy) : 0;
	tell(sa, true, replaces);
}

void session_changed(struct ike_sa *sa)
{
	if (!sa->session_ms || !sa->engine->out)
		return;
	sa->session_policy = sa->policy ? policy_key(sa->policy) : 0;
	tell(sa, true, false);
}

void session_end(struct ike_sa *sa)
{
	if (!sa->session_ms)
		return;
	tell(sa, false, false);
	sa->session_ms = 0;
}

void sessions_tell(struct ike_engine *engine)
{
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next)
		if (sa->session_ms)
			tell(sa, true, false);
}

void sessions_reload(struct ike_engine *engine)
{
	handle_map_fini(&engine->sessions.runs);
	if (is_alone(engine))
		return;
	for (size_t i = 0; i < engine->n_runs; i++) {
		struct policy_run *run = &engine->runs[i];
		uint64_t key = policy_key(policy_by_number(engine->config, run->number));

		if (!handle_map_find(&engine->sessions.runs, 0, key) &&
			handle_map_insert(&engine->sessions.runs, 0, key, run) < 0)
			engine->out->no_memory = true;
	}
	for (struct ike_sa *sa = engine->sas; sa; sa = sa->next)
		if (sa->session_ms && sa->policy && policy_key(sa->policy) != sa->session_policy)
			session_changed(sa);
}

/* ---- others' ------------------------------------------------------------------------------ */

static void other_unindex(struct ike_engine *engine, struct other_session *o)
{
	multi_map_remove(&engine->sessions.by_addr, &o->by_addr);
	multi_map_remove(&engine->sessions.by_policy, &o->by_policy);
}

static int other_index(struct ike_engine *engine, struct other_session *o, uint64_t policy)
{
	if (multi_map_add(&engine->sessions.by_addr, engine_hash_addr(engine, &o->remote),
		    &o->by_addr) < 0)
		return -1;
	return policy ? multi_map_add(&engine->sessions.by_policy, policy, &o->by_policy) : 0;
}

static void other_set(struct ike_engine *engine, const struct ike_session *s)
{
	struct handle_map *map = &engine->sessions.by_handle;
	struct other_session *o = handle_map_find(map, s->engine, s->sa);

	if (o) {
		other_unindex(engine, o);
	} else {
		/* One that says it has more than any may have is not believed. */
		if (!s->sa || handle_map_count(map) >=
				      (size_t)engine->p.limits.max_ike_sas * engine->p.n_engines)
			return;
		o = calloc(1, sizeof(*o));
		if (!o || handle_map_insert(map, s->engine, s->sa, o) < 0) {
			engine->out->no_memory = true;
			free(o);
			return;
		}
		o->sa = s->sa;
		o->engine = s->engine;
	}
	o->remote = s->remote;
	if (other_index(engine, o, s->policy) < 0)
		engine->out->no_memory = true;
}

static void other_free(struct ike_engine *engine, struct other_session *o)
{
	other_unindex(engine, o);
	handle_map_remove(&engine->sessions.by_handle, o->engine, o->sa);
	free(o);
}

/* Nobody serves the policy any more: its home sees to it. */
static void policy_is_free(struct ike_engine *engine, uint64_t key)
{
	const struct ike_policy *policy = policy_of_key(engine, key);

	if (policy && policy_is_ours(engine, policy) &&
		!multi_map_first(&engine->sessions.by_policy, key))
		initiate_after_close(engine, policy->number, true);
}

/* RFC 7296 2.4, and `set enforcesingleikesa`: as if the new SA were one of ours. */
static void replace_ours(struct ike_engine *engine, const struct ike_session *s)
{
	struct multi_link *at = ike_sa_first_of_peer(engine, &s->peer), *next;

	for (; at; at = next) {
		struct ike_sa *sa = multi_object(at, struct ike_sa, by_peer_id);
		bool is_older = sa->session_ms < s->since_ms ||
				(sa->session_ms == s->since_ms &&
					engine->p.engine_number < s->engine);

		next = multi_map_next(&engine->sa_by_peer_id, at);
		if (!ike_id_equal(&sa->peer_id, &s->peer) || !is_older)
			continue;
		sa->is_superseded = true;
		ike_sa_close(sa, "sa replaced");
	}
}

void session_input(struct ike_engine *engine, const struct ike_session *s)
{
	struct other_session *o;
	char id[IKE_ID_STRLEN];

	if (s->engine >= engine->p.n_engines || s->engine == engine->p.engine_number ||
		s->peer.len > sizeof(s->peer.data) || addr_len(s->remote.family) == 0)
		return;
	if (s->is_up) {
		other_set(engine, s);
		if (s->replaces)
			replace_ours(engine, s);
		/* What an engine before us left, this peer does not need any more, unless it
		 * had both at that time. */
		if (s->since_ms >= engine->p.since_ms)
			held_delete_identity(engine, ike_id_str(&s->peer, id));
		return;
	}
	o = handle_map_find(&engine->sessions.by_handle, s->engine, s->sa);
	if (!o)
		return;
	uint64_t policy = o->by_policy.next ? o->by_policy.key : 0;

	other_free(engine, o);
	if (!s->is_superseded)
		policy_is_free(engine, policy);
}

void engine_lost(struct ike_engine *engine, uint32_t number)
{
	struct other_session *o;
	size_t cursor = 0;

	while ((o = handle_map_next(&engine->sessions.by_handle, &cursor)) != NULL) {
		uint64_t policy = o->by_policy.next ? o->by_policy.key : 0;

		if (o->engine != number)
			continue;
		other_free(engine, o);
		policy_is_free(engine, policy);
	}
}

bool session_has_peer(const struct ike_engine *engine, const struct ip_addr *peer)
{
	const struct multi_map *map = &engine->sessions.by_addr;
	struct multi_link *at = multi_map_first(map, engine_hash_addr(engine, peer));

	for (; at; at = multi_map_next(map, at))
		if (addr_equal(&multi_object(at, struct other_session, by_addr)->remote, peer))
			return true;
	return false;
}

static struct other_session *other_of_policy(
	const struct ike_engine *engine, const struct ike_policy *policy)
{
	if (is_alone(engine))
		return NULL;
	return multi_object(multi_map_last(&engine->sessions.by_policy, policy_key(policy)),
		struct other_session, by_policy);
}

bool session_has_policy(const struct ike_engine *engine, const struct ike_policy *policy)
{
	return other_of_policy(engine, policy) != NULL;
}

void session_acquire(struct ike_engine *engine, const struct ike_policy *policy,
	const struct ipc_selector *packet)
{
	const struct other_session *o = other_of_policy(engine, policy);
	struct ike_action *action = o ? ike_action_add(engine->out, IKE_ACT_SESSION_ACQUIRE) : NULL;

	if (action)
		action->session_acquire = (struct ike_session_acquire){
			.engine = o->engine, .sa = o->sa, .packet = *packet};
}

void session_acquire_input(struct ike_engine *engine, const struct ike_session_acquire *acquire)
{
	struct ike_sa *sa = ike_sa_by_tunnel(engine, acquire->sa);
	struct ts_pair packet = {acquire->packet.src, acquire->packet.dst};

	if (sa && ike_sa_is_live(sa))
		acquire_for_sa(sa, &packet);
}

void sessions_fini(struct ike_engine *engine)
{
	struct session_table *t = &engine->sessions;
	struct other_session *o;
	size_t cursor = 0;

	while ((o = handle_map_next(&t->by_handle, &cursor)) != NULL)
		free(o);
	handle_map_fini(&t->by_handle);
	handle_map_fini(&t->runs);
	multi_map_fini(&t->by_addr);
	multi_map_fini(&t->by_policy);
}
