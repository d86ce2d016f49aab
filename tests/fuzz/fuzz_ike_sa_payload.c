#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/proposal.h"

/*
 * An SA payload: decoded, written, decoded again (the same), chosen from; the answer must be
 * acceptable against the offer.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void list_all(struct ike_transform_list *list, enum transform_type type)
{
	const struct transform *t;

	for (size_t i = 0; (t = transform_at(i)); i++)
		if (t->type == type && list->n < IKE_TRANSFORMS_MAX &&
			!(t->flags & TRANSFORM_F_KNOWN_ONLY))
			list->t[list->n++] = t;
}

static void choose(const struct ike_offer *offer, enum ike_suite_use use)
{
	struct ike_proposal ours = {0};
	struct ike_suite suite, checked;
	struct ike_offer answer;
	char text[IKE_SUITE_STRLEN];

	list_all(&ours.encr, TRANSFORM_ENCR);
	list_all(&ours.prf, TRANSFORM_PRF);
	list_all(&ours.integ, TRANSFORM_INTEG);
	list_all(&ours.dh, TRANSFORM_DH);
	list_all(&ours.esn, TRANSFORM_ESN);
	if (ike_offer_select(offer, &ours, 1, use, DH_MODP_2048, &suite) < 0)
		return;
	ike_suite_str(&suite, text);
	ike_suite_answer(&suite, suite.spi_len, 0x12345678, &answer);
	/* Two proposals of one number: the answer may be taken for the other one. */
	for (uint16_t i = 0; i < offer->n_proposals; i++)
		for (uint16_t j = 0; j < i; j++)
			if (offer->proposals[i].number == offer->proposals[j].number)
				return;
	if (ike_offer_check_answer(offer, &answer, use, ike_suite_group(&suite), &checked) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ike_offer offer, again;
	static uint8_t out[65536];
	struct writer w = writer_init(out, sizeof(out));
	char text[IKE_OFFER_STRLEN];

	if (ike_payload_sa_decode((struct bytes){data, size}, &offer) < 0)
		return 0;
	if (strlen(ike_offer_str(&offer, text)) >= IKE_OFFER_STRLEN)
		abort();
	if (offer.n_proposals == 0)
		return 0;
	ike_payload_sa_write(&w, &offer);
	if (w.failed || ike_payload_sa_decode((struct bytes){out, w.len}, &again) < 0 ||
		again.n_proposals != offer.n_proposals || again.n_transforms != offer.n_transforms)
		abort();
	choose(&offer, IKE_SUITE_IKE);
	choose(&offer, IKE_SUITE_CHILD);
	choose(&offer, IKE_SUITE_AUTH_CHILD);
	return 0;
}
