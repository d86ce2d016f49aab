#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The state of sequence numbers that outlives the process: ipc/store.h's records (outbound
 * reservations) and beside it, in a second mapped file, one plain counter a record that the
 * owner worker of an inbound SA writes (an aligned 64-bit store is never torn). Records of an
 * earlier espd wait to be adopted by IPC_SA_RESTORE.
 */
struct espd_seq;

/* dir: the run directory. 0, or -1 with a text. */
int espd_seq_open(struct espd_seq **out, const char *dir, uint32_t n_records, char *err,
	unsigned int err_cap) __attribute__((warn_unused_result));
void espd_seq_close(struct espd_seq *s);

struct espd_seq_state {
	int64_t index;         /* record */
	uint64_t reserved_end; /* outbound, restored: first number that was not reserved; else 0 */
	uint64_t top;          /* inbound, restored: what the counter held; else 0 */
	uint64_t *stored_top;  /* inbound: the counter */
};

/* A record for a new SA. 0 or -1: the file is full. */
int espd_seq_new(struct espd_seq *s, uint64_t tag, uint32_t spi, uint32_t direction,
	struct espd_seq_state *out) __attribute__((warn_unused_result));
/* The record of an SA that an earlier espd had; -1: there is none (it must be rekeyed). */
int espd_seq_restore(struct espd_seq *s, uint64_t tag, uint32_t spi, uint32_t direction,
	struct espd_seq_state *out) __attribute__((warn_unused_result));
/* Outbound: 0 when numbers up to `last` may be used. */
int espd_seq_reserve(struct espd_seq *s, int64_t index, uint64_t last)
	__attribute__((warn_unused_result));
void espd_seq_release(struct espd_seq *s, int64_t index);
/* All resyncs are over: records nobody adopted are dropped. Returns how many. */
uint32_t espd_seq_drop_unclaimed(struct espd_seq *s);
/* SPIs of the inbound records that wait; for keeping their indices free. False at the end. */
bool espd_seq_waiting(const struct espd_seq *s, uint32_t *cursor, uint32_t *spi);
