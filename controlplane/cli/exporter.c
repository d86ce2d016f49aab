#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/cli/metrics.h"
#include "controlplane/cli/penstockctl.h"

/*
 * `penstockctl exporter`: HTTP for Prometheus, over the read-only view. It holds no privilege but
 * to read that file, and asks nothing of the daemons, which do not notice it.
 */
#define LISTEN_DEFAULT "127.0.0.1:9470"
#define TUNNELS_DEFAULT 10000
#define TUNNELS_MOST 1000000
/* SAs go between two scrapes; what one counted is taken at least this often. */
#define LOOK_SECONDS 5
#define REQUEST_BYTES_MAX 8192
#define REQUEST_SECONDS 10

struct exporter {
	const struct penstockctl *p;
	const char *host;
	uint16_t port;
	size_t max_tunnels;
	struct event_base *base;
	struct evhttp *http;
	struct event *timer, *signals[2];
	struct tunnels *tunnels;
	struct view_reader *view; /* NULL: espd is away */
};

/* Follows espd: a new one has a new file. */
static void look(struct exporter *x)
{
	struct ipsecctl_listing listing;

	if (x->view && !view_reader_is_live(x->view)) {
		view_reader_close(x->view);
		x->view = NULL;
	}
	if (!x->view)
		x->view = listing_view_open(x->p->run_dir, NULL);
	if (!x->view) {
		(void)!tunnels_update(x->tunnels, NULL, (uint64_t)time(NULL));
		return;
	}
	if (listing_read(x->view, &listing) < 0)
		return; /* it changes all the time: what was there last stands */
	if (tunnels_update(x->tunnels, &listing, (uint64_t)time(NULL)) < 0)
		fprintf(stderr, "penstockctl: exporter: no memory\n");
	ipsecctl_listing_free(&listing);
}

static void on_timer(evutil_socket_t fd, short events, void *ctx)
{
	(void)fd;
	(void)events;
	look(ctx);
}

static void on_signal(evutil_socket_t fd, short events, void *ctx)
{
	struct exporter *x = ctx;

	(void)fd;
	(void)events;
	event_base_loopbreak(x->base);
}

static void reply(struct evhttp_request *r, const char *type, const char *text, size_t len)
{
	struct evbuffer *body = evbuffer_new();

	if (!body || evbuffer_add(body, text, len) < 0) {
		evhttp_send_error(r, HTTP_INTERNAL, NULL);
	} else {
		evhttp_add_header(evhttp_request_get_output_headers(r), "Content-Type", type);
		evhttp_send_reply(r, HTTP_OK, "OK", body);
	}
	if (body)
		evbuffer_free(body);
}

static void on_metrics(struct evhttp_request *r, void *ctx)
{
	struct exporter *x = ctx;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out) {
		evhttp_send_error(r, HTTP_INTERNAL, NULL);
		return;
	}
	look(x);
	metrics_write(out, x->view, x->tunnels);
	fclose(out);
	reply(r, METRICS_CONTENT_TYPE, text, len);
	free(text);
}

static void on_root(struct evhttp_request *r, void *ctx)
{
	static const char page[] =
		"<!DOCTYPE html><title>Penstock</title><a href=\"/metrics\">metrics</a>\n";

	(void)ctx;
	reply(r, "text/html; charset=utf-8", page, sizeof(page) - 1);
}

static int listen_parse(struct exporter *x, char *text)
{
	char *colon = strrchr(text, ':'), *end;
	size_t len = colon ? (size_t)(colon - text) : 0;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
	struct ip_addr addr;

	if (!colon || colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > UINT16_MAX)
		goto bad;
	*colon = '\0';
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text[len - 1] = '\0';
		text++;
	}
	if (addr_parse(text, &addr) < 0)
		goto bad;
	x->host = text;
	x->port = (uint16_t)port;
	return 0;
bad:
	fprintf(stderr, "penstockctl: --listen: expected ADDRESS:PORT, as in " LISTEN_DEFAULT "\n");
	return -1;
}

static int options_parse(struct exporter *x, char **words)
{
	for (; *words; words += 2) {
		char *end;

		if (!words[1]) {
			fprintf(stderr, "penstockctl: %s: missing argument\n", words[0]);
			return -1;
		}
		if (strcmp(words[0], "--listen") == 0) {
			if (listen_parse(x, words[1]) < 0)
				return -1;
		} else if (strcmp(words[0], "--max-tunnels") == 0) {
			x->max_tunnels = strtoul(words[1], &end, 10);
			if (words[1][0] < '0' || words[1][0] > '9' || *end != '\0' ||
				x->max_tunnels > TUNNELS_MOST) {
				fprintf(stderr, "penstockctl: --max-tunnels: expected 0 to %d\n",
					TUNNELS_MOST);
				return -1;
			}
		} else {
			fprintf(stderr, "penstockctl: exporter: unknown option: %s\n", words[0]);
			return -1;
		}
	}
	return 0;
}

static int start(struct exporter *x)
{
	const struct timeval interval = {.tv_sec = LOOK_SECONDS};

	x->base = event_base_new();
	x->http = x->base ? evhttp_new(x->base) : NULL;
	x->timer = x->base ? event_new(x->base, -1, EV_PERSIST, on_timer, x) : NULL;
	if (!x->http || !x->timer || event_add(x->timer, &interval) < 0)
		return -ENOMEM;
	for (int i = 0; i < 2; i++) {
		x->signals[i] = evsignal_new(x->base, i ? SIGINT : SIGTERM, on_signal, x);
		if (!x->signals[i] || event_add(x->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	signal(SIGPIPE, SIG_IGN); /* a scraper that went away */
	evhttp_set_allowed_methods(x->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(x->http, REQUEST_BYTES_MAX);
	evhttp_set_max_body_size(x->http, REQUEST_BYTES_MAX);
	evhttp_set_timeout(x->http, REQUEST_SECONDS);
	evhttp_set_cb(x->http, "/metrics", on_metrics, x);
	evhttp_set_cb(x->http, "/", on_root, x);
	if (evhttp_bind_socket(x->http, x->host, x->port) < 0)
		return errno ? -errno : -EADDRNOTAVAIL;
	return 0;
}

static void finish(struct exporter *x)
{
	if (x->http)
		evhttp_free(x->http);
	if (x->timer)
		event_free(x->timer);
	for (int i = 0; i < 2; i++)
		if (x->signals[i])
			event_free(x->signals[i]);
	if (x->base)
		event_base_free(x->base);
	if (x->view)
		view_reader_close(x->view);
	tunnels_destroy(x->tunnels);
}

int penstockctl_exporter(const struct penstockctl *p, char **words)
{
	struct exporter x = {.p = p, .max_tunnels = TUNNELS_DEFAULT};
	char listen_default[] = LISTEN_DEFAULT;
	int rc, status = 1;

	if (listen_parse(&x, listen_default) < 0 || options_parse(&x, words) < 0)
		return 1;
	x.tunnels = tunnels_create(x.max_tunnels);
	rc = x.tunnels ? start(&x) : -ENOMEM;
	if (rc < 0) {
		fprintf(stderr, "penstockctl: exporter: %s port %u: %s\n", x.host, x.port,
			strerror(-rc));
		goto out;
	}
	look(&x);
	status = event_base_dispatch(x.base) < 0;
out:
	finish(&x);
	return status;
}
