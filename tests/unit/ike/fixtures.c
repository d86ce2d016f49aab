#include "tests/unit/ike/fixtures.h"

#include <string.h>

#include "shared/bytes.h"

/* A byte-level writer of its own: nothing here goes through builder.c. */
struct chain {
	struct writer w;
	size_t next_at;
};

static struct chain header_begin(uint8_t *out, size_t cap)
{
	struct chain c = {writer_init(out, cap), 16};

	write_u64(&c.w, 0x1122334455667788u);
	write_u64(&c.w, 0);
	write_u8(&c.w, 0);
	write_u8(&c.w, 0x20);
	write_u8(&c.w, 34);
	write_u8(&c.w, 0x08);
	write_u32(&c.w, 0);
	write_u32(&c.w, 0);
	return c;
}

static size_t header_end(struct chain *c)
{
	write_u32_at(&c->w, 24, (uint32_t)c->w.len);
	return c->w.failed ? 0 : c->w.len;
}

static void payload(struct chain *c, uint8_t type, const void *body, size_t len)
{
	size_t start = c->w.len;

	c->w.data[c->next_at] = type;
	c->next_at = start;
	write_u8(&c->w, 0);
	write_u8(&c->w, 0);
	write_u16(&c->w, (uint16_t)(len + 4));
	write_bytes(&c->w, body, len);
}

static void filled(struct chain *c, uint8_t type, const void *head, size_t head_len, size_t fill)
{
	uint8_t body[600];

	memcpy(body, head, head_len);
	memset(body + head_len, 0x5a, fill);
	payload(c, type, body, head_len + fill);
}

static void notify(struct chain *c, uint16_t type, size_t data_len)
{
	const uint8_t head[4] = {0, 0, (uint8_t)(type >> 8), (uint8_t)type};

	filled(c, 41, head, sizeof(head), data_len);
}

struct suite {
	uint8_t encr;
	uint16_t bits;      /* 0: no Key Length */
	uint8_t prf, integ; /* integ 0: none */
	uint8_t dh;
	uint8_t esn; /* ESP only */
};

static void transform(struct writer *w, uint8_t type, uint8_t id, uint16_t bits, int is_last)
{
	write_u8(w, is_last ? 0 : 3);
	write_u8(w, 0);
	write_u16(w, bits ? 12 : 8);
	write_u8(w, type);
	write_u8(w, 0);
	write_u16(w, id);
	if (bits) {
		write_u16(w, 0x800e);
		write_u16(w, bits);
	}
}

static size_t proposals(const struct suite *s, size_t n, uint8_t protocol, uint8_t *out, size_t cap)
{
	struct writer w = writer_init(out, cap);

	for (size_t i = 0; i < n; i++) {
		int is_esp = protocol == 3;
		size_t start = w.len, n_at;
		uint8_t n_transforms = 1;

		write_u8(&w, i + 1 == n ? 0 : 2);
		write_u8(&w, 0);
		write_u16(&w, 0);
		write_u8(&w, (uint8_t)(i + 1));
		write_u8(&w, protocol);
		write_u8(&w, is_esp ? 4 : 0);
		n_at = w.len;
		write_u8(&w, 0);
		if (is_esp)
			write_u32(&w, 0xc0ffee01);
		transform(&w, 1, s[i].encr, s[i].bits, 0);
		if (s[i].integ) {
			transform(&w, 3, s[i].integ, 0, 0);
			n_transforms++;
		}
		if (s[i].prf) {
			transform(&w, 2, s[i].prf, 0, 0);
			n_transforms++;
		}
		transform(&w, is_esp ? 5 : 4, is_esp ? s[i].esn : s[i].dh, 0, 1);
		n_transforms++;
		out[n_at] = n_transforms;
		write_u16_at(&w, start + 2, (uint16_t)(w.len - start));
	}
	return w.failed ? 0 : w.len;
}

/* Windows 10 and 11 without registry changes: the weakest first, one group. */
size_t fixture_windows_init(uint8_t *out, size_t cap)
{
	static const struct {
		uint8_t encr;
		uint16_t bits;
	} ciphers[] = {{3, 0}, {12, 128}, {12, 192}, {12, 256}};
	static const struct {
		uint8_t prf, integ;
	} hashes[] = {{2, 2}, {5, 12}, {6, 13}};
	struct suite s[18];
	uint8_t body[1200];
	size_t n = 0;
	struct chain c = header_begin(out, cap);

	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 3; j++)
			s[n++] = (struct suite){ciphers[i].encr, ciphers[i].bits, hashes[j].prf,
				hashes[j].integ, 2, 0};
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < 3; j++)
			s[n++] = (struct suite){20, i ? 256 : 128, hashes[j].prf, 0, 2, 0};
	payload(&c, 33, body, proposals(s, n, 1, body, sizeof(body)));
	filled(&c, 34, (const uint8_t[]){0, 2, 0, 0}, 4, 128);
	filled(&c, 40, "", 0, 48);
	notify(&c, 16388, 20);
	notify(&c, 16389, 20);
	filled(&c, 43, "", 0, 24);
	filled(&c, 43, "", 0, 16);
	filled(&c, 43, "", 0, 16);
	filled(&c, 43, "", 0, 20);
	return header_end(&c);
}

size_t fixture_macos_init(uint8_t *out, size_t cap)
{
	static const struct suite s[] = {{20, 256, 5, 0, 19, 0}, {20, 256, 5, 0, 14, 0},
		{12, 256, 5, 12, 19, 0}, {12, 256, 5, 12, 14, 0}};
	uint8_t body[400];
	struct chain c = header_begin(out, cap);

	payload(&c, 33, body, proposals(s, 4, 1, body, sizeof(body)));
	filled(&c, 34, (const uint8_t[]){0, 19, 0, 0}, 4, 64);
	filled(&c, 40, "", 0, 16);
	notify(&c, 16406, 0);
	notify(&c, 16388, 20);
	notify(&c, 16389, 20);
	notify(&c, 16430, 0);
	return header_end(&c);
}

size_t fixture_android_init(uint8_t *out, size_t cap)
{
	static const uint8_t hashes[] = {0, 0, 0x40, 0x2f, 0, 2, 0, 3, 0, 4, 0, 5};
	static const struct suite s[] = {{20, 256, 5, 0, 31, 0}, {12, 128, 5, 12, 19, 0}};
	uint8_t body[400];
	struct chain c = header_begin(out, cap);

	payload(&c, 33, body, proposals(s, 2, 1, body, sizeof(body)));
	filled(&c, 34, (const uint8_t[]){0, 31, 0, 0}, 4, 32);
	filled(&c, 40, "", 0, 32);
	notify(&c, 16388, 20);
	notify(&c, 16389, 20);
	notify(&c, 16430, 0);
	payload(&c, 41, hashes, sizeof(hashes));
	notify(&c, 16406, 0);
	return header_end(&c);
}

/* CP asks for INTERNAL_DNS_DOMAIN (25), which servers often don't know. */
size_t fixture_ios_auth(uint8_t *out, size_t cap)
{
	static const uint8_t attrs[] = {1, 2, 6, 3, 8, 12, 10, 25};
	static const struct suite s[] = {{12, 256, 0, 12, 0, 0}, {20, 256, 0, 0, 0, 0}};
	static const uint8_t ts[] = {2, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255,
		255, 255, 8, 0, 0, 40, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
	uint8_t body[400] = {1};
	struct chain c = {writer_init(out, cap), 0};
	size_t n = 4;

	/* No header: the decoder is told that the first payload is IDi. */
	filled(&c, 35, (const uint8_t[]){2, 0, 0, 0}, 4, 11);
	notify(&c, 16384, 0);
	filled(&c, 36, (const uint8_t[]){2, 0, 0, 0}, 4, 14);
	for (size_t i = 0; i < sizeof(attrs); i++) {
		memcpy(body + n, (const uint8_t[]){0, attrs[i], 0, 0}, 4);
		n += 4;
	}
	payload(&c, 47, body, n);
	notify(&c, 16394, 0);
	notify(&c, 16395, 0);
	payload(&c, 33, body, proposals(s, 2, 3, body, sizeof(body)));
	payload(&c, 44, ts, sizeof(ts));
	payload(&c, 45, ts, sizeof(ts));
	notify(&c, 16396, 0);
	return c.w.failed ? 0 : c.w.len;
}
