#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/log.h"

struct port;

/*
 * A port's link: followed to its TAP as carrier, so that the kernel's routes, its daemons and the
 * IKE engines hear of it. Of a kernel's device netlink tells (kernel.h); of all others the driver
 * is asked, each second and when it interrupts. All but the callback is main's.
 */

/* The device's link is up or down: TAP, counter, log. True if it was not so before. */
bool port_link_set(struct port *p, bool is_up, const struct logger *log);
/* After the start: wake_fd is written to when the driver tells of a change. */
void port_link_watch(struct port *p, int wake_fd);
/* Asks the driver: now, or if it told of a change since the last time. */
void port_link_read(struct port *p, const struct logger *log);
void port_link_read_changed(struct port *p, const struct logger *log);
