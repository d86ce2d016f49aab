#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>

#include "controlplane/auth/keydir.h"
#include "controlplane/auth/keyfile.h"

static char base[64];

static int make_base(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/penstock-keydir.XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command) == 0 ? 0 : -1;
}

static const char *in_base(const char *name)
{
	static char path[4][256];
	static unsigned int turn;
	char *out = path[turn++ % 4];

	snprintf(out, sizeof(path[0]), "%s/%s", base, name);
	return out;
}

static void write_file(const char *path, const void *data, size_t len, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static struct ike_id make_id(uint8_t type, const char *data, size_t len)
{
	struct ike_id id = {.type = type, .len = (uint16_t)len};

	memcpy(id.data, data, len);
	return id;
}

static void names_of_identities(void **state)
{
	static char long_name[300];
	const struct {
		uint8_t type;
		const char *data;
		size_t len;
		const char *name; /* NULL: refused */
		const char *why;
	} rows[] = {
		{IKE_ID_FQDN, "server1.domain", 14, "pubkeys/fqdn/server1.domain", "the FAQ's"},
		{IKE_ID_IPV4, "\xc0\x00\x02\x01", 4, "pubkeys/ipv4/192.0.2.1", "an address"},
		{IKE_ID_UFQDN, "a@b.c", 5, "pubkeys/ufqdn/a@b.c", "mail"},
		{IKE_ID_FQDN, "../../private/local.key", 23, NULL, "begins with a dot"},
		{IKE_ID_FQDN, ".", 1, NULL, "the directory"},
		{IKE_ID_FQDN, "..", 2, NULL, "its parent"},
		{IKE_ID_FQDN, ".hidden", 7, NULL, "hidden file"},
		{IKE_ID_FQDN, "x/../../y", 9, "pubkeys/fqdn/x%2F..%2F..%2Fy", "slash is no slash"},
		{IKE_ID_FQDN, "x%2Fy", 5, "pubkeys/fqdn/x%252Fy", "not the name of x/y"},
		{IKE_ID_FQDN, "/etc/passwd", 11, "pubkeys/fqdn/%2Fetc%2Fpasswd", "absolute"},
		{IKE_ID_FQDN, "", 0, NULL, "empty"},
		{IKE_ID_FQDN, "a\0b", 3, NULL, "NUL inside: not the file a"},
		{IKE_ID_FQDN, "a\nb", 3, NULL, "newline"},
		{IKE_ID_FQDN, "a b", 3, NULL, "blank"},
		{IKE_ID_FQDN, "a\xff", 2, NULL, "does not print"},
		{IKE_ID_FQDN, long_name, 256, NULL, "longer than a file name"},
		{IKE_ID_FQDN, long_name, 255, NULL, "the longest file name: whole or refused"},
		{IKE_ID_KEY_ID, "abc", 3, NULL, "no directory for this type"},
		{77, "abc", 3, NULL, "unknown type"},
	};

	(void)state;
	memset(long_name, 'a', sizeof(long_name));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct ike_id id = make_id(rows[i].type, rows[i].data, rows[i].len);
		char name[KEYDIR_PATH_MAX] = "";
		int result = keydir_pubkey_name(&id, name, sizeof(name));

		if (rows[i].len == 255) {
			/* Just short enough: whole or refused, never cut. */
			assert_true(result == KEYDIR_E_NAME || strlen(name) == 13 + 255);
			continue;
		}
		if (result != (rows[i].name ? KEYDIR_OK : KEYDIR_E_NAME) ||
			(rows[i].name && strcmp(name, rows[i].name) != 0))
			fail_msg("%s: %d '%s'", rows[i].why, result, name);
	}
}

static void first_start_makes_a_pair(void **state)
{
	uint8_t pem[KEYDIR_FILE_MAX], spki[2048];
	char command[256];
	struct stat st;
	size_t len;
	EVP_PKEY *key;

	(void)state;
	assert_int_equal(keydir_first_start(base), 1);
	assert_int_equal(stat(in_base("private/local.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(in_base("private"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(
		keydir_read(in_base("private/local.key"), true, pem, sizeof(pem), &len), KEYDIR_OK);
	key = keyfile_private_parse(pem, len);
	assert_non_null(key);
	assert_true(EVP_PKEY_is_a(key, "RSA"));
	assert_int_equal(EVP_PKEY_get_bits(key), 2048);
	len = keyfile_spki_write(key, spki, sizeof(spki));
	assert_true(len > 0);
	EVP_PKEY_free(key);
	assert_int_equal(keydir_local_pub_check(base, spki, len), 0);
	/* The next start leaves all as it is. */
	assert_int_equal(keydir_first_start(base), 0);
	assert_int_equal(keydir_local_pub_check(base, spki, len), 0);
	/* A lost local.pub is made again from the key that is there. */
	assert_int_equal(unlink(in_base("local.pub")), 0);
	assert_int_equal(keydir_local_pub_check(base, spki, len), 1);
	assert_int_equal(keydir_local_pub_check(base, spki, len), 0);
	spki[len - 1] ^= 1;
	assert_int_equal(keydir_local_pub_check(base, spki, len), KEYDIR_E_DIFFER);
	/* No temporary file stays. */
	snprintf(command, sizeof(command), "test \"$(find %s -name '*.new*')\" = ''", base);
	assert_int_equal(system(command), 0);
}

static void first_start_overwrites_nothing(void **state)
{
	uint8_t data[64];
	size_t len;

	(void)state;
	write_file(in_base("local.pub"), "mine", 4, 0644);
	assert_int_equal(keydir_first_start(base), KEYDIR_E_ORPHAN);
	assert_int_equal(access(in_base("private/local.key"), F_OK), -1);
	assert_int_equal(unlink(in_base("local.pub")), 0);
	assert_int_equal(mkdir(in_base("private"), 0700), 0);
	write_file(in_base("private/local.key"), "other", 5, 0600);
	assert_int_equal(keydir_first_start(base), 0);
	assert_int_equal(
		keydir_read(in_base("private/local.key"), true, data, sizeof(data), &len), 0);
	assert_memory_equal(data, "other", 5);
	/* A dangling link is a name that is taken, too. */
	assert_int_equal(unlink(in_base("private/local.key")), 0);
	assert_int_equal(symlink("nowhere", in_base("private/local.key")), 0);
	assert_int_equal(keydir_first_start(base), 0);
}

static void reading_demands_closed_files(void **state)
{
	static const struct {
		mode_t mode;
		bool is_secret;
		int result;
		const char *why;
	} rows[] = {
		{0600, true, KEYDIR_OK, "owner alone"},
		{0400, true, KEYDIR_OK, "owner alone, read only"},
		{0640, true, KEYDIR_E_MODE, "group may read"},
		{0604, true, KEYDIR_E_MODE, "others may read"},
		{0620, true, KEYDIR_E_MODE, "group may write"},
		{0644, false, KEYDIR_OK, "a public key"},
	};
	uint8_t data[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_file(in_base("file"), "0123456789", 10, rows[i].mode);
		if (keydir_read(in_base("file"), rows[i].is_secret, data, sizeof(data), &len) !=
			rows[i].result)
			fail_msg("%s", rows[i].why);
		assert_int_equal(len, rows[i].result == KEYDIR_OK ? 10 : 0);
	}
	assert_int_equal(keydir_read(in_base("file"), false, data, 9, &len), KEYDIR_E_SIZE);
	assert_int_equal(keydir_read(in_base("none"), false, data, 9, &len), KEYDIR_E_NONE);
	assert_int_equal(keydir_read(base, false, data, sizeof(data), &len), KEYDIR_E_SIZE);
	assert_int_equal(mkfifo(in_base("fifo"), 0600), 0);
	/* It must not wait for a writer. */
	assert_int_equal(
		keydir_read(in_base("fifo"), true, data, sizeof(data), &len), KEYDIR_E_SIZE);
}

/* PEM of a key in a form that keyfile itself does not write. */
static size_t encode(EVP_PKEY *key, int selection, const char *structure, char *out, size_t cap)
{
	unsigned char *data = NULL;
	size_t len = 0;
	OSSL_ENCODER_CTX *ctx = OSSL_ENCODER_CTX_new_for_pkey(
		key, selection, "PEM", structure, NULL);

	assert_non_null(ctx);
	assert_int_equal(OSSL_ENCODER_to_data(ctx, &data, &len), 1);
	assert_true(len <= cap);
	memcpy(out, data, len);
	OPENSSL_free(data);
	OSSL_ENCODER_CTX_free(ctx);
	return len;
}

static void all_forms_of_keys(void **state)
{
	static const struct {
		bool is_rsa;
		int selection;
		const char *structure, *head;
	} rows[] = {
		{true, EVP_PKEY_KEYPAIR, "PrivateKeyInfo", "-----BEGIN PRIVATE KEY"},
		{true, EVP_PKEY_KEYPAIR, "type-specific", "-----BEGIN RSA PRIVATE KEY"},
		{false, EVP_PKEY_KEYPAIR, "PrivateKeyInfo", "-----BEGIN PRIVATE KEY"},
		{false, EVP_PKEY_KEYPAIR, "type-specific", "-----BEGIN EC PRIVATE KEY"},
		{true, EVP_PKEY_PUBLIC_KEY, "SubjectPublicKeyInfo", "-----BEGIN PUBLIC KEY"},
		{true, EVP_PKEY_PUBLIC_KEY, "type-specific", "-----BEGIN RSA PUBLIC KEY"},
		{false, EVP_PKEY_PUBLIC_KEY, "SubjectPublicKeyInfo", "-----BEGIN PUBLIC KEY"},
	};
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");
	char pem[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		EVP_PKEY *key = rows[i].is_rsa ? rsa : ec, *back;
		size_t len = encode(key, rows[i].selection, rows[i].structure, pem, sizeof(pem));

		assert_memory_equal(pem, rows[i].head, strlen(rows[i].head));
		back = rows[i].selection == EVP_PKEY_KEYPAIR ? keyfile_private_parse(pem, len)
							     : keyfile_public_parse(pem, len);
		if (!back || EVP_PKEY_eq(back, key) != 1)
			fail_msg("%s %s", rows[i].structure, rows[i].head);
		EVP_PKEY_free(back);
		/* Cut anywhere it is no key, and no crash. */
		for (size_t cut = 0; cut < len - 30; cut += 17) {
			assert_null(keyfile_private_parse(pem, cut));
			assert_null(keyfile_public_parse(pem, cut));
		}
	}
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
}

static void keys_that_are_refused(void **state)
{
	EVP_PKEY *small = EVP_RSA_gen(512), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	char pem[4096], *data;
	long len;

	(void)state;
	if (small) {
		assert_null(keyfile_private_parse(
			pem, encode(small, EVP_PKEY_KEYPAIR, "PrivateKeyInfo", pem, sizeof(pem))));
	}
	assert_null(keyfile_private_parse(
		pem, encode(ed, EVP_PKEY_KEYPAIR, "PrivateKeyInfo", pem, sizeof(pem))));
	/* With a passphrase: must not ask for it on a terminal. */
	assert_int_equal(
		PEM_write_bio_PKCS8PrivateKey(bio, rsa, EVP_aes_256_cbc(), "secret", 6, NULL, NULL),
		1);
	len = BIO_get_mem_data(bio, &data);
	assert_null(keyfile_private_parse(data, (size_t)len));
	BIO_free(bio);
	EVP_PKEY_free(small);
	EVP_PKEY_free(ed);
	EVP_PKEY_free(rsa);
}

static void a_peers_key_is_found_by_its_identity(void **state)
{
	struct ike_id id = make_id(IKE_ID_FQDN, "server1.domain", 14);
	uint8_t spki[2048], expected[2048];
	char pem[4096], name[KEYDIR_PATH_MAX];
	size_t len, expected_len;
	EVP_PKEY *key = EVP_EC_gen("P-384");

	(void)state;
	expected_len = keyfile_spki_write(key, expected, sizeof(expected));
	assert_int_equal(
		keydir_pubkey_find(base, &id, spki, sizeof(spki), &len, name), KEYDIR_E_NONE);
	assert_string_equal(name, "pubkeys/fqdn/server1.domain");
	assert_int_equal(mkdir(in_base("pubkeys"), 0755) | mkdir(in_base("pubkeys/fqdn"), 0755), 0);
	write_file(in_base("pubkeys/fqdn/server1.domain"), pem,
		keyfile_public_write(key, pem, sizeof(pem)), 0644);
	assert_int_equal(keydir_pubkey_find(base, &id, spki, sizeof(spki), &len, NULL), KEYDIR_OK);
	assert_int_equal(len, expected_len);
	assert_memory_equal(spki, expected, len);
	assert_int_equal(keydir_pubkey_find(base, &id, spki, 10, &len, NULL), KEYDIR_E_SIZE);
	write_file(in_base("pubkeys/fqdn/server1.domain"), "no key", 6, 0644);
	assert_int_equal(
		keydir_pubkey_find(base, &id, spki, sizeof(spki), &len, NULL), KEYDIR_E_FORMAT);
	EVP_PKEY_free(key);
}

int main(void)
{
#define WITH_BASE(f) cmocka_unit_test_setup_teardown(f, make_base, remove_base)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_identities),
		WITH_BASE(first_start_makes_a_pair),
		WITH_BASE(first_start_overwrites_nothing),
		WITH_BASE(reading_demands_closed_files),
		cmocka_unit_test(all_forms_of_keys),
		cmocka_unit_test(keys_that_are_refused),
		WITH_BASE(a_peers_key_is_found_by_its_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
