#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bounded reading and writing of bytes from and for the wire. A reader or writer that would
 * leave its buffer sets `failed`, moves no further, and yields zeros: code reads a whole
 * structure and asks once at its end. Numbers are big endian.
 */

struct bytes {
	const uint8_t *data; /* not owned */
	size_t len;
};

struct reader {
	const uint8_t *at, *end;
	bool failed;
};

struct writer {
	uint8_t *data; /* not owned */
	size_t len;    /* written so far */
	size_t cap;
	bool failed;
};

struct reader reader_init(const void *data, size_t len);
size_t reader_left(const struct reader *r);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
/* A view of the next len bytes; {NULL, 0} and `failed` if they are not there. */
struct bytes read_bytes(struct reader *r, size_t len);
/* Copies; zeros dst on failure. */
void read_copy(struct reader *r, void *dst, size_t len);
/* A reader of the next len bytes alone, so that nothing reads past its block. */
struct reader read_sub(struct reader *r, size_t len);

struct writer writer_init(void *data, size_t cap);
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u64(struct writer *w, uint64_t v);
void write_bytes(struct writer *w, const void *data, size_t len);
/* Room for len bytes to be filled later, or NULL. */
uint8_t *write_skip(struct writer *w, size_t len);
/* Sets the 16 bits at offset `at` (already written), for lengths known late. */
void write_u16_at(struct writer *w, size_t at, uint16_t v);
void write_u32_at(struct writer *w, size_t at, uint32_t v);

/* 2 * len hexadecimal digits of either case; false if one is none. */
bool bytes_from_hex(const char *digits, uint8_t *out, size_t len);
