#pragma once

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4: a keyed 64-bit hash for short inputs that nobody without the key can aim at. */
uint64_t siphash24(const uint8_t key[16], const void *data, size_t len);
