#include "dataplane/reassembly.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/parse.h"

/*
 * A fixed array of datagrams. One is found by its key in a set of WAYS slots, so a fragment
 * costs a bounded search; a full set refuses the new datagram. Shares of sources are counted in
 * hashed buckets: two sources in one bucket share it, which errs on the safe side.
 */

#define WAYS 8
#define FRAGMENTS_MAX 64
#define DATAGRAM_MAX 65535

struct fragment {
	struct rte_mbuf *m;
	uint16_t first, len; /* bytes of the payload */
	uint16_t data_off;   /* of these bytes in the buffer */
};

struct datagram {
	bool is_used, is_spoilt; /* spoilt: kept until its timeout, to swallow the rest */
	uint8_t family, proto, origin;
	uint8_t src[16], dst[16];
	uint32_t id;
	uint32_t started_s, share;
	uint32_t n, have; /* fragments; bytes */
	uint32_t total;   /* bytes of payload, known with the last fragment; 0 before */
	uint32_t max_end; /* end of the furthest fragment */
	uint16_t hdr_off, hdr_len, nh_off; /* of the first fragment: link header's end, IP */
	struct fragment fragments[FRAGMENTS_MAX];
};

struct reassembly {
	struct reassembly_config config;
	uint32_t n_sets, n_shares, n_used;
	uint16_t *shares;
	struct datagram *datagrams;
};

struct key {
	uint8_t family, proto, origin;
	uint8_t src[16], dst[16];
	uint32_t id;
};

struct reassembly *reassembly_create(const struct reassembly_config *config)
{
	struct reassembly *r = calloc(1, sizeof(*r));
	uint32_t n = WAYS;

	if (r == NULL)
		return NULL;
	r->config = *config;
	if (r->config.max_datagrams == 0)
		r->config.max_datagrams = 256;
	if (r->config.max_per_source == 0)
		r->config.max_per_source = 16;
	if (r->config.max_fragments == 0 || r->config.max_fragments > FRAGMENTS_MAX)
		r->config.max_fragments = FRAGMENTS_MAX;
	if (r->config.timeout_s == 0)
		r->config.timeout_s = 30;
	while (n < r->config.max_datagrams && n < 1u << 20)
		n *= 2;
	r->n_sets = n / WAYS;
	r->n_shares = n * 4;
	r->shares = calloc(r->n_shares, sizeof(*r->shares));
	r->datagrams = calloc(n, sizeof(*r->datagrams));
	if (r->shares == NULL || r->datagrams == NULL) {
		reassembly_destroy(r);
		return NULL;
	}
	return r;
}

static void datagram_empty(struct datagram *d)
{
	for (uint32_t i = 0; i < d->n; i++)
		rte_pktmbuf_free(d->fragments[i].m);
	d->n = 0;
}

void reassembly_destroy(struct reassembly *r)
{
	if (r == NULL)
		return;
	for (uint32_t i = 0; r->datagrams != NULL && i < r->n_sets * WAYS; i++)
		datagram_empty(&r->datagrams[i]);
	free(r->datagrams);
	free(r->shares);
	free(r);
}

static uint32_t be32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

/*
 * What came out of a tunnel, from the host and in clear are never put together, nor what is to
 * us with what is not: each has passed other checks.
 */
#define ORIGIN_FLAGS (PKT_FROM_SA | PKT_FROM_HOST | PKT_TUNNELLED | PKT_REJOIN)

static uint8_t origin_of(const struct pkt_info *pkt)
{
	return (pkt->flags & ORIGIN_FLAGS) / PKT_FROM_SA;
}

/*
 * RFC 791 3.2: source, destination, protocol, identification. RFC 8200 4.5: no protocol, for the
 * first fragment's alone counts; the Fragment header is the last one that parse_ip walked.
 */
static struct key key_of(const uint8_t *ip, const struct pkt_info *pkt, uint32_t frag_hdr)
{
	struct key k;

	memset(&k, 0, sizeof(k));
	k.family = pkt->family;
	k.origin = origin_of(pkt);
	if (pkt->family == 4) {
		memcpy(k.src, ip + 12, 4);
		memcpy(k.dst, ip + 16, 4);
		k.proto = pkt->proto;
		k.id = ip[4] << 8 | ip[5];
	} else {
		memcpy(k.src, ip + 8, 16);
		memcpy(k.dst, ip + 24, 16);
		k.id = be32(ip + frag_hdr + 4);
	}
	return k;
}

static uint64_t mix(uint64_t seed, const void *data, size_t n_words)
{
	uint64_t h = seed ^ 0x9e3779b97f4a7c15ULL, w;

	for (size_t i = 0; i < n_words; i++) {
		memcpy(&w, (const uint8_t *)data + i * 8, 8);
		h = (h ^ w) * 0xbf58476d1ce4e5b9ULL;
		h ^= h >> 29;
	}
	return h ^ h >> 32;
}

static uint64_t key_hash(uint64_t seed, const struct key *k)
{
	uint8_t b[40] = {0};

	memcpy(b, k->src, 16);
	memcpy(b + 16, k->dst, 16);
	memcpy(b + 32, &k->id, 4);
	b[36] = k->proto;
	b[37] = k->family;
	b[38] = k->origin;
	return mix(seed, b, 5);
}

uint16_t reassembly_owner(
	uint64_t seed, const uint8_t *ip, const struct pkt_info *pkt, uint16_t n_workers)
{
	uint32_t named_at, frag_hdr = 0;
	struct key k;

	if (pkt->family == 6)
		frag_hdr = parse_fragment_header(ip, pkt->len, &named_at);
	k = key_of(ip, pkt, frag_hdr);
	return n_workers == 0 ? 0 : (key_hash(seed, &k) >> 7) % n_workers;
}

static void datagram_release(struct reassembly *r, struct datagram *d)
{
	datagram_empty(d);
	d->is_used = false;
	r->shares[d->share]--;
	r->n_used--;
}

static struct datagram *datagram_find(
	struct reassembly *r, const struct key *k, uint32_t now_s, enum drop_reason *why)
{
	struct datagram *set = &r->datagrams[key_hash(r->config.hash_seed, k) % r->n_sets * WAYS];
	struct datagram *room = NULL;
	uint32_t share;

	for (unsigned i = 0; i < WAYS; i++) {
		struct datagram *d = &set[i];

		if (!d->is_used) {
			room = room == NULL ? d : room;
			continue;
		}
		if (d->id == k->id && d->family == k->family && d->proto == k->proto &&
			d->origin == k->origin && memcmp(d->src, k->src, 16) == 0 &&
			memcmp(d->dst, k->dst, 16) == 0)
			return d;
	}
	share = mix(r->config.hash_seed + 1, k->src, 2) % r->n_shares;
	*why = DROP_FRAG_LIMIT;
	if (room == NULL || r->shares[share] >= r->config.max_per_source)
		return NULL;
	memset(room, 0, offsetof(struct datagram, fragments));
	room->is_used = true;
	room->family = k->family;
	room->proto = k->proto;
	room->origin = k->origin;
	memcpy(room->src, k->src, 16);
	memcpy(room->dst, k->dst, 16);
	room->id = k->id;
	room->started_s = now_s;
	room->share = share;
	r->shares[share]++;
	r->n_used++;
	return room;
}

static enum drop_reason spoil(struct datagram *d, enum drop_reason why)
{
	datagram_empty(d);
	d->is_spoilt = true;
	return why;
}

/* RFC 5722 4, RFC 8200 4.5: an exact double is dropped, any other overlap ends the datagram. */
static enum drop_reason fragment_add(struct reassembly *r, struct datagram *d, struct rte_mbuf *m,
	const struct pkt_info *pkt, uint32_t data_off, uint32_t len)
{
	const uint32_t first = pkt->frag_off, end = first + len;
	const bool is_last = (pkt->flags & PKT_FRAG_MORE) == 0;

	if (d->is_spoilt)
		return DROP_FRAG_OVERLAP;
	for (uint32_t i = 0; i < d->n; i++) {
		const struct fragment *f = &d->fragments[i];

		if (f->first == first && f->len == len)
			return DROP_FRAG_OVERLAP;
		if (first < (uint32_t)f->first + f->len && f->first < end)
			return spoil(d, DROP_FRAG_OVERLAP);
	}
	/* One end only, and nothing beyond it. */
	if (is_last ? d->total != 0 || end < d->max_end : d->total != 0 && end > d->total)
		return spoil(d, DROP_FRAG_BAD);
	if (d->n == r->config.max_fragments)
		return spoil(d, DROP_FRAG_LIMIT);
	d->fragments[d->n++] = (struct fragment){m, first, len, data_off};
	d->have += len;
	d->max_end = end > d->max_end ? end : d->max_end;
	if (is_last)
		d->total = end;
	return DROP_NONE;
}

static void checksum_v4(uint8_t *ip, uint32_t hdr_len)
{
	uint32_t sum = 0;

	ip[10] = ip[11] = 0;
	for (uint32_t i = 0; i < hdr_len; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	ip[10] = ~sum >> 8 & 0xff;
	ip[11] = ~sum & 0xff;
}

/* The headers of the first fragment, as if it had never been one. */
static void header_mend(const struct datagram *d, uint8_t *ip, uint8_t next_header)
{
	uint32_t len = d->hdr_len + d->total;

	if (d->family == 4) {
		ip[2] = len >> 8;
		ip[3] = len & 0xff;
		ip[6] = ip[7] = 0;
		checksum_v4(ip, d->hdr_len);
	} else {
		ip[4] = (len - 40) >> 8;
		ip[5] = (len - 40) & 0xff;
		ip[d->nh_off] = next_header;
	}
}

static struct rte_mbuf *datagram_join(
	const struct reassembly *r, const struct datagram *d, enum drop_reason *why)
{
	const uint32_t before = d->hdr_off + d->hdr_len;
	const struct fragment *head = d->fragments;
	struct rte_mbuf *whole;
	uint8_t *at;

	*why = DROP_FRAG_BAD;
	if (d->total + d->hdr_len > DATAGRAM_MAX)
		return NULL;
	while (head->first != 0)
		head++;
	*why = DROP_NO_MBUF;
	whole = rte_pktmbuf_alloc(r->config.big_pool);
	if (whole == NULL)
		return NULL;
	if (before + d->total > rte_pktmbuf_tailroom(whole)) {
		*why = DROP_NO_ROOM;
		rte_pktmbuf_free(whole);
		return NULL;
	}
	at = (uint8_t *)rte_pktmbuf_append(whole, before + d->total);
	whole->port = head->m->port;
	memcpy(at, rte_pktmbuf_mtod(head->m, uint8_t *), before);
	for (uint32_t i = 0; i < d->n; i++)
		memcpy(at + before + d->fragments[i].first,
			rte_pktmbuf_mtod_offset(
				d->fragments[i].m, uint8_t *, d->fragments[i].data_off),
			d->fragments[i].len);
	/* The byte that the Fragment header of the first one began with. */
	header_mend(d, at + d->hdr_off, *rte_pktmbuf_mtod_offset(head->m, uint8_t *, before));
	return whole;
}

/*
 * What was received is parsed from its link header on. What came another way, and transit, goes
 * on where it was.
 */
static void hand_on(struct burst *b, unsigned i, struct rte_mbuf *whole, uint16_t hdr_off)
{
	struct pkt_info *pkt = &b->pkt[i];
	const uint16_t origin = pkt->flags & ORIGIN_FLAGS;
	enum drop_reason why;

	b->m[i] = whole;
	if (origin == 0) {
		b->next[i] = NEXT_PARSE;
		return;
	}
	pkt->l3_off = hdr_off;
	why = parse_ip(burst_l3(b, i), whole->data_len - hdr_off, pkt);
	if (why != DROP_NONE) {
		burst_drop(b, i, why);
		return;
	}
	pkt->l4_off += hdr_off;
	pkt->nh_off += hdr_off;
	pkt->flags |= origin;
	if (origin & PKT_REJOIN)
		pkt->flags &= ~PKT_DF;
	b->next[i] = origin & PKT_FROM_HOST ? NEXT_SPD_OUT : NEXT_SPD_IN;
}

static void take(struct worker_ctx *w, struct reassembly *r, struct burst *b, unsigned i)
{
	const struct pkt_info *pkt = &b->pkt[i];
	const uint8_t *ip = burst_l3(b, i);
	uint32_t hdr_len = pkt->ip_hdr_len, skip = 0, named_at = 0, data_off;
	enum drop_reason why = DROP_FRAG_BAD;
	struct datagram *d = NULL;
	struct rte_mbuf *whole;
	struct key k;

	if (pkt->family == 6) {
		hdr_len = parse_fragment_header(ip, pkt->len, &named_at);
		skip = 8;
	}
	if (hdr_len != 0 && hdr_len + skip < pkt->len) {
		k = key_of(ip, pkt, hdr_len);
		d = datagram_find(r, &k, w->now_s, &why);
	}
	if (d == NULL) {
		burst_drop(b, i, why);
		return;
	}
	data_off = pkt->l3_off + hdr_len + skip;
	why = fragment_add(r, d, b->m[i], pkt, data_off, pkt->len - hdr_len - skip);
	if (why != DROP_NONE) {
		burst_drop(b, i, why);
		return;
	}
	if (pkt->frag_off == 0) {
		d->hdr_off = pkt->l3_off;
		d->hdr_len = hdr_len;
		d->nh_off = named_at;
	}
	b->next[i] = NEXT_NONE;
	if (d->total == 0 || d->have != d->total)
		return;
	whole = datagram_join(r, d, &why);
	if (whole == NULL) {
		/* Its buffers go with it: they are counted once, as one datagram. */
		w->drops[why]++;
	} else {
		hand_on(b, i, whole, d->hdr_off);
	}
	datagram_release(r, d);
}

void reassembly_burst(struct worker_ctx *w, struct reassembly *r, struct burst *b)
{
	for (uint64_t left = burst_mask(b, NEXT_REASM); left; left &= left - 1)
		take(w, r, b, burst_first(left));
}

uint32_t reassembly_expire(struct worker_ctx *w, struct reassembly *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; r->n_used > 0 && i < r->n_sets * WAYS; i++) {
		struct datagram *d = &r->datagrams[i];

		if (!d->is_used || w->now_s - d->started_s < r->config.timeout_s)
			continue;
		w->drops[DROP_FRAG_TIMEOUT] += d->n;
		datagram_release(r, d);
		n++;
	}
	return n;
}

uint32_t reassembly_count(const struct reassembly *r)
{
	return r->n_used;
}
