#include "dataplane/debug.h"
#include "dataplane/espd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/debug_explain.h"
#include "dataplane/debug_filter.h"
#include "dataplane/debug_show.h"
#include "dataplane/pktmeta.h"
#include "ipc/debug.h"
#include "ipc/error.h"
#include "ipc/paths.h"

#define CLIENTS_MAX 16

enum client_kind { CLIENT_NEW = 0, CLIENT_TRACE, CLIENT_CAPTURE };

struct client {
	struct debug *debug;
	int fd; /* -1: the place is free */
	enum client_kind kind;
	uint32_t left; /* packets still wanted; UINT32_MAX: no limit */
	uint32_t spi;  /* capture: 0 every SA */
	uint32_t snaplen;
	uint32_t lost;
	char filter[256];
};

struct debug {
	struct espd *espd;
	struct ipc_listener listener;
	struct client clients[CLIENTS_MAX];
};

/* Workers look only at these numbers. */
static void listeners_count(struct debug *d)
{
	uint32_t n_traces = 0, n_captures = 0, spi = 0;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		const struct client *c = &d->clients[i];

		if (c->fd < 0)
			continue;
		n_traces += c->kind == CLIENT_TRACE;
		if (c->kind == CLIENT_CAPTURE) {
			spi = n_captures ? 0 : c->spi;
			n_captures++;
		}
	}
	atomic_store(&d->espd->dp.capture_spi, spi);
	atomic_store(&d->espd->dp.n_captures, n_captures);
	atomic_store(&d->espd->dp.n_traces, n_traces);
}

static void client_close(struct client *c)
{
	loop_fd_remove(c->debug->espd->loop, c->fd);
	close(c->fd);
	c->fd = -1;
	listeners_count(c->debug);
}

static void client_end(struct client *c, uint32_t error, const char *text)
{
	(void)!ipc_debug_send_end(c->fd, error, c->lost, text);
	client_close(c);
}

static void show(struct client *c, const char *words)
{
	bool is_explain = strncmp(words, "explain ", 8) == 0, is_question = true;
	char *text = is_explain ? debug_explain(c->debug->espd, words, &is_question)
				: debug_show(c->debug->espd, words);

	if (!is_question) {
		free(text);
		client_end(c, IPC_E_INVALID,
			"expected SRC[:PORT] DST[:PORT] [PROTO], or an SPI as in 0x1234abcd");
		return;
	}
	if (!text) {
		client_end(c, IPC_E_NO_SUCH, "expected pipeline, port, spd, worker or stats");
		return;
	}
	(void)!ipc_debug_send(c->fd, strstr(words, "--json") ? IPC_DEBUG_JSON : IPC_DEBUG_TEXT,
		text, strlen(text), NULL, 0);
	free(text);
	client_end(c, IPC_OK, "");
}

static void request(struct client *c, uint16_t type, const void *body, size_t len)
{
	const struct ipc_debug_trace *t = body;
	const struct ipc_debug_capture *p = body;

	switch (type) {
	case IPC_DEBUG_TRACE_START:
		if (len < sizeof(*t))
			break;
		c->kind = CLIENT_TRACE;
		c->left = t->count ? t->count : UINT32_MAX;
		snprintf(c->filter, sizeof(c->filter), "%.*s", (int)sizeof(t->filter), t->filter);
		listeners_count(c->debug);
		return;
	case IPC_DEBUG_CAPTURE_START:
		if (len < sizeof(*p))
			break;
		c->kind = CLIENT_CAPTURE;
		c->left = p->count ? p->count : UINT32_MAX;
		c->spi = p->spi;
		c->snaplen = p->snaplen ? p->snaplen : UINT32_MAX;
		listeners_count(c->debug);
		return;
	case IPC_DEBUG_SHOW:
		show(c, body);
		return;
	default:
		break;
	}
	client_end(c, IPC_E_INVALID, "not a request that this espd knows");
}

static void client_ready(void *ctx, int fd, uint32_t events)
{
	static char buf[IPC_DEBUG_DATA_MAX + 1];
	struct client *c = ctx;
	uint16_t type;
	size_t len;
	int rc = ipc_debug_recv(fd, &type, buf, sizeof(buf), &len);

	(void)events;
	if (rc == -IPC_ERR_AGAIN)
		return;
	if (rc < 0 || c->kind != CLIENT_NEW)
		client_close(c);
	else
		request(c, type, buf, len);
}

static void listener_ready(void *ctx, int fd, uint32_t events)
{
	struct debug *d = ctx;
	struct ipc_peer peer;

	(void)fd;
	(void)events;
	while (ipc_listener_accept(&d->listener, &peer) == 0) {
		struct client *c = NULL;

		for (int i = 0; i < CLIENTS_MAX && !c; i++) {
			if (d->clients[i].fd < 0)
				c = &d->clients[i];
		}
		/* Captures show clear text: root alone, whatever the socket's mode says. */
		if (!c || peer.uid != 0 ||
			loop_fd_add(d->espd->loop, peer.fd, EPOLLIN, client_ready, c) < 0) {
			close(peer.fd);
			continue;
		}
		*c = (struct client){.debug = d, .fd = peer.fd};
	}
}

struct debug *debug_create(struct espd *e, char *err, size_t cap)
{
	struct debug *d = calloc(1, sizeof(*d));
	char path[108];
	int rc;

	if (!d) {
		snprintf(err, cap, "no memory");
		return NULL;
	}
	d->espd = e;
	for (int i = 0; i < CLIENTS_MAX; i++)
		d->clients[i].fd = -1;
	snprintf(path, sizeof(path), "%s/%s", e->conf.run_dir, ESPD_DEBUG_SOCKET);
	rc = ipc_listener_open(&d->listener, path, 0600, (gid_t)-1);
	if (rc == 0 && loop_fd_add(e->loop, d->listener.fd, EPOLLIN, listener_ready, d) == 0)
		return d;
	snprintf(err, cap, "%s: %s", path, rc < 0 ? ipc_strerror(rc) : strerror(errno));
	free(d);
	return NULL;
}

void debug_destroy(struct debug *d)
{
	if (!d)
		return;
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (d->clients[i].fd >= 0)
			client_end(&d->clients[i], IPC_OK, "espd stops");
	}
	ipc_listener_close(&d->listener);
	free(d);
}

static void counted(struct client *c, int rc)
{
	if (rc == -IPC_ERR_AGAIN) {
		c->lost++;
		return;
	}
	if (rc < 0) {
		client_close(c);
		return;
	}
	if (c->left != UINT32_MAX && --c->left == 0)
		client_end(c, IPC_OK, "");
}

static void trace_text(struct debug *d, struct rte_mbuf *m)
{
	char text[4096];

	snprintf(text, sizeof(text), "%.*s", (int)rte_pktmbuf_data_len(m),
		rte_pktmbuf_mtod(m, const char *));
	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &d->clients[i];

		if (c->fd >= 0 && c->kind == CLIENT_TRACE && debug_filter_fits(c->filter, text))
			counted(c, ipc_debug_send_text(c->fd, text));
	}
}

static void captured(struct debug *d, struct rte_mbuf *m)
{
	const struct pkt_meta *meta = pkt_meta(m);
	struct ipc_debug_packet p;
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	memset(&p, 0, sizeof(p));
	p.time_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	p.spi = meta->spi;
	p.flags = IPC_DEBUG_P_AUTH | IPC_DEBUG_P_CONF;
	p.orig_len = meta->orig_len;
	p.direction = meta->direction;
	p.family = *rte_pktmbuf_mtod(m, const uint8_t *) >> 4;
	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &d->clients[i];

		if (c->fd < 0 || c->kind != CLIENT_CAPTURE || (c->spi && c->spi != meta->spi))
			continue;
		p.cap_len = rte_pktmbuf_data_len(m);
		if (p.cap_len > c->snaplen)
			p.cap_len = c->snaplen;
		counted(c, ipc_debug_send(c->fd, IPC_DEBUG_PACKET, &p, sizeof(p),
				   rte_pktmbuf_mtod(m, void *), p.cap_len));
	}
}

void debug_packet(struct debug *d, struct rte_mbuf *m)
{
	if (!rte_pktmbuf_data_len(m))
		return;
	if (pkt_meta(m)->kind == PKT_KIND_TRACE)
		trace_text(d, m);
	else
		captured(d, m);
}
