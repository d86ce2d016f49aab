#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/fragment.h"
#include "controlplane/ike/message_rules.h"

/*
 * Decodes a datagram as it comes, then once more as the inside of SK; whatever decodes is
 * checked, printed, and its SK opened with a key that cannot fit.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(struct ike_message *m)
{
	char text[IKE_MESSAGE_STRLEN], offer[IKE_OFFER_STRLEN];
	const struct ike_payload *p = NULL;
	struct ike_id id;
	const char *why;

	if (ike_message_check(m, &why) == 0 && why)
		abort();
	ike_message_str(m, text);
	ike_offer_str(&m->offer, offer);
	if (m->idi && ike_id_from_payload(&m->idi->id, &id) == 0) {
		char name[IKE_ID_STRLEN];

		ike_id_str(&id, name);
	}
	while ((p = ike_message_next(m, p, IKE_PAYLOAD_DELETE)))
		for (uint16_t i = 0; i < p->del.n_spis; i++)
			(void)ike_delete_spi(&p->del, i);
}

static void open_sk(struct ike_message *m)
{
	static uint8_t plain[IKE_MESSAGE_MAX];
	const struct ike_suite suite = {
		.encr = transform_find(TRANSFORM_ENCR, ENCR_AES_CBC, 16),
		.integ = transform_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128, 0),
	};
	const struct ike_sa_keys keys = {.sk_ai = {1}};
	struct ike_reassembly *r = NULL;
	struct ike_cipher c;
	size_t len;

	ike_cipher_init(&c, &suite, &keys, true);
	if (ike_sk_open(&c, m, plain, sizeof(plain), &len) == 0)
		abort();
	if (m->sk->type == IKE_PAYLOAD_SKF) {
		len = m->sk->sk.body.len;
		(void)!ike_reassembly_add(&r, 1, &m->sk->sk, m->sk->sk.body.data, len);
		ike_reassembly_destroy(&r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ike_message m;
	uint8_t shell[IKE_HEADER_LEN] = {0};

	if (ike_message_decode(data, size, &m) == 0) {
		look_at(&m);
		if (m.sk)
			open_sk(&m);
	}
	shell[17] = IKE_VERSION;
	shell[18] = IKE_EXCHANGE_AUTH;
	shell[27] = IKE_HEADER_LEN;
	if (size == 0 || ike_message_decode(shell, sizeof(shell), &m) < 0)
		return 0;
	if (ike_message_decode_inner(&m, data[0], data + 1, size - 1) == 0)
		look_at(&m);
	return 0;
}
