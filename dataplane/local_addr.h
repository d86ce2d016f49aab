#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/addr.h"

/*
 * "To us": the local addresses of the network namespace. A set never changes; main makes a new
 * one at each change, publishes the pointer and frees the old one after a grace period.
 */
struct local_addrs;

struct local_addr {
	struct ip_addr addr;
	uint8_t prefix_len; /* of its network: gives the directed broadcast address (IPv4) */
};

enum local_class {
	LOCAL_NO = 0,    /* somebody else's */
	LOCAL_OURS,      /* an address of ours */
	LOCAL_BROADCAST, /* 255.255.255.255, or a directed broadcast of a network of ours */
	LOCAL_MULTICAST, /* a group of wider scope than the link */
	LOCAL_LINK,      /* link-scope multicast: never forwarded */
};

/* NULL without memory. Doubles are allowed. */
struct local_addrs *local_addrs_create(const struct local_addr *addrs, size_t n)
	__attribute__((warn_unused_result));
void local_addrs_destroy(struct local_addrs *set);
/* addr: 4 or 16 bytes by family. A NULL set has no address. */
enum local_class local_addrs_class(
	const struct local_addrs *set, uint8_t family, const uint8_t *addr);
