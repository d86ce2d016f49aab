#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/error.h"
#include "ipc/messages.h"

/*
 * ipsecctl's entries (paths, manual SAs with their keys, flows), kept by espd for the espd after
 * it: a 0600 file in the run directory, rewritten through a temporary file and rename, so that a
 * reader sees one whole version. It holds keys: on tmpfs only, never on disk.
 *
 * An entry is a command as it was acknowledged: its type (IPC_CMD_SA_ADD, SA_SELECTORS,
 * PATH_SET, FLOW_ADD, FLOW_BIND) and body. Entries keep their order.
 */
struct manual_store;

int manual_store_create(struct manual_store **out, const char *path)
	__attribute__((warn_unused_result));
void manual_store_destroy(struct manual_store *m); /* wipes; NULL is allowed */

/*
 * Reads the file into an empty store. 0 (also if there is none), -IPC_ERR_PERM (owner, mode),
 * -IPC_ERR_VERSION, -IPC_ERR_INVALID (cut or changed), -IPC_ERR_SYS, -IPC_ERR_NOMEM; on error
 * the store is empty: espd says so and starts without manual entries.
 */
int manual_store_load(struct manual_store *m) __attribute__((warn_unused_result));
/* Writes all. 0, -IPC_ERR_SYS, -IPC_ERR_FULL (256 MiB), -IPC_ERR_NOMEM; on error the former stays.
 */
int manual_store_save(struct manual_store *m) __attribute__((warn_unused_result));

/*
 * Keeps a command. One of a type and handle that is there takes its place (FLOW_BIND: by flow
 * and SA; SA_SELECTORS are appended, and go when their SA is put again). -IPC_ERR_INVALID: not
 * one of the five types.
 */
int manual_store_put(struct manual_store *m, uint32_t type, const void *body)
	__attribute__((warn_unused_result));
/*
 * Removes what a SA_DELETE, PATH_DELETE or FLOW_DELETE names, with its selectors and bindings.
 * Number of entries removed.
 */
size_t manual_store_delete(struct manual_store *m, uint32_t delete_type, uint64_t handle);
/* what: IPC_FLUSH_SA (paths too), IPC_FLUSH_FLOW, or both. */
size_t manual_store_flush(struct manual_store *m, uint32_t what);
size_t manual_store_count(const struct manual_store *m);
/* The i-th entry; body is valid until the store changes. False: past the end. */
bool manual_store_at(const struct manual_store *m, size_t i, uint32_t *type, const void **body);
