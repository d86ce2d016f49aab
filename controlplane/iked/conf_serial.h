#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controlplane/conf/policy.h"

/*
 * The configuration on its way from the parent to the engine: what the engine needs, and no
 * secret. Left out: pre-shared keys, users, passwords, RADIUS (other processes have them), the
 * texts that only printing needs, and the list of features, which the parent has checked.
 */
#define CONF_SERIAL_MAX (256u << 20)

/* A buffer for free(3), or NULL without memory or if it would be longer than CONF_SERIAL_MAX. */
uint8_t *conf_serial_write(const struct ike_config *config, size_t *len);

/* For conf_serial_free. NULL if the bytes are not what conf_serial_write makes, or no memory. */
struct ike_config *conf_serial_read(const uint8_t *data, size_t len);
void conf_serial_free(struct ike_config *config); /* NULL allowed */
