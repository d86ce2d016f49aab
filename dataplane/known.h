#pragma once

#include <stdint.h>

#include "dataplane/burst.h"

struct worker;

/*
 * What the stages decided for a packet is decided for the next ones with the same addresses,
 * protocol and ports: as long as no flow, SA, route or address has changed, these go straight to
 * encryption or to the port. A table of fixed size a worker, its own alone; where it has no answer
 * the stages are asked as if it were not there, so what it saves is time and nothing else.
 *
 * Only for IPv4 TCP and UDP without options, whole. A SYN is left to the stages (MSS), as is all
 * that is traced or captured.
 *
 * Entries hold pointers over a burst's end. They are read only while the sum of the versions of
 * SPD, SAD, routes and configuration is the one under which they were written, and each of these
 * is raised between the moment an object is taken out of its table and the begin of the grace
 * period after which it is freed: a worker that has not seen the new version keeps main waiting.
 */
struct known;

#define KNOWN_ENTRIES 1024

struct known *known_create(uint64_t seed);
void known_destroy(struct known *k);

/* Before the stages of a burst whose packets came by a port or from another worker. */
void known_begin(struct worker *w, struct burst *b);
/*
 * Stage, before all others: frames just received, all of one port and at NEXT_PARSE. To
 * NEXT_ESP_IN, NEXT_ESP_OUT or NEXT_TX. SAs, flows and next hops of the burst before are cleared.
 */
void known_from_port(struct worker *w, struct burst *b);
/* Stage: what came out of an SA and is at NEXT_SPD_IN. To NEXT_ESP_OUT or NEXT_TX. */
void known_from_sa(struct worker *w, struct burst *b);

/* The mask's packets, parsed, are at NEXT_ESP_IN. */
void known_learn_ours(struct worker *w, const struct burst *b, uint64_t mask);
/*
 * The mask's packets go to sa[i], or to nexthop[i] in clear, by in_flow[i] and flow[i]. Only those
 * of may_learn are looked at.
 */
void known_learn(struct worker *w, const struct burst *b, uint64_t mask);
