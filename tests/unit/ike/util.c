#include "tests/unit/ike/util.h"

size_t hex_read(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = 0;

	while (*hex) {
		char digits[3] = {0};

		if (*hex == ' ' || *hex == '\n') {
			hex++;
			continue;
		}
		digits[0] = hex[0];
		digits[1] = hex[1];
		assert_true(digits[1] != '\0' && n < cap);
		out[n++] = (uint8_t)strtoul(digits, NULL, 16);
		hex += 2;
	}
	return n;
}

void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
	uint8_t want[2048];

	assert_int_equal(hex_read(hex, want, sizeof(want)), len);
	assert_memory_equal(data, want, len);
}

int fixed_random_next(void *ctx, uint8_t *out, size_t len)
{
	struct fixed_random *r = ctx;

	if (r->len - r->at < len)
		return -1;
	memcpy(out, r->data + r->at, len);
	r->at += len;
	return 0;
}

static uint64_t splitmix(struct seeded_random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int seeded_random_next(void *ctx, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)splitmix(ctx);
	return 0;
}

uint32_t seeded_below(struct seeded_random *r, uint32_t n)
{
	return (uint32_t)(splitmix(r) % n);
}

void list_add(struct ike_transform_list *list, enum transform_type type, const char *name)
{
	const struct transform *t = transform_by_name(type, name);

	assert_non_null(t);
	list->t[list->n++] = t;
}

void message_rewrite(struct ike_builder *b, const struct ike_message *m)
{
	for (uint8_t i = 0; i < m->n_payloads; i++) {
		const struct ike_payload *p = &m->payloads[i];

		if (p == m->sa)
			ike_put_sa(b, &m->offer);
		else if (p == m->ke)
			ike_put_ke(b, p->ke.group, p->ke.value.data, p->ke.value.len);
		else if (p == m->tsi)
			ike_put_ts(b, p->type, &m->tsi_list);
		else if (p == m->tsr)
			ike_put_ts(b, p->type, &m->tsr_list);
		else if (p == m->auth)
			ike_put_auth(b, p->auth.method, p->auth.data.data, p->auth.data.len);
		else if (p->type == IKE_PAYLOAD_CERT || p->type == IKE_PAYLOAD_CERTREQ)
			ike_put_cert(
				b, p->type, p->cert.encoding, p->cert.data.data, p->cert.data.len);
		else if (p->type == IKE_PAYLOAD_NOTIFY && p->notify.protocol == 0)
			ike_put_notify(b, p->notify.type, p->notify.data.data, p->notify.data.len);
		else if (p->type == IKE_PAYLOAD_NOTIFY)
			ike_put_notify_spi(b, p->notify.type, p->notify.protocol,
				ike_notify_spi(&p->notify), p->notify.data.data,
				p->notify.data.len);
		else
			ike_put_raw(b, p->type, p->body.data, p->body.len);
	}
}
