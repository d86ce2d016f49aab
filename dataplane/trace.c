#include "dataplane/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"
#include "dataplane/stages.h"

/*
 * The text of a packet is kept in a buffer of its own, chained by nothing: a worker traces at
 * most one burst at a time, so an array beside the burst does.
 */
#define TRACE_LINE 160

static const char *next_name(uint8_t next)
{
	static const char *const names[] = {"given away", "drop", "parse", "to us", "ESP to us",
		"IKE", "reassembly", "SPD in", "SPD out", "protect", "hand-off", "host", "route",
		"fragment", "ICMP error", "transmit"};

	return next < sizeof(names) / sizeof(names[0]) ? names[next] : "?";
}

/* One traced packet: a buffer of the pool that holds its lines. */
static void line_add(struct rte_mbuf *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void line_add(struct rte_mbuf *t, const char *fmt, ...)
{
	char line[TRACE_LINE];
	va_list ap;
	char *at;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	at = n > 0 ? rte_pktmbuf_append(t, (uint16_t)n) : NULL;
	if (at)
		memcpy(at, line, (size_t)n);
}

static void addresses_add(struct rte_mbuf *t, const struct burst *b, unsigned int i)
{
	char src[ADDR_STRLEN], dst[ADDR_STRLEN];
	struct ip_addr s, d;

	if (b->pkt[i].family != 4 && b->pkt[i].family != 6)
		return;
	s = burst_addr(b->pkt[i].family, burst_src(b, i));
	d = burst_addr(b->pkt[i].family, burst_dst(b, i));
	if (b->pkt[i].flags & PKT_PORTS)
		line_add(t, " %s.%u > %s.%u", addr_str(&s, src), b->pkt[i].sport, addr_str(&d, dst),
			b->pkt[i].dport);
	else
		line_add(t, " %s > %s", addr_str(&s, src), addr_str(&d, dst));
	if (b->pkt[i].flags & PKT_L4_OK && (b->pkt[i].proto == 1 || b->pkt[i].proto == 58))
		line_add(t, " type %u code %u", b->pkt[i].sport >> 8, b->pkt[i].sport & 0xff);
	line_add(t, " proto %u len %u", b->pkt[i].proto, b->pkt[i].len);
}

void trace_burst_begin(struct worker *w, struct burst *b)
{
	if (b == &w->aside)
		return;
	for (uint16_t i = 0; i < b->n; i++) {
		w->trace_next[i] = b->next[i];
		/* A burst passes two tables of stages; the text goes on in the second. */
		if (!w->trace_text[i] && b->next[i] != NEXT_NONE)
			w->trace_text[i] = rte_pktmbuf_alloc(w->dp->pool);
	}
	w->trace_n = b->n;
}

void trace_burst_stage(struct worker *w, struct burst *b, const char *stage)
{
	if (b == &w->aside)
		return;
	for (uint16_t i = 0; i < w->trace_n; i++) {
		struct rte_mbuf *t = w->trace_text[i];
		uint8_t next = b->next[i];

		if (!t || next == w->trace_next[i])
			continue;
		w->trace_next[i] = next;
		line_add(t, "%-14s -> %s", stage, next_name(next));
		if (next == NEXT_DROP)
			line_add(t, " (%s: %s)", drop_name(b->drop[i]), drop_text(b->drop[i]));
		else if (next != NEXT_NONE && next != NEXT_PARSE)
			addresses_add(t, b, i);
		if (next == NEXT_ESP_OUT && b->sa[i])
			line_add(t, " spi 0x%08x", b->sa[i]->spi);
		if (next != NEXT_NONE && b->in_sa[i])
			line_add(t, " from spi 0x%08x", b->in_sa[i]->spi);
		line_add(t, "\n");
	}
}

void trace_burst_end(struct worker *w, struct burst *b)
{
	if (b == &w->aside)
		return;
	for (uint16_t i = 0; i < w->trace_n; i++) {
		struct rte_mbuf *t = w->trace_text[i];
		struct pkt_meta *meta;

		if (!t || b->n > i)
			continue; /* it has more stages before it */
		w->trace_text[i] = NULL;
		meta = pkt_meta(t);
		memset(meta, 0, sizeof(*meta));
		meta->kind = PKT_KIND_TRACE;
		if (rte_pktmbuf_data_len(t))
			worker_to_main(w, t);
		else
			rte_pktmbuf_free(t);
	}
}

void capture_packet(struct worker *w, struct rte_mbuf *m, uint16_t l3_off, uint16_t len,
	const struct sa_hot *sa, uint8_t direction)
{
	uint32_t spi = atomic_load_explicit(&w->dp->capture_spi, memory_order_relaxed);
	struct pkt_meta *meta;
	struct rte_mbuf *copy;

	if (!sa || (spi && spi != sa->spi))
		return;
	copy = rte_pktmbuf_copy(m, w->dp->pool, l3_off, len);
	if (!copy)
		return;
	meta = pkt_meta(copy);
	memset(meta, 0, sizeof(*meta));
	meta->kind = PKT_KIND_CAPTURE;
	meta->direction = direction;
	meta->spi = sa->spi;
	meta->orig_len = len;
	worker_to_main(w, copy);
}
