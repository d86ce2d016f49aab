#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#include "dataplane/burst.h"

/*
 * What a packet carries through a ring between two threads, in its buffer's private area. SAs
 * are named by reference, never by pointer: they may be gone when the packet arrives.
 */
enum pkt_kind {
	/* worker to worker */
	PKT_KIND_ESP_IN = 1, /* hand-off: to be decrypted by the SA's owner */
	PKT_KIND_ESP_OUT,    /* hand-off: to be encrypted by the SA's owner */
	PKT_KIND_RX,         /* received on a port with fewer queues than workers: from parse */
	/* worker to main */
	PKT_KIND_HOST,    /* a frame for the TAP of `port` */
	PKT_KIND_HOST_IP, /* an IP packet for the TAP of `port`: main puts the frame header on */
	PKT_KIND_PUNT,    /* IKE */
	PKT_KIND_NEIGH,   /* IP packet that waits for its next hop's link address */
	PKT_KIND_ACQUIRE, /* the IP packet that asks for an SA */
	PKT_KIND_TRACE,   /* lines of text about a packet */
	PKT_KIND_CAPTURE, /* a copy of a clear packet */
	PKT_KIND_PMTU,    /* the path of `sa` has a new MTU: `mtu` */
	/* main to worker */
	PKT_KIND_FROM_HOST, /* a frame from the TAP of `port` */
	PKT_KIND_ROUTE,     /* a clear IP packet that has passed the SPD: to be routed and sent */
};

struct pkt_meta {
	uint8_t kind;
	uint8_t direction; /* captures */
	uint16_t port;
	uint16_t mtu;
	uint16_t reserved;
	uint64_t sa, in_sa;    /* sa_ref(), 0: none */
	uint64_t flow, policy; /* acquire: handles */
	uint32_t owner;        /* acquire: the flow's owner */
	uint32_t spi;
	uint32_t orig_len;      /* captures */
	uint32_t ifindex;       /* of the missing neighbour */
	struct ip_addr gateway; /* acquire: destination; PMTU: the peer */
	struct ip_addr src;     /* acquire */
	struct pkt_info pkt;
};

static inline struct pkt_meta *pkt_meta(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}
