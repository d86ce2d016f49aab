#pragma once

#include "shared/log.h"

/* No core dumps, no ptrace by others: key material never leaves memory. */
void privileges_no_dumps(void);
/*
 * After set-up: all capabilities but CAP_NET_ADMIN (neighbour probes) go, in every thread, with
 * no way back, and what is left is read back and logged. Ends the program if it is not so.
 */
void privileges_drop(const struct logger *log);
