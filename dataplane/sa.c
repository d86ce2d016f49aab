#include "dataplane/sad.h"

#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>
#include <rte_ring.h>

#include "dataplane/esp_wire.h"
#include "dataplane/sa_tag.h"
#include "shared/wipe.h"

static void half_words(const struct ip_addr *a, uint64_t out[2])
{
	out[0] = out[1] = 0;
	if (a->family == 4) {
		for (int i = 0; i < 4; i++)
			out[1] = out[1] << 8 | a->b[i];
		return;
	}
	for (int i = 0; i < 8; i++) {
		out[0] = out[0] << 8 | a->b[i];
		out[1] = out[1] << 8 | a->b[8 + i];
	}
}

int sa_selector_compile(const struct sa_selector_pair *p, struct sa_selector *out)
{
	const struct traffic_selector *s = &p->src, *d = &p->dst;
	uint8_t family = s->range.lo.family;
	if (addr_len(family) == 0 || s->range.hi.family != family || d->range.lo.family != family ||
		d->range.hi.family != family || s->proto != d->proto)
		return -1;
	memset(out, 0, sizeof(*out));
	half_words(&s->range.lo, out->src_lo);
	half_words(&s->range.hi, out->src_hi);
	half_words(&d->range.lo, out->dst_lo);
	half_words(&d->range.hi, out->dst_hi);
	out->family = family;
	out->proto = s->proto;
	out->sport_lo = s->port_lo;
	out->sport_hi = s->port_hi;
	out->dport_lo = d->port_lo;
	out->dport_hi = d->port_hi;
	out->is_sport_any = s->port_lo == 0 && s->port_hi == 65535;
	out->is_dport_any = d->port_lo == 0 && d->port_hi == 65535;
	/* RFC 7296 3.13.1: OPAQUE is written as 65535 to 0. */
	out->is_sport_opaque = s->port_lo == 65535 && s->port_hi == 0;
	out->is_dport_opaque = d->port_lo == 65535 && d->port_hi == 0;
	return 0;
}

static uint16_t sa_flags(const struct sa_params *p)
{
	uint16_t f = 0;
	f |= p->is_outbound ? SA_F_OUT : 0;
	f |= p->is_tunnel ? SA_F_TUNNEL : 0;
	f |= p->has_esn ? SA_F_ESN : 0;
	f |= p->is_manual ? SA_F_MANUAL : 0;
	f |= p->is_held ? SA_F_HOLD_OUT : 0;
	f |= p->n_selectors == 0 ? SA_F_ANY_SELECTOR : 0;
	f |= p->n_selectors == 1 ? SA_F_ONE_SELECTOR : 0;
	return f;
}

/* The copy that packets look at first. */
static void plain_selector_set(struct sa_hot *sa)
{
	const struct sa_selector *s = sa->selectors;
	if (sa->n_selectors != 1 || s->family != 4 || !s->is_sport_any || !s->is_dport_any ||
		s->src_hi[1] < s->src_lo[1] || s->dst_hi[1] < s->dst_lo[1])
		return;
	sa->plain = (struct sa_plain_selector){
		.src_lo = (uint32_t)s->src_lo[1],
		.src_span = (uint32_t)(s->src_hi[1] - s->src_lo[1]),
		.dst_lo = (uint32_t)s->dst_lo[1],
		.dst_span = (uint32_t)(s->dst_hi[1] - s->dst_lo[1]),
		.proto = s->proto,
	};
	sa->flags |= SA_F_PLAIN_SELECTOR;
}

static struct sa_cold *cold_create(const struct sa_params *p)
{
	struct sa_cold *c = calloc(1, sizeof(*c) + p->n_selectors * sizeof(c->selectors[0]));
	if (!c)
		return NULL;
	for (uint16_t i = 0; i < p->n_selectors; i++) {
		if (sa_selector_compile(&p->selectors[i], &c->selectors[i]) != 0) {
			free(c);
			return NULL;
		}
	}
	c->handle = p->handle;
	c->partner = p->partner;
	c->ike = p->ike;
	c->owner = p->owner;
	c->owner_generation = p->owner_generation;
	c->tunnel_src = p->tunnel_src;
	c->tunnel_dst = p->tunnel_dst;
	c->srcid = p->srcid ? strdup(p->srcid) : NULL;
	c->dstid = p->dstid ? strdup(p->dstid) : NULL;
	return c;
}

static size_t align64(size_t n)
{
	return (n + 63) / 64 * 64;
}

int sa_create(const struct sa_params *p, IMB_MGR *mb, struct sa_hot **out)
{
	/* RFC 4303 2.1: 0 is for local use, 1 to 255 are reserved. */
	if (p->spi < 256 || !p->path || (p->is_manual && p->is_held))
		return SAD_E_INVALID;
	for (uint16_t i = 0; i < p->n_selectors; i++) {
		struct sa_selector scratch;
		if (sa_selector_compile(&p->selectors[i], &scratch) != 0)
			return SAD_E_INVALID;
	}
	uint32_t window = p->is_outbound ? 0 : p->window;
	size_t keys_at = sizeof(struct sa_hot);
	size_t words_at = keys_at + align64(sizeof(struct sa_keys) + suite_schedule_len(p->suite));
	struct sa_hot *sa = rte_zmalloc("sa", words_at + 8 * replay_words(window), 64);
	if (!sa)
		return SAD_E_NOMEM;
	uint8_t *base = (uint8_t *)sa;
	sa->keys = (struct sa_keys *)(base + keys_at);
	sa->spi = p->spi;
	sa->flags = sa_flags(p);
	sa->suite = p->suite;
	sa->tfc_pad = (uint16_t)(p->tfc_pad > UINT16_MAX ? UINT16_MAX : p->tfc_pad);
	sa->n_selectors = p->n_selectors;
	int err = SAD_E_KEY;
	if (suite_keys_init(p->suite, mb, p->is_outbound, p->enc_key, p->enc_key_len, p->integ_key,
		    p->integ_key_len, sa->keys) != 0)
		goto out;
	err = SAD_E_NOMEM;
	sa->cold = cold_create(p);
	if (!sa->cold)
		goto out;
	sa->selectors = sa->cold->selectors;
	plain_selector_set(sa);
	sa_set_path(sa, p->path);
	sa_set_life(sa, p->soft_bytes, p->hard_bytes);
	if (p->is_outbound)
		seqno_init(&sa->seqno, p->has_esn, p->seq_first, p->reserved_end);
	else
		replay_init(&sa->replay, window, p->has_esn, (uint64_t *)(base + words_at),
			p->replay_floor, p->stored_top);
	*out = sa;
	return SAD_OK;
out:
	sa_destroy(sa);
	return err;
}

void sa_destroy(struct sa_hot *sa)
{
	if (!sa)
		return;
	if (sa->cold) {
		free(sa->cold->srcid);
		free(sa->cold->dstid);
		free(sa->cold);
	}
	wipe(sa->keys, sizeof(struct sa_keys) + suite_schedule_len(sa->suite));
	rte_free(sa);
}

void sa_set_path(struct sa_hot *sa, struct path *p)
{
	uint32_t tag = sa_dst_tag(p->family, p->local.addr.b, p->flags & PATH_UDP);
	atomic_store_explicit(&sa->path, p, memory_order_release);
	atomic_store_explicit(&sa->dst_tag, tag, memory_order_release);
}

void sa_set_life(struct sa_hot *sa, uint64_t soft_bytes, uint64_t hard_bytes)
{
	uint64_t used = sa->bytes;
	atomic_store_explicit(
		&sa->soft_bytes, soft_bytes ? used + soft_bytes : UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(
		&sa->hard_bytes, hard_bytes ? used + hard_bytes : UINT64_MAX, memory_order_relaxed);
	atomic_fetch_and_explicit(
		&sa->raised, ~(uint32_t)(SA_EV_SOFT | SA_EV_HARD), memory_order_relaxed);
}

void sa_set_partner(struct sa_hot *sa, struct sa_hot *partner)
{
	struct sa_hot *old = atomic_load_explicit(&sa->partner, memory_order_relaxed);
	if (old)
		atomic_store_explicit(&old->partner, NULL, memory_order_release);
	atomic_store_explicit(&sa->partner, partner, memory_order_release);
	if (partner)
		atomic_store_explicit(&partner->partner, sa, memory_order_release);
}

uint32_t sa_events_take(struct sa_hot *sa)
{
	return atomic_exchange_explicit(&sa->events, 0, memory_order_acq_rel);
}

void sa_event_raise(struct worker_ctx *w, struct sa_hot *sa, uint32_t event)
{
	const uint32_t once = SA_EV_FIRST | SA_EV_SOFT | SA_EV_HARD | SA_EV_WRAP;
	if (event & once) {
		if (atomic_load_explicit(&sa->raised, memory_order_relaxed) & event)
			return;
		atomic_fetch_or_explicit(&sa->raised, event, memory_order_relaxed);
	}
	if (atomic_fetch_or_explicit(&sa->events, event, memory_order_acq_rel) & event)
		return;
	if (w->sa_events && rte_ring_enqueue(w->sa_events, (void *)(uintptr_t)sa_ref(sa)) == 0)
		return;
	atomic_store_explicit(&w->sa_events_lost, 1, memory_order_release);
}

void sa_count_drop(struct sa_hot *sa, enum drop_reason why)
{
	sa->n_dropped++;
	sa->cold->drops[why]++;
}

static bool port_fits(bool is_any, bool is_opaque, uint16_t lo, uint16_t hi, bool has, uint16_t p)
{
	if (is_any)
		return true;
	/* RFC 4301 4.4.1.1: OPAQUE is for packets whose ports cannot be seen. */
	if (is_opaque || !has)
		return is_opaque && !has;
	return p >= lo && p <= hi;
}

static inline bool ports_fit(const struct sa_selector *s, bool has, uint16_t sport, uint16_t dport)
{
	if (s->is_sport_any && s->is_dport_any)
		return true;
	return port_fits(
		       s->is_sport_any, s->is_sport_opaque, s->sport_lo, s->sport_hi, has, sport) &&
	       port_fits(s->is_dport_any, s->is_dport_opaque, s->dport_lo, s->dport_hi, has, dport);
}

/* IPv4 addresses are the low 32 bits of the second words. */
static inline bool addrs_fit4(const struct sa_selector *s, uint32_t src, uint32_t dst)
{
	return src >= s->src_lo[1] && src <= s->src_hi[1] && dst >= s->dst_lo[1] &&
	       dst <= s->dst_hi[1];
}

typedef unsigned __int128 u128;

static inline u128 wide(const uint64_t w[2])
{
	return (u128)w[0] << 64 | w[1];
}

static inline u128 packet_addr6(const uint8_t *b)
{
	uint64_t w[2];
	memcpy(w, b, 16);
	return (u128)__builtin_bswap64(w[0]) << 64 | __builtin_bswap64(w[1]);
}

bool sa_selectors_match(const struct sa_hot *sa, const struct burst *b, unsigned int i)
{
	if (sa->flags & SA_F_ANY_SELECTOR)
		return true;
	const struct pkt_info *p = &b->pkt[i];
	const uint8_t *ip = burst_l3(b, i);
	bool is_v4 = p->family == 4;
	if (sa->flags & SA_F_PLAIN_SELECTOR) {
		const struct sa_plain_selector *s = &sa->plain;
		return is_v4 && (s->proto == 0 || s->proto == p->proto) &&
		       get_u32(ip + 12) - s->src_lo <= s->src_span &&
		       get_u32(ip + 16) - s->dst_lo <= s->dst_span;
	}
	u128 src = is_v4 ? get_u32(ip + 12) : packet_addr6(ip + 8);
	u128 dst = is_v4 ? get_u32(ip + 16) : packet_addr6(ip + 24);
	/* RFC 4301 4.4.1.1: ICMP's type and code are one number, the same for both ends. */
	bool is_icmp = p->proto == 1 || p->proto == 58;
	bool has = p->flags & (is_icmp ? PKT_L4_OK : PKT_PORTS);
	uint16_t dport = is_icmp ? p->sport : p->dport;
	for (uint16_t k = 0; k < sa->n_selectors; k++) {
		const struct sa_selector *s = &sa->selectors[k];
		if (s->family != p->family || (s->proto != 0 && s->proto != p->proto))
			continue;
		if (is_v4 ? !addrs_fit4(s, (uint32_t)src, (uint32_t)dst)
			  : src < wide(s->src_lo) || src > wide(s->src_hi) ||
					dst < wide(s->dst_lo) || dst > wide(s->dst_hi))
			continue;
		if (ports_fit(s, has, p->sport, dport))
			return true;
	}
	return false;
}
