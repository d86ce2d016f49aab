#include "dataplane/espd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/spd.h"
#include "ipc/error.h"
#include "ipc/paths.h"
#include "ipc/server.h"
#include "ipc/view.h"

#define COMMANDS_A_TURN 512
#define PUNTS_A_TURN 256
#define HELLO_WAIT_MS 5000
#define GREETINGS_MAX 64

struct session *owners_session(struct espd *e, uint32_t owner)
{
	for (unsigned int i = 0; i < SESSIONS_MAX; i++) {
		if (e->sessions[i].server && e->sessions[i].owner == owner)
			return &e->sessions[i];
	}
	return NULL;
}

static void session_close(struct session *s)
{
	struct espd *e = s->espd;

	loop_fd_remove(e->loop, ipc_server_socket_fd(s->server));
	loop_fd_remove(e->loop, ipc_server_wake_fd(s->server));
	ipc_server_destroy(s->server);
	s->server = NULL;
	log_info(&e->log, "owner %s %u is gone; its SAs and flows stay",
		s->owner >> 16 == IPC_OWNER_ENGINE ? "iked" : "ipsecctl", s->owner & 0xffff);
	control_owner_detached(e->control, s->owner);
	owners_view(e);
}

/* One turn of a session. False: it ended. */
static bool session_serve(struct session *s)
{
	struct espd *e = s->espd;
	const uint8_t *data;
	struct ipc_punt_header h;
	struct ipc_server_cmd cmd;
	int gone = ipc_server_begin(s->server), rc = 0;

	for (int n = 0; n < COMMANDS_A_TURN && (rc = ipc_server_cmd_next(s->server, &cmd)) == 1;
		n++) {
		control_command(e->control, s->owner, &cmd, loop_now_ms());
		ipc_server_cmd_done(s->server);
	}
	for (int n = 0; rc >= 0 && n < PUNTS_A_TURN &&
			(rc = ipc_server_punt_tx_next(s->server, &h, &data)) == 1;
		n++)
		punt_tx(e, s->owner, &h, data);
	if (rc < 0 || gone < 0) {
		if (rc == -IPC_ERR_BROKEN || gone == -IPC_ERR_BROKEN)
			log_warn(&e->log, "a client broke the rules of its rings: detached");
		session_close(s);
		return false;
	}
	s->is_busy = ipc_server_end(s->server);
	return true;
}

static void session_ready(void *ctx, int fd, uint32_t events)
{
	struct session *s = ctx;

	(void)fd;
	(void)events;
	if (s->server)
		session_serve(s);
}

bool owners_poll(struct espd *e)
{
	bool any = false;

	for (unsigned int i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &e->sessions[i];

		if (s->server && (s->is_busy || (s->is_busy = ipc_server_end(s->server)))) {
			session_serve(s);
			any = true;
		}
	}
	return any;
}

static void addr_tell(void *ctx, const struct ip_addr *a, uint32_t ifindex)
{
	struct ipc_addr_event ev;
	struct session *s = ctx;

	memset(&ev, 0, sizeof(ev));
	ev.addr = *a;
	ev.added = 1;
	ev.ifindex = ifindex;
	(void)!ipc_server_event(s->server, IPC_EVENT_ADDR, &ev);
}

static void session_open(struct espd *e, struct ipc_peer *peer, const struct ipc_hello *hello)
{
	uint32_t owner = spd_owner((enum ipc_owner_kind)hello->owner_kind, (uint16_t)hello->engine);
	struct session *s = NULL;
	struct ipc_server_config cfg = {0};

	if (owners_session(e, owner)) {
		ipc_attach_refuse(peer, IPC_ATTACH_TAKEN);
		return;
	}
	for (unsigned int i = 0; i < SESSIONS_MAX && !s; i++) {
		if (!e->sessions[i].server)
			s = &e->sessions[i];
	}
	ipc_region_config_default(&cfg.region);
	if (!s || ipc_server_create(&s->server, peer, hello, &cfg) < 0) {
		ipc_attach_refuse(peer, IPC_ATTACH_NO_ROOM);
		return;
	}
	s->espd = e;
	s->owner = owner;
	s->is_busy = true;
	if (loop_fd_add(e->loop, ipc_server_socket_fd(s->server), EPOLLIN, session_ready, s) < 0 ||
		loop_fd_add(e->loop, ipc_server_wake_fd(s->server), EPOLLIN, session_ready, s) <
			0) {
		session_close(s);
		return;
	}
	log_info(&e->log, "%s %u attached, pid %d",
		hello->owner_kind == IPC_OWNER_ENGINE ? "iked" : "ipsecctl", hello->engine,
		(int)peer->pid);
	control_owner_attached(e->control, owner, loop_now_ms());
	if (hello->owner_kind == IPC_OWNER_ENGINE)
		kernel_addrs_each(e->kernel, addr_tell, s);
	owners_view(e);
}

static void greeting_end(struct espd *e, struct greeting *g)
{
	struct greeting **p = &e->greetings;

	loop_fd_remove(e->loop, g->peer.fd);
	while (*p && *p != g)
		p = &(*p)->next;
	if (*p)
		*p = g->next;
	free(g);
}

static void greeting_ready(void *ctx, int fd, uint32_t events)
{
	struct greeting *g = ctx;
	struct espd *e = g->espd;
	/* Root alone: iked's parent connects for its engines. */
	static const struct ipc_attach_rule rules[] = {
		{.uid = 0, .owner_kind = IPC_OWNER_IPSECCTL},
		{.uid = 0, .owner_kind = IPC_OWNER_ENGINE},
	};
	struct ipc_peer peer = g->peer;
	struct ipc_hello hello;
	int rc;

	(void)fd;
	(void)events;
	rc = ipc_attach_read_hello(&peer, rules, sizeof(rules) / sizeof(rules[0]), &hello);
	if (rc == -IPC_ERR_AGAIN)
		return;
	greeting_end(e, g);
	if (rc == IPC_ATTACH_OK && hello.engine < IPC_ENGINES_MAX)
		session_open(e, &peer, &hello);
	else if (rc >= 0)
		ipc_attach_refuse(&peer, rc ? (enum ipc_refusal)rc : IPC_ATTACH_OWNER);
	else
		close(peer.fd);
}

static void listener_ready(void *ctx, int fd, uint32_t events)
{
	struct espd *e = ctx;
	struct ipc_peer peer;

	(void)fd;
	(void)events;
	while (ipc_listener_accept(&e->listener, &peer) == 0) {
		struct greeting *g = calloc(1, sizeof(*g));
		unsigned int n = 0;

		for (struct greeting *o = e->greetings; o; o = o->next)
			n++;
		if (!g || n >= GREETINGS_MAX) {
			free(g);
			close(peer.fd);
			continue;
		}
		*g = (struct greeting){
			.espd = e, .peer = peer, .since_ms = loop_now_ms(), .next = e->greetings};
		e->greetings = g;
		if (loop_fd_add(e->loop, peer.fd, EPOLLIN, greeting_ready, g) < 0) {
			greeting_end(e, g);
			close(peer.fd);
		}
	}
}

int owners_listen(struct espd *e, char *err, size_t cap)
{
	char path[108];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", e->conf.run_dir, ESPD_SOCKET);
	rc = ipc_listener_open(&e->listener, path, 0660, e->user.view_gid);
	if (rc == 0 && loop_fd_add(e->loop, e->listener.fd, EPOLLIN, listener_ready, e) < 0)
		rc = -IPC_ERR_SYS;
	if (rc < 0)
		snprintf(err, cap, "%s: %s", path,
			rc == -IPC_ERR_PERM ? "another penstock-espd answers there"
					    : ipc_strerror(rc));
	return rc < 0 ? -1 : 0;
}

void owners_close(struct espd *e)
{
	ipc_listener_close(&e->listener);
	while (e->greetings) {
		int fd = e->greetings->peer.fd;

		greeting_end(e, e->greetings);
		close(fd);
	}
	for (unsigned int i = 0; i < SESSIONS_MAX; i++) {
		if (e->sessions[i].server)
			session_close(&e->sessions[i]);
	}
}

void owners_second(struct espd *e, uint64_t now_ms)
{
	for (struct greeting *g = e->greetings, *next; g; g = next) {
		int fd = g->peer.fd;

		next = g->next;
		if (now_ms - g->since_ms < HELLO_WAIT_MS)
			continue;
		greeting_end(e, g);
		close(fd);
	}
	owners_view(e);
}

void owners_event_all(struct espd *e, uint32_t type, const void *body)
{
	for (unsigned int i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &e->sessions[i];

		if (s->server && s->owner >> 16 == IPC_OWNER_ENGINE)
			(void)!ipc_server_event(s->server, type, body);
	}
}

static void op_ack(void *ctx, uint32_t owner, uint64_t number, uint32_t error)
{
	struct session *s = owners_session(ctx, owner);

	if (!s || ipc_server_ack(s->server, number, error) < 0)
		return;
	s->is_busy = true; /* a datagram may have waited for it */
	if (error)
		log_debug(&s->espd->log, "owner %u.%u: command %lu refused: %u", owner >> 16,
			owner & 0xffff, (unsigned long)number, error);
}

static int op_event(void *ctx, uint32_t owner, uint32_t type, const void *body)
{
	struct session *s = owners_session(ctx, owner);

	return s ? ipc_server_event(s->server, type, body) : -IPC_ERR_CLOSED;
}

static int op_route_get(void *ctx, const struct ip_addr *dst, const struct ip_addr *src,
	struct netlink_route_answer *out)
{
	struct espd *e = ctx;

	return netlink_route_get(kernel_netlink(e->kernel), dst, src, out);
}

static void op_path_resolve(void *ctx, struct path *p, struct pmtu *pmtu, uint16_t mtu_wanted)
{
	struct espd *e = ctx;

	(void)mtu_wanted;
	kernel_path_resolve(e->kernel, p, pmtu);
}

static void op_keepalive(void *ctx, const struct path *p)
{
	punt_keepalive(ctx, p);
}

static void op_punt_changed(void *ctx)
{
	struct espd *e = ctx;
	struct endpoint local[64];
	bool is_nat_t[64];
	unsigned int n = control_punts(e->control, local, is_nat_t, 64);

	kernel_punts_set(e->kernel, local, is_nat_t, n);
}

static void op_steer(void *ctx, const struct ipc_steer *steer)
{
	struct espd *e = ctx;

	e->steer = *steer;
	e->has_steer = true;
}

/* Each engine has flows of its own: all of them must have said theirs. */
static bool iked_is_done(const struct espd *e)
{
	uint32_t all = e->has_steer ? (1u << e->steer.n_engines) - 1 : 1;

	return (e->ready.engines_done & all) == all;
}

void owners_ready_check(struct espd *e)
{
	struct timespec ts;

	if (atomic_load(&e->dp.is_ready) || (e->ready.waits_iked && !iked_is_done(e)) ||
		(e->ready.waits_ipsecctl && !e->ready.ipsecctl_done))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	e->ready.ready_epoch_s = (uint64_t)ts.tv_sec;
	control_all_ready(e->control);
	atomic_store(&e->dp.is_ready, true);
	log_info(&e->log, "ready: packets are forwarded");
	owners_view(e);
}

static void op_owner_ready(void *ctx, uint32_t owner)
{
	struct espd *e = ctx;

	if (owner >> 16 == IPC_OWNER_ENGINE)
		e->ready.engines_done |= 1u << (owner & 0xffff);
	if (owner >> 16 == IPC_OWNER_IPSECCTL)
		e->ready.ipsecctl_done = true;
	owners_ready_check(e);
}

static void op_flushed(void *ctx)
{
	owners_event_all(ctx, IPC_EVENT_FLUSHED, NULL);
}

const struct control_ops *owners_control_ops(struct espd *e)
{
	e->ops = (struct control_ops){
		.ctx = e,
		.ack = op_ack,
		.event = op_event,
		.route_get = op_route_get,
		.path_resolve = op_path_resolve,
		.keepalive = op_keepalive,
		.punt_changed = op_punt_changed,
		.steer = op_steer,
		.owner_ready = op_owner_ready,
		.flushed = op_flushed,
	};
	return &e->ops;
}

static void session_view(struct espd *e, unsigned int i)
{
	struct session *s = &e->sessions[i];
	struct view_owner v;

	memset(&v, 0, sizeof(v));
	if (s->server) {
		struct ipc_server_stats st;
		struct control_counts n;

		ipc_server_stats(s->server, &st);
		control_counts_get(e->control, s->owner, &n);
		v.is_used = v.is_attached = 1;
		v.kind = s->owner >> 16;
		v.engine = s->owner & 0xffff;
		v.is_ready = v.kind == IPC_OWNER_ENGINE ? e->ready.engines_done >> v.engine & 1
							: e->ready.ipsecctl_done;
		v.is_awaited = v.kind == IPC_OWNER_ENGINE ? e->ready.waits_iked
							  : e->ready.waits_ipsecctl;
		v.pid = (uint32_t)ipc_server_pid(s->server);
		v.commands = st.commands;
		v.events = st.events;
		v.inflight = st.inflight;
		v.punt_known = st.punt_known;
		v.punt_strangers = st.punt_strangers;
		v.punt_full = st.punt_known_full + st.punt_strangers_full;
		v.punt_tx = st.punt_tx;
		v.n_sa = n.n_sa;
		v.n_path = n.n_path;
		v.n_flow = n.n_flow;
	}
	view_set_owner(e->view, i, &v);
}

void owners_view(struct espd *e)
{
	struct control_counts totals;
	struct view_globals g;
	struct spd_stats st;

	if (!e->view)
		return;
	for (unsigned int i = 0; i < SESSIONS_MAX; i++)
		session_view(e, i);
	memset(&g, 0, sizeof(g));
	spd_stats_get(e->dp.spd, &st);
	g.state = atomic_load(&e->dp.is_ready) ? VIEW_READY : VIEW_NOT_READY;
	g.ready_s = e->ready.ready_epoch_s;
	g.n_flow = st.n_flows;
	if (e->control) {
		control_totals_get(e->control, &totals);
		g.n_sa = totals.n_sa;
		g.n_path = totals.n_path;
		g.resyncs = totals.n_resyncs;
	}
	g.spd_bound = st.max_bound;
	g.spd_touches = st.bound;
	g.not_ready_owners = (e->ready.waits_iked && !iked_is_done(e)) +
			     (e->ready.waits_ipsecctl && !e->ready.ipsecctl_done);
	view_set_globals(e->view, &g);
}
