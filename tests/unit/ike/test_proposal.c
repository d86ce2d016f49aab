#include "tests/unit/ike/fixtures.h"
#include "tests/unit/ike/util.h"

/* Splits "a b c" into transforms of a list. */
static void list_fill(struct ike_transform_list *list, enum transform_type type, const char *names)
{
	char copy[200], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", names);
	for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
		list_add(list, type, name);
}

struct policy_text {
	const char *encr, *prf, *integ, *dh, *esn;
};

static struct ike_proposal policy(const struct policy_text *t)
{
	struct ike_proposal p = {0};

	list_fill(&p.encr, TRANSFORM_ENCR, t->encr);
	list_fill(&p.prf, TRANSFORM_PRF, t->prf ? t->prf : "");
	list_fill(&p.integ, TRANSFORM_INTEG, t->integ ? t->integ : "");
	list_fill(&p.dh, TRANSFORM_DH, t->dh ? t->dh : "");
	list_fill(&p.esn, TRANSFORM_ESN, t->esn ? t->esn : "");
	return p;
}

/*
 * An offer from "E12/256 I12 P5 D14; E20/256 ..." : proposals by ';', letters by type, X is a
 * type that we don't know, '!' behind a transform an unknown attribute.
 */
static void offer_from_text(const char *text, uint8_t protocol, struct ike_offer *o)
{
	static const char letters[] = "?EPIDS";
	struct ike_offer_proposal *p = NULL;

	memset(o, 0, sizeof(*o));
	for (; *text; text++) {
		const char *letter = strchr(letters, *text);
		struct ike_offer_transform t = {0};
		char *end;

		if (*text == ' ')
			continue;
		if (*text == ';') {
			p = NULL;
			continue;
		}
		if (!p) {
			p = &o->proposals[o->n_proposals++];
			p->number = (uint8_t)o->n_proposals;
			p->protocol = protocol;
			p->first = o->n_transforms;
			p->spi_len = protocol == IKE_PROTO_ESP ? 4 : 0;
			memcpy(p->spi, "\x10\x20\x30\x40", 4);
		}
		t.type = *text == 'X' ? 6 : (uint8_t)(letter - letters);
		t.id = (uint16_t)strtoul(text + 1, &end, 10);
		if (*end == '/') {
			t.has_key_len = true;
			t.key_len_bits = (uint16_t)strtoul(end + 1, &end, 10);
		}
		if (*end == '!') {
			t.has_unknown_attr = true;
			end++;
		}
		o->transforms[o->n_transforms++] = t;
		p->n++;
		text = end - 1;
	}
}

static const struct policy_text strong = {"aes-256-gcm aes-256 aes-128", "hmac-sha2-256",
	"hmac-sha2-256", "curve25519 ecp256 modp2048", NULL};
static const struct policy_text legacy = {"aes-256 aes-128 3des", "hmac-sha2-256 hmac-sha1",
	"hmac-sha2-256 hmac-sha1", "modp1024", NULL};
static const struct policy_text legacy_gcm = {
	"aes-256-gcm aes-256", "hmac-sha2-384 hmac-sha2-256", "hmac-sha2-256", "modp1024", NULL};
static const struct policy_text esp = {"aes-256 aes-256-gcm", NULL, "hmac-sha2-256", NULL, NULL};
static const struct policy_text esp_pfs = {
	"aes-256", NULL, "hmac-sha2-256", "curve25519 modp2048", NULL};
static const struct policy_text esp_pfs_or_none = {
	"aes-256", NULL, "hmac-sha2-256", "curve25519 none", NULL};
static const struct policy_text esp_esn = {"aes-256", NULL, "hmac-sha2-256", NULL, "esn noesn"};

static const struct {
	const char *offer;
	const struct policy_text *ours;
	enum ike_suite_use use;
	uint16_t ke_group;
	int number; /* 0: refused */
	const char *suite;
	const char *why;
} rows[] = {
	{"E12/256 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048", "plain"},
	{"E12/128 E12/256 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048", "our order, not theirs"},
	{"E12/128 I12 P5 D14; E20/256 P5 D14", &strong, IKE_SUITE_IKE, 14, 2,
		"AES_GCM_16-256 HMAC_SHA2_256 MODP_2048", "our order over proposals"},
	{"E20/256 P5 I0 D14", &strong, IKE_SUITE_IKE, 14, 1,
		"AES_GCM_16-256 HMAC_SHA2_256 MODP_2048", "GCM with INTEG NONE (field case B05)"},
	{"E20/256 P5 I12 D14; E12/256 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 2,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048",
		"GCM with INTEG refused, the next one taken"},
	{"E20/256 P5 I12 D14", &strong, IKE_SUITE_IKE, 14, 0, "", "GCM with INTEG alone"},
	{"E12/256 I12 P5 D31 D19 D14", &strong, IKE_SUITE_IKE, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048",
		"the group that KE holds before our first (field case B12)"},
	{"E20/256 P5 D31; E12/256 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 2,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048",
		"KE's group over proposals"},
	{"E12/256 I12 P5 D31 D2", &strong, IKE_SUITE_IKE, 2, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 CURVE25519",
		"KE of a group we refuse: another is asked for"},
	{"E12/256 I12 P5 D2", &strong, IKE_SUITE_IKE, 2, 0, "", "only MODP_1024"},
	{"E12 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 0, "", "AES without a key length"},
	{"E12/300 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 0, "", "AES-300"},
	{"E12/256! E12/128 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 1,
		"AES_CBC-128 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048",
		"unknown attribute: that transform only"},
	{"E12/256 E999 I12 I77 P5 P88 D14 D1234", &strong, IKE_SUITE_IKE, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048",
		"unknown transforms are passed over"},
	{"E12/256 I12 P5 D14 X1; E12/128 I12 P5 D14", &strong, IKE_SUITE_IKE, 14, 2,
		"AES_CBC-128 HMAC_SHA2_256_128 HMAC_SHA2_256 MODP_2048",
		"unknown type: that proposal only"},
	{"E12/256 I12 D14", &strong, IKE_SUITE_IKE, 14, 0, "", "PRF is missing"},
	{"E12/256 I12 P5", &strong, IKE_SUITE_IKE, 14, 0, "", "DH is missing"},
	{"E12/256 P5 D14", &strong, IKE_SUITE_IKE, 14, 0, "", "INTEG is missing"},
	{"E12/256 I0 P5 D14", &strong, IKE_SUITE_IKE, 14, 0, "", "CBC with INTEG NONE"},
	{"E12/256 I12 P5 D0", &strong, IKE_SUITE_IKE, 14, 0, "", "DH NONE in IKE"},
	{"E3 I2 P2 D2", &legacy, IKE_SUITE_IKE, 2, 1, "3DES HMAC_SHA1_96 HMAC_SHA1 MODP_1024",
		"weak ones when the policy names them"},

	{"E12/256 I12 S0", &esp, IKE_SUITE_AUTH_CHILD, 0, 1, "AES_CBC-256 HMAC_SHA2_256_128 NO_ESN",
		"child"},
	{"E20/256 S0; E12/256 I12 S0", &esp, IKE_SUITE_AUTH_CHILD, 0, 2,
		"AES_CBC-256 HMAC_SHA2_256_128 NO_ESN", "child by our order"},
	{"E20/256 I0 S0 S1", &esp, IKE_SUITE_AUTH_CHILD, 0, 1, "AES_GCM_16-256 NO_ESN",
		"GCM with NONE in ESP"},
	{"E12/256 I12 D14 S0", &esp, IKE_SUITE_AUTH_CHILD, 0, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 NO_ESN",
		"DH in IKE_AUTH is ignored (field case B10)"},
	{"E12/256 I12 S0", &esp_pfs, IKE_SUITE_AUTH_CHILD, 0, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 NO_ESN", "PFS does not apply to IKE_AUTH"},
	{"E12/256 I12", &esp, IKE_SUITE_AUTH_CHILD, 0, 0, "", "ESN is mandatory"},
	{"E12/256 I12 S1", &esp, IKE_SUITE_AUTH_CHILD, 0, 0, "", "ESN alone, we want none"},
	{"E12/256 I12 S0 S1", &esp_esn, IKE_SUITE_AUTH_CHILD, 0, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 ESN", "ESN by our order"},
	{"E12/256 I12 D14 S0", &esp, IKE_SUITE_CHILD, 14, 0, "", "PFS not in the policy"},
	{"E12/256 I12 D14 D0 S0", &esp, IKE_SUITE_CHILD, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 NO_ESN", "PFS or NONE: NONE"},
	{"E12/256 I12 D14 D31 S0", &esp_pfs, IKE_SUITE_CHILD, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 MODP_2048 NO_ESN", "PFS with KE's group"},
	{"E12/256 I12 D31 S0", &esp_pfs, IKE_SUITE_CHILD, 14, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 CURVE25519 NO_ESN", "PFS with another group"},
	{"E12/256 I12 S0", &esp_pfs, IKE_SUITE_CHILD, 0, 0, "", "PFS demanded"},
	{"E12/256 I12 S0", &esp_pfs_or_none, IKE_SUITE_CHILD, 0, 1,
		"AES_CBC-256 HMAC_SHA2_256_128 NO_ESN", "PFS or none, none came"},
	{"E12/256 I12 P5 S0", &esp, IKE_SUITE_CHILD, 0, 0, "", "PRF in ESP"},
};

static void test_select(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t protocol = rows[i].use == IKE_SUITE_IKE ? IKE_PROTO_IKE : IKE_PROTO_ESP;
		struct ike_proposal ours = policy(rows[i].ours);
		struct ike_offer offer, answer;
		struct ike_suite suite, checked;
		char text[IKE_SUITE_STRLEN];
		int rc;

		offer_from_text(rows[i].offer, protocol, &offer);
		rc = ike_offer_select(&offer, &ours, 1, rows[i].use, rows[i].ke_group, &suite);
		if (rc != (rows[i].number ? 0 : -IKE_WIRE_E_PROPOSAL))
			fail_msg("%s: %s", rows[i].why, ike_wire_error_str(rc));
		if (rc < 0)
			continue;
		if (suite.proposal_number != rows[i].number ||
			strcmp(ike_suite_str(&suite, text), rows[i].suite) != 0)
			fail_msg("%s: %u %s", rows[i].why, suite.proposal_number, text);

		/* What we answer is what the initiator takes. */
		ike_suite_answer(&suite, protocol == IKE_PROTO_ESP ? 4 : 0, 0x1234, &answer);
		assert_int_equal(answer.n_proposals, 1);
		assert_int_equal(answer.proposals[0].number, rows[i].number);
		rc = ike_offer_check_answer(
			&offer, &answer, rows[i].use, ike_suite_group(&suite), &checked);
		if (rc < 0)
			fail_msg("%s: own answer refused", rows[i].why);
		assert_ptr_equal(checked.encr, suite.encr);
		assert_ptr_equal(ike_suite_integ(&checked), ike_suite_integ(&suite));
		assert_ptr_equal(checked.prf, suite.prf);
	}
}

/* Field case B08. */
static void test_windows(void **state)
{
	struct ike_message *m = calloc(1, sizeof(*m));
	struct ike_proposal ours = policy(&strong);
	uint8_t data[2048];
	struct ike_suite suite;
	struct ike_offer answer;

	(void)state;
	assert_int_equal(ike_message_decode(data, fixture_windows_init(data, sizeof(data)), m), 0);
	assert_int_equal(
		ike_offer_select(&m->offer, &ours, 1, IKE_SUITE_IKE, m->ke->ke.group, &suite),
		-IKE_WIRE_E_PROPOSAL);
	ours = policy(&legacy);
	assert_int_equal(
		ike_offer_select(&m->offer, &ours, 1, IKE_SUITE_IKE, m->ke->ke.group, &suite), 0);
	assert_int_equal(suite.proposal_number, 11);
	ike_suite_answer(&suite, 0, 0, &answer);
	assert_int_equal(answer.n_transforms, 4);
	ours = policy(&legacy_gcm);
	assert_int_equal(
		ike_offer_select(&m->offer, &ours, 1, IKE_SUITE_IKE, m->ke->ke.group, &suite), 0);
	assert_int_equal(suite.proposal_number, 18); /* GCM-256 with SHA2-384 */
	ike_suite_answer(&suite, 0, 0, &answer);
	assert_int_equal(answer.n_transforms, 3);
	free(m);
}

static void test_macos(void **state)
{
	struct ike_message *m = calloc(1, sizeof(*m));
	struct ike_proposal ours = policy(&strong);
	uint8_t data[2048];
	struct ike_suite suite;

	(void)state;
	assert_int_equal(ike_message_decode(data, fixture_macos_init(data, sizeof(data)), m), 0);
	assert_int_equal(
		ike_offer_select(&m->offer, &ours, 1, IKE_SUITE_IKE, m->ke->ke.group, &suite), 0);
	assert_int_equal(suite.proposal_number, 1);
	assert_int_equal(ike_suite_group(&suite), DH_ECP_256);
	free(m);
}

static void test_several_policy_proposals(void **state)
{
	const struct policy_text first = {
		"aes-256-gcm", "hmac-sha2-256", NULL, "curve25519 modp2048", NULL};
	struct ike_proposal ours[2] = {policy(&first), policy(&strong)};
	struct ike_offer offer;
	struct ike_suite suite;

	(void)state;
	offer_from_text("E12/256 I12 P5 D14; E20/256 P5 D14", IKE_PROTO_IKE, &offer);
	assert_int_equal(ike_offer_select(&offer, ours, 2, IKE_SUITE_IKE, 14, &suite), 0);
	assert_int_equal(suite.proposal_number, 2);
	offer_from_text("E12/256 I12 P5 D14", IKE_PROTO_IKE, &offer);
	assert_int_equal(ike_offer_select(&offer, ours, 2, IKE_SUITE_IKE, 14, &suite), 0);
	assert_int_equal(suite.proposal_number, 1);
}

static void test_reserved_spis_are_refused(void **state)
{
	struct ike_proposal ours = policy(&esp);
	struct ike_offer offer;
	struct ike_suite suite;

	(void)state;
	offer_from_text("E12/256 I12 S0", IKE_PROTO_ESP, &offer);
	memcpy(offer.proposals[0].spi, "\0\0\0\xff", 4);
	assert_int_equal(ike_offer_select(&offer, &ours, 1, IKE_SUITE_CHILD, 0, &suite),
		-IKE_WIRE_E_PROPOSAL);
	memcpy(offer.proposals[0].spi, "\0\0\1\0", 4);
	assert_int_equal(ike_offer_select(&offer, &ours, 1, IKE_SUITE_CHILD, 0, &suite), 0);
	assert_int_equal(suite.spi_len, 4);
	assert_memory_equal(suite.spi, "\0\0\1\0", 4);
}

static void test_build(void **state)
{
	struct ike_proposal ours[2] = {policy(&strong), policy(&legacy)};
	struct ike_offer offer, esp_offer;
	char text[IKE_OFFER_STRLEN];

	(void)state;
	assert_int_equal(ike_offer_build(ours, 2, IKE_SUITE_IKE, 8, 0xabcd, &offer), 0);
	assert_string_equal(ike_offer_str(&offer, text),
		"1 IKE: AES_GCM_16-256 HMAC_SHA2_256 CURVE25519/ECP_256/MODP_2048; "
		"2 IKE: AES_CBC-256/AES_CBC-128 HMAC_SHA2_256 HMAC_SHA2_256_128 "
		"CURVE25519/ECP_256/MODP_2048; "
		"3 IKE: AES_CBC-256/AES_CBC-128/3DES HMAC_SHA2_256/HMAC_SHA1 "
		"HMAC_SHA2_256_128/HMAC_SHA1_96 MODP_1024");
	assert_int_equal(ike_offer_spi(&offer.proposals[2]), 0xabcd);
	assert_int_equal(ike_offer_first_group(&offer), DH_CURVE25519);
	assert_true(ike_offer_has_group(&offer, DH_MODP_1024));
	assert_false(ike_offer_has_group(&offer, DH_ECP_384));
	assert_false(ike_offer_has_group(&offer, DH_NONE));

	/* Field case B10: no group in IKE_AUTH, whatever the policy says of PFS. */
	ours[0] = policy(&esp_pfs);
	ours[1] = policy(&esp);
	assert_int_equal(ike_offer_build(ours, 2, IKE_SUITE_AUTH_CHILD, 4, 0x100, &esp_offer), 0);
	assert_string_equal(ike_offer_str(&esp_offer, text),
		"1 ESP: AES_CBC-256 HMAC_SHA2_256_128 NO_ESN; "
		"2 ESP: AES_CBC-256 HMAC_SHA2_256_128 NO_ESN; 3 ESP: AES_GCM_16-256 NO_ESN");
	assert_int_equal(ike_offer_first_group(&esp_offer), DH_NONE);
	assert_int_equal(ike_offer_build(ours, 2, IKE_SUITE_CHILD, 4, 0x100, &esp_offer), 0);
	assert_int_equal(ike_offer_first_group(&esp_offer), DH_CURVE25519);
}

static void test_build_leaves_out_what_we_cannot(void **state)
{
	const struct policy_text known_only = {
		"des", "hmac-sha2-256", "hmac-sha2-256", "modp2048", NULL};
	struct ike_proposal ours = policy(&known_only);
	struct ike_offer offer;

	(void)state;
	assert_int_equal(
		ike_offer_build(&ours, 1, IKE_SUITE_IKE, 0, 0, &offer), -IKE_WIRE_E_PROPOSAL);
}

static const struct {
	const char *answer;
	uint8_t number;
	uint16_t ke_group;
	bool ok;
	const char *why;
} answers[] = {
	{"E12/256 I12 P5 D14", 2, 14, true, "what was offered"},
	{"E20/256 P5 D14", 1, 14, true, "AEAD"},
	{"E20/256 I0 P5 D14", 1, 14, true, "NONE for a type that was left out"},
	{"E12/256 I12 P5 D14", 1, 14, false, "transforms of another proposal"},
	{"E12/256 I12 P5 D14", 3, 14, false, "a number that was not offered"},
	{"E12/192 I12 P5 D14", 2, 14, false, "key length that was not offered"},
	{"E12/256 E12/128 I12 P5 D14", 2, 14, false, "two of one type"},
	{"E12/256 I12 P5 D31", 2, 14, false, "a group other than that of KE"},
	{"E12/256 I12 P5", 2, 14, false, "no group"},
	{"E12/256 I12 P5 D14; E12/256 I12 P5 D14", 2, 14, false, "two proposals"},
	{"E12/256 P5 D14", 2, 14, false, "INTEG left out"},
	{"E12/256 I12 D14", 2, 14, false, "PRF left out"},
	{"I12 P5 D14", 2, 14, false, "ENCR left out"},
	{"E12/256 I12 P5 D14 S0", 2, 14, false, "a type that was not offered"},
	{"E12/256! I12 P5 D14", 2, 14, false, "unknown attribute"},
};

static void test_check_answer(void **state)
{
	struct ike_proposal ours = policy(&strong);
	struct ike_offer sent, answer;

	(void)state;
	assert_int_equal(ike_offer_build(&ours, 1, IKE_SUITE_IKE, 0, 0, &sent), 0);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct ike_suite suite;
		int rc;

		offer_from_text(answers[i].answer, IKE_PROTO_IKE, &answer);
		answer.proposals[0].number = answers[i].number;
		rc = ike_offer_check_answer(
			&sent, &answer, IKE_SUITE_IKE, answers[i].ke_group, &suite);
		if ((rc == 0) != answers[i].ok)
			fail_msg("%s: %d", answers[i].why, rc);
	}
}

/* Any offer: the choice has one transform a type, each of them in the offer and in the policy. */
static void test_random_offers(void **state)
{
	static const char *const encr[] = {
		"E12/256", "E12/128", "E20/256", "E20/128", "E3", "E28", "E12", "E99"};
	static const char *const integ[] = {"I12", "I2", "I0", "I14"};
	static const char *const prf[] = {"P5", "P2", "P7"};
	static const char *const dh[] = {"D14", "D31", "D2", "D19"};
	struct seeded_random rng = {42};
	struct ike_proposal ours[2] = {policy(&strong), policy(&legacy)};
	unsigned int n_chosen = 0;

	(void)state;
	for (int round = 0; round < 5000; round++) {
		char text[1000] = "";
		size_t at = 0;
		struct ike_offer offer, answer;
		struct ike_suite suite, checked;
		uint32_t n = 1 + seeded_below(&rng, 4);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t parts = 3 + seeded_below(&rng, 6);

			for (uint32_t j = 0; j < parts; j++) {
				const char *t = j % 4 == 0   ? encr[seeded_below(&rng, 8)]
						: j % 4 == 1 ? integ[seeded_below(&rng, 4)]
						: j % 4 == 2 ? prf[seeded_below(&rng, 3)]
							     : dh[seeded_below(&rng, 4)];

				at += (size_t)snprintf(text + at, sizeof(text) - at, "%s ", t);
			}
			at += (size_t)snprintf(text + at, sizeof(text) - at, "; ");
		}
		offer_from_text(text, IKE_PROTO_IKE, &offer);
		if (ike_offer_select(&offer, ours, 2, IKE_SUITE_IKE, 14, &suite) < 0)
			continue;
		n_chosen++;
		ike_suite_answer(&suite, 0, 0, &answer);
		if (ike_offer_check_answer(
			    &offer, &answer, IKE_SUITE_IKE, ike_suite_group(&suite), &checked) < 0)
			fail_msg("%s", text);
		assert_true(!(suite.encr->flags & TRANSFORM_F_AEAD) ==
			    (ike_suite_integ(&suite) != NULL));
	}
	assert_true(n_chosen > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_macos),
		cmocka_unit_test(test_several_policy_proposals),
		cmocka_unit_test(test_reserved_spis_are_refused),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_build_leaves_out_what_we_cannot),
		cmocka_unit_test(test_check_answer),
		cmocka_unit_test(test_random_offers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
