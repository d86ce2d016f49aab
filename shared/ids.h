#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An IKE identity (RFC 7296 3.5). */
enum ike_id_type {
	IKE_ID_NONE = 0,
	IKE_ID_IPV4 = 1,
	IKE_ID_FQDN = 2,
	IKE_ID_UFQDN = 3,
	IKE_ID_IPV6 = 5,
	IKE_ID_ASN1_DN = 9,
	IKE_ID_ASN1_GN = 10,
	IKE_ID_KEY_ID = 11,
};

#define IKE_ID_MAXLEN 512
#define IKE_ID_STRLEN 320 /* "TYPE/value", cut if longer */

struct ike_id {
	uint8_t type;
	uint16_t len;
	uint8_t data[IKE_ID_MAXLEN]; /* as on the wire: addresses are bytes, DNs are DER */
};

bool ike_id_equal(const struct ike_id *a, const struct ike_id *b);
/*
 * iked.conf's srcid/dstid by form: starts with '/' ASN1_DN, IPv4, IPv6, contains '@' UFQDN,
 * else FQDN. 0, or -1 (too long, malformed DN).
 */
int ike_id_parse(const char *text, struct ike_id *out) __attribute__((warn_unused_result));
/* "FQDN/server1.domain", "IPV4/192.0.2.1", "ASN1_DN//C=DE/CN=x"; bytes that do not print
 * become '?'. */
const char *ike_id_str(const struct ike_id *id, char buf[IKE_ID_STRLEN]);
/* The type's word alone ("FQDN"). */
const char *ike_id_type_str(uint8_t type);
