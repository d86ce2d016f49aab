#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"
#include "shared/bytes.h"

/* RFC 7296 3.13: traffic selectors. The payload's count has eight bits. */
#define IKE_TS_MAX 255

struct ike_ts_list {
	uint8_t n;
	bool has_unknown; /* selectors of types that we don't know were left out */
	struct traffic_selector ts[IKE_TS_MAX];
};

/*
 * 0 or -IKE_WIRE_E_SYNTAX (lengths, or an address range that is upside down). Ports 65535-0 are
 * OPAQUE and kept.
 */
int ike_payload_ts_decode(struct bytes body, struct ike_ts_list *out)
	__attribute__((warn_unused_result));
void ike_payload_ts_write(struct writer *w, const struct ike_ts_list *list);
/* Adds one; false if the list is full. */
bool ike_ts_list_add(struct ike_ts_list *list, const struct traffic_selector *ts);
