#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The engine numbers its commands, the ring numbers what is sent over it; they drift apart when
 * a command cannot be sent or the transport sends one of its own. Both ascend, so their
 * difference is kept for each run of numbers.
 */
struct number_run {
	uint64_t first_ring; /* of the run */
	uint64_t offset;     /* engine number = ring number + offset (modulo 2^64) */
	bool is_own;         /* the transport's own commands: no engine number */
};

struct number_map {
	struct number_run *runs;
	size_t n, cap;
	uint64_t last_ring; /* the highest sent */
};

void number_map_fini(struct number_map *map);
/* Forgets all: nothing that was sent before will be answered. */
void number_map_reset(struct number_map *map);
/* Ring number `ring`, higher than all before, carries the engine's command; engine 0: an own
 * one. 0 or -1 without memory. */
int number_map_add(struct number_map *map, uint64_t ring, uint64_t engine)
	__attribute__((warn_unused_result));
/* 0: an own command, or unknown. */
uint64_t number_map_to_engine(const struct number_map *map, uint64_t ring);
/* 0: not sent over this attachment. */
uint64_t number_map_to_ring(const struct number_map *map, uint64_t engine);
