#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/ike/message.h"
#include "controlplane/ike/proposal.h"
#include "controlplane/ike/random.h"

/* Bytes of a hex text; blanks are passed over. Returns their number. */
size_t hex_read(const char *hex, uint8_t *out, size_t cap);
void assert_hex(const uint8_t *data, size_t len, const char *hex);

/* Gives out the bytes of `data` one after another, then fails. */
struct fixed_random {
	const uint8_t *data;
	size_t len, at;
};
int fixed_random_next(void *ctx, uint8_t *out, size_t len);

/* A deterministic stream from a seed. */
struct seeded_random {
	uint64_t state;
};
int seeded_random_next(void *ctx, uint8_t *out, size_t len);
uint32_t seeded_below(struct seeded_random *r, uint32_t n);

/* Appends a transform by its name in iked.conf; fails the test if there is none. */
void list_add(struct ike_transform_list *list, enum transform_type type, const char *name);

/* Writes all payloads of a decoded message again. */
void message_rewrite(struct ike_builder *b, const struct ike_message *m);
