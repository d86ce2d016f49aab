#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/suite.h"

static struct crypto_mb *crypto;

/* The table of suites and the table of transforms say the same. */
static void test_rows_agree_with_transforms(void **state)
{
	(void)state;
	unsigned int n = 0;
	for (const struct suite *s; (s = suite_at(n)) != NULL; n++) {
		const struct transform *e = transform_find(TRANSFORM_ENCR, s->encr_id, s->key_len);
		assert_non_null(e);
		assert_int_equal(suite_number(s), n);
		assert_int_equal(e->key_len, s->key_len);
		assert_int_equal(e->salt_len, s->salt_len);
		assert_int_equal(e->iv_len, s->iv_len);
		assert_int_equal(s->align, e->block_len > 4 ? e->block_len : 4);
		assert_true(e->flags & TRANSFORM_F_ESP);
		assert_int_equal(!!(e->flags & TRANSFORM_F_AEAD), s->integ_id == INTEG_NONE);
		if (s->integ_id == INTEG_NONE) {
			assert_int_equal(e->icv_len, s->icv_len);
			continue;
		}
		const struct transform *i = transform_find(TRANSFORM_INTEG, s->integ_id, 0);
		assert_int_equal(i->icv_len, s->icv_len);
		assert_int_equal(i->key_len, s->integ_key_len);
	}
	assert_true(n > 30 && n <= SUITES_MAX);
}

/* Every pair of usable transforms has its row; what must not be together has none. */
static void test_every_pair_is_there(void **state)
{
	(void)state;
	const struct transform *e, *i;
	for (size_t a = 0; (e = transform_at(a)) != NULL; a++) {
		if (e->type != TRANSFORM_ENCR)
			continue;
		bool is_usable = e->flags & TRANSFORM_F_ESP && !(e->flags & TRANSFORM_F_KNOWN_ONLY);
		bool is_aead = e->flags & TRANSFORM_F_AEAD;
		for (size_t b = 0; (i = transform_at(b)) != NULL; b++) {
			if (i->type != TRANSFORM_INTEG)
				continue;
			bool is_known = i->flags & TRANSFORM_F_KNOWN_ONLY;
			bool want = is_usable && !is_known && is_aead == (i->id == INTEG_NONE);
			const struct suite *s = suite_find(e->id, e->key_len, i->id);
			if (want != (s != NULL))
				fail_msg("%s with %s", e->name, i->name);
		}
	}
}

static size_t hex(const char *text, uint8_t *out)
{
	size_t n = 0;
	for (; text[0] && text[1]; text += 2) {
		char two[3] = {text[0], text[1], 0};
		out[n++] = (uint8_t)strtoul(two, NULL, 16);
	}
	return n;
}

#define PACKET_RFC7634                                                                             \
	"45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f" \
	"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204"
#define SEALED_RFC7634                                                                             \
	"24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95df" \
	"ab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0"
#define PACKET_GCM                                                                  \
	"45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000000000000" \
	"45f736970045f756470037369700963796265726369747902646b000021000101020201"
#define SEALED_GCM                                                                 \
	"fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f" \
	"14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732"
#define B11 "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"

/*
 * esp is SPI and low number; text what is ciphered. An empty cipher text or ICV is not compared.
 */
static const struct vector {
	const char *source;
	uint16_t encr, key_len, integ;
	const char *key, *integ_key, *esp, *iv, *text, *sealed, *icv;
	uint32_t seq_hi;
	bool has_esn;
} vectors[] = {
	{"RFC 3602 4 case 1", ENCR_AES_CBC, 16, INTEG_HMAC_SHA1_96,
		"06a9214036b8a15b512e03d534120006", B11 "0b0b0b0b", "0000010000000001",
		"3dafba429d9eb430b422da802c9fac41", "53696e676c6520626c6f636b206d7367",
		"e353779c1079aeb82708942dbe77181a", "", 0, false},
	{"RFC 3602 4 case 2", ENCR_AES_CBC, 16, INTEG_HMAC_SHA2_256_128,
		"c286696d887c9aa0611bbb3e2025a45a", B11 B11, "0000010000000001",
		"562e17996d093d28ddb3ba695a2e6f58",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1", "", 0, false},
	{"RFC 3686 6 vector 1", ENCR_AES_CTR, 16, INTEG_HMAC_SHA1_96,
		"ae6852f8121067cc4bf7a5765577f39e00000030", B11 "0b0b0b0b", "0000010000000001",
		"0000000000000000", "53696e676c6520626c6f636b206d7367",
		"e4095d4fb7a7b3792d6175a3261311b8", "", 0, false},
	{"3DES-CBC, made with OpenSSL 3.0", ENCR_3DES, 24, INTEG_HMAC_SHA1_96,
		"0102030405060708090a0b0c0d0e0f101112131415161718", B11 "0b0b0b0b",
		"0000010000000001", "3031323334353637",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"d57bdd231f26c9a14436f56261befbd7662a4263f78040d2ed14d05621357ab0", "", 0, false},
	{"draft-mcgrew-gcm-test-01, ESN", ENCR_AES_GCM_16, 16, INTEG_NONE,
		"4c80cdefbb5d10da906ac73c3613a6342e443b68", "", "0000432100000000",
		"4956ed7e3b244cfe", PACKET_GCM, SEALED_GCM, "459018148f6cbe722fd04796562dfdb4",
		0x87654321, true},
	{"the same, ICV of 12 bytes", ENCR_AES_GCM_12, 16, INTEG_NONE,
		"4c80cdefbb5d10da906ac73c3613a6342e443b68", "", "0000432100000000",
		"4956ed7e3b244cfe", PACKET_GCM, SEALED_GCM, "459018148f6cbe722fd04796", 0x87654321,
		true},
	{"RFC 7634 appendix A", ENCR_CHACHA20_POLY1305, 32, INTEG_NONE,
		"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3", "",
		"0102030400000005", "1011121314151617", PACKET_RFC7634, SEALED_RFC7634,
		"76aaa8266b7fb0f7b11b369907e1ad43", 0, false},
	{"RFC 2202 3 case 1", ENCR_NULL, 0, INTEG_HMAC_SHA1_96, "", B11 "0b0b0b0b",
		"4869205468657265", "", "", "", "b617318655057264e28bc0b6", 0, false},
	{"RFC 4868 2.7.2.1 AUTH256-1", ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128, "", B11 B11,
		"4869205468657265", "", "", "", "198a607eb44bfbc69903a0f1cf2bbdc5", 0, false},
	{"RFC 4868 2.7.2.2 AUTH384-1", ENCR_NULL, 0, INTEG_HMAC_SHA2_384_192, "", B11 B11 B11,
		"4869205468657265", "", "", "", "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
		0, false},
	{"RFC 4868 2.7.2.3 AUTH512-1", ENCR_NULL, 0, INTEG_HMAC_SHA2_512_256, "", B11 B11 B11 B11,
		"4869205468657265", "", "", "",
		"637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8", 0, false},
};

static struct sa_keys *keys_make(const struct suite *s, bool is_outbound, const uint8_t *key,
	size_t key_len, const uint8_t *integ, size_t integ_len)
{
	size_t len = (sizeof(struct sa_keys) + suite_schedule_len(s) + 63) / 64 * 64;
	struct sa_keys *k = aligned_alloc(64, len);
	assert_non_null(k);
	memset(k, 0, len);
	assert_int_equal(suite_keys_init(s, crypto_mb_manager(crypto), is_outbound, key, key_len,
				 integ, integ_len, k),
		0);
	return k;
}

static void run_vector(const struct vector *v)
{
	uint8_t key[64], integ[64], packet[256], sealed[128], icv[64], text[128];
	const struct suite *s = suite_find(v->encr, v->key_len, v->integ);
	assert_non_null(s);
	size_t key_len = hex(v->key, key), integ_len = hex(v->integ_key, integ);
	struct sa_keys *out = keys_make(s, true, key, key_len, integ, integ_len);
	struct sa_keys *in = keys_make(s, false, key, key_len, integ, integ_len);
	size_t at = hex(v->esp, packet);
	at += hex(v->iv, packet + at);
	size_t text_len = hex(v->text, text);
	memcpy(packet + at, text, text_len);
	struct crypto_op op = {
		.suite = s,
		.keys = out,
		.esp = packet,
		.text = packet + at,
		.text_len = (uint32_t)text_len,
		.seq_hi = v->seq_hi,
		.has_esn = v->has_esn,
	};
	crypto_mb_encrypt(crypto, &op, 1);
	assert_int_equal(hex(v->sealed, sealed), text_len);
	assert_memory_equal(op.text, sealed, text_len);
	size_t icv_len = hex(v->icv, icv);
	assert_true(icv_len == 0 || icv_len == s->icv_len);
	assert_memory_equal(op.text + text_len, icv, icv_len);
	op.keys = in;
	crypto_mb_decrypt(crypto, &op, 1);
	assert_true(op.is_ok);
	assert_memory_equal(op.text, text, text_len);
	free(out);
	free(in);
}

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		run_vector(&vectors[i]);
}

static void test_wrong_key_lengths(void **state)
{
	(void)state;
	uint8_t key[64] = {1};
	struct sa_keys *k = aligned_alloc(64, 4096);
	for (unsigned int i = 0; suite_at(i); i++) {
		const struct suite *s = suite_at(i);
		size_t len = (size_t)s->key_len + s->salt_len;
		IMB_MGR *mb = crypto_mb_manager(crypto);
		assert_int_equal(
			suite_keys_init(s, mb, true, key, len + 1, key, s->integ_key_len, k), -1);
		assert_int_equal(
			suite_keys_init(s, mb, true, key, len, key, s->integ_key_len + 1u, k), -1);
	}
	free(k);
}

/* A full burst in which no two neighbours are of one suite, and one packet in eight is forged. */
static void test_mixed_burst(void **state)
{
	(void)state;
	enum { N = CRYPTO_BURST_MAX, ROOM = 256 };
	static uint8_t packet[N][ROOM], plain[N][ROOM];
	struct crypto_op ops[N];
	struct sa_keys *out[N], *in[N];
	uint8_t key[64];
	unsigned int n_suites = 0;
	while (suite_at(n_suites))
		n_suites++;
	for (unsigned int i = 0; i < N; i++) {
		const struct suite *s = suite_at(i * 7 % n_suites);
		memset(key, (int)i + 1, sizeof(key));
		size_t key_len = (size_t)s->key_len + s->salt_len;
		out[i] = keys_make(s, true, key, key_len, key, s->integ_key_len);
		in[i] = keys_make(s, false, key, key_len, key, s->integ_key_len);
		for (unsigned int j = 0; j < ROOM; j++)
			packet[i][j] = plain[i][j] = (uint8_t)(i * 3 + j);
		ops[i] = (struct crypto_op){.suite = s,
			.keys = out[i],
			.esp = packet[i],
			.text = packet[i] + 8 + s->iv_len,
			.text_len = 16 * (1 + i % 11),
			.seq_hi = i,
			.has_esn = i & 1};
	}
	crypto_mb_encrypt(crypto, ops, N);
	for (unsigned int i = 0; i < N; i++) {
		ops[i].keys = in[i];
		if (i % 8 == 3)
			ops[i].text[ops[i].text_len] ^= 1; /* first byte of the ICV */
	}
	crypto_mb_decrypt(crypto, ops, N);
	for (unsigned int i = 0; i < N; i++) {
		assert_int_equal(ops[i].is_ok, i % 8 != 3);
		size_t at = (size_t)(ops[i].text - ops[i].esp);
		if (ops[i].is_ok)
			assert_memory_equal(ops[i].text, plain[i] + at, ops[i].text_len);
		free(out[i]);
		free(in[i]);
	}
}

/* B59: no 16 bytes of the generator come twice, over many refills. */
static void test_iv_source(void **state)
{
	(void)state;
	enum { N = 20000 };
	static uint64_t iv[N][2];
	for (unsigned int i = 0; i < N; i++)
		crypto_mb_iv(crypto, (uint8_t *)iv[i], 16);
	unsigned int ones = 0;
	static uint8_t seen[1 << 20];
	unsigned int same = 0;
	for (unsigned int i = 0; i < N; i++) {
		ones += (unsigned int)__builtin_popcountll(iv[i][0] ^ iv[i][1]);
		uint32_t slot = (uint32_t)iv[i][0] & 0xfffff;
		same += seen[slot]++ != 0;
	}
	/* 20000 of 2^20 slots: about 190 meet by chance. */
	assert_true(same < 400);
	assert_in_range(ones, N * 32 - N / 4, N * 32 + N / 4);
}

static int set_up(void **state)
{
	(void)state;
	const char *name = getenv("ESP_ARCH"), *error = NULL;
	enum crypto_arch arch;
	if (crypto_arch_parse(name ? name : "auto", &arch) != 0)
		return -1;
	crypto = crypto_mb_create(arch, &error);
	if (!crypto)
		print_message("skipped: %s\n", error);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	crypto_mb_destroy(crypto);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_agree_with_transforms),
		cmocka_unit_test(test_every_pair_is_there),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_wrong_key_lengths),
		cmocka_unit_test(test_mixed_burst),
		cmocka_unit_test(test_iv_source),
	};
	if (set_up(NULL) == 0 && !crypto)
		return 77;
	crypto_mb_destroy(crypto);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
