#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Erases a secret; the compiler cannot drop it. NULL with len 0 is allowed. */
void wipe(void *secret, size_t len);

/* Erases what functions that returned left on the stack: 128 KiB below the caller's frame. */
void wipe_stack(void);

/* Compares in a time that depends on len alone. */
bool ct_equal(const void *a, const void *b, size_t len) __attribute__((warn_unused_result));
