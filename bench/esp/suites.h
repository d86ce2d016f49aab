#pragma once

#include "dataplane/suite.h"

/* What the measurements call a suite: cbc256-sha256, cbc256-sha512, gcm128, gcm256, chacha20. */
const struct suite *suite_by_name(const char *name); /* NULL: another word */
