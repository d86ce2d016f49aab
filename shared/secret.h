#pragma once

#include <stddef.h>

/*
 * Memory for keys: whole pages that no core dump holds, locked into memory as far as the limit
 * allows. Small objects share pages; each is zero when it is handed out and wiped when it comes
 * back. One thread at a time.
 */
struct secrets;

struct secrets *secrets_create(void);    /* NULL: no memory */
void secrets_destroy(struct secrets *s); /* wipes all; NULL is allowed */
/* Zeroed, aligned to 16 bytes (a length of a page or more: to a page); NULL: no memory. */
void *secrets_alloc(struct secrets *s, size_t len);
/* len as it was asked for. NULL is allowed. */
void secrets_free(struct secrets *s, void *p, size_t len);

/* The same for one object with pages of its own. */
void *secret_pages_alloc(size_t len);
void secret_pages_free(void *p, size_t len);
/* Excludes memory that somebody else has mapped from core dumps. Whole pages inside it only. */
void secret_pages_hide(void *p, size_t len);
