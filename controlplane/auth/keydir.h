#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/ids.h"

/*
 * iked's key directory (/etc/iked): private/local.key, local.pub, pubkeys/TYPE/NAME. Only the
 * parent reads it. All files are PEM.
 */
#define KEYDIR_DEFAULT "/etc/iked"
#define KEYDIR_PATH_MAX 1024
#define KEYDIR_FILE_MAX 16000 /* bytes of a key file */

enum keydir_error {
	KEYDIR_OK = 0,
	KEYDIR_E_NONE = -1,   /* no such file */
	KEYDIR_E_READ = -2,   /* it cannot be read; errno says why */
	KEYDIR_E_MODE = -3,   /* a private key that others may read, or whose owner is another */
	KEYDIR_E_SIZE = -4,   /* not a regular file, or too long */
	KEYDIR_E_FORMAT = -5, /* not PEM of a key that we can use */
	KEYDIR_E_NAME = -6,   /* an identity that makes no file name */
	KEYDIR_E_DIFFER = -7, /* local.pub is not the public half of local.key */
	KEYDIR_E_WRITE = -8,  /* a new file cannot be written; errno says why */
	KEYDIR_E_ORPHAN = -9, /* local.pub is there, private/local.key is not */
};
const char *keydir_error_str(int error);

/*
 * "pubkeys/fqdn/NAME" for an identity. The name is the identity's text; '/' and '%' in it (in
 * distinguished names) are written %2F and %25, so that two identities never share a file.
 * KEYDIR_E_NAME for empty names, for those that begin with '.', are too long, or hold bytes
 * that do not print, and for types that have no directory.
 */
int keydir_pubkey_name(const struct ike_id *id, char *out, size_t cap)
	__attribute__((warn_unused_result));

/*
 * Reads a file of at most cap bytes. is_secret demands what iked demands of local.key: owner
 * root or the current user, no access for group and others.
 */
int keydir_read(const char *path, bool is_secret, uint8_t *out, size_t cap, size_t *len)
	__attribute__((warn_unused_result));

/*
 * The public key of an identity as DER SubjectPublicKeyInfo. name, if not NULL, is set to
 * the file's name under base, also on failure where there is one ("" else).
 */
int keydir_pubkey_find(const char *base, const struct ike_id *id, uint8_t *spki, size_t cap,
	size_t *len, char name[KEYDIR_PATH_MAX]) __attribute__((warn_unused_result));

/*
 * First start: makes an RSA-2048 key in private/local.key (0600) and local.pub, each through a
 * temporary file that is linked in place only if the name is free. 1: made; 0: a private key is
 * there already; KEYDIR_E_*.
 */
int keydir_first_start(const char *base) __attribute__((warn_unused_result));

/*
 * Compares local.pub with the public key (SubjectPublicKeyInfo) of the loaded private key; writes
 * local.pub if it is missing. 1: written; 0: they are the same; KEYDIR_E_*.
 */
int keydir_local_pub_check(const char *base, const uint8_t *spki, size_t len)
	__attribute__((warn_unused_result));
