#include "ipc/inflight.h"

#include <stdlib.h>
#include <string.h>

int inflight_init(struct inflight *f, uint32_t max)
{
	uint32_t size = 64;

	memset(f, 0, sizeof(*f));
	while (size < 4 * (uint64_t)max && size < 1u << 30)
		size *= 2;
	f->slot = calloc(size, 1);
	if (!f->slot)
		return -1;
	f->mask = size - 1;
	return 0;
}

void inflight_fini(struct inflight *f)
{
	free(f->slot);
	f->slot = NULL;
}

void inflight_reset(struct inflight *f)
{
	memset(f->slot, 0, (size_t)f->mask + 1);
	f->low = f->next = 0;
	f->count = 0;
	f->n_failed = 0;
}

bool inflight_has_room(const struct inflight *f)
{
	return f->next - f->low <= f->mask;
}

uint32_t inflight_count(const struct inflight *f)
{
	return f->count;
}

void inflight_start(struct inflight *f, uint64_t number, uint32_t type)
{
	if (f->count == 0)
		f->low = number;
	f->slot[number & f->mask] = (uint8_t)(1 + (type < 254 ? type : 254));
	f->next = number + 1;
	f->count++;
}

bool inflight_finish(struct inflight *f, uint64_t number, bool is_failed, uint32_t *type)
{
	uint8_t *slot = &f->slot[number & f->mask];

	if (number < f->low || number >= f->next || *slot == 0)
		return false;
	*type = *slot - 1u;
	*slot = 0;
	f->count--;
	while (f->low < f->next && f->slot[f->low & f->mask] == 0)
		f->low++;
	if (is_failed)
		f->failed[f->n_failed++ % INFLIGHT_FAILED_KEPT] = number;
	return true;
}

enum inflight_state inflight_state(const struct inflight *f, uint64_t number, uint64_t last)
{
	uint32_t kept = f->n_failed < INFLIGHT_FAILED_KEPT ? f->n_failed : INFLIGHT_FAILED_KEPT;

	if (number == 0)
		return INFLIGHT_DONE;
	if (number > last)
		return INFLIGHT_PENDING;
	if (number >= f->low && number < f->next && f->slot[number & f->mask] != 0)
		return INFLIGHT_PENDING;
	for (uint32_t i = 0; i < kept; i++)
		if (f->failed[i] == number)
			return INFLIGHT_FAILED;
	return INFLIGHT_DONE;
}
