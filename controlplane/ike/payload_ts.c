#include "controlplane/ike/payload_ts.h"

#include "controlplane/ike/wire_error.h"
#include "shared/wire/ike.h"

enum { TS_HEADER_LEN = 8 };

/* RFC 7296 3.13.1: start above end is only allowed as OPAQUE. */
static bool ports_are_valid(uint16_t lo, uint16_t hi)
{
	return lo <= hi || (lo == 65535 && hi == 0);
}

static bool selector_decode(struct reader *r, struct ike_ts_list *out)
{
	uint8_t type = read_u8(r);
	struct traffic_selector ts = {.proto = read_u8(r)};
	uint16_t len = read_u16(r);
	uint8_t family = type == IKE_TS_IPV4_RANGE ? 4 : type == IKE_TS_IPV6_RANGE ? 6 : 0;
	size_t address_len = addr_len(family);
	struct reader sub;

	if (r->failed || len < TS_HEADER_LEN)
		return false;
	sub = read_sub(r, len - 4u);
	if (family == 0) {
		out->has_unknown = true;
		return !r->failed;
	}
	ts.port_lo = read_u16(&sub);
	ts.port_hi = read_u16(&sub);
	ts.range.lo.family = ts.range.hi.family = family;
	read_copy(&sub, ts.range.lo.b, address_len);
	read_copy(&sub, ts.range.hi.b, address_len);
	if (r->failed || sub.failed || reader_left(&sub) != 0)
		return false;
	if (!ports_are_valid(ts.port_lo, ts.port_hi) ||
		addr_compare(&ts.range.lo, &ts.range.hi) > 0)
		return false;
	return ike_ts_list_add(out, &ts);
}

int ike_payload_ts_decode(struct bytes body, struct ike_ts_list *out)
{
	struct reader r = reader_init(body.data, body.len);
	uint8_t n = read_u8(&r);

	out->n = 0;
	out->has_unknown = false;
	read_bytes(&r, 3);
	if (r.failed || n == 0)
		return -IKE_WIRE_E_SYNTAX;
	for (uint8_t i = 0; i < n; i++)
		if (!selector_decode(&r, out))
			return -IKE_WIRE_E_SYNTAX;
	return reader_left(&r) == 0 ? 0 : -IKE_WIRE_E_SYNTAX;
}

void ike_payload_ts_write(struct writer *w, const struct ike_ts_list *list)
{
	write_u8(w, list->n);
	write_u8(w, 0);
	write_u16(w, 0);
	for (uint8_t i = 0; i < list->n; i++) {
		const struct traffic_selector *ts = &list->ts[i];
		size_t address_len = addr_len(ts->range.lo.family);

		if (address_len == 0) {
			w->failed = true;
			return;
		}
		write_u8(w, address_len == 4 ? IKE_TS_IPV4_RANGE : IKE_TS_IPV6_RANGE);
		write_u8(w, ts->proto);
		write_u16(w, (uint16_t)(TS_HEADER_LEN + 2 * address_len));
		write_u16(w, ts->port_lo);
		write_u16(w, ts->port_hi);
		write_bytes(w, ts->range.lo.b, address_len);
		write_bytes(w, ts->range.hi.b, address_len);
	}
}

bool ike_ts_list_add(struct ike_ts_list *list, const struct traffic_selector *ts)
{
	if (list->n >= IKE_TS_MAX)
		return false;
	list->ts[list->n++] = *ts;
	return true;
}
