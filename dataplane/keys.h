#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The keys socket (ipc/keys.h): root alone may ask for the keys of the SAs. It is the only way
 * by which keys leave this program. Served by main, record by record as the socket takes them.
 */
struct keys;
struct espd;

/* NULL with a text in err. */
struct keys *keys_create(struct espd *e, char *err, size_t cap);
void keys_destroy(struct keys *k);
/* Once a second: ends connections that ask or read nothing. */
void keys_second(struct keys *k, uint64_t now_ms);
