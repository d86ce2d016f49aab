#pragma once

#include <stdint.h>

#include "shared/addr.h"
#include "shared/ids.h"

/*
 * What penstock-iked (each engine) and ipsecctl say to penstock-espd and back: the bodies of the
 * slots that ipc/ carries. Numbers are in host order, the structs are plain data of fixed size
 * (no pointers), padding is zero. Both sides are of one build (the layout hash is checked at
 * attach). A receiver copies a slot first and checks it afterwards: lengths, enums and handles
 * may be anything.
 *
 * Handles are 64-bit numbers that the owner chooses and that name an object of that owner
 * until it is deleted; 0 is never a handle. The generation grows each time the owner uses the
 * handle for a new object; a command with another generation than the object's is refused with
 * IPC_E_STALE. The owner is a property of the ring, not of the message.
 */

#define IPC_SLOT_CMD 1024  /* bytes of a command slot, header included */
#define IPC_SLOT_EVENT 512 /* bytes of an event slot */
#define IPC_SLOT_PUNT 2048 /* bytes of a punt slot; longer datagrams span consecutive slots */
#define IPC_PUNT_MAX 65535 /* longest datagram */
#define IPC_SELECTORS_PER_SLOT 4
#define IPC_SELECTORS_MAX 255 /* pairs an SA */
#define IPC_KEY_MAX 72
#define IPC_ENGINES_MAX 16 /* of one iked, numbered from 0 */
#define IPC_ID_LEN 160     /* printed identity, NUL-terminated, cut if longer */

/* Who owns SAs and flows; part of attach. Listing and look-up order of equal selectors:
 * ipsec.conf (IPSECCTL) before iked's, then the newer registration. */
enum ipc_owner_kind { IPC_OWNER_SYSTEM = 0, IPC_OWNER_IPSECCTL = 1, IPC_OWNER_ENGINE = 2 };

enum ipc_direction { IPC_DIR_IN = 1, IPC_DIR_OUT = 2 };
enum ipc_mode { IPC_MODE_TRANSPORT = 1, IPC_MODE_TUNNEL = 2 };
/* OpenBSD's flow types (ipsec.conf(5)). */
enum ipc_flow_type {
	IPC_FLOW_USE = 1,
	IPC_FLOW_ACQUIRE,
	IPC_FLOW_REQUIRE,
	IPC_FLOW_DENY,
	IPC_FLOW_BYPASS,
	IPC_FLOW_DONTACQ,
};

/* Source and destination in the direction in which the SA's packets travel. */
struct ipc_selector {
	struct traffic_selector src, dst; /* proto is that of src; both must agree */
};

enum ipc_cmd_type {
	IPC_CMD_NONE = 0,
	IPC_CMD_SA_ADD,        /* struct ipc_sa_add */
	IPC_CMD_SA_SELECTORS,  /* struct ipc_sa_selectors: more selectors of an SA_ADD */
	IPC_CMD_SA_UPDATE,     /* struct ipc_sa_update */
	IPC_CMD_SA_DELETE,     /* struct ipc_ref */
	IPC_CMD_SA_QUERY,      /* struct ipc_ref; answered by IPC_EVENT_SA_STATE */
	IPC_CMD_PATH_SET,      /* struct ipc_path: add or change */
	IPC_CMD_PATH_DELETE,   /* struct ipc_ref */
	IPC_CMD_FLOW_ADD,      /* struct ipc_flow: add or replace under the same handle */
	IPC_CMD_FLOW_DELETE,   /* struct ipc_ref */
	IPC_CMD_FLOW_BIND,     /* struct ipc_flow_bind: an outbound SA serves a flow */
	IPC_CMD_RESYNC_BEGIN,  /* no body: marks all of the owner's objects as old */
	IPC_CMD_RESYNC_END,    /* no body: deletes those not added again (an SA without its keys,
				* see HELD, is named by SA_UPDATE); the owner is ready */
	IPC_CMD_SPI_LEASE,     /* struct ipc_spi_lease: n wanted; answered by event SPI_LEASE */
	IPC_CMD_SPI_RELEASE,   /* struct ipc_spi_lease */
	IPC_CMD_PUNT_REGISTER, /* struct ipc_punt_register */
	IPC_CMD_ROUTE_QUERY,   /* struct ipc_route_query; answered by event ROUTE */
	IPC_CMD_HELD_QUERY,    /* no body; answered by HELD events and one HELD_END */
	IPC_CMD_FLUSH,         /* struct ipc_flush: ipsecctl -F, ikectl decouple */
	IPC_CMD_STEER,         /* struct ipc_steer: IKE SPI check key and shard table */
};

enum ipc_event_type {
	IPC_EVENT_NONE = 0,
	IPC_EVENT_ACK,           /* struct ipc_ack; one a command, always */
	IPC_EVENT_ACQUIRE,       /* struct ipc_acquire */
	IPC_EVENT_SA_STATE,      /* struct ipc_sa_state: answer, or a limit or first packet seen */
	IPC_EVENT_NAT_CHANGE,    /* struct ipc_nat_change */
	IPC_EVENT_SPI_LEASE,     /* struct ipc_spi_lease */
	IPC_EVENT_ROUTE,         /* struct ipc_route */
	IPC_EVENT_ADDR,          /* struct ipc_addr_event: local address added or removed */
	IPC_EVENT_ROUTE_CHANGED, /* no body: earlier ROUTE answers may be wrong now */
	IPC_EVENT_LINK,          /* struct ipc_link_event */
	IPC_EVENT_HELD,          /* struct ipc_held: an SA of an owner that went away */
	IPC_EVENT_HELD_FLOW,     /* struct ipc_held_flow: a flow of that owner, after all HELD */
	IPC_EVENT_HELD_END,      /* no body */
	IPC_EVENT_FLUSHED, /* no body: ipsecctl -F emptied all; the owner's objects are gone */
	IPC_EVENT_PMTU,    /* struct ipc_pmtu_event */
};

/* Codes of IPC_EVENT_ACK: 0 or one of these. ipc_error_str names them. */
enum ipc_error {
	IPC_OK = 0,
	IPC_E_INVALID = 1,     /* a field is out of range */
	IPC_E_NO_SUCH = 2,     /* handle unknown */
	IPC_E_STALE = 3,       /* generation differs */
	IPC_E_EXISTS = 4,      /* SPI in use, or handle in use by a newer generation */
	IPC_E_FULL = 5,        /* table or memory limit */
	IPC_E_UNSUPPORTED = 6, /* algorithm or feature of this build */
	IPC_E_REKEY = 7,       /* SA_ADD with RESTORE but no sequence record: must be rekeyed */
	IPC_E_BOUND = 8,       /* the set of flows would exceed the SPD's stated bound */
	IPC_E_BUSY = 9,        /* not now: resync under way, retry */
};

struct ipc_cmd_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t number; /* the owner's, ascending from 1; echoed by the acknowledgement */
};

struct ipc_event_header {
	uint32_t type;
	uint32_t reserved;
};

struct ipc_ref {
	uint64_t handle;
	uint32_t generation;
	uint32_t reserved;
};

enum { /* ipc_sa_add.flags */
	IPC_SA_ESN = 1 << 0,
	IPC_SA_RESTORE = 1 << 1,     /* pushed again after a restart of espd; without a sequence
				      * record it is refused with IPC_E_REKEY */
	IPC_SA_NO_REPLAY = 1 << 2,   /* manual SAs: no window (OpenBSD) */
	IPC_SA_NO_FRAGMENT = 1 << 3, /* reserved for per-policy DF handling */
	IPC_SA_HOLD_OUT = 1 << 4,    /* outbound is installed but flows move to it only at the first
				      * valid packet on `partner` or by SA_UPDATE (RFC 7296 2.8) */
};

/* Takes effect, and is acknowledged, when all n_selectors_total selectors have arrived. */
struct ipc_sa_add {
	struct ipc_ref sa;
	uint64_t path;    /* handle of a path of the same owner */
	uint64_t partner; /* handle of the other direction's SA, or 0 */
	uint64_t ike;     /* handle that all SAs of one IKE SA share, or 0 */
	uint32_t spi;     /* inbound: index leased to this owner, or a manual one (ipsecctl) */
	uint32_t flags;
	uint8_t direction, mode;
	uint16_t encr_id, encr_key_len;          /* transform_find's arguments */
	uint16_t integ_id;                       /* INTEG_NONE with an AEAD */
	uint16_t enc_key_len, integ_key_len;     /* bytes of key below, salt included in enc_key */
	uint16_t n_selectors_total, n_selectors; /* 0 in all: any packet (manual SAs) */
	uint32_t replay_window;                  /* packets, 64 to 4096; 0: espd.conf's */
	uint32_t tfc_pad; /* outbound: pad inner packets up to this many bytes; 0 no TFC */
	uint64_t soft_bytes, hard_bytes;       /* 0: none */
	uint32_t soft_s, hard_s;               /* seconds from installation; 0: none */
	struct ip_addr tunnel_src, tunnel_dst; /* as listed: outer addresses of the packets */
	uint8_t enc_key[IPC_KEY_MAX];
	uint8_t integ_key[IPC_KEY_MAX];
	char srcid[IPC_ID_LEN]; /* for listings: the owner's and the peer's identity */
	char dstid[IPC_ID_LEN];
	struct ipc_selector selectors[2];
};

struct ipc_sa_selectors {
	struct ipc_ref sa;
	uint16_t n_selectors;
	uint16_t reserved[3];
	struct ipc_selector selectors[IPC_SELECTORS_PER_SLOT];
};

enum {                              /* ipc_sa_update.what */
	IPC_SA_SET_ACTIVE = 1 << 0, /* an outbound SA under HOLD_OUT serves its flows now */
	IPC_SA_SET_DYING = 1 << 1,  /* outbound: not chosen while another usable SA is there */
	IPC_SA_SET_LIFE = 1 << 2,   /* the four lifetimes below, from now */
};

struct ipc_sa_update {
	struct ipc_ref sa;
	uint32_t what;
	uint32_t soft_s, hard_s;
	uint32_t reserved;
	uint64_t soft_bytes, hard_bytes;
};

enum {                                 /* ipc_path.flags */
	IPC_PATH_UDP = 1 << 0,         /* ESP in UDP (RFC 3948) */
	IPC_PATH_PEER_NATTED = 1 << 1, /* report a changed source (NAT_CHANGE) */
	IPC_PATH_KEEPALIVE = 1 << 2,   /* we are behind NAT: espd sends keepalives when idle */
};

/* The addresses that all SAs of an IKE SA share; one command moves them together. */
struct ipc_path {
	struct ipc_ref path;
	struct endpoint local, remote; /* ports matter with IPC_PATH_UDP only */
	uint32_t flags;
	uint16_t keepalive_s; /* 0: 20 s */
	uint16_t mtu;         /* outer; 0: the route's, learned by PMTU discovery */
};

enum {                                 /* ipc_flow.flags */
	IPC_FLOW_F_STRICT_IN = 1 << 0, /* `in` of an IKE pair: listed as `type use`, but matching
					* clear packets are dropped (clear-but-protected) */
	IPC_FLOW_F_AUTOBIND = 1 << 1,  /* espd binds the newest SA of the owner to the peer
					* (ipsec.conf's flows with manual SAs) */
	IPC_FLOW_F_LOCAL = 1 << 2,     /* `local` is set and listed */
};

/* SPD entry. Ports are one port or 0 (any), as in ipsec.conf and iked.conf. */
struct ipc_flow {
	struct ipc_ref flow;
	struct ip_prefix src, dst;
	uint16_t src_port, dst_port; /* 0: any */
	uint8_t proto;               /* 0: any */
	uint8_t direction, type;     /* ipc_direction, ipc_flow_type */
	uint8_t reserved;
	uint32_t flags;
	uint64_t policy;                           /* the owner's tag, echoed in ACQUIRE */
	struct ip_addr peer;                       /* family 0: none */
	struct ip_addr local;                      /* with IPC_FLOW_F_LOCAL */
	char srcid[IPC_ID_LEN], dstid[IPC_ID_LEN]; /* "" if none */
};

/* The newest bound SA that is usable serves the flow. A deleted SA unbinds itself. */
struct ipc_flow_bind {
	struct ipc_ref flow, sa;
};

/*
 * Inbound SPIs: SAD index and fresh random bits. A lease is a range of indices; the owner makes
 * SPIs by ipc_spi_make (ipc/spi.h) and gives an index back by deleting its SA or by SPI_RELEASE.
 */
struct ipc_spi_lease {
	uint32_t first, count; /* in the command SPI_LEASE: first is 0, count is how many */
	uint32_t index_bits;   /* event: how many low bits of an SPI are the index */
	uint32_t reserved;
};

/* Datagrams to this local address and port go to the punt ring, not to the host. */
struct ipc_punt_register {
	struct endpoint local; /* family 0: all local addresses of the namespace */
	uint32_t add;          /* 1 add, 0 remove */
	uint32_t nat_t;        /* 1: non-ESP marker rules of RFC 3948 apply (port 4500) */
};

struct ipc_route_query {
	uint64_t token;
	struct ip_addr dst;
	struct ip_addr src; /* family 0: choose */
};

struct ipc_route {
	uint64_t token;
	struct ip_addr src; /* family 0: no route */
	uint32_t ifindex;
	uint32_t mtu;
};

enum { IPC_FLUSH_ALL_OWNERS = 1 << 0, IPC_FLUSH_SA = 1 << 1, IPC_FLUSH_FLOW = 1 << 2 };

struct ipc_flush {
	uint32_t what;
	uint32_t reserved;
};

/*
 * The SPI that we chose carries a shard and a keyed check (ipc/ike_spi.h); the table says whose the
 * shard is (ipc/steer.h). All engines of one iked say the same, each before anything else. SAs and
 * flows of engines beyond n_engines, of an earlier run, become those of engine (number modulo
 * n_engines) unless they are attached.
 */
struct ipc_steer {
	uint8_t key[16];
	uint32_t stranger_budget; /* IKE datagrams a second and engine without a known SPI */
	uint32_t n_engines;       /* 1 to IPC_ENGINES_MAX; espd waits for all of them */
	uint8_t engine[256];      /* by shard; below n_engines */
};

struct ipc_ack {
	uint64_t number;
	uint32_t error; /* enum ipc_error */
	uint32_t type;  /* of the command */
};

struct ipc_acquire {
	uint64_t flow;              /* handle */
	uint64_t policy;            /* from ipc_flow */
	struct ipc_selector packet; /* the triggering packet's, exact */
};

enum { /* ipc_sa_state.why */
	IPC_SA_WHY_QUERY = 1 << 0,
	IPC_SA_WHY_SOFT = 1 << 1,  /* soft bytes or seconds reached */
	IPC_SA_WHY_HARD = 1 << 2,  /* hard limit reached: espd has stopped using it */
	IPC_SA_WHY_WRAP = 1 << 3,  /* sequence numbers run out soon */
	IPC_SA_WHY_FIRST = 1 << 4, /* first valid packet on an inbound SA */
};

struct ipc_sa_state {
	uint64_t handle;
	uint32_t generation;
	uint32_t why;
	uint64_t packets, bytes;
	uint32_t idle_s; /* since the last packet; UINT32_MAX: never used */
	uint32_t reserved;
	uint64_t token; /* the SA_QUERY's command number */
};

struct ipc_nat_change {
	uint64_t path;
	struct endpoint remote; /* seen on a packet with a valid ICV that advanced the window */
};

struct ipc_addr_event {
	struct ip_addr addr;
	uint32_t added; /* 1 added (or there at attach), 0 removed */
	uint32_t ifindex;
};

struct ipc_link_event {
	uint32_t ifindex;
	uint32_t up;
	char name[16];
};

struct ipc_held {
	uint64_t handle, partner, ike;
	uint32_t spi, generation;
	uint8_t direction, mode;
	uint8_t reserved[6];
	struct ip_addr tunnel_src, tunnel_dst;
	char srcid[IPC_ID_LEN], dstid[IPC_ID_LEN];
};

/* The outbound flow of a pair comes before the inbound one. */
struct ipc_held_flow {
	struct ipc_flow flow;
	uint64_t sa; /* outbound: handle of the SA that serves it, 0 none */
};

struct ipc_pmtu_event {
	uint64_t path;
	uint32_t mtu;
	uint32_t reserved;
};

/*
 * A slot of a punt ring: this header, then the first bytes of the datagram's UDP payload (without
 * the non-ESP marker). If total_len does not fit, the following slots hold the rest with a
 * header each (offset > 0), all published at once.
 */
enum {                            /* ipc_punt_header.flags */
	IPC_PUNT_MARKER = 1 << 0, /* came with, or is to be sent with, the non-ESP marker */
	IPC_PUNT_KNOWN = 1 << 1,  /* rx: the SPI's keyed check was right */
};

struct ipc_punt_header {
	struct endpoint local, remote;
	uint32_t flags;
	uint32_t ifindex;
	uint32_t total_len; /* of the whole payload */
	uint32_t offset;    /* of this slot's first byte */
	uint32_t len;       /* bytes in this slot */
	uint32_t reserved;
	uint64_t after_command; /* tx: leaves only after this command took effect; 0: at once */
};

/* Bytes of a type's body; 0 if it has none; -1 if there is no such type. */
int ipc_cmd_len(uint32_t type);
int ipc_event_len(uint32_t type);
/* Words for logs and listings; never NULL. */
const char *ipc_cmd_str(uint32_t type);
const char *ipc_event_str(uint32_t type);
const char *ipc_error_str(uint32_t error);

_Static_assert(sizeof(struct ipc_cmd_header) + sizeof(struct ipc_sa_add) <= IPC_SLOT_CMD, "slot");
_Static_assert(
	sizeof(struct ipc_cmd_header) + sizeof(struct ipc_sa_selectors) <= IPC_SLOT_CMD, "slot");
_Static_assert(sizeof(struct ipc_cmd_header) + sizeof(struct ipc_flow) <= IPC_SLOT_CMD, "slot");
_Static_assert(sizeof(struct ipc_event_header) + sizeof(struct ipc_held) <= IPC_SLOT_EVENT, "slot");
_Static_assert(
	sizeof(struct ipc_event_header) + sizeof(struct ipc_held_flow) <= IPC_SLOT_EVENT, "slot");
_Static_assert(
	sizeof(struct ipc_event_header) + sizeof(struct ipc_acquire) <= IPC_SLOT_EVENT, "slot");
