#include "controlplane/iked/crypto_memory.h"

#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>

#include "shared/secret.h"

/* libcrypto's hooks have no argument for it. Never destroyed: they are called at exit too. */
static struct secrets *pool;

/* In front of each object: free() does not tell the length. */
struct prefix {
	size_t len;
	uint64_t unused; /* objects are aligned to 16 bytes */
};
_Static_assert(sizeof(struct prefix) == 16, "alignment of what follows");

static void *hidden_alloc(size_t len, const char *file, int line)
{
	struct prefix *p = len > SIZE_MAX - sizeof(*p) ? NULL
						       : secrets_alloc(pool, sizeof(*p) + len);

	(void)file;
	(void)line;
	if (!p)
		return NULL;
	p->len = len;
	return p + 1;
}

static void hidden_free(void *data, const char *file, int line)
{
	struct prefix *p = data ? (struct prefix *)data - 1 : NULL;

	(void)file;
	(void)line;
	if (p)
		secrets_free(pool, p, sizeof(*p) + p->len);
}

static void *hidden_realloc(void *data, size_t len, const char *file, int line)
{
	size_t old = data ? ((struct prefix *)data - 1)->len : 0;
	void *copy = len > 0 || !data ? hidden_alloc(len, file, line) : NULL;

	if (!copy && len > 0)
		return NULL;
	if (copy && old > 0)
		memcpy(copy, data, old < len ? old : len);
	hidden_free(data, file, line);
	return copy;
}

int crypto_memory_hide(void)
{
	if (!pool)
		pool = secrets_create();
	if (!pool)
		return -1;
	return CRYPTO_set_mem_functions(hidden_alloc, hidden_realloc, hidden_free) == 1 ? 0 : -1;
}
