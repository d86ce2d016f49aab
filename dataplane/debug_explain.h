#pragma once

#include <stdbool.h>

struct espd;

/*
 * `penstockctl explain`: what the packet path would do with a packet, by the very look-ups of
 * the packet path, and what happened to such packets last. words: "explain SRC[:PORT]
 * DST[:PORT] [PROTO]" or "explain SPI", and "--json". The text, from malloc; NULL: no memory.
 * *is_question is false when the words are none of these.
 */
char *debug_explain(struct espd *e, const char *words, bool *is_question);
