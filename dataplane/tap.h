#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The mirror of a port towards the host: a TAP device of main's that carries the port's
 * addresses, so that `ip`, ssh, DHCP and routing daemons work as on any interface. It is made
 * persistent: when espd dies, addresses and routes stay until the next espd attaches again.
 */
struct tap {
	int fd; /* non-blocking; -1: not open */
	char name[16];
	uint32_t ifindex;
	uint64_t n_written, n_read, n_write_dropped;
};

/*
 * Opens or makes the TAP, gives it the port's MAC and MTU, sets it up. No offload is agreed:
 * the kernel fills checksums in and segments by itself. 0 or -errno; *what then names the step.
 */
int tap_open(struct tap *t, const char *name, const uint8_t mac[6], uint16_t mtu, const char **what)
	__attribute__((warn_unused_result));
void tap_close(struct tap *t);               /* the device stays */
int tap_remove(const char *name);            /* takes a left-over device away. 0 or -errno */
int tap_carrier_set(struct tap *t, bool up); /* 0 or -errno */
/* A frame to the host. 0 or -errno (-EAGAIN: its queue is full; the frame is dropped, counted). */
int tap_write(struct tap *t, const void *frame, size_t len);
/* A frame from the host: its length, 0 if there is none, or -errno. */
int tap_read(struct tap *t, void *buf, size_t cap);
