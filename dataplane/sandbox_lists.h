#pragma once

#include <stdint.h>

#include "dataplane/sandbox.h"

/* The lists behind sandbox.h, apart from how they are installed. */
#define SANDBOX_LIST_END INT32_MIN

/* A call that is allowed only with one value of one argument (under a mask, if not 0). */
struct sandbox_values {
	int call;
	unsigned int arg;
	uint64_t value, mask;
};

struct sandbox_list {
	const int *calls;                    /* ends with SANDBOX_LIST_END; NULL: none */
	const struct sandbox_values *values; /* the same */
};

/* What a DPDK driver's code asks for once its ports run, by the thread that runs it. */
struct sandbox_driver {
	const char *prefix; /* of `device` in espd.conf; NULL: a PCI address, or unknown */
	struct sandbox_list list[SANDBOX_ROLES];
};

extern const struct sandbox_list sandbox_common, sandbox_installing;
extern const struct sandbox_list sandbox_role_lists[SANDBOX_ROLES];
extern const struct sandbox_driver sandbox_drivers[]; /* the last row fits every device */
extern const int sandbox_never[];
