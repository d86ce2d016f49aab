#pragma once

#include "dataplane/worker.h"

/*
 * The stages that belong to the program itself; the others are in the libraries beside
 * (parse.h, sad.h, esp_in.h ...). Each looks at the packets whose next[] is its own.
 */

/* stage_link.c: NEXT_PARSE; frames to other stations, on ports that hear all of them. */
void stage_link_input(struct worker *w, struct burst *b);
/* stage_link.c: NEXT_TX: link header, or to main for want of a neighbour. */
void stage_transmit(struct worker *w, struct burst *b);

/* stage_spd.c: NEXT_LOCAL, NEXT_SPD_IN: may it come in? To NEXT_HOST or NEXT_SPD_OUT. */
void stage_spd_in(struct worker *w, struct burst *b);
/* stage_spd.c: NEXT_SPD_OUT: to NEXT_ESP_OUT, NEXT_ROUTE (clear) or dropped. */
void stage_spd_out(struct worker *w, struct burst *b);
/* stage_spd.c: a frame from a TAP, already parsed: the same; clear ones keep their frame. */
void stage_host_input(struct worker *w, struct burst *b);

/* stage_cut.c: NEXT_FRAGMENT; the pieces go on by themselves. */
void stage_fragment(struct worker *w, struct burst *b);
/* stage_cut.c: NEXT_ICMP: answers with an error, drops the packet. */
void stage_icmp(struct worker *w, struct burst *b);

/* stage_leave.c: NEXT_REASM of another worker, NEXT_HANDOFF: through the rings. */
void stage_handoff(struct worker *w, struct burst *b);
/* stage_leave.c: what is left: to the host, to IKE, dropped. The burst is empty afterwards. */
void stage_leave(struct worker *w, struct burst *b);

/* Copies of clear packets for captures (NULL sa: none is taken). direction: ipc_direction. */
void capture_packet(struct worker *w, struct rte_mbuf *m, uint16_t l3_off, uint16_t len,
	const struct sa_hot *sa, uint8_t direction);
static inline bool capture_is_on(const struct worker *w)
{
	return __builtin_expect(
		atomic_load_explicit(&w->dp->n_captures, memory_order_relaxed) > 0, 0);
}
