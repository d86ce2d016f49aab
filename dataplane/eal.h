#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EAL_VDEVS_MAX 16
#define EAL_PCI_MAX 8
#define EAL_WORKERS_MAX 16

/*
 * What DPDK's environment is started with. Several espd live on one machine, also in one
 * network namespace's siblings: `--in-memory` shares nothing, the file prefix is of the run
 * directory, no PCI device is touched unless named.
 */
struct eal_options {
	const char *run_dir;              /* this instance's; names the file prefix */
	const char *vdevs[EAL_VDEVS_MAX]; /* "net_af_packet0,iface=veth0,..." */
	size_t n_vdevs;
	const char *pci[EAL_PCI_MAX]; /* addresses of NICs; none: --no-pci */
	size_t n_pci;
	unsigned int n_workers;
	int worker_cpu[EAL_WORKERS_MAX]; /* -1: any of the process's CPUs (`shared`) */
	uint32_t memory_mb;              /* for all pools and tables */
	bool no_huge;
	bool has_telemetry;     /* DPDK's socket in /run/dpdk, and two threads more */
	const char *extra_args; /* split at blanks, last; NULL: none */
	bool is_verbose;
};

struct eal; /* what EAL was started with: it keeps pointers into it */

/*
 * Starts EAL. Uses hugepages if enough are free and mounted, else ordinary pages. Lcore 0 is
 * the calling thread, lcores 1 to n_workers wait for rte_eal_remote_launch. NULL with a text in
 * err that says what to do.
 */
struct eal *eal_start(const struct eal_options *o, char *err, size_t err_cap)
	__attribute__((warn_unused_result));
void eal_stop(struct eal *eal); /* all lcores but this one have ended their work */
bool eal_has_hugepages(uint32_t memory_mb);
