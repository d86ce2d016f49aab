#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * What is known of a path's MTU: the route's, and for some minutes what ICMP told. Kept a path;
 * one thread (main).
 */

#define PMTU_AGE_S 600 /* RFC 1191 6.3: raised again after ten minutes */
#define PMTU_FLOOR4 576
#define PMTU_FLOOR6 1280

struct pmtu {
	uint16_t route_mtu;
	uint16_t learned; /* 0: nothing */
	uint32_t learned_s;
};

void pmtu_init(struct pmtu *p, uint16_t route_mtu);
uint16_t pmtu_get(const struct pmtu *p);
/* ICMP told mtu. True if pmtu_get now gives less than before. family: 4 or 6, for the floor. */
bool pmtu_learn(struct pmtu *p, uint8_t family, uint16_t mtu, uint32_t now_s);
/* The route changed. True if pmtu_get changed. */
bool pmtu_set_route(struct pmtu *p, uint16_t route_mtu);
/* Forgets what is too old. True if pmtu_get changed. */
bool pmtu_age(struct pmtu *p, uint32_t now_s);
