#pragma once

#include "dataplane/burst.h"
#include "dataplane/sad.h"
#include "dataplane/worker_ctx.h"

/*
 * Stage. Clear packets at NEXT_ESP_OUT with sa[i] of this worker (NEXT_HANDOFF if another
 * one owns it): selectors, MTU, number, outer header, encryption (RFC 4303 3.3). What is done
 * goes to NEXT_TX with nexthop[i] of the path, or NEXT_FRAGMENT if ESP itself must be cut
 * afterwards (pkt[i] then describes the outer packet, mtod is its IP header, l3_off 0).
 * Too big for the path: NEXT_ICMP (ICMP_ABOUT_MTU, mtu[i] is the inner MTU) if DF is set,
 * NEXT_FRAGMENT before encryption (mtu[i] set, still clear, sa[i] kept) if it is not and the
 * configuration says so.
 */
void esp_out(struct worker_ctx *w, struct burst *b);

/*
 * The longest inner packet whose ESP packet fits outer_mtu, exactly: in tunnel mode the whole
 * inner IP packet, in transport mode the packet with its own IP header, which is then also the
 * outer one (ip_hdr_len bytes of headers before ESP). 0 if nothing fits.
 */
uint16_t esp_inner_mtu(const struct suite *s, uint16_t outer_mtu, bool is_udp, uint8_t outer_family,
	bool is_tunnel, uint16_t ip_hdr_len);
/* The same for an SA with its path as it is now; ip_hdr_len as above. */
uint16_t sa_inner_mtu(const struct sa_hot *sa, uint16_t ip_hdr_len);
