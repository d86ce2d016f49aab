#include "dataplane/debug_explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/espd.h"
#include "dataplane/explain_items.h"
#include "dataplane/local_addr.h"
#include "dataplane/parse.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"

#define WORDS_MAX 4
#define HEADERS_MAX 64

/* ---- flows ---- */

static const char *flow_text(const struct ipc_flow *f, char buf[320])
{
	static const char *const types[] = {
		"?", "use", "acquire", "require", "deny", "bypass", "dontacq"};
	char src[PREFIX_STRLEN], dst[PREFIX_STRLEN], peer[ADDR_STRLEN];
	int n = snprintf(buf, 320, "%s", f->direction == IPC_DIR_IN ? "in" : "out");

	if (f->proto)
		n += snprintf(buf + n, 320 - (size_t)n, " proto %u", f->proto);
	n += snprintf(buf + n, 320 - (size_t)n, " from %s", prefix_str(&f->src, src));
	if (f->src_port)
		n += snprintf(buf + n, 320 - (size_t)n, " port %u", f->src_port);
	n += snprintf(buf + n, 320 - (size_t)n, " to %s", prefix_str(&f->dst, dst));
	if (f->dst_port)
		n += snprintf(buf + n, 320 - (size_t)n, " port %u", f->dst_port);
	if (f->peer.family)
		n += snprintf(buf + n, 320 - (size_t)n, " peer %s", addr_str(&f->peer, peer));
	snprintf(buf + n, 320 - (size_t)n, " type %s", f->type < 7 ? types[f->type] : "?");
	return buf;
}

struct flow_hits {
	const struct spd_flow *flow;
	uint64_t packets;
	bool is_found;
	char text[320];
};

static void hits_find(void *ctx, const struct spd_flow_view *v)
{
	struct flow_hits *h = ctx;

	if (v->owner != h->flow->owner || v->flow->flow.handle != h->flow->handle)
		return;
	h->is_found = true;
	h->packets = v->packets;
	flow_text(v->flow, h->text);
}

static void flow_lines(struct explain *x, const struct spd_flow *flow)
{
	struct flow_hits hits = {.flow = flow};
	char owner[24];

	if (!flow) {
		explain_item(x, "flow", "none");
		return;
	}
	spd_each(x->e->dp.spd, hits_find, &hits);
	if (hits.is_found)
		explain_item(x, "flow", "%s", hits.text);
	explain_item(x, "flow-owner", "%s", explain_owner(flow->owner, owner));
	explain_number(x, "flow-packets", hits.packets);
}

static void verdict_drop(struct explain *x, enum drop_reason why)
{
	explain_item(x, "verdict", "dropped: %s (%s)", drop_name(why), drop_text(why));
}

/* ---- a packet ---- */

struct packet {
	struct ip_addr src, dst;
	uint16_t sport, dport;
	uint8_t proto;
	uint8_t bytes[HEADERS_MAX]; /* the headers that such a packet has */
	struct pkt_info info;
};

/* The headers, read by the parser of the packet path itself. */
static bool packet_make(struct packet *p)
{
	uint8_t *b = p->bytes;
	uint16_t head = p->src.family == 4 ? 20 : 40, len = (uint16_t)(head + 20);
	uint32_t sum = 0;

	memset(b, 0, sizeof(p->bytes));
	if (p->src.family == 4) {
		b[0] = 0x45;
		b[3] = (uint8_t)len;
		b[8] = 64;
		b[9] = p->proto;
		memcpy(b + 12, p->src.b, 4);
		memcpy(b + 16, p->dst.b, 4);
		for (int i = 0; i < 20; i += 2)
			sum += (uint32_t)(b[i] << 8 | b[i + 1]);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = ~((sum & 0xffff) + (sum >> 16));
		b[10] = (uint8_t)(sum >> 8);
		b[11] = (uint8_t)sum;
	} else {
		b[0] = 0x60;
		b[5] = 20;
		b[6] = p->proto;
		b[7] = 64;
		memcpy(b + 8, p->src.b, 16);
		memcpy(b + 24, p->dst.b, 16);
	}
	b[head] = (uint8_t)(p->sport >> 8);
	b[head + 1] = (uint8_t)p->sport;
	b[head + 2] = (uint8_t)(p->dport >> 8);
	b[head + 3] = (uint8_t)p->dport;
	if (p->proto == 17) /* UDP's length */
		b[head + 5] = 20;
	if (p->proto == 6) /* TCP's */
		b[head + 12] = 0x50;
	return parse_ip(b, len, &p->info) == DROP_NONE;
}

static bool selectors_match(struct espd *e, const struct sa_hot *sa, const struct packet *p)
{
	struct burst *b = calloc(1, sizeof(*b));
	struct rte_mbuf *m = b ? rte_pktmbuf_alloc(e->dp.pool) : NULL;
	char *data = m ? rte_pktmbuf_append(m, sizeof(p->bytes)) : NULL;
	bool match = true;

	if (data) {
		memcpy(data, p->bytes, sizeof(p->bytes));
		b->n = 1;
		b->m[0] = m;
		b->pkt[0] = p->info;
		match = sa_selectors_match(sa, b, 0);
	}
	rte_pktmbuf_free(m);
	free(b);
	return match;
}

static const struct spd_flow *flow_lookup(
	struct espd *e, const struct packet *p, enum ipc_direction direction)
{
	struct spd_packet key;

	parse_spd_packet(p->bytes, &p->info, &key);
	return spd_lookup(e->dp.spd, (uint8_t)direction, &key);
}

static struct sa_hot *flow_sa(struct espd *e, const struct spd_flow *flow)
{
	struct spd_sa_ref ref;

	if (!flow || !spd_flow_sa(flow, &ref))
		return NULL;
	return sad_by_ref(e->dp.sad, (uint64_t)ref.generation << 32 | ref.index);
}

static void clear_out(struct explain *x, const struct packet *p, const char *why)
{
	explain_item(x, "verdict", "goes on in clear%s", why);
	explain_next_hop(x, route_lookup(x->e->dp.router, p->dst.family, p->dst.b));
}

/* RFC 4301 5.1, as stage_spd_out decides. */
static void outbound(struct explain *x, const struct packet *p)
{
	const struct spd_flow *flow = flow_lookup(x->e, p, IPC_DIR_OUT);
	struct sa_hot *sa = flow_sa(x->e, flow);

	flow_lines(x, flow);
	if (!atomic_load(&x->e->dp.is_ready))
		verdict_drop(x, DROP_NOT_READY);
	else if ((!flow && x->e->dp.config.is_default_deny) ||
		 (flow && flow->type == IPC_FLOW_DENY))
		verdict_drop(x, DROP_DENY);
	else if (!flow)
		clear_out(x, p, ": no flow matches");
	else if (flow->type == IPC_FLOW_BYPASS)
		clear_out(x, p, "");
	else if (sa && !selectors_match(x->e, sa, p))
		verdict_drop(x, DROP_TS_MISMATCH);
	else if (sa)
		explain_item(x, "verdict", "encrypted");
	else if (flow->type == IPC_FLOW_USE || flow->type == IPC_FLOW_ACQUIRE)
		clear_out(x, p, ": no SA serves the flow");
	else
		verdict_drop(x, DROP_NO_SA_FOR_FLOW);
	if (sa && flow->type != IPC_FLOW_DENY && flow->type != IPC_FLOW_BYPASS)
		explain_sa(x, sa);
}

/* RFC 4301 5.2 step 4, as stage_spd_in decides about a packet that comes in clear. */
static void inbound(struct explain *x, const struct packet *p)
{
	const struct spd_flow *flow = flow_lookup(x->e, p, IPC_DIR_IN);
	bool wants_sa;

	flow_lines(x, flow);
	if (!flow && !x->e->dp.config.is_default_deny) {
		explain_item(x, "verdict", "in clear: accepted, no flow matches");
		return;
	}
	if (!flow || flow->type == IPC_FLOW_DENY) {
		verdict_drop(x, DROP_DENY);
		return;
	}
	wants_sa = flow->type == IPC_FLOW_REQUIRE || flow->type == IPC_FLOW_DONTACQ ||
		   (flow->type != IPC_FLOW_BYPASS && flow->is_strict_in);
	if (wants_sa)
		explain_item(x, "verdict", "accepted out of an SA only; in clear dropped: %s",
			drop_name(DROP_CLEAR_BUT_PROTECTED));
	else
		explain_item(x, "verdict", "accepted, in clear too");
}

static void packet_line(struct explain *x, const struct packet *p, const char *name)
{
	struct endpoint src = {p->src, p->sport}, dst = {p->dst, p->dport};
	char from[ENDPOINT_STRLEN], to[ENDPOINT_STRLEN];

	if (p->sport || p->dport)
		explain_item(x, name, "%s > %s proto %u", endpoint_str(&src, from),
			endpoint_str(&dst, to), p->proto);
	else
		explain_item(x, name, "%s > %s proto %u", addr_str(&p->src, from),
			addr_str(&p->dst, to), p->proto);
}

static bool is_ours(struct espd *e, const struct ip_addr *a)
{
	struct dp_addresses *d = atomic_load_explicit(&e->dp.addresses, memory_order_acquire);

	return d && local_addrs_class(d->parse.local, a->family, a->b) != LOCAL_NO;
}

static void explain_packet(struct explain *x, struct packet *p)
{
	struct packet back = {.src = p->dst,
		.dst = p->src,
		.sport = p->dport,
		.dport = p->sport,
		.proto = p->proto};
	struct sa_hot *sa, *partner;

	if (!packet_make(p) || !packet_make(&back)) {
		explain_item(x, "error", "no such packet may be forwarded (RFC 1812 5.3.7)");
		return;
	}
	packet_line(x, p, "packet");
	if (is_ours(x->e, &p->dst)) {
		explain_item(x, "to", "an address of this gateway");
		inbound(x, p);
		explain_last_drop(x, &p->src, &p->dst);
		return;
	}
	outbound(x, p);
	explain_last_drop(x, &p->src, &p->dst);
	x->prefix = "answer-";
	packet_line(x, &back, "packet");
	inbound(x, &back);
	sa = flow_sa(x->e, flow_lookup(x->e, p, IPC_DIR_OUT));
	partner = sa ? atomic_load(&sa->partner) : NULL;
	if (partner)
		explain_sa(x, partner);
	explain_last_drop(x, &back.src, &back.dst);
}

/* ---- an SPI ---- */

struct spi_search {
	struct explain *x;
	uint32_t spi;
	unsigned int n;
};

struct served {
	struct explain *x;
	const struct sa_hot *sa;
};

static void served_show(void *ctx, const struct spd_flow_view *v)
{
	const struct served *s = ctx;
	char text[320];

	for (uint32_t i = 0; v->sas && i < v->sas->n; i++) {
		if (((uint64_t)v->sas->sas[i].generation << 32 | v->sas->sas[i].index) !=
			sa_ref(s->sa))
			continue;
		explain_item(s->x, "serves", "%s, %" PRIu64 " packets", flow_text(v->flow, text),
			v->packets);
	}
}

static bool spi_show(struct sa_hot *sa, void *ctx)
{
	struct spi_search *s = ctx;
	struct served served = {s->x, sa};

	if (sa->spi != s->spi)
		return true;
	if (s->x->json)
		fprintf(s->x->f, "%s", s->n ? "," : "");
	else if (s->n)
		fputc('\n', s->x->f);
	s->n++;
	explain_object_begin(s->x);
	explain_sa(s->x, sa);
	if (!s->x->json) /* a member's name may stand once */
		spd_each(s->x->e->dp.spd, served_show, &served);
	explain_last_drop_spi(s->x, sa->spi);
	explain_object_end(s->x);
	return true;
}

static void explain_spi(struct explain *x, uint32_t spi)
{
	struct spi_search s = {.x = x, .spi = spi};

	if (x->json)
		fputc('[', x->f);
	sad_walk(x->e->dp.sad, spi_show, &s);
	if (x->json)
		fputs("]\n", x->f);
	else if (s.n == 0)
		fprintf(x->f, "no SA has the SPI 0x%08x: ESP for it is dropped: %s\n", spi,
			drop_name(DROP_NO_SA));
}

/* ---- words ---- */

/* "10.0.1.2", "10.0.1.2:53", "fd01::1", "[fd01::1]:53". */
static bool endpoint_word(char *word, struct ip_addr *addr, uint16_t *port)
{
	char *colon = strrchr(word, ':'), *end;
	unsigned long value;

	*port = 0;
	if (word[0] == '[') {
		end = strchr(word, ']');
		if (!end || end[1] != ':')
			return false;
		*end = '\0';
		colon = end + 1;
		word++;
	} else if (!colon || strchr(word, ':') != colon) {
		return addr_parse(word, addr) == 0;
	}
	*colon = '\0';
	value = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || value > UINT16_MAX)
		return false;
	*port = (uint16_t)value;
	return addr_parse(word, addr) == 0;
}

static bool proto_word(const char *word, uint8_t *proto)
{
	static const struct {
		const char *name;
		uint8_t number;
	} names[] = {{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"icmp6", 58}, {"ipv6-icmp", 58},
		{"sctp", 132}, {"gre", 47}, {"esp", 50}};
	unsigned long value;
	char *end;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(word, names[i].name) == 0) {
			*proto = names[i].number;
			return true;
		}
	}
	value = strtoul(word, &end, 10);
	*proto = (uint8_t)value;
	return *word >= '0' && *word <= '9' && *end == '\0' && value <= 255;
}

static bool packet_words(char *const *words, unsigned int n, struct packet *p)
{
	if (!endpoint_word(words[0], &p->src, &p->sport) ||
		!endpoint_word(words[1], &p->dst, &p->dport) || p->src.family != p->dst.family)
		return false;
	if (n == 3)
		return proto_word(words[2], &p->proto);
	/* With a port it is TCP, else a ping. */
	p->proto = p->sport || p->dport ? 6 : p->src.family == 4 ? 1 : 58;
	return true;
}

/* False: these words are no question. */
static bool explain_words(struct explain *x, char **words, unsigned int n)
{
	struct packet p = {.proto = 0};
	unsigned long spi;
	char *end = NULL;

	if (n == 1) {
		spi = strtoul(words[0], &end, 0);
		if (words[0][0] >= '0' && words[0][0] <= '9' && *end == '\0' && spi > 0 &&
			spi <= UINT32_MAX) {
			explain_spi(x, (uint32_t)spi);
			return true;
		}
	}
	if (n < 2 || n > 3 || !packet_words(words, n, &p))
		return false;
	explain_object_begin(x);
	explain_packet(x, &p);
	explain_object_end(x);
	return true;
}

char *debug_explain(struct espd *e, const char *words, bool *is_question)
{
	struct explain x = {.e = e, .prefix = ""};
	char copy[256], *list[WORDS_MAX], *save = NULL, *text = NULL;
	unsigned int n = 0;
	size_t len;

	snprintf(copy, sizeof(copy), "%s", words);
	(void)strtok_r(copy, " ", &save); /* "explain" */
	for (char *w = strtok_r(NULL, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (strcmp(w, "--json") == 0)
			x.json = true;
		else if (n < WORDS_MAX)
			list[n++] = w;
	}
	x.f = open_memstream(&text, &len);
	if (!x.f)
		return NULL;
	*is_question = explain_words(&x, list, n);
	fclose(x.f);
	return text;
}
