#include "controlplane/ike/payload_sa.h"

#include <stdio.h>
#include <string.h>

#include "controlplane/ike/wire_error.h"
#include "shared/transform.h"
#include "shared/wire/ike.h"

/*
 * RFC 7296 3.3: SA payload = proposals; proposal = header, SPI, transforms; transform = header,
 * attributes. Each level has a length and gets a reader of its own.
 */
enum {
	SUBSTRUC_LAST = 0,
	SUBSTRUC_MORE_PROPOSALS = 2,
	SUBSTRUC_MORE_TRANSFORMS = 3,
	PROPOSAL_HEADER_LEN = 8,
	TRANSFORM_HEADER_LEN = 8,
	ATTR_FORMAT_TV = 0x8000,
	ATTR_KEY_LENGTH = 14,
};

/* RFC 7296 3.3.5 and 3.3.6: an attribute that is not a Key Length in the short form, or a second
 * one, makes the transform unacceptable; it does not make the message malformed. */
static bool attributes_decode(struct reader *r, struct ike_offer_transform *t)
{
	while (reader_left(r) > 0) {
		uint16_t type = read_u16(r), value = read_u16(r);

		if (r->failed)
			return false;
		if (type == (ATTR_FORMAT_TV | ATTR_KEY_LENGTH) && !t->has_key_len) {
			t->has_key_len = true;
			t->key_len_bits = value;
			continue;
		}
		t->has_unknown_attr = true;
		if (!(type & ATTR_FORMAT_TV))
			read_bytes(r, value);
	}
	return !r->failed;
}

static bool transform_decode(struct reader *r, bool is_last, struct ike_offer_transform *t)
{
	uint8_t more = read_u8(r);
	uint16_t len;
	struct reader sub;

	read_u8(r);
	len = read_u16(r);
	if (r->failed || len < TRANSFORM_HEADER_LEN ||
		more != (is_last ? SUBSTRUC_LAST : SUBSTRUC_MORE_TRANSFORMS))
		return false;
	sub = read_sub(r, len - 4u);
	*t = (struct ike_offer_transform){.type = read_u8(&sub)};
	read_u8(&sub);
	t->id = read_u16(&sub);
	return attributes_decode(&sub, t) && !r->failed;
}

/* What our own code can hold; the rest is passed over. */
static bool proposal_is_kept(
	const struct ike_offer *o, const struct ike_offer_proposal *p, uint8_t n_transforms)
{
	if (o->n_proposals >= IKE_OFFER_PROPOSALS_MAX ||
		o->n_transforms + n_transforms > IKE_OFFER_TRANSFORMS_MAX)
		return false;
	switch (p->protocol) {
	case IKE_PROTO_IKE:
		return p->spi_len == 0 || p->spi_len == IKE_SPI_LEN;
	case IKE_PROTO_AH:
	case IKE_PROTO_ESP:
		return p->spi_len == IKE_ESP_SPI_LEN;
	default:
		return false;
	}
}

static bool proposal_decode(struct reader *r, struct ike_offer *o)
{
	struct ike_offer_proposal p = {.number = read_u8(r), .protocol = read_u8(r)};
	uint8_t n;
	struct bytes spi;
	bool is_kept;

	p.spi_len = read_u8(r);
	n = read_u8(r);
	spi = read_bytes(r, p.spi_len);
	if (r->failed)
		return false;
	is_kept = proposal_is_kept(o, &p, n);
	p.first = o->n_transforms;
	p.n = n;
	for (unsigned int i = 0; i < n; i++) {
		struct ike_offer_transform t;

		if (!transform_decode(r, i + 1u == n, &t))
			return false;
		if (is_kept)
			o->transforms[o->n_transforms++] = t;
	}
	if (reader_left(r) != 0)
		return false;
	if (!is_kept) {
		o->n_skipped++;
		return true;
	}
	if (p.spi_len > 0)
		memcpy(p.spi, spi.data, p.spi_len);
	o->proposals[o->n_proposals++] = p;
	return true;
}

int ike_payload_sa_decode(struct bytes body, struct ike_offer *out)
{
	struct reader r = reader_init(body.data, body.len);
	uint8_t more;

	out->n_proposals = out->n_transforms = out->n_skipped = 0;
	/* RFC 7296 3.3 wants one proposal at least. Peers that find none to send (OpenIKED on Linux
	 * with an AEAD childsa) send none: nothing to choose from, which is not a malformed
	 * message that would cost the whole IKE SA (RFC 7296 2.21.2). */
	if (body.len == 0)
		return 0;
	do {
		struct reader sub;
		uint16_t len;

		more = read_u8(&r);
		read_u8(&r);
		len = read_u16(&r);
		if (r.failed || len < PROPOSAL_HEADER_LEN ||
			(more != SUBSTRUC_LAST && more != SUBSTRUC_MORE_PROPOSALS))
			return -IKE_WIRE_E_SYNTAX;
		sub = read_sub(&r, len - 4u);
		if (sub.failed || !proposal_decode(&sub, out))
			return -IKE_WIRE_E_SYNTAX;
	} while (more == SUBSTRUC_MORE_PROPOSALS);
	return reader_left(&r) == 0 ? 0 : -IKE_WIRE_E_SYNTAX;
}

static void transform_write(struct writer *w, const struct ike_offer_transform *t, bool is_last)
{
	write_u8(w, is_last ? SUBSTRUC_LAST : SUBSTRUC_MORE_TRANSFORMS);
	write_u8(w, 0);
	write_u16(w, t->has_key_len ? TRANSFORM_HEADER_LEN + 4 : TRANSFORM_HEADER_LEN);
	write_u8(w, t->type);
	write_u8(w, 0);
	write_u16(w, t->id);
	if (t->has_key_len) {
		write_u16(w, ATTR_FORMAT_TV | ATTR_KEY_LENGTH);
		write_u16(w, t->key_len_bits);
	}
}

void ike_payload_sa_write(struct writer *w, const struct ike_offer *offer)
{
	for (uint16_t i = 0; i < offer->n_proposals; i++) {
		const struct ike_offer_proposal *p = &offer->proposals[i];
		size_t start = w->len;

		if (p->n > UINT8_MAX) {
			w->failed = true;
			return;
		}
		write_u8(w, i + 1 == offer->n_proposals ? SUBSTRUC_LAST : SUBSTRUC_MORE_PROPOSALS);
		write_u8(w, 0);
		write_u16(w, 0);
		write_u8(w, p->number);
		write_u8(w, p->protocol);
		write_u8(w, p->spi_len);
		write_u8(w, (uint8_t)p->n);
		write_bytes(w, p->spi, p->spi_len);
		for (uint16_t j = 0; j < p->n; j++)
			transform_write(w, &offer->transforms[p->first + j], j + 1 == p->n);
		write_u16_at(w, start + 2, (uint16_t)(w->len - start));
	}
}

uint64_t ike_offer_spi(const struct ike_offer_proposal *p)
{
	uint64_t v = 0;

	for (uint8_t i = 0; i < p->spi_len && i < sizeof(p->spi); i++)
		v = v << 8 | p->spi[i];
	return v;
}

static const char *type_str(uint8_t type)
{
	static const char *const names[] = {"TYPE", "ENCR", "PRF", "INTEG", "DH", "ESN"};

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : names[0];
}

static void transform_str(const struct ike_offer_transform *t, char *out, size_t cap)
{
	const struct transform *row = transform_find(
		(enum transform_type)t->type, t->id, t->key_len_bits / 8u);

	if (row && t->has_key_len == !!(row->flags & TRANSFORM_F_KEYLEN_ATTR))
		snprintf(out, cap, "%s", row->iana_name);
	else if (t->has_key_len)
		snprintf(out, cap, "%s#%u-%u", type_str(t->type), t->id, t->key_len_bits);
	else
		snprintf(out, cap, "%s#%u", type_str(t->type), t->id);
}

/* Appends; false when the text is full, which then ends in "...". */
static bool text_add(char *buf, size_t *at, const char *text)
{
	size_t len = strlen(text);

	if (*at + len + 4 > IKE_OFFER_STRLEN) {
		memcpy(buf + *at, "...", 4);
		return false;
	}
	memcpy(buf + *at, text, len + 1);
	*at += len;
	return true;
}

const char *ike_offer_str(const struct ike_offer *offer, char buf[IKE_OFFER_STRLEN])
{
	char part[64];
	size_t at = 0;

	buf[0] = '\0';
	for (uint16_t i = 0; i < offer->n_proposals; i++) {
		const struct ike_offer_proposal *p = &offer->proposals[i];
		uint8_t previous = 0;

		snprintf(part, sizeof(part), "%s%u %s:", i ? "; " : "", p->number,
			ike_protocol_str(p->protocol));
		if (!text_add(buf, &at, part))
			return buf;
		for (uint16_t j = 0; j < p->n; j++) {
			const struct ike_offer_transform *t = &offer->transforms[p->first + j];

			part[0] = t->type == previous ? '/' : ' ';
			transform_str(t, part + 1, sizeof(part) - 1);
			previous = t->type;
			if (!text_add(buf, &at, part))
				return buf;
		}
	}
	return buf;
}
