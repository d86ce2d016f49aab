#include <stdlib.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/policy_select.h"

/* Active policies: when an IKE SA is begun, and begun again. */
enum { NO_SPI_RETRY_MS = 500 };

struct policy_run *policy_run_find(struct ike_engine *engine, uint32_t number)
{
	/* Numbers count from 1 in the order of the file. */
	if (number && number <= engine->n_runs && engine->runs[number - 1].number == number)
		return &engine->runs[number - 1];
	for (size_t i = 0; i < engine->n_runs; i++)
		if (engine->runs[i].number == number)
			return &engine->runs[i];
	return NULL;
}

static void ask_route(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	sa->wait = IKE_WAIT_ROUTE;
	sa->wait_serial = sa->handle;
	sa->wait_deadline_ms = engine->now_ms + REQUEST_DEADLINE_MS;
	espd_route_query(engine, &sa->remote.addr, sa->handle);
}

void initiate_policy(struct ike_engine *engine, const struct ike_policy *policy,
	const struct ipc_selector *packet)
{
	if (!policy_peer_is_host(policy)) {
		log_warn(engine->p.log, "policy '%s': no single peer to initiate to", policy->name);
		return;
	}
	struct ike_sa *sa = ike_sa_create(engine, true);

	if (!sa)
		return;
	ike_sa_set_policy(sa, policy);
	sa->handshake = ike_handshake_create();
	if (!sa->handshake) {
		ike_sa_close(sa, "no memory");
		return;
	}
	if (packet) {
		sa->handshake->has_packet = true;
		sa->handshake->packet = (struct ts_pair){packet->src, packet->dst};
	}
	uint16_t port = engine->p.only_nat_t ? engine->p.nat_port : engine->p.port;
	const struct ip_prefix *local = &policy->local.prefix;

	sa->uses_marker = engine->p.only_nat_t;
	ike_sa_set_remote(sa, &(struct endpoint){policy->peer.prefix.addr, port});
	sa->local.port = port;
	log_info(engine->p.log, "ikev2_init_ike_sa: initiating \"%s\"", policy->name);
	if (!policy->local.is_any && local->addr.family &&
		local->len == addr_bits(local->addr.family)) {
		sa->local.addr = local->addr;
		sa_init_start(sa);
	} else {
		ask_route(sa);
	}
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

void route_input(struct ike_engine *engine, const struct ipc_route *route)
{
	struct ike_sa *sa = ike_sa_by_handle(engine, route->token);

	if (!sa || sa->wait != IKE_WAIT_ROUTE) {
		engine->stats.answers_ignored++;
		return;
	}
	sa->wait = IKE_WAIT_NONE;
	sa->wait_deadline_ms = UINT64_MAX;
	if (!route->src.family) {
		ike_sa_close(sa, "no route to peer");
		return;
	}
	sa->local.addr = route->src;
	sa_init_start(sa);
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

static void run_at(struct ike_engine *engine, struct policy_run *run, uint64_t at_ms)
{
	if (timer_set(&engine->timers, &run->timer, at_ms) < 0)
		engine->out->no_memory = true;
}

void initiate_due(struct ike_engine *engine, struct policy_run *run)
{
	const struct ike_policy *policy = policy_by_number(engine->config, run->number);

	if (!policy || !policy->is_active || !engine_may_initiate(engine) ||
		ike_sa_of_policy(engine, run->number) || session_has_policy(engine, policy))
		return;
	if (!engine->spis.n) {
		espd_lease_want(engine);
		run_at(engine, run, engine->now_ms + NO_SPI_RETRY_MS);
		return;
	}
	initiate_policy(engine, policy, NULL);
	/* Not even begun, for want of memory or of room: an SA that ends tries again by itself. */
	if (policy_peer_is_host(policy) && !ike_sa_of_policy(engine, run->number))
		run_at(engine, run, engine->now_ms + ACTIVE_RETRY_MS);
}

void initiate_all_active(struct ike_engine *engine, uint64_t delay_ms)
{
	for (size_t i = 0; i < engine->n_runs; i++) {
		const struct ike_policy *policy = policy_by_number(
			engine->config, engine->runs[i].number);

		if (policy && policy->is_active && policy_is_ours(engine, policy))
			run_at(engine, &engine->runs[i],
				engine->now_ms + delay_ms +
					(engine->n_runs > 10 ? engine_random_u32(engine) % 1000
							     : 0));
	}
}

void initiate_failed(struct ike_engine *engine, uint32_t policy_number, bool no_credential)
{
	struct policy_run *run = policy_run_find(engine, policy_number);

	if (!run || !no_credential)
		return;
	run->backoff_ms = run->backoff_ms ? run->backoff_ms * 2 : ACTIVE_RETRY_MS;
	if (run->backoff_ms > ACTIVE_RETRY_MAX_MS)
		run->backoff_ms = ACTIVE_RETRY_MAX_MS;
}

void initiate_succeeded(struct ike_engine *engine, uint32_t policy_number)
{
	struct policy_run *run = policy_run_find(engine, policy_number);

	if (run)
		run->backoff_ms = 0;
}

void initiate_after_close(struct ike_engine *engine, uint32_t policy_number, bool was_established)
{
	struct policy_run *run = policy_run_find(engine, policy_number);
	const struct ike_policy *policy = policy_by_number(engine->config, policy_number);

	if (!run || !policy || !policy->is_active || engine->is_stopping || run->timer.pos ||
		!policy_is_ours(engine, policy))
		return;
	uint64_t delay = was_established ? engine_jitter(engine, ACTIVE_FIRST_MS) : ACTIVE_RETRY_MS;

	if (run->backoff_ms > delay)
		delay = run->backoff_ms;
	run_at(engine, run, engine->now_ms + delay);
}

void acquire_for_sa(struct ike_sa *sa, const struct ts_pair *packet)
{
	struct ike_engine *engine = sa->engine;
	struct child_sa *child = child_covering(sa, packet);

	if (child) {
		flows_bind_child(engine, child);
		return;
	}
	if (ike_task_is_queued(sa, IKE_TASK_CREATE_CHILD, 0) ||
		sa->request.type == IKE_TASK_CREATE_CHILD ||
		child_count(sa) >= engine->p.limits.max_children_per_sa)
		return;
	struct ts_pairs *wanted = calloc(1, sizeof(*wanted)), *all = calloc(1, sizeof(*all));

	if (wanted && all) {
		narrow_policy_pairs(sa->policy, &sa->local.addr, &sa->remote.addr, all);
		if (narrow_covered(all, packet))
			wanted->pair[wanted->n++] = *packet;
		for (size_t i = 0; wanted->n && i < all->n && wanted->n < NARROW_PAIRS_MAX; i++)
			if (narrow_pair_contains(&all->pair[i], packet))
				wanted->pair[wanted->n++] = all->pair[i];
	}
	free(all);
	if (!wanted || !wanted->n) {
		free(wanted);
		return;
	}
	ike_task_add(sa, IKE_TASK_CREATE_CHILD, 0, wanted);
	ike_tasks_run(sa);
	ike_sa_update_timer(sa);
}

void acquire_input(struct ike_engine *engine, const struct ipc_acquire *acquire)
{
	const struct flow_pair *flow = flows_find(engine, acquire->flow);

	if (!flow)
		return;
	uint32_t number = flow->policy;
	const struct ike_policy *policy = policy_by_number(engine->config, number);
	struct ts_pair packet = {acquire->packet.src, acquire->packet.dst};
	struct ike_sa *sa = flow->tunnel ? ike_sa_by_tunnel(engine, flow->tunnel) : NULL;

	/* Of several peers, which one has the packet's destination is not known. */
	if (!sa && policy && policy_peer_is_host(policy))
		sa = ike_sa_of_policy(engine, number);
	if (sa) {
		if (ike_sa_is_live(sa))
			acquire_for_sa(sa, &packet);
		return;
	}
	const struct policy_run *run = policy_run_find(engine, number);

	if (policy && session_has_policy(engine, policy)) {
		session_acquire(engine, policy, &acquire->packet);
		return;
	}
	if (policy && policy->is_active && engine_may_initiate(engine) && engine->spis.n &&
		(!run || !run->backoff_ms))
		initiate_policy(engine, policy, &acquire->packet);
}
