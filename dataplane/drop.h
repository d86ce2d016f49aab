#pragma once

#include <stdint.h>

/*
 * Why a packet went no further. One list: the first word is the enum's, the second the counter's
 * name in the CLI, the third what `penstockctl show drops` and `trace` say to a person.
 */
#define DROP_REASONS(X)                                                                            \
	X(NONE, "none", "not dropped")                                                             \
	X(NOT_READY, "not-ready", "flows are not installed yet: an owner has not finished resync") \
	X(OTHER_STATION, "other-station", "the frame is addressed to another station")             \
	X(PORT_DOWN, "port-down", "the port's TAP is set down")                                    \
	X(VLAN, "vlan", "the frame's VLAN has no interface here that is up")                       \
	X(MALFORMED, "malformed", "a header is too short, has a wrong length or a wrong version")  \
	X(BAD_CHECKSUM, "bad-checksum", "the IPv4 header checksum is wrong")                       \
	X(BAD_SOURCE, "bad-source", "the source address may not be a source (RFC 1812 5.3.7)")     \
	X(TTL_EXCEEDED, "ttl-exceeded", "TTL or hop limit ran out")                                \
	X(NO_ROUTE, "no-route", "no route to the destination")                                     \
	X(NO_NEIGHBOUR, "no-neighbour", "the next hop's link address is not known")                \
	X(DENY, "deny", "a flow of type deny matched, or no flow with default deny")               \
	X(NO_SA_FOR_FLOW, "no-sa-for-flow", "the flow demands an SA and has none (type require)")  \
	X(ACQUIRE, "acquire", "the flow has no SA yet; one was asked for")                         \
	X(CLEAR_BUT_PROTECTED, "clear-but-protected",                                              \
		"came in clear although a flow says that it must be protected")                    \
	X(TS_MISMATCH, "ts-mismatch", "the packet is outside the selectors of its SA")             \
	X(NO_SA, "no-sa", "ESP for an SPI that we do not have")                                    \
	X(SA_STATE, "sa-state", "the SA is not live yet or has reached its hard limit")            \
	X(REPLAY, "replay", "sequence number seen before or older than the window")                \
	X(REPLAY_HELD, "replay-held",                                                              \
		"number not above what may have been accepted before the last restart")            \
	X(BAD_ICV, "bad-icv", "the integrity check failed")                                        \
	X(BAD_PADDING, "bad-padding", "ESP padding or pad length is wrong (RFC 4303 2.4)")         \
	X(BAD_INNER, "bad-inner", "the decrypted packet is not the IP packet it claims to be")     \
	X(BAD_ESP, "bad-esp", "an ESP packet is too short or not a whole number of blocks")        \
	X(DUMMY, "dummy", "dummy packet of traffic flow confidentiality (next header 59)")         \
	X(ECN, "ecn", "illegal outer and inner ECN together (RFC 6040 4.2)")                       \
	X(SEQ_EXHAUSTED, "seq-exhausted", "no sequence number left; the SA must be rekeyed")       \
	X(SEQ_RESERVED, "seq-reserved", "sequence numbers used up faster than reserved ahead")     \
	X(NO_PATH, "no-path", "the SA has no path: addresses or next hop are not known")           \
	X(MTU, "mtu", "too big for the path; the sender was told or may not be")                   \
	X(NO_ROOM, "no-room", "the packet buffer has no room for the ESP header or trailer")       \
	X(CHAINED, "chained", "a packet of several segments could not be made one")                \
	X(NO_MBUF, "no-mbuf", "no packet buffer was free")                                         \
	X(RING_FULL, "ring-full", "the ring to the owner worker or to main was full")              \
	X(FRAG_OVERLAP, "frag-overlap", "IP fragments overlap")                                    \
	X(FRAG_LIMIT, "frag-limit", "too many incomplete datagrams, of all or of this source")     \
	X(FRAG_TIMEOUT, "frag-timeout", "the rest of a fragmented datagram never came")            \
	X(FRAG_BAD, "frag-bad", "a fragment has an impossible offset or length")                   \
	X(TX_FULL, "tx-full", "the port's transmit queue was full")                                \
	X(KEEPALIVE, "keepalive", "NAT keepalive of one byte 0xff (RFC 3948 2.3)")

enum drop_reason {
#define DROP_ENUM(id, name, text) DROP_##id,
	DROP_REASONS(DROP_ENUM)
#undef DROP_ENUM
		DROP_N
};

/* The counter's name; "?" for a number that is none. */
const char *drop_name(enum drop_reason r);
/* A sentence part that a person understands. */
const char *drop_text(enum drop_reason r);
