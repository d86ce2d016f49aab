#include "controlplane/iked/ike_process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/iked/clock.h"
#include "controlplane/iked/conf_serial.h"
#include "ipc/ike_spi.h"
#include "shared/wipe.h"

/* Bytes of datagrams that may wait for another engine; more are dropped. */
#define FOREIGN_QUEUE_MAX (1u << 20)
#define STRANGERS_PER_S 2000

static void stopped_check(struct ike_process *p);

static void timer_set(struct ike_process *p)
{
	const uint64_t deadline_ms = ike_engine_next_deadline(p->engine);
	const struct timeval tv = clock_until(deadline_ms);

	if (deadline_ms == UINT64_MAX)
		event_del(p->timer);
	else
		event_add(p->timer, &tv);
}

static void actions_carry_out(void *ctx, struct ike_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++)
		ike_process_act(ctx, actions->list[i]);
	ike_actions_reset(actions);
}

void ike_process_input(struct ike_process *p, struct ike_input *in)
{
	if (!p->engine)
		return;
	in->now_ms = clock_now_ms();
	in->wall_s = (uint64_t)time(NULL);
	ike_engine_step(p->engine, in, &p->actions);
	if (p->actions.no_memory) {
		/* Some of the actions are missing or half made: none is carried out, as if it had
		 * ended before. The parent starts another engine, which finds the SAs in espd. */
		log_error(&p->child.log, "out of memory");
		ike_actions_reset(&p->actions);
		event_base_loopbreak(p->child.base);
		return;
	}
	actions_carry_out(p, &p->actions);
	timer_set(p);
	stopped_check(p);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ike_input in = {.type = IKE_IN_TICK};

	(void)fd;
	(void)what;
	ike_process_input(arg, &in);
}

static void random_fill(void *ctx, void *out, size_t len)
{
	uint8_t *at = out;

	(void)ctx;
	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);

		/* EINTR is the only failure that is left once the pool is seeded. */
		if (got <= 0)
			continue;
		at += got;
		len -= (size_t)got;
	}
}

/* The SPI as the engine has it: a number in network order. */
static uint64_t spi_make(void *ctx)
{
	const struct ike_process *p = ctx;
	uint8_t spi[IKE_SPI_LEN];
	uint64_t number = 0;
	uint32_t random[2];

	random_fill(NULL, random, sizeof(random));
	ike_spi_make(p->steer.key, ipc_steer_shard(&p->steer, p->setup.engine_number, random[0]),
		random[1], spi);
	for (size_t i = 0; i < sizeof(spi); i++)
		number = number << 8 | spi[i];
	return number;
}

static void on_transport_input(void *ctx, struct ike_input *in)
{
	ike_process_input(ctx, in);
}

static void on_espd_wanted(void *ctx)
{
	struct ike_process *p = ctx;

	imsg_send(p->child.parent, MSG_ESPD_WANTED, 0, NULL, 0, -1);
}

/* The kernel's sockets are all engines': it may be another one's datagram. */
static void on_foreign(void *ctx, uint32_t engine, const struct ike_datagram *d)
{
	struct ike_process *p = ctx;
	struct imsg_channel *to = child_peer(&p->child, IKED_IKE, engine);
	uint8_t body[IMSG_BODY_MAX];
	const struct msg_datagram m = {
		.local = d->local, .remote = d->remote, .has_marker = d->has_marker};

	/* What is lost here is sent again (RFC 7296 2.1). */
	if (!to || d->len > sizeof(body) - sizeof(m) || imsg_queued_bytes(to) > FOREIGN_QUEUE_MAX)
		return;
	memcpy(body, &m, sizeof(m));
	memcpy(body + sizeof(m), d->data, d->len);
	imsg_send(to, MSG_DATAGRAM, 0, body, sizeof(m) + d->len, -1);
}

static void process_fail(struct ike_process *p, const char *what)
{
	log_error(&p->child.log, "%s", what);
	event_base_loopbreak(p->child.base);
}

static void setup(struct ike_process *p, const struct imsg *msg)
{
	struct ike_engine_params params = {
		.random = random_fill,
		.ike_spi_make = spi_make,
		.ike_spi_ctx = p,
		.log = &p->child.log,
	};
	struct transport_params transport = {
		.base = p->child.base,
		.log = &p->child.log,
		.setup = &p->setup,
		.steer = &p->steer,
		.owner = {on_transport_input, on_espd_wanted, on_foreign, p},
	};

	if (p->is_set_up)
		return;
	memcpy(&p->setup, msg->body, sizeof(p->setup));
	p->is_set_up = true;
	ipc_steer_init(&p->steer, p->setup.steer_key, p->setup.n_engines, STRANGERS_PER_S);
	params.local_id = p->setup.local_id;
	params.engine_number = p->setup.engine_number;
	params.n_engines = p->setup.n_engines;
	params.since_ms = p->setup.since_ms;
	memcpy(params.cookie_key, p->setup.cookie_key, sizeof(params.cookie_key));
	params.port = p->setup.port;
	params.nat_port = p->setup.nat_port;
	params.no_nat_t = p->setup.no_nat_t;
	params.only_nat_t = p->setup.only_nat_t;
	params.start_passive = p->setup.start_passive;
	p->engine = ike_engine_create(&params);
	p->transport = p->setup.use_kernel_udp ? transport_udp_create(&transport)
					       : transport_espd_create(&transport);
	wipe(&params, sizeof(params));
	if (!p->engine || !p->transport)
		process_fail(p, "cannot make the engine");
}

static void config_begin(struct ike_process *p, const struct imsg *msg)
{
	struct msg_config_begin begin;

	memcpy(&begin, msg->body, sizeof(begin));
	free(p->incoming);
	p->incoming = begin.total_len <= CONF_SERIAL_MAX ? malloc(begin.total_len) : NULL;
	p->incoming_len = 0;
	p->incoming_total = p->incoming ? begin.total_len : 0;
	p->incoming_version = begin.version;
}

static void config_chunk(struct ike_process *p, const struct imsg *msg)
{
	if (msg->len > p->incoming_total - p->incoming_len)
		return;
	memcpy(p->incoming + p->incoming_len, msg->body, msg->len);
	p->incoming_len += msg->len;
}

static void config_answer(struct ike_process *p, int status)
{
	const struct msg_config_done done = {p->incoming_version, status};

	imsg_send(p->child.parent, MSG_CONFIG_DONE, 0, &done, sizeof(done), -1);
}

static void config_end(struct ike_process *p)
{
	struct ike_config *config = NULL, *old = p->config;
	struct ike_input in = {.type = IKE_IN_CONFIG};

	if (p->incoming && p->incoming_len == p->incoming_total)
		config = conf_serial_read(p->incoming, p->incoming_len);
	free(p->incoming);
	p->incoming = NULL;
	p->incoming_len = p->incoming_total = 0;
	if (!config || !p->engine) {
		conf_serial_free(config);
		config_answer(p, -1);
		return;
	}
	in.config = (struct ike_config_input){config, p->incoming_version};
	p->config = config;
	p->version = p->incoming_version;
	ike_process_input(p, &in);
	/* The engine has let go of the old one. */
	conf_serial_free(old);
	config_answer(p, 0);
	/* The flows must be known before espd hears from us: its first resync opens forwarding. */
	if (!p->is_started)
		p->transport->ops->start(p->transport);
	p->is_started = true;
}

static void config_commit(struct ike_process *p, const struct imsg *msg)
{
	struct ike_input in = {.type = IKE_IN_CONFIG_COMMIT};
	uint32_t version;

	memcpy(&version, msg->body, sizeof(version));
	if (version == p->version)
		ike_process_input(p, &in);
}

static void udp_socket_add(struct ike_process *p, const struct imsg *msg)
{
	struct msg_udp_socket what;

	memcpy(&what, msg->body, sizeof(what));
	if (p->transport && p->setup.use_kernel_udp)
		transport_udp_socket_add(p->transport, &what, msg->fd);
	else
		close(msg->fd);
}

static void local_addr_add(struct ike_process *p, const struct imsg *msg)
{
	struct ipc_addr_event addr;

	memcpy(&addr, msg->body, sizeof(addr));
	if (p->transport && p->setup.use_kernel_udp)
		transport_udp_addr_add(p->transport, &addr);
}

static void espd_answer(struct ike_process *p, const struct imsg *msg)
{
	char why[256];

	if (!p->transport || p->setup.use_kernel_udp) {
		if (msg->fd >= 0)
			close(msg->fd);
		return;
	}
	if (msg->type == MSG_ESPD_SOCKET) {
		transport_espd_attach(p->transport, msg->fd);
		return;
	}
	snprintf(why, sizeof(why), "%.*s", (int)(msg->len < 255 ? msg->len : 255),
		(const char *)msg->body);
	transport_espd_failed(p->transport, why);
}

/* Clean stop: the peers are told, flows and SAs are taken out. */
static void stop_begin(struct ike_process *p)
{
	struct ike_input in = {.type = IKE_IN_STOP};

	p->is_stopping = true;
	if (p->engine)
		ike_process_input(p, &in);
	stopped_check(p);
}

static void stopped_check(struct ike_process *p)
{
	if (!p->is_stopping || p->has_stopped)
		return;
	if (p->engine && !ike_engine_is_idle(p->engine))
		return;
	if (p->transport && p->is_started && !p->transport->ops->is_idle(p->transport))
		return;
	p->has_stopped = true;
	imsg_send(p->child.parent, MSG_STOPPED, 0, NULL, 0, -1);
}

static void from_parent(void *ctx, const struct imsg *msg)
{
	struct ike_process *p = ctx;

	switch (msg->type) {
	case MSG_SETUP:
		setup(p, msg);
		break;
	case MSG_CONFIG_BEGIN:
		config_begin(p, msg);
		break;
	case MSG_CONFIG_CHUNK:
		config_chunk(p, msg);
		break;
	case MSG_CONFIG_END:
		config_end(p);
		break;
	case MSG_CONFIG_COMMIT:
		config_commit(p, msg);
		break;
	case MSG_UDP_SOCKET:
		udp_socket_add(p, msg);
		break;
	case MSG_LOCAL_ADDR:
		local_addr_add(p, msg);
		break;
	case MSG_ESPD_SOCKET:
	case MSG_ESPD_FAILED:
		espd_answer(p, msg);
		break;
	case MSG_PUBKEY:
		ike_process_pubkey_answer(p, msg);
		break;
	case MSG_STOP:
		stop_begin(p);
		break;
	}
}

static void from_key(void *ctx, uint32_t number, const struct imsg *msg)
{
	(void)number;
	if (msg->type == MSG_AUTH)
		ike_process_auth_answer(ctx, msg);
}

static void from_control(void *ctx, uint32_t number, const struct imsg *msg)
{
	(void)number;
	if (msg->type == MSG_CTL_REQUEST)
		ike_process_ctl(ctx, msg);
}

static void datagram_take(struct ike_process *p, const struct imsg *msg)
{
	struct ike_input in = {.type = IKE_IN_DATAGRAM};
	struct msg_datagram m;

	memcpy(&m, msg->body, sizeof(m));
	in.datagram = (struct ike_datagram){
		.local = m.local,
		.remote = m.remote,
		.has_marker = m.has_marker != 0,
		.data = msg->body + sizeof(m),
		.len = msg->len - sizeof(m),
	};
	if (p->setup.use_kernel_udp && p->is_started)
		ike_process_input(p, &in);
}

static void from_ike(void *ctx, uint32_t number, const struct imsg *msg)
{
	struct ike_process *p = ctx;
	struct ike_input in = {.type = IKE_IN_SESSION};
	struct msg_session m;

	switch (msg->type) {
	case MSG_SESSION:
		memcpy(&m, msg->body, sizeof(m));
		in.session = m.session;
		in.session.engine = number; /* the channel says who speaks */
		ike_process_input(p, &in);
		break;
	case MSG_SESSION_QUERY:
		in.type = IKE_IN_SESSION_QUERY;
		ike_process_input(p, &in);
		break;
	case MSG_SESSION_ACQUIRE:
		in.type = IKE_IN_SESSION_ACQUIRE;
		memcpy(&in.session_acquire, msg->body, sizeof(in.session_acquire));
		ike_process_input(p, &in);
		break;
	case MSG_DATAGRAM:
		datagram_take(p, msg);
		break;
	}
}

/* Another engine came or went. */
static void peer_changed(void *ctx, enum iked_role peer, uint32_t number, bool is_there)
{
	struct ike_process *p = ctx;
	struct ike_input in = {.type = IKE_IN_ENGINE_LOST, .engine_number = number};

	if (peer != IKED_IKE)
		return;
	if (is_there)
		imsg_send(
			child_peer(&p->child, IKED_IKE, number), MSG_SESSION_QUERY, 0, NULL, 0, -1);
	else
		ike_process_input(p, &in);
}

static void on_answers(evutil_socket_t fd, short what, void *arg)
{
	struct ike_process *p = arg;
	struct local_answer *list = p->first_answer;

	(void)fd;
	(void)what;
	p->first_answer = NULL;
	p->last_answer = &p->first_answer;
	while (list) {
		struct local_answer *next = list->next;
		struct ike_input in = {.type = list->type};

		if (in.type == IKE_IN_AUTH)
			in.auth = (struct ike_auth_answer){
				.ref = list->ref, .error = -1, .text = list->text};
		else
			in.pubkey = (struct ike_pubkey_answer){
				.ref = list->ref, .error = -1, .text = list->text};
		ike_process_input(p, &in);
		free(list);
		list = next;
	}
}

static void process_fini(struct ike_process *p)
{
	transport_destroy(p->transport);
	ike_engine_destroy(p->engine);
	ike_actions_fini(&p->actions);
	conf_serial_free(p->config);
	free(p->incoming);
	wipe(&p->setup, sizeof(p->setup));
}

int ike_main(void)
{
	struct ike_process p = {.child = {.role = IKED_IKE,
					.from_parent = from_parent,
					.peer_changed = peer_changed}};

	p.child.ctx = &p;
	p.child.from_peer[IKED_KEY] = from_key;
	p.child.from_peer[IKED_CONTROL] = from_control;
	p.child.from_peer[IKED_IKE] = from_ike;
	p.last_answer = &p.first_answer;
	p.actions.flush = actions_carry_out;
	p.actions.flush_ctx = &p;
	if (child_start(&p.child) < 0)
		return 1;
	p.timer = evtimer_new(p.child.base, on_timer, &p);
	p.answers_event = event_new(p.child.base, -1, 0, on_answers, &p);
	if (!p.timer || !p.answers_event)
		return 1;
	event_base_dispatch(p.child.base);
	process_fini(&p);
	event_free(p.timer);
	event_free(p.answers_event);
	child_fini(&p.child);
	return 0;
}
