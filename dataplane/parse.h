#pragma once

#include "dataplane/burst.h"
#include "dataplane/local_addr.h"
#include "dataplane/spd.h"
#include "dataplane/worker_ctx.h"

/* Parses received frames and says where each goes. */

#define PARSE_PUNTS_MAX 32

/* Registered (address, port) pairs of IKE. A set never changes; main publishes a new one. */
struct punt_set {
	uint32_t n;
	struct {
		struct endpoint local; /* family 0: any local address */
		bool is_nat_t;         /* RFC 3948's rules: marker, keepalive, ESP in UDP */
	} entries[PARSE_PUNTS_MAX];
};

/* What main publishes for this stage; read once a burst. Either may be NULL. */
struct parse_ctx {
	const struct local_addrs *local;
	const struct punt_set *punts;
};

/*
 * Stage. Packets at NEXT_PARSE: mtod is the Ethernet header, l2 with up to two VLAN tags. Leaves
 * pkt[i] filled (l3_off from mtod) and one of
 *   NEXT_HOST    no IP; or what is never protected and never denied (ND, MLD, link-scope
 *                multicast, the DHCP client's)
 *   NEXT_REASM   a fragment to us
 *   NEXT_ESP_IN  ESP to us, also in UDP on a NAT-T port (PKT_UDP_ENCAP)
 *   NEXT_PUNT    IKE on a registered port: l4_off is the UDP header (a NAT-T port's payload
 *                begins with the marker)
 *   NEXT_LOCAL   all else to us, broadcast and multicast
 *   NEXT_SPD_IN  not to us
 *   NEXT_DROP    with its reason
 * The mbuf is one segment afterwards and ends with the IP packet (Ethernet padding is cut off).
 */
void parse_burst(struct worker_ctx *w, const struct parse_ctx *ctx, struct burst *b);

/*
 * Parses the IP packet at ip, of which avail bytes are there, into out (l3_off is left alone;
 * l4_off and nh_off are counted from ip). Any bytes are safe. DROP_NONE or why it is bad.
 */
enum drop_reason parse_ip(const uint8_t *ip, uint32_t avail, struct pkt_info *out);

/*
 * True for what is never protected and never denied though it comes from the host: ND, RS/RA,
 * MLD, link-scope multicast, the DHCP client's datagrams (not those of a server or relay).
 */
bool parse_is_exempt(const uint8_t *ip, const struct pkt_info *pkt);

/*
 * The Fragment header of an IPv6 packet that parse_ip found good (end: its length), and in
 * *named_at the byte that names it. 0: there is none.
 */
uint32_t parse_fragment_header(const uint8_t *ip, uint32_t end, uint32_t *named_at);

/*
 * The protocol of a fragment as far as each fragment of the datagram tells it. 0: not known,
 * for an IPv6 extension header comes before the transport header.
 */
uint8_t parse_fragment_proto(const uint8_t *ip, const struct pkt_info *pkt);
/* TCP, UDP, UDP-Lite, SCTP. */
bool parse_proto_has_ports(uint8_t proto);

/* What the SPD sees of a packet. Ports only where the protocol has them (not ICMP). */
void parse_spd_packet(const uint8_t *ip, const struct pkt_info *pkt, struct spd_packet *out);
