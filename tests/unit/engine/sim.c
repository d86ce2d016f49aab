#include "tests/unit/engine/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "controlplane/conf/iked_conf.h"

enum sim_event_kind { SIM_INPUT, SIM_DATAGRAM };

struct sim_event {
	struct sim_event *next;
	uint64_t at_ms;
	struct sim_node *node;
	struct ike_input in;
	uint8_t *owned;
};

/* ---- chance ----------------------------------------------------------------------------- */

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t sim_random(struct sim *sim, uint64_t below)
{
	return below ? splitmix(&sim->rng) % below : 0;
}

static void node_random(void *ctx, void *out, size_t len)
{
	struct sim_node *node = ctx;
	uint8_t *at = out;

	while (len) {
		uint64_t v = splitmix(&node->rng);
		size_t n = len < sizeof(v) ? len : sizeof(v);

		memcpy(at, &v, n);
		at += n;
		len -= n;
	}
}

/* ---- log -------------------------------------------------------------------------------- */

static void log_sink(void *ctx, enum log_level level, const char *line)
{
	struct sim_node *node = ctx;
	struct sim *sim = node->sim;
	size_t need = strlen(line) + 5;

	(void)level;
	if (getenv("SIM_LOG"))
		fprintf(stderr, "%9llu %c: %s\n", (unsigned long long)sim->now_ms, node->name,
			line);
	if (sim->log_len + need > sim->log_cap) {
		sim->log_cap = (sim->log_cap + need) * 2;
		sim->log = realloc(sim->log, sim->log_cap);
		assert_non_null(sim->log);
	}
	sim->log_len += (size_t)snprintf(
		sim->log + sim->log_len, sim->log_cap - sim->log_len, "%c: %s\n", node->name, line);
}

bool sim_logged(const struct sim *sim, const char *text)
{
	return sim->log && strstr(sim->log, text);
}

/* ---- events ----------------------------------------------------------------------------- */

static void push(struct sim *sim, struct sim_event *e)
{
	struct sim_event **at = &sim->events;

	/* Equal times stay in the order of their making. */
	while (*at && (*at)->at_ms <= e->at_ms)
		at = &(*at)->next;
	e->next = *at;
	*at = e;
}

static const void *own(struct sim_event *e, const void *data, size_t len)
{
	e->owned = malloc(len ? len : 1);
	assert_non_null(e->owned);
	if (len)
		memcpy(e->owned, data, len);
	return e->owned;
}

void sim_later(struct sim_node *node, uint64_t delay_ms, const struct ike_input *in)
{
	struct sim_event *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->at_ms = node->sim->now_ms + delay_ms;
	e->node = node;
	e->in = *in;
	if (in->type == IKE_IN_AUTH)
		e->in.auth.data = own(e, in->auth.data, in->auth.len);
	else if (in->type == IKE_IN_PUBKEY)
		e->in.pubkey.spki = own(e, in->pubkey.spki, in->pubkey.spki_len);
	else if (in->type == IKE_IN_DATAGRAM)
		e->in.datagram.data = own(e, in->datagram.data, in->datagram.len);
	push(node->sim, e);
}

/* ---- the network ------------------------------------------------------------------------ */

static bool is_natted(const struct sim_node *node)
{
	return !addr_equal(&node->addr, &node->outside);
}

static struct endpoint source_of(struct sim_node *node, const struct ike_send *send)
{
	struct endpoint from = {node->outside, send->local.port};
	unsigned int which = send->local.port == 4500;

	if (!is_natted(node))
		return from;
	if (!node->nat_ports[which])
		node->nat_ports[which] = (uint16_t)(20000 + sim_random(node->sim, 20000) * 2 +
						    which);
	from.port = node->nat_ports[which];
	return from;
}

static struct sim_node *destination_of(
	struct sim *sim, const struct endpoint *to, struct endpoint *local)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct sim_node *node = &sim->node[i];

		if (!addr_equal(&node->outside, &to->addr))
			continue;
		*local = (struct endpoint){node->addr, to->port};
		if (!is_natted(node))
			return node;
		for (unsigned int which = 0; which < 2; which++)
			if (node->nat_ports[which] == to->port) {
				local->port = which ? 4500 : 500;
				return node;
			}
	}
	return NULL;
}

static void send_datagram(struct sim_node *from, const struct ike_send *send)
{
	struct sim *sim = from->sim;
	const struct sim_faults *f = &sim->faults;
	struct ike_input in = {.type = IKE_IN_DATAGRAM};

	assert_true(send->len >= 28);
	assert_int_equal(send->marker, send->local.port == 4500);
	from->n_sent++;
	from->n_sent_bytes += send->len;
	in.datagram.remote = source_of(from, send);
	in.datagram.data = send->data;
	in.datagram.len = send->len;
	in.datagram.has_marker = send->marker;
	struct sim_node *to = destination_of(sim, &send->remote, &in.datagram.local);

	if ((sim->filter && !sim->filter(sim, from->index, send)) || !to || to->is_down ||
		sim_random(sim, 100) < f->loss) {
		sim->n_lost++;
		return;
	}
	/* It leaves when the command took effect that it waits for. */
	uint64_t wait = send->after_command && from->espd.busy_until_ms > sim->now_ms
				? from->espd.busy_until_ms - sim->now_ms
				: 0;
	unsigned int copies = sim_random(sim, 100) < f->twice ? 2 : 1;

	while (copies--)
		sim_later(to, wait + 1 + f->delay_ms + sim_random(sim, f->jitter_ms + 1), &in);
}

void sim_datagram(struct sim_node *node, const struct endpoint *from, uint16_t to_port, bool marker,
	const void *data, size_t len)
{
	struct ike_input in = {.type = IKE_IN_DATAGRAM};

	in.datagram = (struct ike_datagram){.local = {node->addr, to_port},
		.remote = *from,
		.has_marker = marker,
		.data = data,
		.len = len};
	sim_input(node, &in);
}

/* ---- actions ---------------------------------------------------------------------------- */

static void carry_out(struct sim_node *node, const struct ike_action *action)
{
	switch (action->type) {
	case IKE_ACT_SEND:
		send_datagram(node, &action->send);
		break;
	case IKE_ACT_COMMAND:
		sim_espd_command(node, &action->command);
		break;
	case IKE_ACT_AUTH_REQUEST:
		sim_key_auth(node, &action->auth);
		break;
	case IKE_ACT_PUBKEY_REQUEST:
		sim_key_pubkey(node, &action->pubkey);
		break;
	case IKE_ACT_CHECKPOINT:
		assert_true(action->checkpoint.len <= IKE_CHECKPOINT_MAX);
		node->n_checkpoints++;
		break;
	case IKE_ACT_EVENT:
		break;
	case IKE_ACT_SESSION:
		assert_true(node->n_engines > 1);
		node->session = action->session;
		node->n_sessions++;
		break;
	case IKE_ACT_SESSION_QUERY:
		assert_true(node->n_engines > 1);
		node->n_session_queries++;
		break;
	case IKE_ACT_SESSION_ACQUIRE:
		node->session_acquire = action->session_acquire;
		node->n_session_acquires++;
		break;
	}
}

/* What was on its way to the node when its process ended is lost, and espd is emptied. */
static void engine_replace(struct sim_node *node)
{
	struct sim_event **at = &node->sim->events;

	while (*at) {
		struct sim_event *e = *at;

		if (e->node != node) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		free(e->owned);
		free(e);
	}
	ike_engine_destroy(node->engine);
	node->engine = NULL;
	node->rng += 12345;
	node->n_restarts++;
	sim_espd_restart(node, false);
	sim_start_node(node);
}

void sim_input(struct sim_node *node, const struct ike_input *in)
{
	struct ike_input timed = *in;

	if (!node->engine)
		return;
	timed.now_ms = node->sim->now_ms;
	timed.wall_s = 1700000000 + node->sim->now_ms / 1000;
	ike_engine_step(node->engine, &timed, &node->actions);
	assert_true(!node->actions.no_memory || node->may_restart);
	if (node->actions.no_memory) {
		ike_actions_reset(&node->actions);
		engine_replace(node);
		return;
	}
	for (size_t i = 0; i < node->actions.n; i++)
		carry_out(node, node->actions.list[i]);
	ike_actions_reset(&node->actions);
}

void sim_simple(struct sim_node *node, enum ike_input_type type)
{
	sim_input(node, &(struct ike_input){.type = type});
}

void sim_run(struct sim *sim, uint64_t ms)
{
	uint64_t end = sim->now_ms + ms;

	for (;;) {
		uint64_t at = sim->events ? sim->events->at_ms : UINT64_MAX;
		struct sim_node *timer = NULL;

		for (int i = 0; i < SIM_NODES; i++) {
			struct sim_node *node = &sim->node[i];
			uint64_t due = node->engine ? ike_engine_next_deadline(node->engine)
						    : UINT64_MAX;

			if (due < at) {
				at = due;
				timer = node;
			}
		}
		if (at > end)
			break;
		if (at > sim->now_ms)
			sim->now_ms = at;
		if (timer) {
			sim_simple(timer, IKE_IN_TICK);
			continue;
		}
		struct sim_event *e = sim->events;

		sim->events = e->next;
		sim->n_delivered++;
		sim_input(e->node, &e->in);
		free(e->owned);
		free(e);
	}
	sim->now_ms = end;
}

/* ---- making ----------------------------------------------------------------------------- */

struct ike_config *sim_config_parse(const char *text)
{
	struct conf_options o = {.text = text, .text_len = strlen(text)};
	struct ike_config *config = NULL;
	struct conf_diags d;

	conf_diags_init(&d);
	if (iked_conf_parse("test.conf", &o, &config, &d) < 0)
		conf_diags_print(&d, stderr);
	conf_diags_fini(&d);
	assert_non_null(config);
	return config;
}

struct ike_stats sim_stats(struct sim *sim, int node)
{
	struct ike_stats s;

	ike_engine_stats(sim->node[node].engine, &s);
	return s;
}

static struct ip_addr addr_of(const char *text)
{
	struct ip_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

struct sim *sim_create(uint64_t seed, const char *conf_a, const char *conf_b)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	const char *const addrs[] = {"192.0.2.1", "198.51.100.1"};
	const char *const confs[] = {conf_a, conf_b};

	assert_non_null(sim);
	sim->rng = seed * 2654435761u + 1;
	sim->now_ms = 1000;
	for (int i = 0; i < SIM_NODES; i++) {
		struct sim_node *node = &sim->node[i];

		node->sim = sim;
		node->index = i;
		node->name = "ab"[i];
		node->rng = seed ^ (0xabcdefull << (8 * i));
		node->addr = node->outside = addr_of(addrs[i]);
		node->config = sim_config_parse(confs[i]);
		node->key = EVP_EC_gen("P-256");
		node->psk = "mekmitasdigoat";
		node->espd.sas = calloc(SIM_SAS, sizeof(*node->espd.sas));
		node->espd.next_index = (uint32_t)(i + 1) * 4096;
		assert_non_null(node->espd.sas);
	}
	return sim;
}

void sim_use_rsa(struct sim *sim)
{
	for (int i = 0; i < SIM_NODES; i++) {
		EVP_PKEY_free(sim->node[i].key);
		sim->node[i].key = EVP_RSA_gen(2048);
		assert_non_null(sim->node[i].key);
	}
}

void sim_use_v6(struct sim *sim)
{
	sim->node[0].addr = sim->node[0].outside = addr_of("2001:db8::1");
	sim->node[1].addr = sim->node[1].outside = addr_of("2001:db8::2");
}

void sim_nat_b(struct sim *sim)
{
	sim->node[1].addr = addr_of("10.9.0.2");
}

void sim_start_node(struct sim_node *node)
{
	static const char *const names[] = {"server1.domain", "server2.domain"};
	struct ike_engine_params params = {
		.random = node_random, .random_ctx = node, .only_nat_t = node->only_nat_t};

	node->log = (struct logger){
		.level = LOG_LVL_DEBUG, .sink = log_sink, .sink_ctx = node, .ident = "sim"};
	params.log = &node->log;
	params.engine_number = node->engine_number;
	params.n_engines = node->n_engines;
	params.since_ms = node->since_ms;
	assert_int_equal(ike_id_parse(names[node->index], &params.local_id), 0);
	node->engine = ike_engine_create(&params);
	assert_non_null(node->engine);
	node->espd.last_number = 0;
	struct ike_input in = {.type = IKE_IN_CONFIG,
		.config = {.config = node->config, .version = ++node->config_version}};

	sim_input(node, &in);
	sim_simple(node, IKE_IN_TRANSPORT_UP);
}

void sim_start(struct sim *sim)
{
	for (int i = 0; i < SIM_NODES; i++)
		sim_start_node(&sim->node[i]);
}

void sim_reload(struct sim_node *node, const char *conf)
{
	struct ike_config *old = node->config;

	node->config = sim_config_parse(conf);
	struct ike_input in = {.type = IKE_IN_CONFIG,
		.config = {.config = node->config, .version = ++node->config_version}};

	sim_input(node, &in);
	iked_conf_free(old);
}

void sim_destroy(struct sim *sim)
{
	while (sim->events) {
		struct sim_event *e = sim->events;

		sim->events = e->next;
		free(e->owned);
		free(e);
	}
	for (int i = 0; i < SIM_NODES; i++) {
		struct sim_node *node = &sim->node[i];

		ike_engine_destroy(node->engine);
		ike_actions_fini(&node->actions);
		iked_conf_free(node->config);
		EVP_PKEY_free(node->key);
		sim_espd_fini(&node->espd);
	}
	free(sim->log);
	free(sim);
}
