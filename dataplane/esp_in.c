#include "dataplane/esp_in.h"

#include <string.h>

#include <rte_ip.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/esp_wire.h"
#include "dataplane/parse.h"
#include "dataplane/parse_plain.h"
#include "dataplane/profile.h"

/*
 * RFC 4303 3.4, a burst at a time:
 *   1. lengths, full sequence number, replay check (3.4.3)
 *   2. verify and decrypt, all SAs of the burst together (3.4.4)
 *   3. replay check again and update: the burst may hold two copies of one packet
 *   4. padding and next header (2.4, 2.6), decapsulation (RFC 4301 5.1.2), ECN (RFC 6040)
 *   5. selectors of the SA (RFC 4301 5.2 step 4)
 */

struct in_work {
	struct crypto_op ops[BURST_MAX];
	uint8_t at[BURST_MAX]; /* packet of the operation */
	unsigned int n;
	uint64_t packets, bytes; /* with a right ICV */
};

/* Packets of one SA, one behind the other: their counters are written once. */
struct in_run {
	struct sa_hot *sa;
	uint64_t packets, bytes;
	uint64_t room; /* bytes to the next limit */
};

static void in_drop(struct burst *b, unsigned int i, enum drop_reason why)
{
	sa_count_drop(b->sa[i], why);
	burst_drop(b, i, why);
}

static enum drop_reason replay_reason(enum replay_verdict v)
{
	return v == REPLAY_HELD ? DROP_REPLAY_HELD : DROP_REPLAY;
}

/* Bytes of ESP at `off`, or -1: in UDP the datagram's own length counts. */
static int32_t esp_len(const struct burst *b, unsigned int i, uint32_t *off)
{
	const struct pkt_info *p = &b->pkt[i];
	int32_t len = (int32_t)p->l3_off + p->len - p->l4_off;
	*off = p->l4_off;
	if (!(p->flags & PKT_UDP_ENCAP))
		return len;
	if (len < 8)
		return -1;
	int32_t udp_len = get_u16(rte_pktmbuf_mtod_offset(b->m[i], uint8_t *, p->l4_off + 4));
	*off += 8;
	return udp_len < 8 || udp_len > len ? -1 : udp_len - 8;
}

/* Step 1 for one packet. */
static void in_prepare(struct in_work *k, struct burst *b, unsigned int i)
{
	struct sa_hot *sa = b->sa[i];
	const struct suite *s = sa->suite;
	struct rte_mbuf *m = b->m[i];
	uint32_t off;
	int32_t len = esp_len(b, i, &off);
	if (m->nb_segs != 1) {
		in_drop(b, i, DROP_CHAINED);
		return;
	}
	/* RFC 4303 3.4.1: what is still a fragment is not ESP input. */
	if (len < 0 || b->pkt[i].flags & PKT_FRAG || off + (uint32_t)len > m->data_len) {
		in_drop(b, i, DROP_MALFORMED);
		return;
	}
	int32_t text_len = len - ESP_HDR_LEN - s->iv_len - s->icv_len;
	if (text_len < s->align || text_len & (s->align - 1)) {
		in_drop(b, i, DROP_BAD_ESP);
		return;
	}
	uint8_t *esp = rte_pktmbuf_mtod_offset(m, uint8_t *, off);
	uint64_t seq = sa->replay.has_esn ? replay_infer(&sa->replay, get_u32(esp + 4))
					  : get_u32(esp + 4);
	/* Above all that came: nearly every packet. */
	enum replay_verdict v = seq > sa->replay.top ? REPLAY_OK : replay_check(&sa->replay, seq);
	if (v != REPLAY_OK) {
		in_drop(b, i, replay_reason(v));
		return;
	}
	b->esp_seq[i] = seq;
	k->at[k->n] = (uint8_t)i;
	k->ops[k->n++] = (struct crypto_op){
		.suite = s,
		.keys = sa->keys,
		.esp = esp,
		.text = esp + ESP_HDR_LEN + s->iv_len,
		.text_len = (uint32_t)text_len,
		.seq_hi = (uint32_t)(seq >> 32),
		.has_esn = sa->flags & SA_F_ESN,
	};
}

/*
 * RFC 7296 2.23 and design: only a packet with a right ICV that moves the window may show that
 * the NAT gave the peer another address or port. The engine decides what to do about it.
 */
static void in_note_source(struct worker_ctx *w, const struct burst *b, unsigned int i)
{
	struct sa_hot *sa = b->sa[i];
	const struct path *path = atomic_load_explicit(&sa->path, memory_order_acquire);
	if (!(path->flags & PATH_PEER_NATTED))
		return;
	uint16_t port = get_u16(rte_pktmbuf_mtod_offset(b->m[i], uint8_t *, b->pkt[i].l4_off));
	const uint8_t *src = burst_src(b, i);
	if (path->family == b->pkt[i].family && port == path->remote.port &&
		memcmp(src, path->remote.addr.b, addr_len(path->family)) == 0)
		return;
	struct sa_cold *c = sa->cold;
	uint32_t pending = atomic_load_explicit(&sa->events, memory_order_acquire);
	if (pending & SA_EV_NAT || (c->nat_reported_s && w->now_s == c->nat_reported_s))
		return;
	c->nat_seen.addr = burst_addr(b->pkt[i].family, src);
	c->nat_seen.port = port;
	c->nat_reported_s = w->now_s;
	sa_event_raise(w, sa, SA_EV_NAT);
}

/* RFC 4303 2.4: the padding is 1, 2, 3 ... and shows a wrong key or a forged tail. */
static bool padding_is_right(const uint8_t *text, uint32_t text_len, uint32_t *payload_len)
{
	uint32_t pad_len = text[text_len - 2];
	if (pad_len + 2 > text_len)
		return false;
	*payload_len = text_len - 2 - pad_len;
	return esp_padding_is_right(text + *payload_len, pad_len);
}

/* RFC 6040 4.2, figure 4: [inner][outer] gives the new inner ECN; 0xff drops. */
static const uint8_t ecn_decap[4][4] = {
	/* outer Not-ECT, ECT(1), ECT(0), CE */
	[0] = {0, 0, 0, 0xff},
	[1] = {1, 1, 1, 3},
	[2] = {2, 1, 2, 3},
	[3] = {3, 3, 3, 3},
};

static void set_ecn(uint8_t *ip, uint8_t family, uint8_t tos, uint8_t ecn)
{
	uint8_t new_tos = (uint8_t)((tos & ~3) | ecn);
	if (family == 6) {
		ip[1] = (uint8_t)((ip[1] & 0x0f) | new_tos << 4);
		return;
	}
	/* RFC 1624: the checksum follows the one changed word. */
	uint32_t sum = (uint16_t)~get_u16(ip + 10);
	sum += (uint16_t)~get_u16(ip) & 0xffff;
	ip[1] = new_tos;
	sum += get_u16(ip);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put_u16(ip + 10, (uint16_t)~sum);
}

/*
 * The clear packet at mtod, checked as one that came in by a port. The bytes that are there are
 * m's data_len; the packet may be shorter.
 */
static enum drop_reason parse_clear(const struct rte_mbuf *m, struct pkt_info *p)
{
	if (m->data_len >= 28 &&
		parse_v4_plain(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, p))
		return DROP_NONE;
	p->l3_off = 0;
	enum drop_reason why = parse_ip(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, p);
	return why == DROP_MALFORMED ? DROP_BAD_INNER : why;
}

/* Tunnel mode: the inner packet becomes the packet. */
static enum drop_reason in_tunnel(
	struct burst *b, unsigned int i, const struct crypto_op *op, uint32_t payload_len)
{
	struct rte_mbuf *m = b->m[i];
	struct pkt_info *p = &b->pkt[i];
	uint8_t next_header = op->text[op->text_len - 1];
	uint8_t outer_ecn = p->tos & 3;
	uint16_t skip = (uint16_t)(op->text - rte_pktmbuf_mtod(m, uint8_t *));
	rte_pktmbuf_adj(m, skip);
	m->data_len = (uint16_t)payload_len;
	m->pkt_len = payload_len;
	enum drop_reason why = parse_clear(m, p);
	if (why != DROP_NONE)
		return why;
	/* RFC 4303 2.6: the next header names what is inside. */
	if (next_header != (p->family == 4 ? PROTO_IPV4 : PROTO_IPV6))
		return DROP_BAD_INNER;
	/* RFC 4303 2.7: what follows the inner packet is TFC padding. */
	m->data_len = p->len;
	m->pkt_len = p->len;
	uint8_t ecn = ecn_decap[p->tos & 3][outer_ecn];
	if (ecn == 0xff)
		return DROP_ECN;
	if (ecn != (p->tos & 3)) {
		set_ecn(rte_pktmbuf_mtod(m, uint8_t *), p->family, p->tos, ecn);
		p->tos = (uint8_t)((p->tos & ~3) | ecn);
	}
	p->flags |= PKT_TUNNELLED;
	return DROP_NONE;
}

/*
 * RFC 3948 3.1.2: the NAT changed addresses that the transport checksum covers. The ICV has
 * proved the payload, so the checksum is made anew.
 */
static void fix_transport_checksum(const struct burst *b, unsigned int i)
{
	const struct pkt_info *p = &b->pkt[i];
	uint8_t *ip = burst_l3(b, i);
	uint8_t *l4 = rte_pktmbuf_mtod_offset(b->m[i], uint8_t *, p->l4_off);
	uint32_t len = (uint32_t)p->len - (uint32_t)(l4 - ip);
	uint32_t at = p->proto == PROTO_TCP ? 16 : 6;
	if ((p->proto != PROTO_TCP && p->proto != PROTO_UDP) || p->flags & PKT_FRAG || len < at + 2)
		return;
	if (p->proto == PROTO_UDP && p->family == 4 && get_u16(l4 + at) == 0)
		return;
	put_u16(l4 + at, 0);
	put_u16(l4 + at, l4_checksum(ip, p->family, p->proto, l4, len));
}

/* Transport mode: the outer IP header moves up to the payload. */
static enum drop_reason in_transport(
	struct burst *b, unsigned int i, const struct crypto_op *op, uint32_t payload_len)
{
	struct rte_mbuf *m = b->m[i];
	struct pkt_info *p = &b->pkt[i];
	bool is_udp = p->flags & PKT_UDP_ENCAP;
	uint8_t next_header = op->text[op->text_len - 1];
	uint8_t *ip = burst_l3(b, i);
	uint32_t hdr_len = (uint32_t)p->l4_off - p->l3_off;
	uint32_t nh_at = p->family == 4 ? 9u : p->nh_off ? (uint32_t)p->nh_off - p->l3_off : 6u;
	if (hdr_len + payload_len > UINT16_MAX || nh_at >= hdr_len)
		return DROP_BAD_INNER;
	uint8_t *to = op->text - hdr_len;
	memmove(to, ip, hdr_len);
	to[nh_at] = next_header;
	uint32_t len = hdr_len + payload_len;
	if (p->family == 4) {
		put_u16(to + 2, (uint16_t)len);
		put_u16(to + 10, 0);
		put_u16(to + 10, ip4_checksum(to, (uint32_t)(to[0] & 15) * 4));
	} else {
		put_u16(to + 4, (uint16_t)(len - 40));
	}
	rte_pktmbuf_adj(m, (uint16_t)(to - rte_pktmbuf_mtod(m, uint8_t *)));
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	enum drop_reason why = parse_clear(m, p);
	if (why != DROP_NONE)
		return why;
	if (is_udp)
		fix_transport_checksum(b, i);
	return DROP_NONE;
}

/* Counters and limits, for packets whose ICV was right. */
static void run_count(struct worker_ctx *w, struct in_work *k, struct in_run *r)
{
	struct sa_hot *sa = r->sa;
	if (r->packets == 0)
		return;
	bool is_first = sa->packets == 0;
	sa->packets += r->packets;
	sa->bytes += r->bytes;
	sa->last_use_s = w->now_s;
	k->packets += r->packets;
	k->bytes += r->bytes;
	r->packets = r->bytes = 0;
	if (unlikely(is_first)) {
		/* RFC 7296 2.8: now the peer has the new SA, our traffic may move to it. */
		struct sa_hot *partner = atomic_load_explicit(&sa->partner, memory_order_acquire);
		uint8_t larval = SA_LARVAL;
		if (partner)
			atomic_compare_exchange_strong(&partner->state, &larval, SA_LIVE);
		sa_event_raise(w, sa, SA_EV_FIRST);
	}
	sa_check_bytes(w, sa);
}

/* A limit that a packet reaches holds for the next one of the same burst. */
static void run_begin(struct in_run *r, struct sa_hot *sa)
{
	uint64_t soft = atomic_load_explicit(&sa->soft_bytes, memory_order_relaxed);
	r->sa = sa;
	r->room = soft > sa->bytes ? soft - sa->bytes : 0;
}

static inline void in_count(
	struct worker_ctx *w, struct in_work *k, struct in_run *r, uint32_t bytes)
{
	r->packets++;
	r->bytes += bytes;
	if (unlikely(r->bytes >= r->room)) {
		run_count(w, k, r);
		run_begin(r, r->sa);
	}
}

/*
 * replay_update for the next number of the word where the window's top is, with nothing to be
 * stored. False: nothing has changed.
 */
static inline bool replay_advance(struct replay *r, uint64_t seq)
{
	if (seq <= r->top || (seq ^ r->top) >> 6 || r->window == 0 ||
		(r->stored_top && seq - r->stored >= r->window / 2))
		return false;
	r->top = seq;
	r->words[seq / 64 & r->word_mask] |= UINT64_C(1) << (seq & 63);
	return true;
}

/* Steps 3 to 5 for one packet. */
static void in_finish(
	struct worker_ctx *w, struct in_work *k, struct in_run *r, struct burst *b, unsigned int j)
{
	struct crypto_op *op = &k->ops[j];
	unsigned int i = k->at[j];
	struct sa_hot *sa = b->sa[i];
	uint32_t payload_len;
	bool advanced = true;
	if (!op->is_ok) {
		in_drop(b, i, DROP_BAD_ICV);
		return;
	}
	enum replay_verdict v = replay_advance(&sa->replay, b->esp_seq[i])
					? REPLAY_OK
					: replay_update(&sa->replay, b->esp_seq[i], &advanced);
	if (v != REPLAY_OK) {
		in_drop(b, i, replay_reason(v));
		return;
	}
	if (sa_state(sa) == SA_DEAD) {
		in_drop(b, i, DROP_SA_STATE);
		return;
	}
	if (advanced && b->pkt[i].flags & PKT_UDP_ENCAP)
		in_note_source(w, b, i);
	if (!padding_is_right(op->text, op->text_len, &payload_len)) {
		in_drop(b, i, DROP_BAD_PADDING);
		return;
	}
	in_count(w, k, r, payload_len);
	/* RFC 4303 2.6: next header 59 is a dummy packet, dropped without a word. */
	if (op->text[op->text_len - 1] == PROTO_NONE) {
		in_drop(b, i, DROP_DUMMY);
		return;
	}
	enum drop_reason why = sa->flags & SA_F_TUNNEL ? in_tunnel(b, i, op, payload_len)
						       : in_transport(b, i, op, payload_len);
	if (why == DROP_NONE && !esp_selectors_match(sa, b, i))
		why = DROP_TS_MISMATCH;
	if (why != DROP_NONE) {
		in_drop(b, i, why);
		return;
	}
	b->pkt[i].flags |= PKT_FROM_SA;
	b->in_sa[i] = sa;
	b->sa[i] = NULL;
	b->next[i] = NEXT_SPD_IN;
}

void esp_in(struct worker_ctx *w, struct burst *b)
{
	const uint64_t mask = burst_mask(b, NEXT_ESP_IN);
	struct in_work k;
	struct in_run run = {0};
	const struct sa_hot *last = NULL;
	k.n = 0;
	k.packets = k.bytes = 0;
	for (uint64_t left = mask; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		const struct sa_hot *sa = b->sa[i];
		if (sa == last)
			continue;
		suite_keys_prefetch(sa->suite, sa->keys, b->pkt[i].len);
		replay_prefetch(&sa->replay);
		last = sa;
	}
	for (uint64_t left = mask; left; left &= left - 1)
		in_prepare(&k, b, burst_first(left));
	if (k.n == 0)
		return;
	profile_mark(w, PROFILE_ESP_IN);
	crypto_mb_decrypt(w->crypto, k.ops, k.n);
	profile_mark(w, PROFILE_CRYPTO);
	for (unsigned int j = 0; j < k.n; j++) {
		if (b->sa[k.at[j]] != run.sa) {
			run_count(w, &k, &run);
			run_begin(&run, b->sa[k.at[j]]);
		}
		in_finish(w, &k, &run, b, j);
	}
	run_count(w, &k, &run);
	w->esp_in_packets += k.packets;
	w->esp_in_bytes += k.bytes;
}
