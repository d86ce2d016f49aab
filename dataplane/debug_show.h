#pragma once

struct espd;

/* The text for `penstockctl show WORDS`, from malloc; NULL: no such list. "--json" among the
 * words gives JSON. */
char *debug_show(struct espd *e, const char *words);
