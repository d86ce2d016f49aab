#pragma once

#include "dataplane/burst.h"
#include "dataplane/sad.h"
#include "dataplane/worker_ctx.h"

/*
 * Stage. Packets at NEXT_ESP_IN with sa[i] of this worker: replay check, decryption,
 * replay update, padding, decapsulation, selectors of the SA (RFC 4303 3.4). What is good goes
 * to NEXT_SPD_IN with in_sa[i], PKT_FROM_SA, esp_seq[i], and pkt[i] for the inner packet;
 * mtod is the inner IP header (l3_off 0). All else is dropped with its reason, per SA too.
 */
void esp_in(struct worker_ctx *w, struct burst *b);
