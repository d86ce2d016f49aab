#pragma once

#include "controlplane/ctl/protocol.h"

/*
 * The client's side of the control protocol, for the command-line programs. Blocking.
 */

/* Connects; a descriptor, or -1 with errno set. */
int ctl_client_connect(const char *path);

/* Sends one request; 0, or -1 with errno set. */
int ctl_client_send(int fd, enum ctl_type type, const void *body, size_t len);

struct ctl_client_handler {
	/* Called for each reply but CTL_DONE, in order; a non-zero result ends the run with it. */
	int (*reply)(void *ctx, const struct ctl_message *message);
	void *ctx;
};

/*
 * Reads replies until CTL_DONE: its status, what the handler returned, or -1 (connection lost or
 * not our protocol; errno says which: EPROTO for the latter).
 */
int ctl_client_run(int fd, const struct ctl_client_handler *handler);
