#include "dataplane/stages.h"

#include <string.h>

#include "dataplane/drop_memory.h"
#include "dataplane/reassembly.h"
#include "dataplane/sad.h"

static void to_worker(
	struct worker *w, struct burst *b, unsigned int i, uint16_t to, enum pkt_kind kind)
{
	struct pkt_meta *meta = pkt_meta(b->m[i]);

	memset(meta, 0, offsetof(struct pkt_meta, pkt));
	meta->kind = (uint8_t)kind;
	meta->port = b->port[i];
	meta->sa = b->sa[i] ? sa_ref(b->sa[i]) : 0;
	meta->in_sa = b->in_sa[i] ? sa_ref(b->in_sa[i]) : 0;
	meta->pkt = b->pkt[i];
	b->next[i] = NEXT_NONE;
	if (!worker_handoff(w, to, b->m[i]))
		w->ctx.drops[DROP_RING_FULL]++;
}

/* An inbound packet for a worker that owns its SA, or reassembles its datagram. */
void stage_handoff(struct worker *w, struct burst *b)
{
	uint64_t left = burst_mask(b, NEXT_HANDOFF) | burst_mask(b, NEXT_REASM);

	for (; left; left &= left - 1) {
		unsigned int i = burst_first(left);
		uint16_t to;

		if (b->next[i] == NEXT_HANDOFF && b->sa[i]) {
			to = sad_owner(w->dp->sad, b->sa[i]);
			to_worker(w, b, i, to,
				b->sa[i]->flags & SA_F_OUT ? PKT_KIND_ESP_OUT : PKT_KIND_ESP_IN);
		} else if (b->next[i] == NEXT_REASM && w->dp->n_workers > 1) {
			to = reassembly_owner(w->dp->reassembly_seed, burst_l3(b, i), &b->pkt[i],
				w->dp->n_workers);
			if (to != w->id)
				to_worker(w, b, i, to, PKT_KIND_RX);
		}
	}
}

static void to_host(struct worker *w, struct burst *b, unsigned int i)
{
	struct pkt_meta *meta = pkt_meta(b->m[i]);

	memset(meta, 0, offsetof(struct pkt_meta, pkt));
	/* Out of an SA there is no link header; it may have come in by any port. */
	meta->kind = b->pkt[i].flags & PKT_FROM_SA || b->nexthop[i] ? PKT_KIND_HOST_IP
								    : PKT_KIND_HOST;
	if (meta->kind == PKT_KIND_HOST_IP)
		rte_pktmbuf_adj(b->m[i], b->pkt[i].l3_off);
	meta->port = b->port[i];
	w->to_host++;
	if (!worker_to_main(w, b->m[i]))
		w->ctx.drops[DROP_RING_FULL]++;
}

static void to_ike(struct worker *w, struct burst *b, unsigned int i)
{
	struct pkt_meta *meta = pkt_meta(b->m[i]);

	memset(meta, 0, offsetof(struct pkt_meta, pkt));
	meta->kind = PKT_KIND_PUNT;
	meta->port = b->port[i];
	meta->pkt = b->pkt[i];
	w->punted++;
	if (!worker_to_main(w, b->m[i]))
		w->ctx.drops[DROP_RING_FULL]++;
}

void stage_leave(struct worker *w, struct burst *b)
{
	uint64_t all = b->n >= 64 ? UINT64_MAX : (UINT64_C(1) << b->n) - 1;

	for (uint64_t left = all & ~burst_mask(b, NEXT_NONE); left; left &= left - 1) {
		unsigned int i = burst_first(left);

		switch (b->next[i]) {
		case NEXT_HOST:
			to_host(w, b, i);
			continue;
		case NEXT_PUNT:
			to_ike(w, b, i);
			continue;
		case NEXT_DROP:
			break;
		default: /* no stage took it: a packet that none of our tables foresees */
			b->drop[i] = DROP_MALFORMED;
		}
		w->ctx.drops[b->drop[i]]++;
		drop_memory_note(w->drop_memory, b, i, w->ctx.now_s);
		rte_pktmbuf_free(b->m[i]);
		b->next[i] = NEXT_NONE;
	}
	b->n = 0;
}
