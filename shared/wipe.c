#include "shared/wipe.h"

#include <stdint.h>
#include <string.h>

void wipe(void *secret, size_t len)
{
	if (len > 0)
		explicit_bzero(secret, len);
}

void __attribute__((noinline)) wipe_stack(void)
{
	uint8_t below[128 * 1024];

	wipe(below, sizeof(below));
}

bool ct_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *left = a, *right = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < len; i++)
		diff |= left[i] ^ right[i];
	return diff == 0;
}
