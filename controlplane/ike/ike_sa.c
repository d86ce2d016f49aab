#include "controlplane/ike/ike_sa.h"

#include <stdlib.h>

#include "controlplane/ike/engine_private.h"
#include "shared/secret.h"
#include "shared/wipe.h"

const char *ike_sa_state_str(enum ike_sa_state state)
{
	static const char *const names[] = {"INIT", "COOKIE", "SA_INIT", "AUTH_REQUEST",
		"AUTH_SUCCESS", "VALID", "ESTABLISHED", "CLOSING", "CLOSED"};

	return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "UNKNOWN";
}

uint64_t ike_sa_our_spi(const struct ike_sa *sa)
{
	return sa->is_initiator ? sa->spi_i : sa->spi_r;
}

bool ike_sa_is_live(const struct ike_sa *sa)
{
	return sa->state == IKE_SA_ESTABLISHED && !sa->is_replaced;
}

uint64_t ike_spi_fresh(struct ike_engine *engine)
{
	for (;;) {
		uint64_t spi = 0;

		if (engine->p.ike_spi_make)
			spi = engine->p.ike_spi_make(engine->p.ike_spi_ctx);
		else
			engine_random(engine, &spi, sizeof(spi));
		if (spi && !ike_sa_by_spi(engine, spi))
			return spi;
	}
}

struct ike_sa *ike_sa_create(struct ike_engine *engine, bool is_initiator)
{
	return ike_sa_create_with(engine, is_initiator, ike_spi_fresh(engine));
}

struct ike_sa *ike_sa_create_with(struct ike_engine *engine, bool is_initiator, uint64_t spi)
{
	if (engine->n_sas >= engine->p.limits.max_ike_sas)
		return NULL;
	struct ike_sa *sa = secrets_alloc(engine->secrets, sizeof(*sa));

	if (!sa)
		return NULL;
	sa->engine = engine;
	sa->handle = engine_handle(engine);
	sa->generation = 1;
	sa->tunnel = sa->handle;
	sa->owns_tunnel = true;
	sa->is_initiator = is_initiator;
	*(is_initiator ? &sa->spi_i : &sa->spi_r) = spi;
	if (ike_sa_index(sa, spi) < 0) {
		secrets_free(engine->secrets, sa, sizeof(*sa));
		return NULL;
	}
	sa->timer.kind = TIMER_SA;
	sa->created_ms = sa->last_received_ms = engine->now_ms;
	sa->half_open_until_ms = sa->rekey_at_ms = sa->close_at_ms = sa->dpd_at_ms = UINT64_MAX;
	sa->wait_deadline_ms = UINT64_MAX;
	sa->next = engine->sas;
	if (sa->next)
		sa->next->prev = sa;
	engine->sas = sa;
	engine->n_sas++;
	engine->stats.sas_created++;
	return sa;
}

struct ike_handshake *ike_handshake_create(void)
{
	return calloc(1, sizeof(struct ike_handshake));
}

static void free_secret(uint8_t *data, size_t len)
{
	if (data)
		wipe(data, len);
	free(data);
}

void ike_handshake_destroy(struct ike_engine *engine, struct ike_handshake *hs)
{
	if (!hs)
		return;
	if (hs->is_counted) {
		engine->half_open_by_ip[hs->ip_bucket]--;
		engine->stats.half_open_current--;
	}
	if (hs->init_key)
		handle_map_remove(&engine->sa_by_init, 0, hs->init_key);
	if (hs->spi_in)
		espd_spi_release(engine, hs->spi_in);
	ike_dh_destroy(hs->dh);
	free(hs->our_init);
	free(hs->peer_init);
	free_secret(hs->peer_octets, hs->peer_octets_len);
	free_secret(hs->parked, hs->parked_len);
	free(hs->pairs);
	wipe(hs, sizeof(*hs));
	free(hs);
}

void ike_sa_set_state(struct ike_sa *sa, enum ike_sa_state state)
{
	char peer[ENDPOINT_STRLEN], local[ENDPOINT_STRLEN];

	if (sa->state == state)
		return;
	/* The FAQ shows this one; the others are for who debugs. */
	enum log_level level = state == IKE_SA_ESTABLISHED ? LOG_LVL_INFO : LOG_LVL_DEBUG;

	log_line(sa->engine->p.log, level, "sa_state: %s -> %s from %s to %s policy '%s'",
		ike_sa_state_str(sa->state), ike_sa_state_str(state),
		endpoint_str(&sa->remote, peer), endpoint_str(&sa->local, local),
		sa->policy ? sa->policy->name : "");
	ike_event(sa->engine, IKE_EVENT_SA_STATE, sa->handle, "%s -> %s peer %s policy '%s'",
		ike_sa_state_str(sa->state), ike_sa_state_str(state), peer,
		sa->policy ? sa->policy->name : "");
	sa->state = state;
}

void ike_sa_start_timers(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	uint32_t lifetime_s = sa->policy ? sa->policy->ike_lifetime_s : 0;

	sa->half_open_until_ms = UINT64_MAX;
	if (lifetime_s) {
		/* About 85 %, each side at another moment. */
		uint64_t spread = engine_random_u32(engine) % 101;

		sa->rekey_at_ms = engine->now_ms + (uint64_t)lifetime_s * (800 + spread);
	}
	if (engine->config && engine->config->dpd_interval_s)
		sa->dpd_at_ms = engine->now_ms + engine->config->dpd_interval_s * 1000ull;
}

void ike_sa_established(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	ike_handshake_destroy(engine, sa->handshake);
	sa->handshake = NULL;
	ike_sa_set_state(sa, IKE_SA_ESTABLISHED);
	sa->established_ms = engine->now_ms;
	ike_sa_index_peer_id(sa);
	engine->stats.sas_established_total++;
	engine->stats.sas_established_current++;
	ike_sa_start_timers(sa);
}

static void close_children(struct ike_sa *sa)
{
	while (sa->children) {
		struct child_sa *child = sa->children;

		child->was_replaced = false; /* no lingering without its IKE SA */
		child_remove(sa->engine, child, "IKE SA closed");
	}
}

static void unlink_sa(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	ike_sa_unindex(sa);
	timer_clear(&engine->timers, &sa->timer);
	if (sa->prev)
		sa->prev->next = sa->next;
	else
		engine->sas = sa->next;
	if (sa->next)
		sa->next->prev = sa->prev;
	engine->n_sas--;
}

void ike_sa_wind_down(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	close_children(sa);
	session_end(sa);
	if (sa->owns_tunnel)
		flows_drop_tunnel(engine, sa->tunnel);
	if (sa->has_path)
		espd_path_delete(engine, sa);
	ike_sa_move_tunnel(sa, NULL);
	sa->has_path = false;
	if (sa->policy && !sa->is_replaced && !sa->is_superseded)
		initiate_after_close(engine, sa->policy->number, sa->established_ms != 0);
	sa->is_superseded = true;
}

void ike_sa_close(struct ike_sa *sa, const char *reason)
{
	struct ike_engine *engine = sa->engine;

	if (sa->state == IKE_SA_CLOSED)
		return;
	sa->close_reason = reason;
	if (sa->established_ms) {
		engine->stats.sas_established_current--;
		engine->stats.sas_removed++;
		ike_checkpoint_forget(sa);
	} else {
		engine->stats.sas_failed++;
	}
	sa_log(sa, LOG_LVL_INFO, "sa_free: %s", reason);
	ike_sa_set_state(sa, IKE_SA_CLOSED);
	sa->wait = IKE_WAIT_NONE;
	ike_sa_wind_down(sa);
	ike_handshake_destroy(engine, sa->handshake);
	sa->handshake = NULL;
	unlink_sa(sa);
	sa->prev = NULL;
	sa->next = engine->grave;
	engine->grave = sa;
}

void ike_sa_delete(struct ike_sa *sa, const char *reason)
{
	if (sa->state == IKE_SA_CLOSING || sa->state == IKE_SA_CLOSED)
		return;
	if (sa->state < IKE_SA_ESTABLISHED) {
		ike_sa_close(sa, reason);
		return;
	}
	sa->close_reason = reason;
	ike_sa_wind_down(sa);
	ike_task_remove_all(sa);
	ike_sa_set_state(sa, IKE_SA_CLOSING);
	ike_task_add(sa, IKE_TASK_DELETE_IKE, 0, NULL);
	/* A peer that never answers the request before does not keep us. */
	sa->close_at_ms = sa->engine->now_ms + REKEYED_SA_MS;
	ike_tasks_run(sa);
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

void ike_sa_free(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	while (sa->children)
		child_free(engine, sa->children);
	ike_request_done(sa);
	ike_task_remove_all(sa);
	ike_datagrams_fini(&sa->response);
	ike_reassembly_destroy(&sa->reassembly);
	ike_handshake_destroy(engine, sa->handshake);
	ike_cipher_wipe(&sa->in);
	ike_cipher_wipe(&sa->out);
	secrets_free(engine->secrets, sa, sizeof(*sa));
}

void ike_sa_collect(struct ike_engine *engine)
{
	while (engine->grave) {
		struct ike_sa *sa = engine->grave;

		engine->grave = sa->next;
		ike_sa_free(sa);
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void ike_sa_update_timer(struct ike_sa *sa)
{
	if (sa->state == IKE_SA_CLOSED)
		return;
	uint64_t at = ike_tasks_deadline(sa);

	at = earlier(at, sa->half_open_until_ms);
	at = earlier(at, sa->close_at_ms);
	at = earlier(at, sa->wait_deadline_ms);
	if (sa->request.type != IKE_TASK_NONE)
		at = earlier(at, sa->request.deadline_ms);
	if (sa->response.n)
		at = earlier(at, sa->response_until_ms);
	if (ike_sa_is_live(sa)) {
		at = earlier(at, sa->rekey_at_ms);
		at = earlier(at, sa->dpd_at_ms);
	}
	for (const struct child_sa *child = sa->children; child; child = child->next)
		at = earlier(at, child_deadline(child));
	if (timer_set(&sa->engine->timers, &sa->timer, at) < 0)
		sa->engine->out->no_memory = true;
}

static void children_timeout(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	for (struct child_sa *child = sa->children, *next; child; child = next) {
		next = child->next;
		if (child_deadline(child) <= engine->now_ms)
			child_timeout(engine, child);
	}
}

void ike_sa_timeout(struct ike_sa *sa)
{
	uint64_t now_ms = sa->engine->now_ms;

	if (sa->half_open_until_ms <= now_ms) {
		ike_sa_close(sa, sa->close_reason   ? sa->close_reason
				 : sa->is_initiator ? "timeout"
						    : "SA_INIT timeout");
		return;
	}
	if (sa->close_at_ms <= now_ms) {
		ike_sa_close(sa, sa->is_replaced ? "SA rekeyed" : "timeout");
		return;
	}
	if (sa->wait_deadline_ms <= now_ms) {
		auth_wait_timeout(sa);
		if (sa->state == IKE_SA_CLOSED)
			return;
	}
	if (sa->response.n && sa->response_until_ms <= now_ms)
		ike_datagrams_fini(&sa->response);
	if (sa->request.type != IKE_TASK_NONE && sa->request.deadline_ms <= now_ms) {
		ike_request_timeout(sa);
		if (sa->state == IKE_SA_CLOSED)
			return;
	}
	children_timeout(sa);
	if (ike_sa_is_live(sa) && sa->rekey_at_ms <= now_ms) {
		sa->rekey_at_ms = UINT64_MAX;
		ike_task_add(sa, IKE_TASK_REKEY_IKE, 0, NULL);
	}
	if (ike_sa_is_live(sa) && sa->dpd_at_ms <= now_ms)
		dpd_timeout(sa);
	ike_tasks_run(sa);
	ike_sa_update_timer(sa);
}
