#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Memory that fails when told. A test program is linked with `alloc_wrap` of this folder's
 * meson.build, so that malloc and its relatives come here from our own objects (not from shared
 * libraries). Counting and failing happen between alloc_begin and alloc_end only: the test's own
 * calls outside stay as they are.
 *
 *   for (uint64_t n = 1; ; n++) {
 *           alloc_reset(n);               // the n-th allocation fails, once
 *           alloc_begin(); ...code...; alloc_end();
 *           assert_int_equal(alloc_live(), 0);
 *           if (!alloc_failed()) break;   // it makes fewer than n
 *   }
 */
void alloc_reset(uint64_t fail_at); /* 0: none fails */
void alloc_begin(void);
void alloc_end(void);
bool alloc_failed(void);
uint64_t alloc_count(void); /* allocations since alloc_reset */
size_t alloc_live(void);    /* blocks of them that were not freed */
