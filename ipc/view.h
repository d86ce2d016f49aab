#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/error.h"
#include "ipc/messages.h"

/*
 * What espd shows to CLI and exporters without being asked: a file `view` in the run directory
 * (root:penstock 0640, tmpfs), mapped read-only by readers. No keys are in it.
 *
 * Tables written by main (SAs, flows, ports, owners, state) have a sequence lock an entry: odd
 * while it is written, a reader copies and looks again. Counters are plain aligned 64-bit words
 * with one writer each, read without a lock. Each worker has a block of its own, main has the
 * last one. A reader believes nothing: sizes are checked against the file, indices against
 * sizes.
 *
 * A new espd makes a new file and renames it over the old one; a reader that keeps one open
 * sees by view_reader_is_live that its espd is gone.
 */
#define VIEW_MAGIC 0x504e5657u /* "PNVW" */
#define VIEW_VERSION 1u
#define VIEW_DROPS 128   /* reasons at most */
#define VIEW_NAME_LEN 32 /* of a drop reason or port, with its NUL */
#define VIEW_OWNERS 66   /* system, ipsecctl, engines 0 to 63 */
#define VIEW_SELECTORS 4 /* of an SA shown; n_selectors says how many there are */

enum view_state { VIEW_STARTING = 0, VIEW_NOT_READY, VIEW_READY, VIEW_STOPPING };
enum view_sa_state {
	VIEW_SA_NONE = 0,
	VIEW_SA_LARVAL, /* selectors are still coming, or HOLD_OUT */
	VIEW_SA_MATURE,
	VIEW_SA_DYING,    /* soft limit reached or a newer one is there */
	VIEW_SA_DEAD,     /* hard limit reached, not deleted yet */
	VIEW_SA_DRAINING, /* deleted, waits for the workers */
};

struct view_sa {
	_Atomic uint32_t seq;               /* of the lock; copies have 0 */
	uint8_t state;                      /* enum view_sa_state; NONE: the entry is empty */
	uint8_t direction, mode, is_orphan; /* orphan: its owner is away */
	uint32_t owner_kind, engine;
	uint64_t handle, partner, ike, path;
	uint32_t generation, spi;
	uint32_t flags;                /* IPC_SA_* */
	uint32_t path_flags;           /* IPC_PATH_* */
	struct endpoint local, remote; /* the path's; ports matter with IPC_PATH_UDP */
	struct ip_addr tunnel_src, tunnel_dst;
	uint16_t encr_id, encr_key_len, integ_id; /* transform_find's arguments */
	uint16_t n_selectors;
	uint32_t replay_window;
	uint32_t worker; /* owner worker */
	uint32_t mtu;    /* of inner packets; outbound */
	uint32_t soft_s, hard_s;
	uint64_t soft_bytes, hard_bytes;
	uint64_t installed_s; /* seconds since 1970 */
	struct ipc_selector selectors[VIEW_SELECTORS];
	char srcid[IPC_ID_LEN], dstid[IPC_ID_LEN];
} __attribute__((aligned(64)));

/* One an SA index. Written by the SA's owner worker, or copied there by main. */
struct view_sa_counters {
	uint64_t packets, bytes;
	uint64_t sequence;   /* outbound: last used; inbound: window's top */
	uint64_t last_use_s; /* seconds since 1970, 0: never */
	uint64_t drop_replay, drop_icv, drop_selectors, drop_other;
} __attribute__((aligned(64)));

struct view_flow {
	_Atomic uint32_t seq;
	uint32_t is_used; /* 0: the entry is empty */
	uint32_t owner_kind, engine;
	uint64_t order; /* listing and look-up order among flows: ascending */
	struct ipc_flow flow;
	uint32_t n_bound; /* SAs bound */
	uint32_t sa_spi;  /* of the SA that serves it now, 0: none */
	uint64_t sa_handle;
} __attribute__((aligned(64)));

struct view_port {
	_Atomic uint32_t seq;
	uint32_t is_used;
	char name[VIEW_NAME_LEN], driver[VIEW_NAME_LEN], tap[16];
	uint32_t tap_ifindex, mtu;
	uint8_t mac[6], is_up, reserved;
	uint32_t n_queues;
	uint64_t speed_mbps, link_changes;
} __attribute__((aligned(64)));

struct view_port_counters { /* a worker and port */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_missed, rx_errors, tx_full, tx_errors;
} __attribute__((aligned(64)));

struct view_owner {
	_Atomic uint32_t seq;
	uint32_t kind, engine;
	uint8_t is_used, is_attached, is_ready,
		is_awaited; /* awaited: espd forwards only after it */
	uint32_t pid;
	uint32_t reserved;
	uint64_t commands, events, inflight, punt_known, punt_strangers, punt_full, punt_tx;
	uint64_t n_sa, n_flow, n_path;
} __attribute__((aligned(64)));

struct view_worker { /* one a worker, and one for main behind them */
	uint64_t cpu, owner_buckets;
	uint64_t loops, loops_busy, sleeps, tsc_busy, tsc_idle;
	uint64_t rx_packets, tx_packets;
	uint64_t esp_in_packets, esp_in_bytes, esp_out_packets, esp_out_bytes;
	uint64_t handoff_out, handoff_in, bypass, to_host, from_host, punted;
	uint64_t crypto_flushes, crypto_jobs;
	uint64_t reassembled, fragmented, icmp_sent, acquires;
	uint64_t reserved[7];
	uint64_t drops[VIEW_DROPS];
} __attribute__((aligned(64)));

struct view_globals {
	_Atomic uint32_t seq;
	uint32_t state;   /* enum view_state */
	uint64_t ready_s; /* when forwarding began, 0: not yet */
	uint64_t reloads, resyncs;
	uint64_t sa_high, flow_high; /* entries from here on are empty */
	uint64_t n_sa, n_flow, n_path;
	uint64_t spd_bound, spd_touches; /* stated worst case of memory touches, and of this set */
	uint64_t not_ready_owners;
} __attribute__((aligned(64)));

struct view_config {
	uint32_t max_sa, max_flows, n_workers, max_ports;
	uint32_t n_drops; /* <= VIEW_DROPS */
	const char *(*drop_name)(uint32_t reason);
	const char *version; /* of the program */
};

/* ---- writer: espd ---- */

struct view_writer;

/*
 * Makes path (through a temporary file), sized for cfg; gid (gid_t)-1: unchanged. 0,
 * -IPC_ERR_INVALID, -IPC_ERR_SYS, -IPC_ERR_NOMEM.
 */
int view_writer_create(struct view_writer **out, const char *path, const struct view_config *cfg,
	uint32_t gid) __attribute__((warn_unused_result));
/* State becomes STOPPING; the file stays for whoever has it open, its name is removed. */
void view_writer_destroy(struct view_writer *v);

/* Main: whole entries; the seq member of the argument is ignored. Index out of range: ignored. */
void view_set_sa(struct view_writer *v, uint32_t index, const struct view_sa *sa);
void view_clear_sa(struct view_writer *v, uint32_t index); /* counters too */
void view_set_flow(struct view_writer *v, uint32_t index, const struct view_flow *flow);
void view_clear_flow(struct view_writer *v, uint32_t index);
void view_set_port(struct view_writer *v, uint32_t index, const struct view_port *port);
void view_set_owner(struct view_writer *v, uint32_t index, const struct view_owner *owner);
/* sa_high and flow_high are kept by view_set_sa and view_set_flow; the argument's are ignored. */
void view_set_globals(struct view_writer *v, const struct view_globals *g);

/* Where counters go; valid until destroy, NULL if out of range. worker n_workers is main. */
struct view_sa_counters *view_sa_counters_at(struct view_writer *v, uint32_t sa_index);
struct view_worker *view_worker_at(struct view_writer *v, uint32_t worker);
struct view_port_counters *view_port_counters_at(
	struct view_writer *v, uint32_t worker, uint32_t port);
/* Array of max_flows hit counters of one worker (packets that this flow decided). */
uint64_t *view_flow_hits_at(struct view_writer *v, uint32_t worker);

/* ---- reader: CLI, exporters ---- */

struct view_reader;

struct view_info {
	uint32_t max_sa, max_flows, n_workers, max_ports, n_drops;
	uint32_t pid;
	uint64_t started_s;
	char version[32];
};

/* 0, -IPC_ERR_SYS (errno; ENOENT: espd is not there), -IPC_ERR_VERSION, -IPC_ERR_INVALID. */
int view_reader_open(struct view_reader **out, const char *path)
	__attribute__((warn_unused_result));
void view_reader_close(struct view_reader *r);
void view_reader_info(const struct view_reader *r, struct view_info *out);
bool view_reader_is_live(const struct view_reader *r); /* its espd still runs */
const char *view_reader_drop_name(const struct view_reader *r, uint32_t reason); /* "?" */

/* 1 and *out; 0: the entry is empty; -IPC_ERR_AGAIN: it changes all the time; -IPC_ERR_INVALID. */
int view_read_sa(const struct view_reader *r, uint32_t index, struct view_sa *out,
	struct view_sa_counters *counters);
int view_read_flow(const struct view_reader *r, uint32_t index, struct view_flow *out,
	uint64_t *hits); /* sum over workers; may be NULL */
int view_read_port(const struct view_reader *r, uint32_t index, struct view_port *out,
	struct view_port_counters *sum); /* over workers; may be NULL */
int view_read_owner(const struct view_reader *r, uint32_t index, struct view_owner *out);
int view_read_globals(const struct view_reader *r, struct view_globals *out);
/* worker n_workers is main. 1 or -IPC_ERR_INVALID. */
int view_read_worker(const struct view_reader *r, uint32_t worker, struct view_worker *out);
int view_read_port_counters(const struct view_reader *r, uint32_t worker, uint32_t port,
	struct view_port_counters *out);
/* Sum over workers and main of a drop reason. */
uint64_t view_read_drops(const struct view_reader *r, uint32_t reason);
