#pragma once

#include "controlplane/conf/policy.h"

enum {
	SAME_PLACES =
		1 << 0, /* where and how it was written: positions, `any`, what was left out */
	SAME_SECRETS = 1 << 1, /* what never leaves the parent: keys, passwords, ids as written */
};

/* Fails the test (cmocka) where the two differ. */
void same_config(const struct ike_config *a, const struct ike_config *b, unsigned int flags);
