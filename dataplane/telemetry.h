#pragma once

/*
 * Commands of ours on DPDK's telemetry socket (`telemetry yes` in espd.conf): /penstock/state,
 * /penstock/drops, /penstock/counters, /penstock/worker,N, /penstock/port,NAME, /penstock/sas and
 * /penstock/sa,SPI. They answer from the view, in DPDK's telemetry threads: nothing of main or
 * the workers is touched. The socket lies in a directory that only root can enter.
 *
 * The view stays open until the process ends; later no thread of DPDK's may open files. 0 or -1.
 */
int telemetry_start(const char *view_path) __attribute__((warn_unused_result));
