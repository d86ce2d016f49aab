#pragma once

#include "controlplane/ike/flows.h"

/* The pairs in memory and how they are found; what becomes of them is said in flows.c. */

/* In no list, but found by its handle. NULL without memory. */
struct flow_pair *flow_pair_create(struct ike_engine *engine);
/* Out of its list (NULL: none) and of all maps, and freed; espd is not told. */
void flow_pair_destroy(struct ike_engine *engine, struct flow_list *list, struct flow_pair *pair);

void flow_list_append(struct flow_list *list, struct flow_pair *pair);
void flow_list_remove(struct flow_list *list, struct flow_pair *pair);

/* The same packets, the same negotiated source. */
bool flow_pair_equal(const struct flow_pair *a, const struct flow_pair *b);
/* Key in by_selectors: what is negotiated; `policy` is 0 for flows of SAs. Other selectors may
 * have the same key. */
uint64_t flow_pair_key(
	const struct ike_engine *engine, const struct flow_pair *pair, uint32_t policy);
void flow_pair_index(struct ike_engine *engine, struct flow_pair *pair, uint64_t key);

/* 0: none any more. */
void flow_pair_set_tunnel(struct ike_engine *engine, struct flow_pair *pair, uint64_t tunnel);
/* The flows of a tunnel, first to last. Before one is destroyed ask for the next of it. */
struct flow_pair *flow_pair_of_tunnel(const struct ike_engine *engine, uint64_t tunnel);
struct flow_pair *flow_pair_next_of_tunnel(
	const struct ike_engine *engine, const struct flow_pair *pair);

/* In and out of espd. */
void flow_pair_load(struct ike_engine *engine, struct flow_pair *pair);
void flow_pair_unload(struct ike_engine *engine, struct flow_pair *pair);
/* Would it be loaded with other identities now? */
bool flow_pair_ids_changed(const struct ike_engine *engine, const struct flow_pair *pair);
