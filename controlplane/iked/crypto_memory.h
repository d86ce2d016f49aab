#pragma once

/*
 * All that libcrypto allocates in this process lies in memory for keys from here on
 * (shared/secret.h): numbers of private keys with the copies that it makes of them, cipher and
 * HMAC contexts, DH keys. Before the first call into libcrypto; 0 or -1.
 */
int crypto_memory_hide(void);
