#include "controlplane/ike/payload_decode.h"
#include "controlplane/ike/wire_error.h"

int ike_payload_notify_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);
	uint8_t spi_len;

	out->notify.protocol = read_u8(&r);
	spi_len = read_u8(&r);
	out->notify.type = read_u16(&r);
	out->notify.spi = read_bytes(&r, spi_len);
	out->notify.data = read_bytes(&r, reader_left(&r));
	return r.failed ? -IKE_WIRE_E_SYNTAX : 0;
}

/*
 * RFC 7296 3.11: no SPI for the IKE SA, four bytes each for ESP and AH. The count must be what
 * is there.
 */
int ike_payload_delete_decode(struct bytes body, struct ike_payload *out)
{
	struct reader r = reader_init(body.data, body.len);
	struct ike_delete *d = &out->del;
	bool is_child;

	d->protocol = read_u8(&r);
	d->spi_len = read_u8(&r);
	d->n_spis = read_u16(&r);
	d->spis = read_bytes(&r, reader_left(&r));
	if (r.failed || (size_t)d->spi_len * d->n_spis != d->spis.len)
		return -IKE_WIRE_E_SYNTAX;
	is_child = d->protocol == IKE_PROTO_ESP || d->protocol == IKE_PROTO_AH;
	if (is_child ? d->spi_len != IKE_ESP_SPI_LEN : d->spi_len != 0)
		return -IKE_WIRE_E_SYNTAX;
	return 0;
}

int ike_payload_vendor_decode(struct bytes body, struct ike_payload *out)
{
	out->vendor = body;
	return 0;
}

uint32_t ike_delete_spi(const struct ike_delete *d, uint16_t i)
{
	struct reader r = reader_init(d->spis.data, d->spis.len);

	read_bytes(&r, (size_t)i * d->spi_len);
	return read_u32(&r);
}

uint32_t ike_notify_spi(const struct ike_notify *n)
{
	struct reader r = reader_init(n->spi.data, n->spi.len);

	return n->spi.len == IKE_ESP_SPI_LEN ? read_u32(&r) : 0;
}
