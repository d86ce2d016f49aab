#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#include "dataplane/burst.h"

/* Packets for the tests of this folder, and the environment that mbufs need. */

#define ETH 14

/* Starts EAL without hugepages. 0 or -1. */
int packets_init(void);
extern struct rte_mempool *packets_pool, *packets_big_pool;

void put16(uint8_t *b, uint16_t v);
/* RFC 1071's sum, complemented: 0 over data with a right checksum in it. */
uint16_t sum_of(const uint8_t *b, size_t len);
void v4_sum(uint8_t *ip);
/* UDP 10.0.1.1:1000 -> 10.0.2.1:dport of total bytes, identification 7; a pattern as payload. */
void v4_udp(uint8_t *ip, uint16_t total, uint16_t dport);
/* UDP [2001:db8:1::1]:1000 -> [2001:db8:2::1]:dport of total bytes. */
void v6_udp(uint8_t *ip, uint16_t total, uint16_t dport);
/* The Internet checksum of a TCP, UDP or ICMPv6 packet over its pseudo header: 0 if right. */
uint16_t transport_sum(const uint8_t *ip, uint16_t l4_off, uint16_t len, uint8_t proto);
/* A received frame. */
struct rte_mbuf *frame_of(const uint8_t *ip, uint16_t len);
/* Puts a parsed packet in slot i, at `next`; the slot owns m. */
void burst_put(struct burst *b, unsigned i, struct rte_mbuf *m, enum burst_next next);
/* No buffer is lost. */
void packets_assert_none_used(void);
