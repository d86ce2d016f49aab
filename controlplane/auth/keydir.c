#include "controlplane/auth/keydir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "controlplane/auth/keyfile.h"
#include "shared/wipe.h"

#define RSA_BITS 2048
#define NAME_LEN_MAX 255 /* NAME_MAX of Linux file systems */

const char *keydir_error_str(int error)
{
	static const char *const text[] = {
		"no error",
		"no such file",
		"cannot be read",
		"it must belong to root or the current user, who alone may read it",
		"not a regular file, or too long for a key",
		"not PEM of an RSA or ECDSA key",
		"the identity makes no file name",
		"local.pub is not the public key of private/local.key",
		"cannot be written",
		"local.pub is there, private/local.key is not",
	};

	return error <= 0 && error >= KEYDIR_E_ORPHAN ? text[-error] : "unknown error";
}

static const char *id_directory(uint8_t type)
{
	switch (type) {
	case IKE_ID_IPV4:
		return "ipv4";
	case IKE_ID_IPV6:
		return "ipv6";
	case IKE_ID_FQDN:
		return "fqdn";
	case IKE_ID_UFQDN:
		return "ufqdn";
	case IKE_ID_ASN1_DN:
		return "asn1_dn";
	default:
		return NULL;
	}
}

/*
 * The identity comes from a peer that is not authenticated yet: what it sends must not reach
 * outside its directory, and must not be cut or altered into another identity's name.
 */
int keydir_pubkey_name(const struct ike_id *id, char *out, size_t cap)
{
	const char *dir = id_directory(id->type);
	char text[IKE_ID_STRLEN], name[NAME_LEN_MAX + 1];
	const char *value;
	size_t n = 0;

	if (!dir)
		return KEYDIR_E_NAME;
	for (uint16_t i = 0; id->type == IKE_ID_FQDN || id->type == IKE_ID_UFQDN; i++) {
		if (i == id->len)
			break;
		if (id->data[i] <= 0x20 || id->data[i] >= 0x7f)
			return KEYDIR_E_NAME;
	}
	value = strchr(ike_id_str(id, text), '/');
	/* '?' stands for a byte that does not print, a full buffer may be a cut text. */
	if (!value || strchr(value, '?') || strlen(text) >= IKE_ID_STRLEN - 1)
		return KEYDIR_E_NAME;
	value++;
	if (value[0] == '\0' || value[0] == '.')
		return KEYDIR_E_NAME;
	for (; *value; value++) {
		bool escape = *value == '/' || *value == '%';

		if (n + (escape ? 3 : 1) > NAME_LEN_MAX)
			return KEYDIR_E_NAME;
		if (escape)
			n += (size_t)snprintf(name + n, sizeof(name) - n, "%%%02X",
				(unsigned int)(unsigned char)*value);
		else
			name[n++] = *value;
	}
	name[n] = '\0';
	if ((size_t)snprintf(out, cap, "pubkeys/%s/%s", dir, name) >= cap)
		return KEYDIR_E_NAME;
	return KEYDIR_OK;
}

/* Checks the open file, so that nobody can exchange it in between. */
static int file_check(int fd, bool is_secret, size_t cap)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return KEYDIR_E_READ;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size > cap)
		return KEYDIR_E_SIZE;
	if (is_secret && ((st.st_mode & 077) != 0 || (st.st_uid != 0 && st.st_uid != geteuid())))
		return KEYDIR_E_MODE;
	return KEYDIR_OK;
}

int keydir_read(const char *path, bool is_secret, uint8_t *out, size_t cap, size_t *len)
{
	/* O_NONBLOCK: a FIFO in the directory must not hang us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int result;

	*len = 0;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? KEYDIR_E_NONE : KEYDIR_E_READ;
	result = file_check(fd, is_secret, cap);
	while (result == KEYDIR_OK) {
		ssize_t got = read(fd, out + *len, cap - *len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			result = KEYDIR_E_READ;
		if (got <= 0)
			break;
		*len += (size_t)got;
		if (*len == cap)
			break;
	}
	if (result != KEYDIR_OK) {
		int saved = errno;

		wipe(out, *len);
		*len = 0;
		errno = saved;
	}
	close(fd);
	return result;
}

static int path_join(const char *base, const char *name, char out[KEYDIR_PATH_MAX])
{
	if (snprintf(out, KEYDIR_PATH_MAX, "%s/%s", base, name) >= KEYDIR_PATH_MAX)
		return KEYDIR_E_NAME;
	return KEYDIR_OK;
}

/* A PEM file's public key as DER SubjectPublicKeyInfo. */
static int public_read(const char *path, uint8_t *spki, size_t cap, size_t *len)
{
	uint8_t pem[KEYDIR_FILE_MAX];
	size_t pem_len;
	EVP_PKEY *key;
	int result = keydir_read(path, false, pem, sizeof(pem), &pem_len);

	*len = 0;
	if (result != KEYDIR_OK)
		return result;
	key = keyfile_public_parse(pem, pem_len);
	if (!key)
		return KEYDIR_E_FORMAT;
	*len = keyfile_spki_write(key, spki, cap);
	EVP_PKEY_free(key);
	return *len > 0 ? KEYDIR_OK : KEYDIR_E_SIZE;
}

int keydir_pubkey_find(const char *base, const struct ike_id *id, uint8_t *spki, size_t cap,
	size_t *len, char name[KEYDIR_PATH_MAX])
{
	char relative[KEYDIR_PATH_MAX] = "", path[KEYDIR_PATH_MAX];
	int result = keydir_pubkey_name(id, relative, sizeof(relative));

	*len = 0;
	if (name)
		memcpy(name, relative, sizeof(relative));
	if (result == KEYDIR_OK)
		result = path_join(base, relative, path);
	if (result == KEYDIR_OK)
		result = public_read(path, spki, cap, len);
	return result;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t put = write(fd, data, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return -1;
		data += put;
		len -= (size_t)put;
	}
	return 0;
}

/*
 * A new file, complete or not at all, and never in the place of another: written under a
 * temporary name, then linked (link(2), unlike rename(2), fails if the name is taken).
 */
static int file_create(const char *path, mode_t mode, const char *data, size_t len)
{
	char temporary[KEYDIR_PATH_MAX + 16];
	int fd, result = KEYDIR_E_WRITE, saved;

	snprintf(temporary, sizeof(temporary), "%s.new.%d", path, (int)getpid());
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return KEYDIR_E_WRITE;
	if (fchmod(fd, mode) == 0 && write_all(fd, data, len) == 0 && fsync(fd) == 0 &&
		link(temporary, path) == 0)
		result = KEYDIR_OK;
	saved = errno;
	close(fd);
	unlink(temporary);
	errno = saved;
	return result;
}

static int pair_create(const char *key_path, const char *pub_path)
{
	char pem[KEYDIR_FILE_MAX];
	size_t len;
	int result = KEYDIR_E_WRITE;
	EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);

	if (!key)
		return KEYDIR_E_WRITE;
	len = keyfile_private_write(key, pem, sizeof(pem));
	if (len > 0)
		result = file_create(key_path, 0600, pem, len);
	wipe(pem, sizeof(pem));
	if (result == KEYDIR_OK) {
		len = keyfile_public_write(key, pem, sizeof(pem));
		result = len > 0 ? file_create(pub_path, 0644, pem, len) : KEYDIR_E_WRITE;
	}
	EVP_PKEY_free(key);
	return result;
}

/* Directories that a first start may find missing. */
static int directory_make(const char *path, mode_t mode)
{
	return mkdir(path, mode) == 0 || errno == EEXIST ? KEYDIR_OK : KEYDIR_E_WRITE;
}

int keydir_first_start(const char *base)
{
	char key_path[KEYDIR_PATH_MAX], pub_path[KEYDIR_PATH_MAX], dir[KEYDIR_PATH_MAX];
	struct stat st;
	int result;

	if (path_join(base, "private/local.key", key_path) < 0 ||
		path_join(base, "local.pub", pub_path) < 0 || path_join(base, "private", dir) < 0)
		return KEYDIR_E_NAME;
	if (lstat(key_path, &st) == 0)
		return 0;
	if (errno != ENOENT)
		return KEYDIR_E_READ;
	/* A public key without its private half: a new pair would make it wrong without a word. */
	if (lstat(pub_path, &st) == 0)
		return KEYDIR_E_ORPHAN;
	result = directory_make(base, 0755);
	if (result == KEYDIR_OK)
		result = directory_make(dir, 0700);
	if (result == KEYDIR_OK)
		result = pair_create(key_path, pub_path);
	return result == KEYDIR_OK ? 1 : result;
}

int keydir_local_pub_check(const char *base, const uint8_t *spki, size_t len)
{
	uint8_t stored[KEYDIR_FILE_MAX];
	char path[KEYDIR_PATH_MAX], pem[KEYDIR_FILE_MAX];
	const unsigned char *at = spki;
	size_t stored_len, pem_len;
	EVP_PKEY *key;
	int result = path_join(base, "local.pub", path);

	if (result == KEYDIR_OK)
		result = public_read(path, stored, sizeof(stored), &stored_len);
	if (result == KEYDIR_OK)
		return stored_len == len && memcmp(stored, spki, len) == 0 ? 0 : KEYDIR_E_DIFFER;
	if (result != KEYDIR_E_NONE)
		return result;
	key = d2i_PUBKEY(NULL, &at, (long)len);
	pem_len = key ? keyfile_public_write(key, pem, sizeof(pem)) : 0;
	EVP_PKEY_free(key);
	if (pem_len == 0)
		return KEYDIR_E_FORMAT;
	result = file_create(path, 0644, pem, pem_len);
	return result == KEYDIR_OK ? 1 : result;
}
