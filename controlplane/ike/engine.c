#include "controlplane/ike/engine.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/policy_select.h"
#include "shared/secret.h"
#include "shared/siphash.h"

enum { COOKIE_EPOCH_MS = 120 * 1000 };

static int rng_fn(void *ctx, uint8_t *out, size_t len)
{
	const struct ike_engine *engine = ctx;

	engine->p.random(engine->p.random_ctx, out, len);
	return 0;
}

static void default_limits(struct ike_limits *l)
{
#define DEFAULT(field, value) l->field = l->field ? l->field : (value)
	DEFAULT(max_half_open, 4096);
	DEFAULT(cookie_threshold, 256);
	DEFAULT(max_half_open_per_ip, 64);
	DEFAULT(max_ike_sas, 1000000);
	DEFAULT(max_children_per_sa, 64);
	DEFAULT(max_message_len, 65535);
	DEFAULT(stray_answers_per_s, 10);
	DEFAULT(restore_per_s, 100);
#undef DEFAULT
}

struct ike_engine *ike_engine_create(const struct ike_engine_params *params)
{
	struct ike_engine *engine = secret_pages_alloc(sizeof(*engine));

	if (!engine)
		return NULL;
	engine->p = *params;
	default_limits(&engine->p.limits);
	engine->p.port = params->port ? params->port : IKE_PORT;
	engine->p.nat_port = params->nat_port ? params->nat_port : IKE_PORT_NATT;
	engine->p.n_engines = params->n_engines ? params->n_engines : 1;
	engine->is_coupled = true;
	engine->is_passive = params->start_passive;
	engine->rng = (struct ike_random){rng_fn, engine};
	engine->msg = calloc(1, sizeof(*engine->msg));
	engine->plain = secret_pages_alloc(IKE_MESSAGE_MAX);
	engine->scratch = secret_pages_alloc(IKE_MESSAGE_MAX);
	engine->secrets = secrets_create();
	if (!engine->msg || !engine->secrets || !engine->plain || !engine->scratch) {
		ike_engine_destroy(engine);
		return NULL;
	}
	engine_random(engine, engine->hash_key, sizeof(engine->hash_key));
	/* Handles never repeat, not even those of an earlier run that espd may still hold, nor are
	 * those of two engines ever equal. */
	uint32_t epoch = (engine_random_u32(engine) & 0x07ffffff) | (engine->p.engine_number & 0xf)
									    << 27;

	engine->next_handle = ((uint64_t)epoch << 32) + 1;
	engine->next_serial = 1;
	engine->cookie_epoch = UINT64_MAX;
	engine->drop_log = (struct log_limit){.burst = 20, .interval_ms = 1000};
	return engine;
}

void ike_engine_destroy(struct ike_engine *engine)
{
	if (!engine)
		return;
	struct ike_actions none = {0};

	engine->out = &none;
	engine->is_attached = engine->is_transport_up = false;
	ike_sa_collect(engine);
	while (engine->sas) {
		struct ike_sa *sa = engine->sas;

		engine->sas = sa->next;
		ike_sa_free(sa);
	}
	flows_fini(engine);
	held_free(engine);
	sessions_fini(engine);
	ike_actions_fini(&none);
	handle_map_fini(&engine->sa_by_handle);
	handle_map_fini(&engine->sa_by_spi);
	handle_map_fini(&engine->sa_by_init);
	handle_map_fini(&engine->sa_by_tunnel);
	handle_map_fini(&engine->child_by_handle);
	multi_map_fini(&engine->sa_by_peer_id);
	multi_map_fini(&engine->sa_by_peer_addr);
	multi_map_fini(&engine->sa_by_policy);
	handle_map_fini(&engine->command_owner);
	timer_heap_fini(&engine->timers);
	policy_index_fini(&engine->policies);
	free(engine->runs);
	free(engine->msg);
	secret_pages_free(engine->plain, IKE_MESSAGE_MAX);
	secret_pages_free(engine->scratch, IKE_MESSAGE_MAX);
	secrets_destroy(engine->secrets);
	secret_pages_free(engine, sizeof(*engine));
}

uint64_t engine_handle(struct ike_engine *engine)
{
	return engine->next_handle++;
}

void engine_random(struct ike_engine *engine, void *out, size_t len)
{
	engine->p.random(engine->p.random_ctx, out, len);
}

uint32_t engine_random_u32(struct ike_engine *engine)
{
	uint32_t v = 0;

	engine_random(engine, &v, sizeof(v));
	return v;
}

uint64_t engine_jitter(struct ike_engine *engine, uint64_t ms)
{
	return ms + (ms ? engine_random_u32(engine) % ms : 0);
}

bool engine_may_initiate(const struct ike_engine *engine)
{
	return engine->is_transport_up && !engine->is_passive && !engine->is_stopping &&
	       engine->config && (!engine->config->is_passive || engine->is_forced_active) &&
	       engine->are_held_known;
}

uint64_t engine_hash(const struct ike_engine *engine, const void *data, size_t len)
{
	uint64_t h = siphash24(engine->hash_key, data, len);

	return h ? h : 1;
}

uint64_t engine_hash_addr(const struct ike_engine *engine, const struct ip_addr *addr)
{
	uint8_t text[1 + sizeof(addr->b)] = {addr->family};

	memcpy(text + 1, addr->b, addr->family == 4 ? 4 : sizeof(addr->b));
	return engine_hash(engine, text, sizeof(text));
}

/* The cookie keys follow from the shared key and the time, so that all engines agree. */
static void update_cookie_keys(struct ike_engine *engine)
{
	uint64_t epoch = engine->now_ms / COOKIE_EPOCH_MS;
	const struct transform *prf = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);

	if (epoch == engine->cookie_epoch)
		return;
	for (unsigned int back = 0; back < 2; back++) {
		uint64_t which = epoch - back;
		struct bytes part = {(const uint8_t *)&which, sizeof(which)};
		struct bytes key = {engine->p.cookie_key, sizeof(engine->p.cookie_key)};
		uint8_t *to = back ? engine->cookies.previous : engine->cookies.current;

		if (ike_prf(prf, key, &part, 1, to) < 0)
			return;
	}
	engine->cookies.version = (uint8_t)epoch;
	engine->cookies.has_previous = true;
	engine->cookie_epoch = epoch;
}

static void stop(struct ike_engine *engine)
{
	engine->is_stopping = true;
	for (struct ike_sa *sa = engine->sas, *next; sa; sa = next) {
		next = sa->next;
		ike_sa_delete(sa, "stopped");
		ike_request_hurry(sa);
	}
	held_delete_all(engine);
	flows_forget(engine);
}

static void events_input(struct ike_engine *engine, const struct ike_input *in)
{
	switch (in->type) {
	case IKE_IN_ACK:
		ack_input(engine, &in->event.ack);
		break;
	case IKE_IN_ACQUIRE:
		acquire_input(engine, &in->event.acquire);
		break;
	case IKE_IN_SA_STATE:
		sa_state_input(engine, &in->event.sa_state);
		break;
	case IKE_IN_NAT_CHANGE:
		nat_change_input(engine, &in->event.nat_change);
		break;
	case IKE_IN_SPI_LEASE:
		espd_lease_input(engine, &in->event.spi_lease);
		break;
	case IKE_IN_ROUTE:
		route_input(engine, &in->event.route);
		break;
	case IKE_IN_ADDR:
		addr_input(engine, &in->event.addr);
		break;
	case IKE_IN_HELD:
		held_input(engine, &in->event.held);
		break;
	case IKE_IN_HELD_FLOW:
		held_flow_input(engine, &in->event.held_flow);
		break;
	case IKE_IN_HELD_END:
		held_end(engine);
		break;
	case IKE_IN_FLUSHED:
		flushed_input(engine);
		break;
	case IKE_IN_PMTU:
		pmtu_input(engine, &in->event.pmtu);
		break;
	default: /* ROUTE_CHANGED, LINK: nothing depends on them yet */
		break;
	}
}

static void dispatch(struct ike_engine *engine, const struct ike_input *in)
{
	const struct ike_policy *policy;

	switch (in->type) {
	case IKE_IN_TICK:
		break;
	case IKE_IN_DATAGRAM:
		ike_datagram_input(engine, &in->datagram);
		break;
	case IKE_IN_CONFIG:
		reload_config(engine, &in->config);
		break;
	case IKE_IN_INITIATE:
		policy = policy_by_number(engine->config, in->policy_number);
		if (policy && engine->is_transport_up)
			initiate_policy(engine, policy, NULL);
		break;
	case IKE_IN_AUTH:
		auth_answer_input(engine, &in->auth);
		break;
	case IKE_IN_PUBKEY:
		pubkey_answer_input(engine, &in->pubkey);
		break;
	case IKE_IN_TRANSPORT_UP:
		transport_up(engine);
		break;
	case IKE_IN_TRANSPORT_DOWN:
		transport_down(engine);
		break;
	case IKE_IN_RESET:
		reset_input(engine, &in->reset);
		break;
	case IKE_IN_COUPLE:
		couple(engine);
		break;
	case IKE_IN_DECOUPLE:
		decouple(engine);
		break;
	case IKE_IN_ACTIVE:
		engine->is_passive = false;
		engine->is_forced_active = true;
		initiate_all_active(engine, 0);
		break;
	case IKE_IN_PASSIVE:
		engine->is_passive = true;
		break;
	case IKE_IN_CONFIG_COMMIT:
		flows_commit(engine);
		break;
	case IKE_IN_SESSION:
		session_input(engine, &in->session);
		break;
	case IKE_IN_SESSION_QUERY:
		sessions_tell(engine);
		break;
	case IKE_IN_SESSION_ACQUIRE:
		session_acquire_input(engine, &in->session_acquire);
		break;
	case IKE_IN_ENGINE_LOST:
		engine_lost(engine, in->engine_number);
		break;
	case IKE_IN_STOP:
		stop(engine);
		break;
	default:
		events_input(engine, in);
		break;
	}
}

static void fire_timers(struct ike_engine *engine)
{
	struct ike_timer *timer;

	/* While espd is away, time stands still for all exchanges. */
	while (engine->is_transport_up && (timer = timer_heap_first(&engine->timers)) != NULL &&
		timer->at_ms <= engine->now_ms) {
		timer_clear(&engine->timers, timer);
		if (timer->kind == TIMER_SA)
			ike_sa_timeout(
				(struct ike_sa *)((char *)timer - offsetof(struct ike_sa, timer)));
		else
			initiate_due(
				engine, (struct policy_run *)((char *)timer -
							      offsetof(struct policy_run, timer)));
	}
}

void ike_engine_step(struct ike_engine *engine, const struct ike_input *in, struct ike_actions *out)
{
	engine->out = out;
	if (in->now_ms > engine->now_ms)
		engine->now_ms = in->now_ms;
	engine->wall_s = in->wall_s;
	update_cookie_keys(engine);
	dispatch(engine, in);
	fire_timers(engine);
	ike_sa_collect(engine);
	engine->out = NULL;
}

uint64_t ike_engine_next_deadline(const struct ike_engine *engine)
{
	const struct ike_timer *timer = timer_heap_first(&engine->timers);

	return timer && engine->is_transport_up ? timer->at_ms : UINT64_MAX;
}

bool ike_engine_is_idle(const struct ike_engine *engine)
{
	for (const struct ike_sa *sa = engine->sas; sa; sa = sa->next) {
		/* One that the peer closed stays only to answer repeats: no reason to wait. */
		bool is_over = engine->is_stopping && sa->state == IKE_SA_CLOSING &&
			       sa->request.type == IKE_TASK_NONE;

		if (!is_over)
			return false;
	}
	return true;
}
