#pragma once

#include "dataplane/burst.h"
#include "dataplane/spd.h"

/*
 * Stage (RFC 4301 7). Transit fragments at NEXT_SPD_IN or NEXT_SPD_OUT for whose addresses a
 * flow with ports could be the match go to NEXT_REASM with PKT_REJOIN: a later fragment has no
 * ports, so it would pass by another flow than the first, perhaps in clear. All fragments of a
 * datagram are judged alike. At NEXT_SPD_IN both directions count, for the packet will see
 * both; out of an SA only the way out, for its way in is the selectors' affair. Its place is after
 * parsing and before the fragments are given to their owner worker, and again after decryption if
 * what comes out of tunnels may go on into others.
 */
void fragment_steer(const struct spd *spd, struct burst *b);

/* Is the fragment i such a one? At NEXT_SPD_IN both directions are asked, else the way out. */
bool fragment_needs_ports(const struct spd *spd, const struct burst *b, unsigned i);
