#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 address. family 0 means unspecified ("any"). Unused bytes are zero. */
struct ip_addr {
	uint8_t family; /* 0, 4 or 6 */
	uint8_t b[16];  /* network order; IPv4 in b[0..3] */
};

struct endpoint {
	struct ip_addr addr;
	uint16_t port; /* host order */
};

struct ip_prefix {
	struct ip_addr addr; /* host bits zero */
	uint8_t len;         /* bits */
};

/* A range of addresses, as in an IKE traffic selector; both ends included, one family. */
struct ip_range {
	struct ip_addr lo, hi;
};

/* RFC 4301 4.4.1.1: one side of a traffic selector. proto 0 and ports 0-65535 are "any". */
struct traffic_selector {
	struct ip_range range;
	uint8_t proto;
	uint16_t port_lo, port_hi; /* host order; OPAQUE is 65535-0 (RFC 7296 3.13.1) */
};

#define ADDR_STRLEN 48     /* "ffff:...:255.255.255.255" and a NUL */
#define ENDPOINT_STRLEN 56 /* "[addr]:65535" */
#define PREFIX_STRLEN 52   /* "addr/128" */

size_t addr_len(uint8_t family);   /* 4, 16, or 0 */
uint8_t addr_bits(uint8_t family); /* 32, 128, or 0 */
bool addr_equal(const struct ip_addr *a, const struct ip_addr *b);
/* Families first (4 before 6), then bytes: <0, 0, >0. */
int addr_compare(const struct ip_addr *a, const struct ip_addr *b);
bool addr_is_any(const struct ip_addr *a); /* unspecified family, 0.0.0.0 or :: */
/* Numeric only, no look-up. 0 or -1. */
int addr_parse(const char *text, struct ip_addr *out) __attribute__((warn_unused_result));
const char *addr_str(const struct ip_addr *a, char buf[ADDR_STRLEN]);
int addr_from_bytes(uint8_t family, const uint8_t *data, size_t len, struct ip_addr *out)
	__attribute__((warn_unused_result));

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
const char *endpoint_str(const struct endpoint *e, char buf[ENDPOINT_STRLEN]);
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
int endpoint_from_sockaddr(const struct sockaddr *sa, struct endpoint *out)
	__attribute__((warn_unused_result));

void prefix_mask(struct ip_prefix *p); /* clears the host bits */
bool prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
/* "A/len"; a bare address is a full-length prefix. 0 or -1; host bits are cleared. */
int prefix_parse(const char *text, struct ip_prefix *out) __attribute__((warn_unused_result));
const char *prefix_str(const struct ip_prefix *p, char buf[PREFIX_STRLEN]); /* always with /len */
struct ip_range prefix_range(const struct ip_prefix *p);

bool range_contains(const struct ip_range *r, const struct ip_addr *a);
/* The common part; false if there is none. */
bool range_intersect(const struct ip_range *a, const struct ip_range *b, struct ip_range *out);
/* The range as a prefix, if it is exactly one. */
bool range_to_prefix(const struct ip_range *r, struct ip_prefix *out);
/*
 * The fewest prefixes that cover the range exactly, in ascending order: at most 62 (IPv4) or
 * 254 (IPv6). Returns how many there are; writes at most cap.
 */
size_t range_to_prefixes(const struct ip_range *r, struct ip_prefix *out, size_t cap);

bool ts_intersect(const struct traffic_selector *a, const struct traffic_selector *b,
	struct traffic_selector *out);
bool ts_contains(const struct traffic_selector *outer, const struct traffic_selector *inner);
bool ts_equal(const struct traffic_selector *a, const struct traffic_selector *b);
