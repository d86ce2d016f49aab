#include "dataplane/stages.h"

#include <string.h>

#include "dataplane/esp_out.h"
#include "dataplane/fragment_steer.h"
#include "dataplane/icmp_input.h"
#include "dataplane/known.h"
#include "dataplane/local_addr.h"
#include "dataplane/mss.h"
#include "dataplane/parse.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"

static bool is_set(const _Atomic bool *setting)
{
	return atomic_load_explicit(setting, memory_order_relaxed);
}

static bool is_denied_unknown(const struct worker *w)
{
	return is_set(&w->dp->config.is_default_deny);
}

/*
 * TCP is told what fits into the SA before it sends, both ways: a SYN into the SA says what the
 * peer's host may send to ours, one out of it what ours may send into the pair of this SA, which
 * has the same suite and path. The MTU is that of the path as it is now (RFC 4301 8.2.1).
 */
static void mss_lower(struct worker *w, struct burst *b, unsigned int i, const struct sa_hot *sa)
{
	const struct pkt_info *p = &b->pkt[i];
	uint16_t most = atomic_load_explicit(&w->dp->config.mss_max, memory_order_relaxed);
	uint32_t headers = (p->family == 4 ? 20 : 40) + 20;
	uint16_t mtu;

	if (most == 0 || !mss_is_syn(burst_l3(b, i), p))
		return;
	mtu = sa_inner_mtu(sa, sa->flags & SA_F_TUNNEL ? 0 : (uint16_t)(p->l4_off - p->l3_off));
	if (mtu > most + headers)
		mtu = (uint16_t)(most + headers);
	(void)mss_clamp(burst_l3(b, i), p, mtu);
}

static const struct spd_flow *flow_find(
	struct worker *w, struct burst *b, unsigned int i, uint8_t direction)
{
	struct spd_packet p;
	const struct spd_flow *f;

	parse_spd_packet(burst_l3(b, i), &b->pkt[i], &p);
	f = spd_lookup(w->dp->spd, direction, &p);
	b->flow[i] = f;
	if (f)
		spd_flow_hit(w->dp->spd, f, w->id, b->pkt[i].len);
	return f;
}

/* The same for all packets of the mask, the memory accesses of all overlapped: into of_burst[i]. */
static void flows_find(struct worker *w, const struct burst *b, uint64_t mask, uint8_t direction,
	const struct spd_flow *of_burst[])
{
	struct spd_packet packets[BURST_MAX];
	const struct spd_packet *of[BURST_MAX];
	const struct spd_flow *found[BURST_MAX];
	unsigned int n = 0;

	of[0] = &packets[0]; /* the mask is not empty, which the compiler cannot know */
	for (uint64_t left = mask; left; left &= left - 1, n++) {
		unsigned int i = burst_first(left);

		parse_spd_packet(burst_l3(b, i), &b->pkt[i], &packets[n]);
		of[n] = &packets[n];
	}
	spd_lookup_burst(w->dp->spd, direction, of, n, found);
	n = 0;
	for (uint64_t left = mask; left; left &= left - 1, n++) {
		of_burst[burst_first(left)] = found[n];
		if (!found[n])
			continue;
		spd_flow_prefetch_sas(found[n]);
		spd_flow_hit_prefetch(w->dp->spd, found[n], w->id);
	}
	for (uint64_t left = mask; left; left &= left - 1) {
		unsigned int i = burst_first(left);

		if (of_burst[i])
			spd_flow_hit(w->dp->spd, of_burst[i], w->id, b->pkt[i].len);
	}
}

/*
 * May a packet that came in clear, of in_flow[i], come in? DROP_NONE or why not. RFC 4301 5.2
 * step 4. One that goes onward is known by its flow on the way out if by none on the way in: what a
 * site sends into the tunnel has an outbound flow alone.
 */
static enum drop_reason clear_inbound(struct worker *w, struct burst *b, unsigned int i)
{
	const struct spd_flow *f = b->in_flow[i];

	if (!f)
		return is_denied_unknown(w) && b->next[i] == NEXT_LOCAL ? DROP_DENY : DROP_NONE;
	switch (f->type) {
	case IPC_FLOW_DENY:
		return DROP_DENY;
	case IPC_FLOW_REQUIRE:
	case IPC_FLOW_DONTACQ:
		return DROP_CLEAR_BUT_PROTECTED;
	case IPC_FLOW_USE:
	case IPC_FLOW_ACQUIRE:
		return f->is_strict_in && is_set(&w->dp->config.is_strict_inbound)
			       ? DROP_CLEAR_BUT_PROTECTED
			       : DROP_NONE;
	default:
		return DROP_NONE;
	}
}

/* Told to main, which believes it only if the SA that it quotes is there. */
static void pmtu_message(struct worker *w, struct burst *b, unsigned int i)
{
	struct icmp_pmtu told;
	struct rte_mbuf *m;
	struct pkt_meta *meta;

	if ((b->pkt[i].proto != 1 && b->pkt[i].proto != 58) || (b->pkt[i].flags & PKT_FRAG) ||
		!icmp_input_pmtu(burst_l3(b, i), &b->pkt[i], &told))
		return;
	m = rte_pktmbuf_alloc(w->dp->pool);
	if (!m)
		return;
	meta = pkt_meta(m);
	memset(meta, 0, sizeof(*meta));
	meta->kind = PKT_KIND_PMTU;
	meta->spi = told.spi;
	meta->gateway = told.dst;
	meta->mtu = told.mtu;
	worker_to_main(w, m);
}

/* A packet out of an SA: its selectors were right; is it for us or to be forwarded? */
static void decrypted(struct worker *w, struct burst *b, unsigned int i)
{
	struct dp_addresses *a = atomic_load_explicit(&w->dp->addresses, memory_order_acquire);
	enum local_class class;

	mss_lower(w, b, i, b->in_sa[i]);
	if (capture_is_on(w))
		capture_packet(
			w, b->m[i], b->pkt[i].l3_off, b->pkt[i].len, b->in_sa[i], IPC_DIR_IN);
	class = local_addrs_class(a->parse.local, b->pkt[i].family, burst_dst(b, i));
	b->next[i] = class == LOCAL_NO ? NEXT_SPD_OUT : NEXT_HOST;
}

void stage_spd_in(struct worker *w, struct burst *b)
{
	uint64_t left = burst_mask(b, NEXT_LOCAL) | burst_mask(b, NEXT_SPD_IN), clear = 0;

	for (; left; left &= left - 1) {
		unsigned int i = burst_first(left);

		if (b->next[i] == NEXT_SPD_IN && !w->ctx.is_ready) {
			burst_drop(b, i, DROP_NOT_READY);
			continue;
		}
		if (b->pkt[i].flags & PKT_FROM_SA) {
			decrypted(w, b, i);
			continue;
		}
		if (b->next[i] == NEXT_LOCAL)
			pmtu_message(w, b, i);
		clear |= left & -left;
	}
	if (clear)
		flows_find(w, b, clear, IPC_DIR_IN, b->in_flow);
	for (left = clear; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		enum drop_reason why = clear_inbound(w, b, i);

		if (why != DROP_NONE)
			burst_drop(b, i, why);
		else
			b->next[i] = b->next[i] == NEXT_LOCAL ? NEXT_HOST : NEXT_SPD_OUT;
	}
	b->may_learn = burst_mask(b, NEXT_SPD_OUT);
}

/*
 * Once a second a flow, and bounded for all: a storm of packets of one flow takes no place from
 * another flow's first packet. The packets themselves are dropped all the same, or pass.
 */
static bool acquire_may(struct worker *w, const struct spd_flow *f)
{
	uint64_t key = (f->handle ^ (uint64_t)f->owner << 40) | 1ULL << 63; /* never 0 */
	uint64_t *slot = &w->acquired[(key * 0x9e3779b97f4a7c15ULL >> 32) % WORKER_ACQUIRES];

	if (w->acquire_second != w->ctx.now_s) {
		w->acquire_second = w->ctx.now_s;
		w->n_acquires = 0;
		memset(w->acquired, 0, sizeof(w->acquired));
	}
	if (*slot == key || w->n_acquires == WORKER_ACQUIRES)
		return false;
	*slot = key;
	w->n_acquires++;
	return true;
}

/* A copy of the packet's headers goes to main, which tells the owner of the flow. */
static void acquire(struct worker *w, struct burst *b, unsigned int i)
{
	const struct spd_flow *f = b->flow[i];
	struct rte_mbuf *m;
	struct pkt_meta *meta;

	if (!acquire_may(w, f))
		return;
	m = rte_pktmbuf_alloc(w->dp->pool);
	if (!m)
		return;
	meta = pkt_meta(m);
	memset(meta, 0, sizeof(*meta));
	meta->kind = PKT_KIND_ACQUIRE;
	meta->flow = f->handle;
	meta->policy = f->policy;
	meta->owner = f->owner;
	meta->pkt = b->pkt[i];
	meta->src = burst_addr(b->pkt[i].family, burst_src(b, i));
	meta->gateway = burst_addr(b->pkt[i].family, burst_dst(b, i));
	w->acquires++;
	worker_to_main(w, m);
}

/* The SA that serves the flow, as sa_ref(); 0: none. */
static uint64_t flow_sa(const struct spd_flow *f)
{
	struct spd_sa_ref ref;

	if (!f || !spd_flow_sa(f, &ref))
		return 0;
	return (uint64_t)ref.generation << 32 | ref.index;
}

/* The SAs that serve the flows of the mask's packets, in their order; NULL where none does. */
static void sas_find(
	const struct worker *w, const struct burst *b, uint64_t mask, struct sa_hot *out[])
{
	uint64_t refs[BURST_MAX];
	unsigned int n = 0;

	for (uint64_t left = mask; left; left &= left - 1)
		refs[n++] = flow_sa(b->flow[burst_first(left)]);
	sad_by_refs(w->dp->sad, refs, n, out);
}

/* No SA serves the flow: by its type. */
static enum drop_reason no_sa(struct worker *w, struct burst *b, unsigned int i)
{
	switch (b->flow[i]->type) {
	case IPC_FLOW_REQUIRE:
		acquire(w, b, i);
		return DROP_NO_SA_FOR_FLOW;
	case IPC_FLOW_ACQUIRE:
		acquire(w, b, i);
		return DROP_NONE;
	case IPC_FLOW_USE:
		return DROP_NONE;
	default:
		return DROP_NO_SA_FOR_FLOW;
	}
}

/*
 * RFC 4301 5.1: what becomes of a packet of flow[i], whose SA (or NULL) is sa. Sets sa[i] if the
 * packet is to be protected; DROP_NONE or why it may not go.
 */
static enum drop_reason clear_outbound(
	struct worker *w, struct burst *b, unsigned int i, struct sa_hot *sa)
{
	const struct spd_flow *f = b->flow[i];

	/* Out of an SA: its selectors were the policy that let it in (RFC 4301 5.2 step 4). */
	if (!f)
		return is_denied_unknown(w) && !(b->pkt[i].flags & PKT_FROM_SA) ? DROP_DENY
										: DROP_NONE;
	if (f->type == IPC_FLOW_DENY)
		return DROP_DENY;
	if (f->type == IPC_FLOW_BYPASS)
		return DROP_NONE;
	b->sa[i] = sa;
	if (b->sa[i]) {
		mss_lower(w, b, i, b->sa[i]);
		if (capture_is_on(w))
			capture_packet(
				w, b->m[i], b->pkt[i].l3_off, b->pkt[i].len, b->sa[i], IPC_DIR_OUT);
		return DROP_NONE;
	}
	return no_sa(w, b, i);
}

void stage_spd_out(struct worker *w, struct burst *b)
{
	const uint64_t mask = burst_mask(b, NEXT_SPD_OUT);
	struct sa_hot *sas[BURST_MAX];
	unsigned int n = 0;

	if (!mask)
		return;
	if (!w->ctx.is_ready) {
		for (uint64_t left = mask; left; left &= left - 1)
			burst_drop(b, burst_first(left), DROP_NOT_READY);
		return;
	}
	flows_find(w, b, mask, IPC_DIR_OUT, b->flow);
	sas_find(w, b, mask, sas);
	for (uint64_t left = mask; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		enum drop_reason why = clear_outbound(w, b, i, sas[n++]);

		if (why != DROP_NONE) {
			burst_drop(b, i, why);
			continue;
		}
		b->next[i] = b->sa[i] ? NEXT_ESP_OUT : NEXT_ROUTE;
		w->bypassed += b->sa[i] == NULL;
	}
	known_learn(w, b, mask & burst_mask(b, NEXT_ESP_OUT));
}

static enum drop_reason host_outbound(struct worker *w, struct burst *b, unsigned int i)
{
	const struct spd_flow *f = flow_find(w, b, i, IPC_DIR_OUT);
	uint64_t ref = flow_sa(f);

	return clear_outbound(w, b, i, ref ? sad_by_ref(w->dp->sad, ref) : NULL);
}

/* The kernel has chosen the way of a clear packet and written its link header: it stays. */
static void frame_as_it_is(struct worker *w, struct burst *b, unsigned int i)
{
	b->next[i] = NEXT_NONE;
	worker_tx(w, b->port[i], b->m[i]);
}

static void host_frame(struct worker *w, struct burst *b, unsigned int i)
{
	struct rte_mbuf *m = b->m[i];
	const uint8_t *eth = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t type, len = rte_pktmbuf_data_len(m), l3 = 14;
	enum drop_reason why;

	w->from_host++;
	if (len < 14) {
		burst_drop(b, i, DROP_MALFORMED);
		return;
	}
	type = (uint16_t)(eth[12] << 8 | eth[13]);
	while ((type == 0x8100 || type == 0x88a8) && len >= l3 + 4) {
		type = (uint16_t)(eth[l3 + 2] << 8 | eth[l3 + 3]);
		l3 += 4;
	}
	if (type != 0x0800 && type != 0x86dd) {
		frame_as_it_is(w, b, i);
		return;
	}
	why = parse_ip(eth + l3, len - l3, &b->pkt[i]);
	if (why == DROP_NONE && parse_is_exempt(eth + l3, &b->pkt[i])) {
		frame_as_it_is(w, b, i);
		return;
	}
	b->pkt[i].l3_off = l3;
	b->pkt[i].l4_off += l3;
	b->pkt[i].nh_off += l3;
	b->pkt[i].flags |= PKT_FROM_HOST;
	if (why == DROP_NONE && b->pkt[i].flags & PKT_FRAG &&
		fragment_needs_ports(w->dp->spd, b, i)) {
		/* What a flow lets out in clear is then routed here, as the kernel would. */
		b->pkt[i].flags |= PKT_REJOIN;
		b->next[i] = NEXT_REASM;
		return;
	}
	if (why == DROP_NONE)
		why = host_outbound(w, b, i);
	if (why != DROP_NONE)
		burst_drop(b, i, why);
	else if (b->sa[i])
		b->next[i] = NEXT_ESP_OUT;
	else
		frame_as_it_is(w, b, i);
}

void stage_host_input(struct worker *w, struct burst *b)
{
	for (uint16_t i = 0; i < b->n; i++) {
		if (b->next[i] == NEXT_NONE && pkt_meta(b->m[i])->kind == PKT_KIND_FROM_HOST)
			host_frame(w, b, i);
	}
}
