#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "controlplane/conf/diag.h"
#include "controlplane/conf/options.h"

/*
 * espd.conf as data. espd_config_init gives what holds without a file. Strings are owned and freed
 * by espd_config_fini.
 */
#define ESPD_PORTS_MAX 16
#define ESPD_WORKERS_MAX 64
#define ESPD_WORKER_ANY_CPU (-1)

struct espd_port_config {
	char *name;   /* unique; at most 15 bytes */
	char *device; /* EAL: a --vdev string or a PCI address */
	char *tap;    /* name of the TAP that mirrors the port to the host; default: the name */
	bool has_mac;
	uint8_t mac[6];  /* else the device's own */
	uint16_t mtu;    /* bytes; 0: the device's own */
	uint16_t queues; /* 0: one a worker, as far as the device has them */
	struct conf_pos pos;
};

enum espd_hugepages { ESPD_HUGE_AUTO, ESPD_HUGE_NO, ESPD_HUGE_PATH };
enum espd_idle { ESPD_IDLE_ADAPTIVE, ESPD_IDLE_SPIN };

struct espd_config {
	struct espd_port_config ports[ESPD_PORTS_MAX];
	size_t n_ports;
	/* `workers shared`: one worker in the main thread's CPU set, not pinned. Else n_workers
	 * threads; cpus[i] is a CPU or ESPD_WORKER_ANY_CPU. */
	bool workers_shared;
	size_t n_workers; /* default 1 */
	int cpus[ESPD_WORKERS_MAX];
	bool default_deny;      /* packets no flow matches: default pass */
	bool telemetry;         /* default no: DPDK's telemetry socket, for root */
	bool strict_inbound;    /* default yes: clear packets on a `use` flow of iked drop */
	uint16_t mss_max;       /* mss-clamp: 0: no; 65535, the default: by the SA's MTU alone */
	uint32_t replay_window; /* packets, 64 to 4096, a power of two; default 1024 */
	uint32_t max_sa;        /* default 16384 */
	uint32_t max_flows;     /* default 65536 */
	bool wait_for_iked;     /* default yes; `standalone`: no, ipsecctl alone opens it */
	uint32_t memory_mb;     /* 0: computed from the table sizes */
	uint32_t mbufs;         /* 0: computed from ports and workers */
	enum espd_hugepages hugepages;
	char *hugepages_path; /* with ESPD_HUGE_PATH */
	char *eal_args;       /* split at blanks, appended last; NULL: none */
	char *run_dir;        /* default /run/penstock */
	char *user;           /* whose rights remain after set-up; default _espd */
	enum espd_idle idle;
	bool punt_ports; /* default yes: IKE's ports stay its own while its daemon is away */
	char **files;
	size_t n_files;
};

#define ESPD_CONF_PATH "/etc/penstock/espd.conf"

void espd_config_init(struct espd_config *config);
void espd_config_fini(struct espd_config *config);

/*
 * Reads path over the defaults into *config (which is initialised here). 0, or -1 with errors in
 * diags; espd_config_fini is right in both cases.
 */
int espd_conf_parse(const char *path, const struct conf_options *options,
	struct espd_config *config, struct conf_diags *diags) __attribute__((warn_unused_result));
/* Every setting with its value, in a form that parses to the same configuration. */
void espd_conf_print(const struct espd_config *config, FILE *out);
