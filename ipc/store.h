#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/error.h"

/*
 * Sequence numbers that outlive espd: a root-only file on tmpfs, mapped; counters only, no
 * keys. One record a SAD index. What a record is about is protected by a check, written last:
 * an espd killed in the middle of a write leaves no record. The two counters are words of
 * their own, each moved by single aligned stores (the outbound one beside its complement).
 *
 * Rules for the caller (design: "either side may die"):
 * - Outbound: no sequence number is used before seq_store_reserve returned for a block that
 *   holds it. After a restart numbering starts at reserved_end + 1.
 * - Inbound: the owner worker stores the window's top in the word of seq_store_top_ptr at least
 *   every half window and on a jump, before the packet that moved the top is passed on. After a
 *   restart all up to top + the store interval is refused.
 * - An SA pushed again (IPC_SA_RESTORE) without a record is refused with IPC_E_REKEY.
 * - A new SA gets an index whose record is not in use (seq_store_read is false) as long as SAs
 *   of an earlier run may still come back.
 *
 * Threads: all by main, but the word of seq_store_top_ptr by the SA's owner worker.
 */
struct seq_store;

struct seq_record {
	uint64_t tag;
	uint64_t reserved_end; /* outbound: numbers up to this one may have been used; 0: none */
	uint64_t top;          /* inbound: highest stored number */
	uint32_t spi;
	uint32_t direction; /* enum ipc_direction */
};

/*
 * Opens or makes path (0600, no symlink, a regular file of the effective user), locks it
 * against a second espd and maps n records (a file of an earlier run with more keeps them).
 * *is_fresh: there was none, or one of another layout (its content is dropped: SAs are rekeyed).
 * 0, -IPC_ERR_PERM (owner, mode, type, or in use), -IPC_ERR_INVALID, -IPC_ERR_SYS, -IPC_ERR_NOMEM.
 */
int seq_store_open(struct seq_store **out, const char *path, uint32_t n_records, bool *is_fresh)
	__attribute__((warn_unused_result));
/* Unmaps; the file stays. NULL is allowed. */
void seq_store_close(struct seq_store *s);
uint32_t seq_store_size(const struct seq_store *s); /* records, >= n_records */

uint64_t seq_store_tag(uint32_t owner_kind, uint32_t engine, uint64_t handle, uint32_t generation,
	uint32_t direction);

/* The record at index; false: none, or torn. */
bool seq_store_read(const struct seq_store *s, uint32_t index, struct seq_record *out);
/*
 * The index of the record of an earlier run with this tag and spi, or -1. Looks at the one with
 * index hint first (inbound: the index in the SPI), then in a table made at open.
 */
int64_t seq_store_find(const struct seq_store *s, uint64_t tag, uint32_t spi, uint32_t hint);
/* Starts a record for a new SA, over whatever was there. -IPC_ERR_INVALID: index too high. */
int seq_store_claim(struct seq_store *s, uint32_t index, uint64_t tag, uint32_t spi,
	uint32_t direction) __attribute__((warn_unused_result));
/* Erases the record. Not before the SA's owner worker has stopped using it. */
void seq_store_release(struct seq_store *s, uint32_t index);
/*
 * Outbound: numbers up to end may be used when this has returned 0. Never moves down
 * (-IPC_ERR_INVALID, also without a record).
 */
int seq_store_reserve(struct seq_store *s, uint32_t index, uint64_t end)
	__attribute__((warn_unused_result));
/* Inbound: where the owner worker stores the top; valid until seq_store_close. NULL: index. */
uint64_t *seq_store_top_ptr(struct seq_store *s, uint32_t index);
