#include "dataplane/esp_out.h"

#include <string.h>

#include <rte_prefetch.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/esp_wire.h"
#include "dataplane/profile.h"

/*
 * RFC 4303 3.3, a burst at a time:
 *   1. may this packet use this SA: owner, state, selectors, size
 *   2. sequence number (3.3.3), padding and trailer (2.4), headers
 *   3. encryption and ICV of all SAs of the burst together (3.3.2)
 *   4. UDP checksum over IPv6, counters, limits
 *
 * TTL or hop limit of a forwarded packet was decremented before (RFC 4301 5.1.2.1).
 */

struct out_work {
	struct crypto_op ops[BURST_MAX];
	uint8_t udp6[BURST_MAX]; /* packets with a UDP checksum to be made */
	unsigned int n, n_udp6;
	uint64_t bytes;
};

/* Packets of one SA, one behind the other: what they have in common is read once. */
struct out_run {
	struct sa_hot *sa;
	const struct suite *suite;
	const struct path *path;
	struct nexthop *hop;
	uint32_t head; /* bytes before the text */
	uint32_t mtu;
	bool is_plain; /* out_plain may take them */
	uint32_t packets, bytes;
};

/* What a packet on its way out is made of. */
struct out_packet {
	const struct path *path;
	uint32_t pad_tfc; /* zeros behind the inner packet */
	uint32_t pad_len;
	bool is_cut_after; /* ESP packet will be longer than the path's MTU */
};

static void out_drop(struct burst *b, unsigned int i, enum drop_reason why)
{
	sa_count_drop(b->sa[i], why);
	burst_drop(b, i, why);
}

/* Longest payload between IV and trailer so that all fits in `room` bytes behind the headers. */
static int32_t payload_max(const struct suite *s, int32_t room)
{
	int32_t text = room - ESP_HDR_LEN - s->iv_len - s->icv_len;
	if (text < s->align)
		return 0;
	return text / s->align * s->align - 2;
}

uint16_t esp_inner_mtu(const struct suite *s, uint16_t outer_mtu, bool is_udp, uint8_t outer_family,
	bool is_tunnel, uint16_t ip_hdr_len)
{
	int32_t headers = is_tunnel ? (outer_family == 4 ? 20 : 40) : ip_hdr_len;
	int32_t payload = payload_max(s, (int32_t)outer_mtu - headers - (is_udp ? UDP_HDR_LEN : 0));
	if (payload <= 0)
		return 0;
	return (uint16_t)(is_tunnel ? payload : payload + ip_hdr_len);
}

uint16_t sa_inner_mtu(const struct sa_hot *sa, uint16_t ip_hdr_len)
{
	const struct path *p = atomic_load_explicit(&sa->path, memory_order_acquire);
	uint16_t mtu = atomic_load_explicit(&p->mtu, memory_order_relaxed);
	return esp_inner_mtu(sa->suite, mtu, p->flags & PATH_UDP, p->family,
		sa->flags & SA_F_TUNNEL, ip_hdr_len);
}

static uint32_t transport_hdr_len(const struct pkt_info *p)
{
	return p->l4_off ? (uint32_t)p->l4_off - p->l3_off : p->ip_hdr_len;
}

/* Payload, padding and trailer: RFC 4303 2.4. */
static inline uint32_t text_len_of(const struct suite *s, uint32_t payload)
{
	return (payload + 2 + s->align - 1) & ~(uint32_t)(s->align - 1);
}

/* Step 1. False: the packet's next is set. */
static bool out_may(struct worker_ctx *w, struct burst *b, unsigned int i)
{
	struct sa_hot *sa = b->sa[i];
	struct rte_mbuf *m = b->m[i];
	enum sa_state state = sa_state(sa);
	if (sad_owner(w->sad, sa) != w->id) {
		b->next[i] = NEXT_HANDOFF;
		return false;
	}
	enum drop_reason why = DROP_NONE;
	if (state != SA_LIVE && state != SA_DYING)
		why = DROP_SA_STATE;
	else if (m->nb_segs != 1)
		why = DROP_CHAINED;
	/* RFC 4301 7 and RFC 4303 3.3.4: transport mode is for whole datagrams. */
	else if (!(sa->flags & SA_F_TUNNEL) && b->pkt[i].flags & PKT_FRAG)
		why = DROP_FRAG_BAD;
	else if (!(b->pkt[i].flags & PKT_KNOWN) && !sa_selectors_match(sa, b, i))
		why = DROP_TS_MISMATCH;
	if (why == DROP_NONE)
		return true;
	out_drop(b, i, why);
	return false;
}

/* The SA's selectors speak of ports, which a later fragment has not. */
static bool has_ports(const struct sa_hot *sa)
{
	for (uint16_t k = 0; k < sa->n_selectors; k++) {
		if (!sa->selectors[k].is_sport_any || !sa->selectors[k].is_dport_any)
			return true;
	}
	return false;
}

/* RFC 4301 8.2: size against the path. False: the packet goes elsewhere. */
static bool out_fits(const struct worker_ctx *w, struct burst *b, unsigned int i, uint16_t inner,
	struct out_packet *o)
{
	const struct pkt_info *p = &b->pkt[i];
	o->is_cut_after = false;
	if (p->len <= inner)
		return true;
	/* RFC 8200 5: 1280 bytes pass everywhere, if need be with the tunnel packet cut. */
	uint16_t limit = p->family == 6 && inner < 1280 ? 1280 : inner;
	o->is_cut_after = true;
	if (p->len <= limit)
		return true;
	b->mtu[i] = limit;
	if (p->flags & PKT_DF) {
		b->next[i] = NEXT_ICMP;
		b->icmp[i] = ICMP_ABOUT_MTU;
		b->drop[i] = DROP_MTU;
		sa_count_drop(b->sa[i], DROP_MTU);
		return false;
	}
	/* RFC 4301 7: fragments would not pass such selectors at the peer; the ESP packet is cut.
	 */
	if (w->config->fragment_before_esp && b->sa[i]->flags & SA_F_TUNNEL &&
		!has_ports(b->sa[i])) {
		b->next[i] = NEXT_FRAGMENT;
		return false;
	}
	return true;
}

/* Asks for more of them, and for another SA in time. */
static void numbers_watch(struct worker_ctx *w, struct sa_hot *sa)
{
	if (seqno_wants_block(&sa->seqno))
		sa_event_raise(w, sa, SA_EV_RESERVE);
	if (unlikely(sa->seqno.next > sa->seqno.near_wrap))
		sa_event_raise(w, sa, SA_EV_WRAP);
}

static bool take_number(struct worker_ctx *w, struct burst *b, unsigned int i, uint64_t *seq)
{
	struct sa_hot *sa = b->sa[i];
	enum seqno_result r = seqno_take(&sa->seqno, seq);
	numbers_watch(w, sa);
	if (r == SEQNO_OK)
		return true;
	out_drop(b, i, r == SEQNO_EXHAUSTED ? DROP_SEQ_EXHAUSTED : DROP_SEQ_RESERVED);
	return false;
}

static uint16_t take_ip_id(struct worker_ctx *w)
{
	uint16_t id = w->ip_id;
	w->ip_id = (uint16_t)(w->ip_id + w->n_workers);
	return id;
}

/* DF of an IPv4 tunnel header: RFC 4301 8.1. Inner IPv6 may not be cut either. */
static bool outer_df(const struct worker_ctx *w, const struct pkt_info *p, bool is_cut_after)
{
	if (is_cut_after || w->config->df_policy == DP_DF_CLEAR)
		return false;
	return w->config->df_policy == DP_DF_SET || p->flags & PKT_DF;
}

/*
 * RFC 6437 3, RFC 6438 3: a label a flow, and the SA is the flow that the outside may see. By inner
 * flows it would tell how many there are, and routers that spread load by it would put one SA's
 * numbers out of order. It hides nothing more than the SPI does.
 */
static uint32_t flow_label(uint32_t spi)
{
	uint32_t label = spi * 0x9e3779b1u >> 12;

	return label ? label : 1;
}

/* Whole words: a checksum over bytes just written one by one would wait for them. */
static inline void put_outer4(struct worker_ctx *w, const struct path *path, uint8_t *ip,
	uint32_t len, uint8_t tos, bool has_df)
{
	uint32_t len_be = __builtin_bswap16((uint16_t)len), df = has_df ? 0x40u : 0;
	uint32_t id_be = __builtin_bswap16(take_ip_id(w)), ttl = w->config->outer_ttl;
	uint32_t sum;
	uint64_t addrs;
	memcpy(&addrs, path->hdr + 12, sizeof(addrs));
	/* Every word as it lies in memory: the sum does not care, and is stored the same way. */
	sum = path->hdr_sum + ((uint32_t)tos << 8) + len_be + id_be + df + ttl;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	esp_store32(ip, 0x45u | (uint32_t)tos << 8 | len_be << 16);
	esp_store32(ip + 4, id_be | df << 16);
	esp_store32(ip + 8, ttl | (uint32_t)path->hdr[9] << 8 | ~sum << 16);
	memcpy(ip + 12, &addrs, sizeof(addrs));
}

/* The path's header in front of ESP, completed; `esp` is the ESP header, esp_len all of it. */
static uint8_t *put_outer(struct worker_ctx *w, const struct pkt_info *p,
	const struct out_packet *o, uint32_t spi, uint8_t *esp, uint32_t esp_len)
{
	const struct path *path = o->path;
	uint8_t *ip = esp - path->hdr_len;
	uint32_t len = path->hdr_len + esp_len;
	/* RFC 4301 5.1.2.1: DSCP is copied or not as configured; RFC 6040 4.1: ECN always. */
	uint8_t tos = (uint8_t)((w->config->copy_dscp ? p->tos & 0xfc : 0) | (p->tos & 3));
	if (path->family == 4) {
		put_outer4(w, path, ip, len, tos, outer_df(w, p, o->is_cut_after));
	} else {
		memcpy(ip, path->hdr, 40);
		put_u32(ip, 6u << 28 | (uint32_t)tos << 20 | flow_label(spi));
		put_u16(ip + 4, (uint16_t)(len - 40));
		ip[7] = w->config->outer_ttl;
	}
	if (path->flags & PATH_UDP) {
		memcpy(esp - UDP_HDR_LEN, path->hdr + path->ip_len, UDP_HDR_LEN);
		put_u16(esp - UDP_HDR_LEN + 4, (uint16_t)(UDP_HDR_LEN + esp_len));
	}
	return ip;
}

/*
 * Transport mode: the packet's own IP header and extension headers (hdr_len bytes, now at `from`)
 * move in front of ESP and name it. Returns the new place.
 */
static uint8_t *put_own(const struct pkt_info *p, const struct path *path, const uint8_t *from,
	uint32_t hdr_len, uint8_t *esp, uint32_t esp_len)
{
	bool is_udp = path->flags & PATH_UDP;
	uint32_t between = is_udp ? UDP_HDR_LEN : 0;
	uint8_t *ip = esp - between - hdr_len;
	uint32_t len = hdr_len + between + esp_len;
	uint32_t nh_at = p->family == 4 ? 9u : p->nh_off ? (uint32_t)p->nh_off - p->l3_off : 6u;
	memmove(ip, from, hdr_len);
	ip[nh_at] = is_udp ? PROTO_UDP : PROTO_ESP;
	if (p->family == 4) {
		put_u16(ip + 2, (uint16_t)len);
		put_u16(ip + 10, 0);
		put_u16(ip + 10, ip4_checksum(ip, hdr_len));
	} else {
		put_u16(ip + 4, (uint16_t)(len - 40));
	}
	if (is_udp) {
		memcpy(esp - UDP_HDR_LEN, path->hdr + path->ip_len, 4);
		put_u16(esp - UDP_HDR_LEN + 4, (uint16_t)(UDP_HDR_LEN + esp_len));
		put_u16(esp - UDP_HDR_LEN + 6, 0);
	}
	return ip;
}

/* RFC 4303 2.4: padding and trailer. */
static inline void put_tail(
	const struct crypto_op *op, uint32_t pad_tfc, uint32_t pad_len, uint8_t next_header)
{
	uint8_t *pad = op->text + op->text_len - 2 - pad_len;
	/* RFC 4303 2.7: TFC padding stands behind the inner packet, whose length is known. */
	if (unlikely(pad_tfc))
		memset(pad - pad_tfc, 0, pad_tfc);
	esp_padding_put(pad, pad_len);
	put_u16(pad + pad_len, (uint16_t)(pad_len << 8 | next_header));
}

/* ESP header and IV. */
static inline void put_head(
	struct worker_ctx *w, const struct suite *s, uint8_t *esp, uint32_t spi, uint64_t seq)
{
	put_u64(esp, (uint64_t)spi << 32 | (uint32_t)seq);
	/* Counter modes: the number is the IV; blocks are reserved, so it is unique under this
	 * key even across a crash (RFC 4106 3.1, RFC 3686 2.1, RFC 7634 2). */
	if (s->kind == SUITE_CBC)
		crypto_mb_iv(w->crypto, esp + ESP_HDR_LEN, s->iv_len);
	else if (s->iv_len)
		put_u64(esp + ESP_HDR_LEN, seq);
}

/* The outer packet as parsed, for the stages behind. */
static void describe_outer(struct burst *b, unsigned int i, const uint8_t *ip, uint32_t len)
{
	struct pkt_info *p = &b->pkt[i];
	uint32_t old_hdr = transport_hdr_len(p);
	uint32_t nh_at = p->nh_off ? (uint32_t)p->nh_off - p->l3_off : 6u;
	bool is_tunnel = b->sa[i]->flags & SA_F_TUNNEL;
	p->l3_off = 0;
	p->len = (uint16_t)len;
	p->family = ip[0] >> 4;
	p->ip_hdr_len = p->family == 4 ? (uint8_t)((ip[0] & 15) * 4) : 40;
	p->l4_off = (uint16_t)(is_tunnel ? p->ip_hdr_len : old_hdr);
	p->nh_off = (uint16_t)(p->family == 4 ? 9 : is_tunnel ? 6 : nh_at);
	p->proto = ip[p->nh_off];
	p->tos = p->family == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
	p->ttl = p->family == 4 ? ip[8] : ip[7];
	p->flags = p->family == 6 || ip[6] & 0x40 ? PKT_DF : 0;
	p->frag_off = 0;
	p->sport = p->dport = 0;
}

/* Counters and limits of what went into the cryptography. */
static void run_end(struct worker_ctx *w, struct out_work *k, struct out_run *r)
{
	struct sa_hot *sa = r->sa;
	if (r->packets == 0)
		return;
	bool is_first = sa->packets == 0;
	numbers_watch(w, sa);
	k->bytes += r->bytes;
	sa->packets += r->packets;
	sa->bytes += r->bytes;
	sa->last_use_s = w->now_s;
	sa_check_bytes(w, sa);
	if (unlikely(is_first))
		sa_event_raise(w, sa, SA_EV_FIRST);
	r->packets = r->bytes = 0;
}

static void run_begin(struct worker_ctx *w, struct out_run *r, struct sa_hot *sa)
{
	enum sa_state state = sa_state(sa);
	const struct path *path = atomic_load_explicit(&sa->path, memory_order_acquire);
	r->sa = sa;
	r->suite = sa->suite;
	r->path = path;
	r->hop = atomic_load_explicit(&path->nexthop, memory_order_acquire);
	r->mtu = atomic_load_explicit(&path->mtu, memory_order_relaxed);
	r->head = path->hdr_len + ESP_HDR_LEN + r->suite->iv_len;
	r->is_plain = sa->flags & SA_F_TUNNEL && path->family == 4 && r->hop && sa->tfc_pad == 0 &&
		      (state == SA_LIVE || state == SA_DYING) && sad_owner(w->sad, sa) == w->id;
}

/* The outer packet of out_plain as parsed, for the stages behind. */
static inline void describe_plain(struct pkt_info *p, const struct path *path, uint8_t tos,
	uint8_t ttl, bool has_df, uint32_t len)
{
	*p = (struct pkt_info){
		.l4_off = 20,
		.len = (uint16_t)len,
		.nh_off = 9,
		.flags = has_df ? PKT_DF : 0,
		.family = 4,
		.proto = path->hdr[9],
		.tos = tos,
		.ttl = ttl,
		.ip_hdr_len = 20,
	};
}

/*
 * Steps 1 and 2 for a packet as nearly all are: tunnel mode in IPv4, far from the MTU, with a
 * number at hand. False: nothing has changed, out_may and out_prepare look at it.
 */
static inline bool out_plain(struct worker_ctx *w, struct out_work *k, struct burst *b,
	unsigned int i, struct out_run *r)
{
	struct sa_hot *sa = r->sa;
	const struct suite *s = r->suite;
	const struct path *path = r->path;
	struct pkt_info *p = &b->pkt[i];
	struct rte_mbuf *m = b->m[i];
	uint32_t inner_len = p->len, text_len = text_len_of(s, inner_len);
	uint32_t len = r->head + text_len + s->icv_len;
	uint32_t start = (uint32_t)m->data_off + p->l3_off;
	uint64_t seq;

	if (len > r->mtu || m->nb_segs != 1 || start < r->head ||
		start + text_len + s->icv_len > m->buf_len ||
		!(p->flags & PKT_KNOWN || esp_selectors_match(sa, b, i)) ||
		seqno_take(&sa->seqno, &seq) != SEQNO_OK)
		return false;
	uint8_t *text = (uint8_t *)m->buf_addr + start;
	uint8_t *esp = text - s->iv_len - ESP_HDR_LEN, *ip = text - r->head;
	uint8_t tos = (uint8_t)((w->config->copy_dscp ? p->tos & 0xfc : 0) | (p->tos & 3));
	bool has_df = outer_df(w, p, false);
	struct crypto_op *op = &k->ops[k->n++];
	*op = (struct crypto_op){
		.suite = s,
		.keys = sa->keys,
		.esp = esp,
		.text = text,
		.text_len = text_len,
		.seq_hi = (uint32_t)(seq >> 32),
		.has_esn = sa->flags & SA_F_ESN,
	};
	put_outer4(w, path, ip, len, tos, has_df);
	if (path->flags & PATH_UDP) {
		memcpy(esp - UDP_HDR_LEN, path->hdr + 20, UDP_HDR_LEN);
		put_u16(esp - UDP_HDR_LEN + 4, (uint16_t)(len - 20));
	}
	put_head(w, s, esp, sa->spi, seq);
	put_tail(op, 0, text_len - 2 - inner_len, p->family == 4 ? PROTO_IPV4 : PROTO_IPV6);
	m->data_off = (uint16_t)(start - r->head);
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	b->esp_seq[i] = seq;
	b->nexthop[i] = r->hop;
	b->mtu[i] = (uint16_t)r->mtu;
	b->next[i] = NEXT_TX;
	describe_plain(p, path, tos, w->config->outer_ttl, has_df, len);
	r->packets++;
	r->bytes += inner_len;
	return true;
}

/* Step 2 for one packet that may go. */
static void out_prepare(struct worker_ctx *w, struct out_work *k, struct burst *b, unsigned int i,
	struct out_run *r)
{
	struct sa_hot *sa = b->sa[i];
	const struct suite *s = sa->suite;
	struct pkt_info *p = &b->pkt[i];
	struct rte_mbuf *m = b->m[i];
	bool is_tunnel = sa->flags & SA_F_TUNNEL;
	uint32_t own_len = is_tunnel ? 0 : transport_hdr_len(p);
	struct out_packet o = {.path = r->path};
	struct nexthop *hop = r->hop;
	if (!hop) {
		out_drop(b, i, DROP_NO_PATH);
		return;
	}
	uint32_t payload = p->len - own_len;
	uint32_t text_len = text_len_of(s, payload);
	uint32_t between = o.path->flags & PATH_UDP ? UDP_HDR_LEN : 0;
	uint32_t front = is_tunnel ? o.path->hdr_len : own_len + between;
	uint32_t head = front + ESP_HDR_LEN + s->iv_len; /* all before the text */
	/* Most packets are far from the MTU: the exact room for the inner one is not needed. */
	if (unlikely(head + text_len + s->icv_len >
			     atomic_load_explicit(&o.path->mtu, memory_order_relaxed) ||
		     sa->tfc_pad)) {
		uint16_t inner_mtu = sa_inner_mtu(sa, (uint16_t)own_len);
		if (!out_fits(w, b, i, inner_mtu, &o))
			return;
		if (is_tunnel && sa->tfc_pad > p->len && inner_mtu > p->len)
			o.pad_tfc = (sa->tfc_pad < inner_mtu ? sa->tfc_pad : inner_mtu) - p->len;
		text_len = text_len_of(s, payload + o.pad_tfc);
	}
	o.pad_len = text_len - 2 - payload - o.pad_tfc;
	uint32_t start = rte_pktmbuf_headroom(m) + p->l3_off + own_len;
	uint32_t end = start + text_len + s->icv_len;
	if (start < head || end > m->buf_len || head + text_len + s->icv_len > UINT16_MAX) {
		out_drop(b, i, DROP_NO_ROOM);
		return;
	}
	uint64_t seq;
	if (!take_number(w, b, i, &seq))
		return;
	uint8_t *own = rte_pktmbuf_mtod_offset(m, uint8_t *, p->l3_off);
	uint8_t next_header = is_tunnel        ? (p->family == 4 ? PROTO_IPV4 : PROTO_IPV6)
			      : p->family == 4 ? own[9]
					       : own[p->nh_off ? p->nh_off - p->l3_off : 6];
	struct crypto_op *op = &k->ops[k->n];
	*op = (struct crypto_op){
		.suite = s,
		.keys = sa->keys,
		.esp = own + own_len - s->iv_len - ESP_HDR_LEN,
		.text = own + own_len,
		.text_len = text_len,
		.seq_hi = (uint32_t)(seq >> 32),
		.has_esn = sa->flags & SA_F_ESN,
	};
	uint32_t esp_len = ESP_HDR_LEN + s->iv_len + text_len + s->icv_len;
	/* Headers first: in transport mode ESP's header comes to stand where they were. */
	uint8_t *ip = is_tunnel ? put_outer(w, p, &o, sa->spi, op->esp, esp_len)
				: put_own(p, o.path, own, own_len, op->esp, esp_len);
	put_head(w, s, op->esp, sa->spi, seq);
	put_tail(op, o.pad_tfc, o.pad_len, next_header);
	uint32_t len = front + esp_len;
	r->packets++;
	r->bytes += p->len;
	m->data_off = (uint16_t)(ip - (uint8_t *)m->buf_addr);
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	b->esp_seq[i] = seq;
	b->nexthop[i] = hop;
	b->mtu[i] = atomic_load_explicit(&o.path->mtu, memory_order_relaxed);
	b->next[i] = len > b->mtu[i] ? NEXT_FRAGMENT : NEXT_TX;
	describe_outer(b, i, ip, len);
	k->n++;
	/* RFC 3948 2.1: zero over IPv4. Over IPv6 zero needs a receiver that follows RFC 6935,
	 * which nobody negotiates, so there it is computed. */
	if (b->pkt[i].family == 6 && b->pkt[i].proto == PROTO_UDP)
		k->udp6[k->n_udp6++] = (uint8_t)i;
}

/* Step 4 for one packet. */
static void udp6_sum(const struct burst *b, unsigned int i)
{
	const struct pkt_info *p = &b->pkt[i];
	uint8_t *ip = rte_pktmbuf_mtod(b->m[i], uint8_t *);
	uint8_t *udp = ip + p->l4_off;
	put_u16(udp + 6, l4_checksum(ip, 6, PROTO_UDP, udp, (uint32_t)p->len - p->l4_off));
}

static inline void out_prefetch(const struct burst *b, uint64_t mask)
{
	const struct sa_hot *last = NULL;
	for (uint64_t left = mask; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		const struct sa_hot *sa = b->sa[i];
		rte_prefetch0(burst_l3(b, i) - 64); /* new headers */
		if (sa == last)
			continue;
		suite_keys_prefetch(sa->suite, sa->keys, b->pkt[i].len);
		rte_prefetch0(atomic_load_explicit(&sa->path, memory_order_relaxed));
		last = sa;
	}
}

void esp_out(struct worker_ctx *w, struct burst *b)
{
	struct out_work k;
	struct out_run run = {0};
	k.n = k.n_udp6 = 0;
	k.bytes = 0;
	const uint64_t mask = burst_mask(b, NEXT_ESP_OUT);
	out_prefetch(b, mask);
	for (uint64_t left = mask; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		if (b->sa[i] != run.sa) {
			run_end(w, &k, &run);
			run_begin(w, &run, b->sa[i]);
		}
		if (run.is_plain && out_plain(w, &k, b, i, &run))
			continue;
		if (out_may(w, b, i))
			out_prepare(w, &k, b, i, &run);
	}
	run_end(w, &k, &run);
	if (k.n == 0)
		return;
	profile_mark(w, PROFILE_ESP_OUT);
	crypto_mb_encrypt(w->crypto, k.ops, k.n);
	profile_mark(w, PROFILE_CRYPTO);
	for (unsigned int j = 0; j < k.n_udp6; j++)
		udp6_sum(b, k.udp6[j]);
	w->esp_out_packets += k.n;
	w->esp_out_bytes += k.bytes;
}
