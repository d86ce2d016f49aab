#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/engine/sim.h"

/* Traffic over the installed SAs, and what must hold once all is quiet. */

/* design.md: the newest bound SA that is usable serves the flow. */
static struct sim_esp_sa *serving(struct sim_node *node, const struct sim_flow *flow)
{
	struct sim_esp_sa *best = NULL;

	for (size_t i = 0; i < flow->n_bound; i++) {
		struct sim_esp_sa *sa = sim_espd_find(&node->espd, flow->bound[i]);

		if (!sa || sa->is_held)
			continue;
		if (!best || best->is_dying > sa->is_dying ||
			(best->is_dying == sa->is_dying && sa->added_at > best->added_at))
			best = sa;
	}
	return best;
}

static struct sim_esp_sa *inbound_of(struct sim_node *node, uint32_t spi)
{
	for (size_t i = 0; i < SIM_SAS; i++) {
		struct sim_esp_sa *sa = &node->espd.sas[i];

		if (sa->is_used && sa->add.direction == IPC_DIR_IN && sa->add.spi == spi)
			return sa;
	}
	return NULL;
}

static bool same_keys(const struct sim_esp_sa *out, const struct sim_esp_sa *in)
{
	return out->add.encr_id == in->add.encr_id &&
	       out->add.encr_key_len == in->add.encr_key_len &&
	       out->add.integ_id == in->add.integ_id &&
	       (out->add.flags & IPC_SA_ESN) == (in->add.flags & IPC_SA_ESN) &&
	       out->add.mode == in->add.mode &&
	       memcmp(out->add.enc_key, in->add.enc_key, IPC_KEY_MAX) == 0 &&
	       memcmp(out->add.integ_key, in->add.integ_key, IPC_KEY_MAX) == 0;
}

static void receive(struct sim_node *node, struct sim_esp_sa *in)
{
	in->packets++;
	if (in->saw_first)
		return;
	in->saw_first = true;
	/* RFC 7296 2.8: the first packet moves a held partner. */
	struct sim_esp_sa *partner = sim_espd_find(&node->espd, in->add.partner);

	if (partner)
		partner->is_held = false;
	struct ike_input event = {.type = IKE_IN_SA_STATE};

	event.event.sa_state = (struct ipc_sa_state){
		.handle = in->add.sa.handle, .generation = 1, .why = IPC_SA_WHY_FIRST};
	sim_later(node, 1, &event);
}

/* No SA for a packet: espd reports it (and drops the packet). */
static void acquire_for(struct sim_node *node, const struct sim_flow *flow)
{
	const struct ip_addr *s = &flow->flow.src.addr, *d = &flow->flow.dst.addr;
	struct ike_input in = {.type = IKE_IN_ACQUIRE};

	in.event.acquire = (struct ipc_acquire){.flow = flow->flow.flow.handle,
		.policy = flow->flow.policy,
		.packet = {
			.src = {.range = {*s, *s}, .proto = 17, .port_lo = 4000, .port_hi = 4000},
			.dst = {.range = {*d, *d}, .proto = 17, .port_lo = 53, .port_hi = 53}}};
	sim_later(node, 1, &in);
}

void sim_traffic(struct sim *sim)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct sim_node *node = &sim->node[i];

		for (size_t f = 0; f < SIM_FLOWS; f++) {
			struct sim_flow *flow = &node->espd.flows[f];

			if (!flow->is_used || flow->flow.type != IPC_FLOW_REQUIRE)
				continue;
			struct sim_esp_sa *out = serving(node, flow);
			struct sim_esp_sa *in = out ? inbound_of(&sim->node[1 - i], out->add.spi)
						    : NULL;

			sim->packets_sent++;
			if (out)
				out->packets++;
			else
				acquire_for(node, flow);
			if (in && same_keys(out, in))
				receive(&sim->node[1 - i], in);
			else
				sim->packets_lost++;
		}
	}
}

void sim_soft_expire(struct sim_node *node)
{
	for (size_t i = 0; i < SIM_SAS; i++) {
		const struct sim_esp_sa *sa = &node->espd.sas[i];
		struct ike_input in = {.type = IKE_IN_SA_STATE};

		if (!sa->is_used || sa->add.direction != IPC_DIR_OUT || sa->is_dying)
			continue;
		in.event.sa_state = (struct ipc_sa_state){
			.handle = sa->add.sa.handle, .generation = 1, .why = IPC_SA_WHY_SOFT};
		sim_input(node, &in);
	}
}

void sim_acquire(struct sim_node *node, const char *src, const char *dst)
{
	struct ip_addr s, d;
	struct ike_input in = {.type = IKE_IN_ACQUIRE};

	assert_int_equal(addr_parse(src, &s), 0);
	assert_int_equal(addr_parse(dst, &d), 0);
	for (size_t f = 0; f < SIM_FLOWS; f++) {
		const struct sim_flow *flow = &node->espd.flows[f];

		if (!flow->is_used || flow->flow.direction != IPC_DIR_OUT ||
			!prefix_contains(&flow->flow.src, &s) ||
			!prefix_contains(&flow->flow.dst, &d))
			continue;
		in.event.acquire = (struct ipc_acquire){.flow = flow->flow.flow.handle,
			.policy = flow->flow.policy,
			.packet = {.src = {.range = {s, s},
					   .proto = 17,
					   .port_lo = 4000,
					   .port_hi = 4000},
				.dst = {.range = {d, d},
					.proto = 17,
					.port_lo = 53,
					.port_hi = 53}}};
		sim_input(node, &in);
		return;
	}
	fail_msg("no flow for the packet");
}

static void count_sa(void *ctx, const struct ike_sa_info *info)
{
	struct sim_counts *c = ctx;

	if (info->state != IKE_SA_ESTABLISHED)
		return;
	c->sas++;
	for (size_t i = 0; i < info->n_children; i++)
		c->children += !info->children[i].is_deleting;
}

struct sim_counts sim_count(struct sim_node *node)
{
	struct sim_counts c = {0};

	if (node->engine)
		ike_engine_foreach_sa(node->engine, count_sa, &c);
	for (size_t i = 0; i < SIM_SAS; i++) {
		const struct sim_esp_sa *sa = &node->espd.sas[i];

		c.esp_in += sa->is_used && sa->add.direction == IPC_DIR_IN;
		c.esp_out += sa->is_used && sa->add.direction == IPC_DIR_OUT;
	}
	for (size_t i = 0; i < SIM_FLOWS; i++)
		c.flows += node->espd.flows[i].is_used;
	return c;
}

/* Each outbound SA has its counterpart with the same keys; each flow that is bound is usable. */
static void check_node(struct sim *sim, int index)
{
	struct sim_node *node = &sim->node[index], *peer = &sim->node[1 - index];

	for (size_t i = 0; i < SIM_SAS; i++) {
		const struct sim_esp_sa *out = &node->espd.sas[i];

		if (!out->is_used || out->add.direction != IPC_DIR_OUT)
			continue;
		const struct sim_esp_sa *in = inbound_of(peer, out->add.spi);

		if (!in || !same_keys(out, in))
			fail_msg("%c: outbound SPI 0x%08x has no equal at the peer", node->name,
				out->add.spi);
		assert_int_equal(out->n_selectors, out->add.n_selectors_total);
		/* The path leads where the peer is, through its NAT. */
		assert_true(addr_equal(&out->add.tunnel_dst, &peer->outside));
	}
	for (size_t f = 0; f < SIM_FLOWS; f++) {
		const struct sim_flow *flow = &node->espd.flows[f];

		if (flow->is_used && flow->flow.type == IPC_FLOW_REQUIRE &&
			addr_equal(&flow->flow.peer, &peer->outside) && !serving(node, flow))
			fail_msg("%c: a flow without a usable SA", node->name);
	}
}

void sim_check_invariants(struct sim *sim)
{
	struct sim_counts a = sim_count(&sim->node[0]), b = sim_count(&sim->node[1]);

	assert_int_equal(a.sas, b.sas);
	assert_int_equal(a.children, b.children);
	/* Nothing is left over: one SA a direction for each child. */
	assert_int_equal(a.esp_out, a.children);
	assert_int_equal(b.esp_out, b.children);
	assert_int_equal(a.esp_in, a.children);
	assert_int_equal(b.esp_in, b.children);
	check_node(sim, 0);
	check_node(sim, 1);
}

void sim_check_tunnel(struct sim *sim, size_t n_sas, size_t n_children)
{
	struct sim_counts a = sim_count(&sim->node[0]);

	assert_int_equal(a.sas, n_sas);
	assert_int_equal(a.children, n_children);
	sim_check_invariants(sim);
}
