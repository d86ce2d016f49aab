#include <string.h>

#include "controlplane/ike/message.h"

enum { HEADER_NEXT_AT = 16, HEADER_LENGTH_AT = 24 };

void ike_builder_init(struct ike_builder *b, void *buf, size_t cap, const struct ike_header *hdr)
{
	*b = (struct ike_builder){
		.w = writer_init(buf, cap < IKE_MESSAGE_MAX ? cap : IKE_MESSAGE_MAX)};
	b->has_header = true;
	b->next_at = HEADER_NEXT_AT;
	write_u64(&b->w, hdr->spi_i);
	write_u64(&b->w, hdr->spi_r);
	write_u8(&b->w, IKE_PAYLOAD_NONE);
	write_u8(&b->w, IKE_VERSION);
	write_u8(&b->w, hdr->exchange);
	write_u8(&b->w, hdr->flags);
	write_u32(&b->w, hdr->message_id);
	write_u32(&b->w, 0);
}

void ike_builder_init_inner(struct ike_builder *b, void *buf, size_t cap)
{
	*b = (struct ike_builder){
		.w = writer_init(buf, cap < IKE_MESSAGE_MAX ? cap : IKE_MESSAGE_MAX)};
	b->next_at = SIZE_MAX;
}

int ike_builder_finish(struct ike_builder *b, size_t *len)
{
	if (b->has_header)
		write_u32_at(&b->w, HEADER_LENGTH_AT, (uint32_t)b->w.len);
	*len = b->w.len;
	return b->w.failed ? -IKE_WIRE_E_SPACE : 0;
}

/* Begins a payload: links it to the one before; returns where its generic header is. */
static size_t payload_begin(struct ike_builder *b, uint8_t type)
{
	size_t start = b->w.len;

	if (b->first_payload == IKE_PAYLOAD_NONE)
		b->first_payload = type;
	if (b->next_at != SIZE_MAX && b->next_at < b->w.len)
		b->w.data[b->next_at] = type;
	b->next_at = start;
	write_u8(&b->w, IKE_PAYLOAD_NONE);
	write_u8(&b->w, 0);
	write_u16(&b->w, 0);
	return start;
}

static void payload_end(struct ike_builder *b, size_t start)
{
	write_u16_at(&b->w, start + 2, (uint16_t)(b->w.len - start));
}

void ike_put_raw(struct ike_builder *b, uint8_t type, const void *body, size_t len)
{
	size_t start = payload_begin(b, type);

	write_bytes(&b->w, body, len);
	payload_end(b, start);
}

void ike_put_sa(struct ike_builder *b, const struct ike_offer *offer)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_SA);

	ike_payload_sa_write(&b->w, offer);
	payload_end(b, start);
}

void ike_put_ke(struct ike_builder *b, uint16_t group, const void *value, size_t len)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_KE);

	write_u16(&b->w, group);
	write_u16(&b->w, 0);
	write_bytes(&b->w, value, len);
	payload_end(b, start);
}

/* A byte, three reserved ones and data: the form of ID, AUTH and CP. */
static void tagged_write(struct writer *w, uint8_t tag, const void *data, size_t len)
{
	write_u8(w, tag);
	write_u8(w, 0);
	write_u16(w, 0);
	write_bytes(w, data, len);
}

size_t ike_id_body(const struct ike_id *id, uint8_t *out, size_t cap)
{
	struct writer w = writer_init(out, cap);

	tagged_write(&w, id->type, id->data, id->len);
	return w.failed ? 0 : w.len;
}

void ike_put_id(struct ike_builder *b, uint8_t type, const struct ike_id *id)
{
	size_t start = payload_begin(b, type);

	tagged_write(&b->w, id->type, id->data, id->len);
	payload_end(b, start);
}

void ike_put_cert(
	struct ike_builder *b, uint8_t type, uint8_t encoding, const void *data, size_t len)
{
	size_t start = payload_begin(b, type);

	write_u8(&b->w, encoding);
	write_bytes(&b->w, data, len);
	payload_end(b, start);
}

void ike_put_auth(struct ike_builder *b, uint8_t method, const void *data, size_t len)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_AUTH);

	tagged_write(&b->w, method, data, len);
	payload_end(b, start);
}

void ike_put_nonce(struct ike_builder *b, const void *nonce, size_t len)
{
	ike_put_raw(b, IKE_PAYLOAD_NONCE, nonce, len);
}

void ike_put_notify(struct ike_builder *b, uint16_t type, const void *data, size_t len)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_NOTIFY);

	write_u8(&b->w, IKE_PROTO_NONE);
	write_u8(&b->w, 0);
	write_u16(&b->w, type);
	write_bytes(&b->w, data, len);
	payload_end(b, start);
}

void ike_put_notify_spi(struct ike_builder *b, uint16_t type, uint8_t protocol, uint32_t spi,
	const void *data, size_t len)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_NOTIFY);

	write_u8(&b->w, protocol);
	write_u8(&b->w, IKE_ESP_SPI_LEN);
	write_u16(&b->w, type);
	write_u32(&b->w, spi);
	write_bytes(&b->w, data, len);
	payload_end(b, start);
}

void ike_put_notify_u16(struct ike_builder *b, uint16_t type, uint16_t value)
{
	const uint8_t be[2] = {(uint8_t)(value >> 8), (uint8_t)value};

	ike_put_notify(b, type, be, sizeof(be));
}

void ike_put_notify_hashes(struct ike_builder *b, const uint16_t *hashes, size_t n)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_NOTIFY);

	write_u16(&b->w, 0);
	write_u16(&b->w, IKE_N_SIGNATURE_HASH_ALGORITHMS);
	for (size_t i = 0; i < n; i++)
		write_u16(&b->w, hashes[i]);
	payload_end(b, start);
}

void ike_put_delete_ike(struct ike_builder *b)
{
	static const uint8_t body[4] = {IKE_PROTO_IKE, 0, 0, 0};

	ike_put_raw(b, IKE_PAYLOAD_DELETE, body, sizeof(body));
}

void ike_put_delete_esp(struct ike_builder *b, const uint32_t *spis, size_t n)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_DELETE);

	write_u8(&b->w, IKE_PROTO_ESP);
	write_u8(&b->w, IKE_ESP_SPI_LEN);
	write_u16(&b->w, (uint16_t)n);
	for (size_t i = 0; i < n; i++)
		write_u32(&b->w, spis[i]);
	payload_end(b, start);
}

void ike_put_vendor(struct ike_builder *b, const void *data, size_t len)
{
	ike_put_raw(b, IKE_PAYLOAD_VENDOR, data, len);
}

void ike_put_ts(struct ike_builder *b, uint8_t type, const struct ike_ts_list *list)
{
	size_t start = payload_begin(b, type);

	ike_payload_ts_write(&b->w, list);
	payload_end(b, start);
}

void ike_put_cp(struct ike_builder *b, uint8_t cfg_type, const struct ike_cp_attr *attrs, size_t n)
{
	size_t start = payload_begin(b, IKE_PAYLOAD_CP);

	tagged_write(&b->w, cfg_type, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		write_u16(&b->w, attrs[i].type);
		write_u16(&b->w, (uint16_t)attrs[i].value.len);
		write_bytes(&b->w, attrs[i].value.data, attrs[i].value.len);
	}
	payload_end(b, start);
}

void ike_put_eap(struct ike_builder *b, const void *packet, size_t len)
{
	ike_put_raw(b, IKE_PAYLOAD_EAP, packet, len);
}
