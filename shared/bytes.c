#include "shared/bytes.h"

#include <string.h>

struct reader reader_init(const void *data, size_t len)
{
	return (struct reader){.at = data, .end = len ? (const uint8_t *)data + len : data};
}

size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->at);
}

struct bytes read_bytes(struct reader *r, size_t len)
{
	struct bytes b = {r->at, len};

	if (r->failed || (size_t)(r->end - r->at) < len) {
		r->failed = true;
		return (struct bytes){NULL, 0};
	}
	if (len > 0)
		r->at += len;
	return b;
}

static uint64_t read_be(struct reader *r, size_t len)
{
	struct bytes b = read_bytes(r, len);
	uint64_t v = 0;

	for (size_t i = 0; i < b.len; i++)
		v = v << 8 | b.data[i];
	return v;
}

uint8_t read_u8(struct reader *r)
{
	return (uint8_t)read_be(r, 1);
}

uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_be(r, 2);
}

uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_be(r, 4);
}

uint64_t read_u64(struct reader *r)
{
	return read_be(r, 8);
}

void read_copy(struct reader *r, void *dst, size_t len)
{
	struct bytes b = read_bytes(r, len);

	if (b.data && len > 0)
		memcpy(dst, b.data, len);
	else if (len > 0)
		memset(dst, 0, len);
}

struct reader read_sub(struct reader *r, size_t len)
{
	struct bytes b = read_bytes(r, len);
	struct reader sub = reader_init(b.data, b.len);

	sub.failed = r->failed;
	return sub;
}

struct writer writer_init(void *data, size_t cap)
{
	return (struct writer){.data = data, .cap = cap};
}

uint8_t *write_skip(struct writer *w, size_t len)
{
	uint8_t *at;

	if (w->failed || w->cap - w->len < len) {
		w->failed = true;
		return NULL;
	}
	at = w->data + w->len;
	w->len += len;
	return at;
}

static void store_be(uint8_t *at, uint64_t v, size_t len)
{
	for (size_t i = len; at && i-- > 0; v >>= 8)
		at[i] = (uint8_t)v;
}

void write_u8(struct writer *w, uint8_t v)
{
	store_be(write_skip(w, 1), v, 1);
}

void write_u16(struct writer *w, uint16_t v)
{
	store_be(write_skip(w, 2), v, 2);
}

void write_u32(struct writer *w, uint32_t v)
{
	store_be(write_skip(w, 4), v, 4);
}

void write_u64(struct writer *w, uint64_t v)
{
	store_be(write_skip(w, 8), v, 8);
}

void write_bytes(struct writer *w, const void *data, size_t len)
{
	uint8_t *at = write_skip(w, len);

	if (at && len > 0)
		memcpy(at, data, len);
}

void write_u16_at(struct writer *w, size_t at, uint16_t v)
{
	if (at + 2 > w->len)
		w->failed = true;
	else
		store_be(w->data + at, v, 2);
}

void write_u32_at(struct writer *w, size_t at, uint32_t v)
{
	if (at + 4 > w->len)
		w->failed = true;
	else
		store_be(w->data + at, v, 4);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool bytes_from_hex(const char *digits, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int hi = hex_digit(digits[2 * i]), lo = hi < 0 ? -1 : hex_digit(digits[2 * i + 1]);

		if (lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}
