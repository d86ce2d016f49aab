#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * SAD indices lent to owners, who make SPIs of them (ipc/spi.h). An index that comes back rests
 * for two minutes, so that a late packet of its last SA meets no new one.
 */
#define LEASE_REST_S 120

struct lease_table;

struct lease_table *lease_table_create(unsigned int index_bits); /* NULL: no memory */
void lease_table_destroy(struct lease_table *t);
/*
 * Lends up to `wanted` indices in a row to the owner: how many there are from *first on, 0 if
 * none is free. Owners are any number but 0.
 */
uint32_t lease_take(
	struct lease_table *t, uint32_t owner, uint32_t wanted, uint32_t now_s, uint32_t *first);
bool lease_is_of(const struct lease_table *t, uint32_t index, uint32_t owner);
/* Claims an index for an SA that is pushed again after a restart, as if it had been leased.
 * False: somebody else has it. */
bool lease_adopt(struct lease_table *t, uint32_t index, uint32_t owner);
/* The index changes hands, if `from` has it. */
void lease_move(struct lease_table *t, uint32_t index, uint32_t from, uint32_t to);
/* Back from its owner; others' indices are left alone. */
void lease_return(struct lease_table *t, uint32_t index, uint32_t owner, uint32_t now_s);
/* All of an owner but those for which keep says yes (they carry SAs still). */
void lease_return_all(struct lease_table *t, uint32_t owner, uint32_t now_s,
	bool (*keep)(void *ctx, uint32_t index), void *ctx);
/* A free index is kept back until until_s; UINT32_MAX: until lease_rest_end or its adoption. */
void lease_rest(struct lease_table *t, uint32_t index, uint32_t until_s);
/* Those kept back without limit rest from now on as any other. */
void lease_rest_end(struct lease_table *t, uint32_t now_s);
