#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/bytes.h"

/*
 * RFC 7296 3.3: an SA payload as data, ours to send as well as one received. Bounded: proposals
 * that do not fit are well-formedness checked, counted in n_skipped and not kept.
 */
#define IKE_OFFER_PROPOSALS_MAX 64
#define IKE_OFFER_TRANSFORMS_MAX 640

struct ike_offer_transform {
	uint8_t type; /* enum transform_type, or one that we don't know */
	bool has_key_len;
	bool has_unknown_attr; /* RFC 7296 3.3.6: makes this transform unacceptable */
	uint16_t id;
	uint16_t key_len_bits; /* Key Length attribute, 3.3.5 */
};

struct ike_offer_proposal {
	uint8_t number;
	uint8_t protocol; /* enum ike_protocol */
	uint8_t spi_len;  /* 0, 4 or 8 */
	uint8_t spi[8];
	uint16_t first, n; /* transforms[first .. first + n - 1] */
};

struct ike_offer {
	uint16_t n_proposals, n_transforms, n_skipped;
	struct ike_offer_proposal proposals[IKE_OFFER_PROPOSALS_MAX];
	struct ike_offer_transform transforms[IKE_OFFER_TRANSFORMS_MAX];
};

/* 0 or -IKE_WIRE_E_SYNTAX. */
int ike_payload_sa_decode(struct bytes body, struct ike_offer *out)
	__attribute__((warn_unused_result));
/* The payload's body; w->failed if it did not fit. */
void ike_payload_sa_write(struct writer *w, const struct ike_offer *offer);

/* SPI of a proposal in host order: 4 or 8 bytes; 0 if it has none. */
uint64_t ike_offer_spi(const struct ike_offer_proposal *p);

#define IKE_OFFER_STRLEN 1600
/*
 * For logs: "1 ESP: AES_CBC-256 HMAC_SHA2_256_128 NO_ESN; 2 ESP: ...", several of one type
 * joined by '/', unknown ones as "ENCR#99"; cut with "..." if longer.
 */
const char *ike_offer_str(const struct ike_offer *offer, char buf[IKE_OFFER_STRLEN]);
