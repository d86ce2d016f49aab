#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Memory of one parse: everything a grammar allocates, gone (and wiped, as there are keys among
 * it) in one call, whichever way the parse ended. The functions below never return NULL: when
 * memory runs out, the parse is left in the middle and arena_run returns -1, so that a daemon
 * that reads its configuration again keeps the old one. What lies outside the arena must
 * therefore be reachable from the configuration or the lexer at each of these calls.
 */
struct arena_block;
struct arena {
	struct arena_block *blocks;
	jmp_buf *escape; /* while arena_run runs */
};

/* Calls fn(arg); the functions below may be used inside only. 0, or -1: memory ran out. */
int arena_run(struct arena *arena, void (*fn)(void *arg), void *arg);

void *arena_alloc(struct arena *arena, size_t size); /* zeroed */
char *arena_strndup(struct arena *arena, const char *text, size_t len);
void arena_fini(struct arena *arena);

/* For what the configuration keeps, to be freed with free(). */
void *conf_calloc(struct arena *arena, size_t n, size_t size);
/* One more element of *array, zeroed, behind its *n, which is increased. */
void *conf_grow(struct arena *arena, void *array_pointer, size_t *n, size_t size);
char *conf_strdup(struct arena *arena, const char *text); /* NULL gives NULL */
