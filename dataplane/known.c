#include "dataplane/known.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/forward.h"
#include "dataplane/parse_plain.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"
#include "dataplane/stages.h"

#define ETH_LEN 14
#define TCP_SYN 0x02

/*
 * Where few packets find an entry, asking costs more than it saves: after TRY_PACKETS with fewer
 * than one hit in four the table is left alone for REST_BURSTS.
 */
#define TRY_PACKETS 1024
#define REST_BURSTS 512

struct known_key {
	uint64_t addrs;            /* source and destination as they lie in the packet */
	uint64_t rest;             /* ports likewise, above them the protocol */
	const struct sa_hot *from; /* the SA that it came by, or NULL */
};

struct known_entry {
	struct known_key key;
	uint64_t version; /* 0: empty */
	const struct spd_flow *in_flow, *out_flow;
	/* One of these: it is protected, and its selectors were checked; or it goes on in clear.
	 * Neither: ESP for us. */
	struct sa_hot *sa;
	struct nexthop *nexthop;
};
_Static_assert(sizeof(struct known_entry) == 64, "one cache line");

struct known {
	struct known_entry entries[KNOWN_ENTRIES] __attribute__((aligned(64)));
	uint64_t seed;
	uint64_t version;
	bool is_on;                /* in this burst */
	uint32_t n_tried, n_found; /* since the last verdict */
	uint32_t rest;             /* bursts for which the table is left alone */
};

/* Packets of one entry, one behind the other: their counters are written once. */
struct known_run {
	const struct known_entry *of;
	uint32_t packets, bytes;
};

struct known *known_create(uint64_t seed)
{
	struct known *k = aligned_alloc(64, sizeof(*k));

	if (!k)
		return NULL;
	memset(k, 0, sizeof(*k));
	k->seed = seed;
	return k;
}

void known_destroy(struct known *k)
{
	free(k);
}

/* Each only rises, so the sum is the same as long as each of them is. */
static uint64_t version_now(const struct worker *w)
{
	return 1 + spd_version(w->dp->spd) + sad_version(w->dp->sad) +
	       router_version(w->dp->router) +
	       atomic_load_explicit(&w->dp->version, memory_order_acquire);
}

static void verdict(struct known *k)
{
	if (k->n_tried < TRY_PACKETS)
		return;
	if (k->n_found < k->n_tried / 4)
		k->rest = REST_BURSTS;
	k->n_tried = k->n_found = 0;
}

void known_begin(struct worker *w, struct burst *b)
{
	struct known *k = w->known;

	b->may_learn = 0;
	k->version = version_now(w);
	verdict(k);
	k->is_on = k->rest == 0 && w->ctx.is_ready && !capture_is_on(w) &&
		   atomic_load_explicit(&w->dp->n_traces, memory_order_relaxed) == 0;
	k->rest -= k->rest > 0;
}

_Static_assert(KNOWN_ENTRIES == 1 << 10, "the hash's upper 10 bits");

static inline struct known_entry *entry_at(struct known *k, const struct known_key *key)
{
	uint64_t h = (key->addrs ^ k->seed ^ (uintptr_t)key->from) * 0x9e3779b97f4a7c15ULL;

	h = (h ^ h >> 32 ^ key->rest) * 0xd6e8feb86659fd93ULL;
	return &k->entries[h >> 54];
}

static inline const struct known_entry *entry_find(struct known *k, struct known_key key)
{
	const struct known_entry *e = entry_at(k, &key);
	uint64_t differs = (e->key.addrs ^ key.addrs) | (e->key.rest ^ key.rest) |
			   ((uintptr_t)e->key.from ^ (uintptr_t)key.from) |
			   (e->version ^ k->version);

	return differs == 0 ? e : NULL;
}

static void run_end(struct worker *w, const struct known_run *r)
{
	const struct known_entry *e = r->of;

	if (!e)
		return;
	w->known->n_found += r->packets;
	w->n_known += r->packets;
	if (e->in_flow)
		spd_flow_hits(w->dp->spd, e->in_flow, w->id, r->packets, r->bytes);
	if (e->out_flow)
		spd_flow_hits(w->dp->spd, e->out_flow, w->id, r->packets, r->bytes);
	if (e->nexthop)
		w->bypassed += r->packets;
}

static inline void run_add(
	struct worker *w, struct known_run *r, const struct known_entry *e, uint32_t bytes)
{
	if (r->of != e) {
		run_end(w, r);
		*r = (struct known_run){.of = e};
		if (e->sa)
			sa_prefetch(e->sa);
	}
	r->packets++;
	r->bytes += bytes;
}

static inline uint64_t load64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static inline bool is_syn(const uint8_t *l4, uint8_t proto)
{
	return proto == PARSE_TCP && l4[13] & TCP_SYN;
}

/*
 * RFC 4301 5.1.2.1: the TTL goes down before encryption. False: the stages see to it, as an error,
 * fragments or a question for the neighbour would come of it.
 */
static inline bool goes_on(const struct known_entry *e, uint8_t *ip, uint32_t len)
{
	const struct nexthop *nh = e->nexthop;

	if (!nh && !e->sa)
		return true;
	if (nh && (atomic_load_explicit(&nh->state, memory_order_acquire) != NEXTHOP_VALID ||
			  len > atomic_load_explicit(&nh->mtu, memory_order_relaxed)))
		return false;
	return !is_syn(ip + 20, ip[9]) && forward_ttl_lower4(ip);
}

static inline void go(struct burst *b, unsigned int i, const struct known_entry *e)
{
	b->flow[i] = e->out_flow;
	b->sa[i] = e->sa;
	b->nexthop[i] = e->nexthop;
	b->next[i] = e->sa ? NEXT_ESP_OUT : e->nexthop ? NEXT_TX : NEXT_ESP_IN;
}

/* Of the packet at ip: only what has ports is told apart by them. */
static inline struct known_key key_of(
	const uint8_t *ip, uint8_t proto, uint16_t flags, const struct sa_hot *from)
{
	uint64_t ports = flags & PKT_PORTS ? parse_load32(ip + 20) : 0;

	return (struct known_key){load64(ip + 12), (uint64_t)proto << 32 | ports, from};
}

/*
 * For this station, untagged IPv4 without options in one buffer. What parse_v4_plain asks of the
 * addresses is not asked again: those of an entry were good.
 */
static inline bool frame_is_plain(const struct rte_mbuf *m, const uint8_t *frame, uint64_t mac)
{
	const uint8_t *ip = frame + ETH_LEN;
	uint64_t w0, w1;
	uint32_t avail = (uint32_t)m->data_len - ETH_LEN, len;
	uint64_t sum;

	if (m->nb_segs != 1 || m->data_len < ETH_LEN + 28 || load64(frame) << 16 != mac)
		return false;
	w0 = load64(ip);
	w1 = load64(ip + 8);
	sum = (w0 >> 32) + (uint32_t)w0 + (w1 >> 32) + (uint32_t)w1 + parse_load32(ip + 16);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	len = __builtin_bswap16((uint16_t)(w0 >> 16));
	/* Type, version and header length; fragment bits and offset. */
	return (parse_load32(frame + 12) & 0xffffff) == 0x450008 && sum == 0xffff &&
	       (w0 >> 48 & 0xff3f) == 0 && len >= 28 && len <= avail;
}

static inline void describe(
	struct pkt_info *p, const uint8_t *ip, uint32_t len, uint8_t proto, uint16_t flags)
{
	uint32_t ports = flags & PKT_PORTS ? __builtin_bswap32(parse_load32(ip + 20)) : 0;

	*p = (struct pkt_info){
		.l3_off = ETH_LEN,
		.l4_off = ETH_LEN + 20,
		.len = (uint16_t)len,
		.nh_off = ETH_LEN + 9,
		.flags = flags | (ip[6] & 0x40 ? PKT_DF : 0),
		.sport = (uint16_t)(ports >> 16),
		.dport = (uint16_t)ports,
		.family = 4,
		.proto = proto,
		.tos = ip[1],
		.ttl = ip[8],
		.ip_hdr_len = 20,
	};
}

/* A frame at NEXT_PARSE. NULL: it is left as it is. */
static inline const struct known_entry *from_port(
	struct known *k, struct burst *b, unsigned int i, uint64_t mac)
{
	struct rte_mbuf *m = b->m[i];
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), *ip = frame + ETH_LEN;
	const struct known_entry *e;
	uint32_t len;
	uint16_t flags;

	if (!frame_is_plain(m, frame, mac))
		return NULL;
	len = parse_be16(ip + 2);
	flags = parse_plain_transport(ip + 20, ip[9], len - 20);
	if (flags == 0)
		return NULL;
	e = entry_find(k, key_of(ip, ip[9], flags, NULL));
	if (!e || !goes_on(e, ip, len))
		return NULL;
	describe(&b->pkt[i], ip, len, ip[9], flags | (e->sa ? PKT_KNOWN : 0));
	m->data_len = (uint16_t)(ETH_LEN + len); /* the link's padding is cut off */
	m->pkt_len = ETH_LEN + len;
	return e;
}

/* Of what the slot held in the burst before. */
static inline void slot_clear(struct burst *b, unsigned int i)
{
	b->sa[i] = b->in_sa[i] = NULL;
	b->in_flow[i] = b->flow[i] = NULL;
	b->nexthop[i] = NULL;
}

void known_from_port(struct worker *w, struct burst *b)
{
	struct known_run run = {0};
	/* All of a burst came by one port. */
	const uint64_t mac = load64(w->dp->ports[b->port[0]].mac) << 16;

	if (!w->known->is_on) {
		for (unsigned int i = 0; i < b->n; i++)
			slot_clear(b, i);
		return;
	}
	for (unsigned int i = 0; i < b->n; i++) {
		const struct known_entry *e = from_port(w->known, b, i, mac);

		if (!e) {
			slot_clear(b, i);
			continue;
		}
		b->in_sa[i] = NULL;
		b->in_flow[i] = NULL;
		go(b, i, e);
		run_add(w, &run, e, b->pkt[i].len);
	}
	w->known->n_tried += b->n;
	run_end(w, &run);
}

#define PLAIN_MASK (PKT_FRAG | PKT_OPTIONS | PKT_FROM_HOST | PKT_REJOIN | PKT_UDP_ENCAP | PKT_L4_OK)

static inline bool is_plain(const struct pkt_info *p)
{
	return p->family == 4 && (p->flags & PLAIN_MASK) == PKT_L4_OK && p->ip_hdr_len == 20;
}

void known_from_sa(struct worker *w, struct burst *b)
{
	struct known_run run = {0};
	uint64_t mask = burst_mask(b, NEXT_SPD_IN);

	if (!w->known->is_on || !mask)
		return;
	for (uint64_t left = mask; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		const struct known_entry *e;
		uint8_t *ip = burst_l3(b, i);
		struct pkt_info *p = &b->pkt[i];

		if (!(p->flags & PKT_FROM_SA) || !(p->flags & PKT_PORTS) || !is_plain(p))
			continue;
		w->known->n_tried++;
		e = entry_find(w->known, key_of(ip, p->proto, p->flags, b->in_sa[i]));
		if (!e || !goes_on(e, ip, p->len))
			continue;
		p->ttl--;
		p->flags |= e->sa ? PKT_KNOWN : 0;
		go(b, i, e);
		run_add(w, &run, e, p->len);
	}
	run_end(w, &run);
}

static void learn(struct worker *w, const struct burst *b, unsigned int i, struct sa_hot *sa,
	struct nexthop *nexthop)
{
	const struct pkt_info *p = &b->pkt[i];
	struct known_key key = key_of(burst_l3(b, i), p->proto, p->flags, b->in_sa[i]);

	*entry_at(w->known, &key) = (struct known_entry){
		.key = key,
		.version = w->known->version,
		.in_flow = b->in_flow[i],
		.out_flow = b->flow[i],
		.sa = sa,
		.nexthop = nexthop,
	};
}

void known_learn_ours(struct worker *w, const struct burst *b, uint64_t mask)
{
	for (uint64_t left = w->known->is_on ? mask : 0; left; left &= left - 1) {
		unsigned int i = burst_first(left);

		if (is_plain(&b->pkt[i]) && b->pkt[i].proto == PARSE_ESP)
			learn(w, b, i, NULL, NULL);
	}
}

void known_learn(struct worker *w, const struct burst *b, uint64_t mask)
{
	for (uint64_t left = w->known->is_on ? mask & b->may_learn : 0; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		struct sa_hot *sa = b->sa[i];

		if (!is_plain(&b->pkt[i]) || !(b->pkt[i].flags & PKT_PORTS))
			continue;
		/* A flow that wants an SA asks for one again and again. */
		if (!sa && (!b->flow[i] || b->flow[i]->type != IPC_FLOW_ACQUIRE))
			learn(w, b, i, NULL, b->nexthop[i]);
		else if (sa && sad_owner(w->dp->sad, sa) == w->id && sa_selectors_match(sa, b, i))
			learn(w, b, i, sa, NULL);
	}
}
