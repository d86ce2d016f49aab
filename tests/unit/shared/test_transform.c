#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "shared/transform.h"

static void test_rows_are_unique(void **state)
{
	const struct transform *a, *b;

	(void)state;
	for (size_t i = 0; (a = transform_at(i)); i++) {
		assert_non_null(a->name);
		assert_non_null(a->iana_name);
		assert_non_null(a->ipsecctl_name);
		assert_non_null(a->rfc);
		assert_ptr_equal(transform_find(a->type, a->id, a->key_len), a);
		assert_ptr_equal(transform_by_name(a->type, a->name), a);
		if (a->alias)
			assert_ptr_equal(transform_by_name(a->type, a->alias), a);
		for (size_t j = 0; j < i; j++) {
			b = transform_at(j);
			assert_false(
				a->type == b->type && a->id == b->id && a->key_len == b->key_len);
			assert_false(a->type == b->type && strcmp(a->name, b->name) == 0);
		}
	}
}

/* What the table says about an algorithm must be what OpenSSL has under its name. */
static void test_rows_fit_openssl(void **state)
{
	const struct transform *t;
	unsigned int n = 0;

	(void)state;
	for (size_t i = 0; (t = transform_at(i)); i++) {
		if (!t->openssl_name)
			continue;
		if (t->type == TRANSFORM_ENCR) {
			EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, t->openssl_name, NULL);

			assert_non_null(c);
			assert_int_equal(EVP_CIPHER_get_key_length(c), t->key_len);
			if (!(t->flags & TRANSFORM_F_COUNTER)) {
				assert_int_equal(EVP_CIPHER_get_iv_length(c), t->iv_len);
				assert_int_equal(EVP_CIPHER_get_block_size(c), t->block_len);
			} else if (t->flags & TRANSFORM_F_AEAD) {
				assert_int_equal(
					EVP_CIPHER_get_iv_length(c), t->iv_len + t->salt_len);
			}
			EVP_CIPHER_free(c);
			n++;
		} else if (t->type == TRANSFORM_PRF || t->type == TRANSFORM_INTEG) {
			EVP_MD *md = EVP_MD_fetch(NULL, t->openssl_name, NULL);

			assert_non_null(md);
			/* RFC 2104, RFC 4868 2.1.1: keys have the length of the output. */
			assert_int_equal(EVP_MD_get_size(md), t->key_len);
			assert_true(t->icv_len <= EVP_MD_get_size(md));
			EVP_MD_free(md);
			n++;
		}
	}
	assert_true(n >= 20);
}

static void test_flags(void **state)
{
	const struct transform *t;

	(void)state;
	for (size_t i = 0; (t = transform_at(i)); i++) {
		if (t->flags & TRANSFORM_F_AEAD)
			assert_true(t->flags & TRANSFORM_F_COUNTER && t->icv_len >= 8);
		/* What can be negotiated has an implementation behind it. */
		if (t->type == TRANSFORM_ENCR && t->id != ENCR_NULL)
			assert_true((t->flags & TRANSFORM_F_KNOWN_ONLY) || t->openssl_name);
		if (t->type == TRANSFORM_DH && (t->flags & TRANSFORM_F_WEAK))
			assert_true(t->id != DH_MODP_2048 && t->id != DH_CURVE25519);
	}
	t = transform_find(TRANSFORM_ENCR, ENCR_AES_GCM_16, 32);
	assert_int_equal(transform_keymat_len(t), 36);
	assert_null(transform_find(TRANSFORM_ENCR, ENCR_AES_CBC, 20));
	assert_null(transform_find(TRANSFORM_ENCR, 999, 0));
	assert_null(transform_by_name(TRANSFORM_DH, "aes-256"));
	assert_non_null(transform_by_name(TRANSFORM_DH, "GRP14"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_unique),
		cmocka_unit_test(test_rows_fit_openssl),
		cmocka_unit_test(test_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
