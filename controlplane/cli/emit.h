#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Objects for people or for programs. Text: a line an object, "name value" pairs two blanks
 * apart, empty strings left out. JSON: an array of objects.
 */
struct emit {
	FILE *out;
	bool json;
	bool in_object; /* a field was written */
	uint32_t n_objects;
};

void emit_begin(struct emit *e, FILE *out, bool json);
void emit_object(struct emit *e);
void emit_str(struct emit *e, const char *name, const char *value);
void emit_u64(struct emit *e, const char *name, uint64_t value);
void emit_hex(struct emit *e, const char *name, uint32_t value); /* 0x%08x; a string in JSON */
void emit_bool(struct emit *e, const char *name, bool value);
void emit_object_end(struct emit *e);
void emit_end(struct emit *e);
