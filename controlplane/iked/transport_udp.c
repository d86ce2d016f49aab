#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/iked/clock.h"
#include "controlplane/iked/sad_table.h"
#include "controlplane/iked/transport.h"
#include "ipc/steer.h"

/*
 * IKE over the kernel's UDP sockets, which the parent opened. No data plane is behind it:
 * commands are answered from a table. So iked runs, and is tested against other IKE
 * implementations, without espd.
 */
#define SOCKETS_MAX 8
#define READS_PER_WAKE 32
#define DATAGRAM_MAX 65535
#define MARKER_LEN 4

struct transport_udp;

struct udp_socket {
	struct transport_udp *owner;
	struct msg_udp_socket what;
	int fd;
	struct event *readable;
};

/* An input that waits for the loop. */
struct queued_input {
	struct queued_input *next;
	struct ike_input in; /* events only: no pointers inside */
};

struct transport_udp {
	struct transport t; /* first */
	struct udp_socket sockets[SOCKETS_MAX];
	size_t n_sockets;
	struct ipc_addr_event *addrs; /* until start */
	size_t n_addrs;
	struct sad_table sad;
	struct queued_input *first, **last;
	struct event *work, *timer;
	uint8_t buffer[DATAGRAM_MAX];
};

static struct transport_udp *udp_of(struct transport *t)
{
	return (struct transport_udp *)t;
}

static void queue_input(void *ctx, const struct ike_input *in)
{
	struct transport_udp *u = ctx;
	struct queued_input *q = malloc(sizeof(*q));

	if (!q) {
		log_error(u->t.params.log, "out of memory: an event for the engine is lost");
		return;
	}
	*q = (struct queued_input){NULL, *in};
	*u->last = q;
	u->last = &q->next;
	event_active(u->work, EV_TIMEOUT, 0);
}

static void timer_set(struct transport_udp *u)
{
	const uint64_t deadline_ms = sad_table_next_deadline(&u->sad);
	const struct timeval tv = clock_until(deadline_ms);

	if (deadline_ms == UINT64_MAX)
		event_del(u->timer);
	else
		event_add(u->timer, &tv);
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	struct transport_udp *u = arg;
	struct queued_input *q = u->first;

	(void)fd;
	(void)what;
	/* What these inputs cause is queued behind, for the next round of the loop. */
	u->first = NULL;
	u->last = &u->first;
	while (q) {
		struct queued_input *next = q->next;

		u->t.params.owner.input(u->t.params.owner.ctx, &q->in);
		free(q);
		q = next;
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct transport_udp *u = arg;

	(void)fd;
	(void)what;
	sad_table_tick(&u->sad, clock_now_ms());
	timer_set(u);
}

/* The address that a datagram was sent to. */
static int local_address(struct msghdr *mh, struct ip_addr *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			return addr_from_bytes(4, (const uint8_t *)&info.ipi_addr, 4, out);
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			return addr_from_bytes(6, (const uint8_t *)&info.ipi6_addr, 16, out);
		}
	}
	return -1;
}

/*
 * RFC 3948 2.2, 2.3: on the NAT-T port four zero bytes mark IKE, a single 0xff is a keepalive,
 * all else is ESP. False: not IKE.
 */
static bool marker_cut(const struct udp_socket *s, struct ike_datagram *d)
{
	static const uint8_t marker[MARKER_LEN];

	if (!s->what.is_nat_t)
		return d->len > 1 || (d->len == 1 && d->data[0] != 0xff);
	if (d->len < MARKER_LEN || memcmp(d->data, marker, MARKER_LEN) != 0)
		return false;
	d->has_marker = true;
	d->data += MARKER_LEN;
	d->len -= MARKER_LEN;
	return true;
}

static void datagram_pass(struct transport_udp *u, struct ike_input *in)
{
	const struct transport_params *params = &u->t.params;
	uint32_t engine = ipc_steer_engine(params->steer, in->datagram.data, in->datagram.len,
		&in->datagram.remote.addr, &in->datagram.is_known);

	if (engine == params->setup->engine_number)
		params->owner.input(params->owner.ctx, in);
	else
		params->owner.foreign(params->owner.ctx, engine, &in->datagram);
}

/* False: nothing more to read. */
static bool datagram_receive(struct udp_socket *s)
{
	struct transport_udp *u = s->owner;
	uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 64];
	struct sockaddr_storage from;
	struct iovec iov = {u->buffer, sizeof(u->buffer)};
	struct msghdr mh = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct ike_input in = {.type = IKE_IN_DATAGRAM};
	ssize_t got = recvmsg(s->fd, &mh, MSG_DONTWAIT);

	if (got < 0)
		return errno == ECONNREFUSED || errno == EHOSTUNREACH; /* a queued ICMP error */
	in.datagram.local.port = s->what.port;
	in.datagram.data = u->buffer;
	in.datagram.len = (size_t)got;
	if (local_address(&mh, &in.datagram.local.addr) < 0 ||
		endpoint_from_sockaddr((const struct sockaddr *)&from, &in.datagram.remote) < 0)
		return true;
	if (marker_cut(s, &in.datagram))
		datagram_pass(u, &in);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	for (int i = 0; i < READS_PER_WAKE; i++) {
		if (!datagram_receive(arg))
			break;
	}
}

static struct udp_socket *socket_find(struct transport_udp *u, uint8_t family, uint16_t port)
{
	for (size_t i = 0; i < u->n_sockets; i++) {
		if (u->sockets[i].what.family == family && u->sockets[i].what.port == port)
			return &u->sockets[i];
	}
	return NULL;
}

/* The source address, if the engine names one; else the kernel chooses. */
static size_t source_write(const struct endpoint *local, uint8_t *control)
{
	struct msghdr mh = {.msg_control = control, .msg_controllen = 128};
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	if (local->addr.family == 4) {
		struct in_pktinfo info = {0};

		memcpy(&info.ipi_spec_dst, local->addr.b, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	if (local->addr.family == 6) {
		struct in6_pktinfo info = {0};

		memcpy(&info.ipi6_addr, local->addr.b, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	return 0;
}

static void udp_send(struct transport *t, const struct ike_send *send)
{
	static const uint8_t marker[MARKER_LEN];
	struct transport_udp *u = udp_of(t);
	struct udp_socket *s = socket_find(u, send->remote.addr.family, send->local.port);
	uint8_t control[128] __attribute__((aligned(8))) = {0};
	struct sockaddr_storage to;
	struct iovec iov[2] = {
		{(void *)(uintptr_t)marker, send->marker ? MARKER_LEN : 0},
		{send->data, send->len},
	};
	struct msghdr mh = {.msg_name = &to, .msg_iov = iov, .msg_iovlen = 2};

	if (!s) {
		log_debug(t->params.log, "no UDP socket for port %u", send->local.port);
		return;
	}
	mh.msg_namelen = endpoint_to_sockaddr(&send->remote, &to);
	mh.msg_controllen = source_write(&send->local, control);
	mh.msg_control = mh.msg_controllen > 0 ? control : NULL;
	/* RFC 7296 2.1: what is lost here is sent again. */
	if (sendmsg(s->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug(t->params.log, "sending %zu bytes: %s", send->len, strerror(errno));
}

/* Connecting a UDP socket sends nothing, but makes the kernel choose the source address. */
static struct ip_addr route_source(struct transport_udp *u, const struct ip_addr *dst)
{
	const struct sockaddr off = {.sa_family = AF_UNSPEC};
	const struct endpoint to = {.addr = *dst, .port = u->t.params.setup->port};
	struct udp_socket *s = socket_find(u, dst->family, 0);
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&to, &ss);
	struct endpoint chosen = {0};

	if (!s)
		return chosen.addr;
	connect(s->fd, &off, sizeof(off));
	if (connect(s->fd, (const struct sockaddr *)&ss, len) < 0)
		return chosen.addr;
	len = sizeof(ss);
	if (getsockname(s->fd, (struct sockaddr *)&ss, &len) < 0 ||
		endpoint_from_sockaddr((const struct sockaddr *)&ss, &chosen) < 0)
		return (struct ip_addr){0};
	return chosen.addr;
}

static void route_query(struct transport_udp *u, const struct ike_command *command)
{
	const struct ipc_route_query *query = &command->body.route_query;
	struct ike_input ack = {.type = IKE_IN_ACK}, route = {.type = IKE_IN_ROUTE};

	ack.event.ack = (struct ipc_ack){
		.number = command->header.number, .error = IPC_OK, .type = command->header.type};
	route.event.route = (struct ipc_route){
		.token = query->token, .src = route_source(u, &query->dst), .mtu = 1500};
	if (route.event.route.src.family != 0 && query->src.family != 0)
		route.event.route.src = query->src;
	queue_input(u, &ack);
	queue_input(u, &route);
}

static void udp_command(struct transport *t, const struct ike_command *command)
{
	struct transport_udp *u = udp_of(t);

	log_line(t->params.log, LOG_LVL_TRACE, "command %llu: %s",
		(unsigned long long)command->header.number, ipc_cmd_str(command->header.type));
	if (command->header.type == IPC_CMD_ROUTE_QUERY) {
		route_query(u, command);
		return;
	}
	sad_table_command(&u->sad, command, clock_now_ms());
	timer_set(u);
}

static bool udp_is_idle(const struct transport *t)
{
	return ((const struct transport_udp *)t)->first == NULL;
}

static void udp_start(struct transport *t)
{
	struct transport_udp *u = udp_of(t);
	const struct ike_input up = {.type = IKE_IN_TRANSPORT_UP};

	queue_input(u, &up);
	for (size_t i = 0; i < u->n_addrs; i++) {
		struct ike_input in = {.type = IKE_IN_ADDR};

		in.event.addr = u->addrs[i];
		queue_input(u, &in);
	}
	for (size_t i = 0; i < u->n_sockets; i++) {
		if (u->sockets[i].what.port != 0)
			event_add(u->sockets[i].readable, NULL);
	}
}

void transport_udp_socket_add(struct transport *t, const struct msg_udp_socket *socket, int fd)
{
	struct transport_udp *u = udp_of(t);
	struct udp_socket *s = &u->sockets[u->n_sockets];

	if (u->n_sockets == SOCKETS_MAX) {
		close(fd);
		return;
	}
	*s = (struct udp_socket){.owner = u, .what = *socket, .fd = fd};
	s->readable = event_new(t->params.base, fd, EV_READ | EV_PERSIST, on_readable, s);
	if (!s->readable) {
		close(fd);
		return;
	}
	u->n_sockets++;
}

void transport_udp_addr_add(struct transport *t, const struct ipc_addr_event *addr)
{
	struct transport_udp *u = udp_of(t);
	struct ipc_addr_event *more = realloc(u->addrs, (u->n_addrs + 1) * sizeof(*more));

	if (!more)
		return;
	u->addrs = more;
	u->addrs[u->n_addrs++] = *addr;
}

static void udp_destroy(struct transport *t)
{
	struct transport_udp *u = udp_of(t);

	for (size_t i = 0; i < u->n_sockets; i++) {
		event_free(u->sockets[i].readable);
		close(u->sockets[i].fd);
	}
	while (u->first) {
		struct queued_input *next = u->first->next;

		free(u->first);
		u->first = next;
	}
	if (u->work)
		event_free(u->work);
	if (u->timer)
		event_free(u->timer);
	sad_table_fini(&u->sad);
	free(u->addrs);
	free(u);
}

static const struct transport_ops udp_ops = {
	.start = udp_start,
	.send = udp_send,
	.command = udp_command,
	.is_idle = udp_is_idle,
	.destroy = udp_destroy,
};

struct transport *transport_udp_create(const struct transport_params *params)
{
	struct transport_udp *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->t = (struct transport){&udp_ops, *params};
	u->last = &u->first;
	u->sad.out = queue_input;
	u->sad.ctx = u;
	u->sad.engine = params->setup->engine_number;
	u->work = event_new(params->base, -1, 0, on_work, u);
	u->timer = evtimer_new(params->base, on_timer, u);
	if (!u->work || !u->timer) {
		udp_destroy(&u->t);
		return NULL;
	}
	return &u->t;
}
