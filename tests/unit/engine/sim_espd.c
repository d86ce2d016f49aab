#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/engine/sim.h"

/* An espd that only keeps books. It is strict: what the engine may not do fails the test. */

struct sim_esp_sa *sim_espd_find(struct sim_espd *espd, uint64_t handle)
{
	for (size_t i = 0; i < SIM_SAS; i++)
		if (espd->sas[i].is_used && espd->sas[i].add.sa.handle == handle)
			return &espd->sas[i];
	return NULL;
}

static struct sim_flow *find_flow(struct sim_espd *espd, uint64_t handle)
{
	for (size_t i = 0; i < SIM_FLOWS; i++)
		if (espd->flows[i].is_used && espd->flows[i].flow.flow.handle == handle)
			return &espd->flows[i];
	return NULL;
}

static uint32_t sa_add(struct sim_node *node, const struct ipc_sa_add *add)
{
	struct sim_espd *espd = &node->espd;

	if (espd->fail_next_add) {
		uint32_t error = espd->fail_next_add;

		espd->fail_next_add = 0;
		return error;
	}
	if (add->flags & IPC_SA_RESTORE && espd->forgets)
		return IPC_E_REKEY;
	assert_true(add->spi >= 256);
	assert_true(add->n_selectors_total > 0);
	assert_true(espd->n_paths > 0);
	struct sim_esp_sa *there = sim_espd_find(espd, add->sa.handle);

	/* Pushed again to an espd that has gone on: only the connection was new. */
	if (there) {
		assert_true(add->flags & IPC_SA_RESTORE);
		there->is_old = false;
		return 0;
	}
	for (size_t i = 0; i < SIM_SAS; i++) {
		struct sim_esp_sa *sa = &espd->sas[i];

		if (sa->is_used)
			continue;
		memset(sa, 0, sizeof(*sa));
		sa->add = *add;
		sa->is_used = true;
		sa->is_held = add->flags & IPC_SA_HOLD_OUT;
		sa->added_at = ++espd->serial;
		for (uint16_t s = 0; s < add->n_selectors; s++)
			sa->selectors[sa->n_selectors++] = add->selectors[s];
		return 0;
	}
	fail_msg("%c: espd is full of SAs", node->name);
	return IPC_E_FULL;
}

static uint32_t sa_selectors(struct sim_espd *espd, const struct ipc_sa_selectors *s)
{
	struct sim_esp_sa *sa = sim_espd_find(espd, s->sa.handle);

	if (!sa)
		return IPC_E_NO_SUCH;
	if (sa->n_selectors == sa->add.n_selectors_total)
		return 0; /* it was there already */
	for (uint16_t i = 0; i < s->n_selectors; i++)
		sa->selectors[sa->n_selectors++] = s->selectors[i];
	assert_true(sa->n_selectors <= sa->add.n_selectors_total);
	return 0;
}

static uint32_t sa_update(struct sim_espd *espd, const struct ipc_sa_update *u)
{
	struct sim_esp_sa *sa = sim_espd_find(espd, u->sa.handle);

	for (size_t i = 0; i < espd->n_held; i++)
		if (espd->held[i].handle == u->sa.handle)
			return IPC_OK;
	if (!sa)
		return IPC_E_NO_SUCH;
	sa->is_old = false;
	if (u->what & IPC_SA_SET_ACTIVE)
		sa->is_held = false;
	if (u->what & IPC_SA_SET_DYING)
		sa->is_dying = true;
	return 0;
}

static uint32_t sa_delete(struct sim_espd *espd, const struct ipc_ref *ref)
{
	struct sim_esp_sa *sa = sim_espd_find(espd, ref->handle);

	for (size_t i = 0; i < espd->n_held; i++)
		if (espd->held[i].handle == ref->handle) {
			espd->held[i] = espd->held[--espd->n_held];
			return 0;
		}
	if (!sa)
		return IPC_E_NO_SUCH;
	memset(sa, 0, sizeof(*sa));
	for (size_t f = 0; f < SIM_FLOWS; f++) {
		struct sim_flow *flow = &espd->flows[f];

		for (size_t b = 0; b < flow->n_bound; b++)
			if (flow->bound[b] == ref->handle) {
				memmove(&flow->bound[b], &flow->bound[b + 1],
					(flow->n_bound - b - 1) * sizeof(flow->bound[0]));
				flow->n_bound--;
				b--;
			}
	}
	return 0;
}

static uint32_t flow_add(struct sim_node *node, const struct ipc_flow *f)
{
	struct sim_flow *flow = find_flow(&node->espd, f->flow.handle);

	for (size_t i = 0; !flow && i < SIM_FLOWS; i++)
		if (!node->espd.flows[i].is_used) {
			flow = &node->espd.flows[i];
			memset(flow, 0, sizeof(*flow));
		}
	assert_non_null(flow);
	flow->is_used = true;
	flow->is_old = false;
	flow->flow = *f;
	return 0;
}

static uint32_t flow_bind(struct sim_node *node, const struct ipc_flow_bind *b)
{
	struct sim_flow *flow = find_flow(&node->espd, b->flow.handle);
	struct sim_esp_sa *sa = sim_espd_find(&node->espd, b->sa.handle);

	if (!flow || !sa)
		return IPC_E_NO_SUCH;
	assert_int_equal(flow->flow.direction, IPC_DIR_OUT);
	assert_int_equal(sa->add.direction, IPC_DIR_OUT);
	for (size_t i = 0; i < flow->n_bound; i++)
		if (flow->bound[i] == b->sa.handle)
			return 0;
	assert_true(flow->n_bound < SIM_BOUND);
	flow->bound[flow->n_bound++] = b->sa.handle;
	return 0;
}

static uint32_t flow_delete(struct sim_node *node, const struct ipc_ref *ref)
{
	struct sim_flow *flow = find_flow(&node->espd, ref->handle);

	if (!flow)
		return IPC_E_NO_SUCH;
	memset(flow, 0, sizeof(*flow));
	return 0;
}

static void lease(struct sim_node *node, const struct ipc_spi_lease *l)
{
	struct ike_input in = {.type = IKE_IN_SPI_LEASE};

	in.event.spi_lease = (struct ipc_spi_lease){
		.first = node->espd.next_index, .count = l->count, .index_bits = 20};
	node->espd.next_index += l->count;
	sim_later(node, 1, &in);
}

static void route(struct sim_node *node, const struct ipc_route_query *q)
{
	struct ike_input in = {.type = IKE_IN_ROUTE};

	in.event.route = (struct ipc_route){.token = q->token, .src = node->addr, .mtu = 1500};
	sim_later(node, 1, &in);
}

static void query(struct sim_node *node, const struct ipc_ref *ref)
{
	const struct sim_esp_sa *sa = sim_espd_find(&node->espd, ref->handle);
	struct ike_input in = {.type = IKE_IN_SA_STATE};

	if (!sa)
		return;
	in.event.sa_state = (struct ipc_sa_state){.handle = ref->handle,
		.generation = 1,
		.why = IPC_SA_WHY_QUERY,
		.packets = sa->packets};
	sim_later(node, 1, &in);
}

static void held(struct sim_node *node)
{
	struct ike_input in = {.type = IKE_IN_HELD};

	for (size_t i = 0; i < node->espd.n_held; i++) {
		in.event.held = node->espd.held[i];
		sim_later(node, 1, &in);
	}
	for (size_t i = 0; i < SIM_SAS; i++) {
		const struct ipc_sa_add *add = &node->espd.sas[i].add;

		if (!node->espd.sas[i].is_used)
			continue;
		in.event.held = (struct ipc_held){.handle = add->sa.handle,
			.partner = add->partner,
			.ike = add->ike,
			.spi = add->spi,
			.generation = add->sa.generation,
			.direction = add->direction,
			.mode = add->mode,
			.tunnel_src = add->tunnel_src,
			.tunnel_dst = add->tunnel_dst};
		memcpy(in.event.held.srcid, add->srcid, sizeof(add->srcid));
		memcpy(in.event.held.dstid, add->dstid, sizeof(add->dstid));
		sim_later(node, 1, &in);
	}
	in.type = IKE_IN_HELD_FLOW;
	for (size_t i = 0; i < SIM_FLOWS; i++) {
		const struct sim_flow *flow = &node->espd.flows[i];

		if (!flow->is_used)
			continue;
		in.event.held_flow.flow = flow->flow;
		in.event.held_flow.sa = flow->n_bound ? flow->bound[flow->n_bound - 1] : 0;
		sim_later(node, 1, &in);
	}
	sim_later(node, 1, &(struct ike_input){.type = IKE_IN_HELD_END});
}

static void resync_end(struct sim_espd *espd)
{
	espd->is_ready = true;
	for (size_t i = 0; i < SIM_SAS; i++)
		if (espd->sas[i].is_used && espd->sas[i].is_old) {
			struct ipc_ref ref = espd->sas[i].add.sa;

			sa_delete(espd, &ref);
		}
	for (size_t i = 0; i < SIM_FLOWS; i++)
		if (espd->flows[i].is_used && espd->flows[i].is_old)
			memset(&espd->flows[i], 0, sizeof(espd->flows[i]));
}

static uint32_t apply(struct sim_node *node, const struct ike_command *c)
{
	switch (c->header.type) {
	case IPC_CMD_SA_ADD:
		return sa_add(node, &c->body.sa_add);
	case IPC_CMD_SA_SELECTORS:
		return sa_selectors(&node->espd, &c->body.sa_selectors);
	case IPC_CMD_SA_UPDATE:
		return sa_update(&node->espd, &c->body.sa_update);
	case IPC_CMD_SA_DELETE:
		return sa_delete(&node->espd, &c->body.ref);
	case IPC_CMD_SA_QUERY:
		query(node, &c->body.ref);
		return 0;
	case IPC_CMD_PATH_SET:
		node->espd.n_paths++;
		node->espd.last_path = c->body.path;
		return 0;
	case IPC_CMD_PATH_DELETE:
		assert_true(node->espd.n_paths > 0);
		return 0;
	case IPC_CMD_FLOW_ADD:
		return flow_add(node, &c->body.flow);
	case IPC_CMD_FLOW_DELETE:
		return flow_delete(node, &c->body.ref);
	case IPC_CMD_FLOW_BIND:
		return flow_bind(node, &c->body.flow_bind);
	case IPC_CMD_SPI_LEASE:
		lease(node, &c->body.spi_lease);
		return 0;
	case IPC_CMD_ROUTE_QUERY:
		route(node, &c->body.route_query);
		return 0;
	case IPC_CMD_HELD_QUERY:
		held(node);
		return 0;
	case IPC_CMD_RESYNC_BEGIN:
		for (size_t i = 0; i < SIM_FLOWS; i++)
			node->espd.flows[i].is_old = true;
		for (size_t i = 0; i < SIM_SAS; i++)
			node->espd.sas[i].is_old = true;
		return 0;
	case IPC_CMD_RESYNC_END:
		resync_end(&node->espd);
		return 0;
	default:
		return 0;
	}
}

void sim_espd_command(struct sim_node *node, const struct ike_command *c)
{
	struct sim *sim = node->sim;
	struct ike_input in = {.type = IKE_IN_ACK};
	uint64_t done_ms = sim->now_ms + sim_random(sim, sim->faults.command_jitter_ms + 1);

	assert_true(c->header.number > node->espd.last_number);
	node->espd.last_number = c->header.number;
	node->espd.n_commands++;
	/* Commands take effect in their order. */
	if (done_ms < node->espd.busy_until_ms)
		done_ms = node->espd.busy_until_ms;
	node->espd.busy_until_ms = done_ms;
	in.event.ack = (struct ipc_ack){
		.number = c->header.number, .error = apply(node, c), .type = c->header.type};
	sim_later(node, done_ms - sim->now_ms, &in);
}

void sim_espd_fini(struct sim_espd *espd)
{
	free(espd->sas);
	espd->sas = NULL;
}

void sim_espd_restart(struct sim_node *node, bool forgets)
{
	struct sim_espd *espd = &node->espd;

	memset(espd->sas, 0, SIM_SAS * sizeof(*espd->sas));
	memset(espd->flows, 0, sizeof(espd->flows));
	espd->n_paths = 0;
	espd->forgets = forgets;
	espd->is_ready = false;
	espd->busy_until_ms = 0;
}
