#include "dataplane/drop_memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/burst.h"
#include "dataplane/sad.h"

#define READ_TRIES 8

struct drop_memory *drop_memory_create(void)
{
	struct drop_memory *m = aligned_alloc(64, sizeof(*m));

	if (m)
		memset(m, 0, sizeof(*m));
	return m;
}

static uint32_t pair_place(const uint8_t src[16], const uint8_t dst[16])
{
	uint64_t w[4];

	memcpy(w, src, 16);
	memcpy(w + 2, dst, 16);
	w[0] = (w[0] ^ w[1]) * 0x9e3779b97f4a7c15u;
	w[2] = (w[2] ^ w[3]) * 0xc2b2ae3d27d4eb4fu;
	return (uint32_t)((w[0] + w[2]) * 0x9e3779b97f4a7c15u >> 54); /* 10 bits */
}

static uint32_t spi_place(uint32_t spi)
{
	return spi * 0x9e3779b1u >> 24;
}

static void note_write(struct drop_note *place, const struct drop_note *note)
{
	uint32_t seq = atomic_load_explicit(&place->seq, memory_order_relaxed);

	atomic_store_explicit(&place->seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	memcpy((uint8_t *)place + sizeof(seq), (const uint8_t *)note + sizeof(seq),
		sizeof(*note) - sizeof(seq));
	atomic_store_explicit(&place->seq, seq + 2, memory_order_release);
}

/* Reasons that come before the headers were read, or say nothing about them. */
static bool has_headers(const struct burst *b, unsigned int i)
{
	const struct pkt_info *p = &b->pkt[i];
	uint16_t need = p->family == 4 ? 20 : 40;

	switch (b->drop[i]) {
	case DROP_OTHER_STATION:
	case DROP_MALFORMED:
	case DROP_BAD_CHECKSUM:
	case DROP_CHAINED:
		return false;
	default:
		return (p->family == 4 || p->family == 6) &&
		       rte_pktmbuf_data_len(b->m[i]) >= p->l3_off + need &&
		       *burst_l3(b, i) >> 4 == p->family;
	}
}

void drop_memory_note(
	struct drop_memory *memory, const struct burst *b, unsigned int i, uint32_t now_s)
{
	const struct pkt_info *p = &b->pkt[i];
	const struct sa_hot *sa = b->sa[i] ? b->sa[i] : b->in_sa[i];
	struct drop_note note = {.at_s = now_s, .reason = b->drop[i]};

	if (!memory || !has_headers(b, i))
		return;
	note.family = p->family;
	note.proto = p->proto;
	note.sport = p->flags & PKT_PORTS ? p->sport : 0;
	note.dport = p->flags & PKT_PORTS ? p->dport : 0;
	note.spi = sa ? sa->spi : 0;
	memcpy(note.src, burst_src(b, i), addr_len(p->family));
	memcpy(note.dst, burst_dst(b, i), addr_len(p->family));
	note_write(&memory->pairs[pair_place(note.src, note.dst)], &note);
	if (note.spi)
		note_write(&memory->spis[spi_place(note.spi)], &note);
}

static bool note_read(const struct drop_note *place, struct drop_note *out)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t seq = atomic_load_explicit(&place->seq, memory_order_acquire);

		if (seq == 0)
			return false;
		if (seq & 1)
			continue;
		memcpy((uint8_t *)out + sizeof(seq), (const uint8_t *)place + sizeof(seq),
			sizeof(*out) - sizeof(seq));
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&place->seq, memory_order_relaxed) == seq)
			return true;
	}
	return false;
}

bool drop_memory_pair(const struct drop_memory *memory, const struct ip_addr *src,
	const struct ip_addr *dst, struct drop_note *out)
{
	return note_read(&memory->pairs[pair_place(src->b, dst->b)], out) &&
	       out->family == src->family && memcmp(out->src, src->b, 16) == 0 &&
	       memcmp(out->dst, dst->b, 16) == 0;
}

bool drop_memory_spi(const struct drop_memory *memory, uint32_t spi, struct drop_note *out)
{
	return note_read(&memory->spis[spi_place(spi)], out) && out->spi == spi;
}
