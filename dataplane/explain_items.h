#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/addr.h"

/* What `penstockctl explain` prints about SAs, next hops and drops; debug_explain.c asks. */
struct espd;
struct nexthop;
struct sa_hot;

/* Lines "name   value" for people, or members of one JSON object. */
struct explain {
	struct espd *e;
	FILE *f;
	bool json, any;
	const char *prefix; /* of names: "" or "answer-" */
};

void explain_object_begin(struct explain *x);
void explain_object_end(struct explain *x);
void explain_item(struct explain *x, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void explain_number(struct explain *x, const char *name, uint64_t value);

const char *explain_owner(uint32_t owner, char buf[24]);
/* NULL: there is no route. */
void explain_next_hop(struct explain *x, const struct nexthop *nh);
void explain_sa(struct explain *x, const struct sa_hot *sa);
/* The newest drop that any worker remembers. */
void explain_last_drop(struct explain *x, const struct ip_addr *src, const struct ip_addr *dst);
void explain_last_drop_spi(struct explain *x, uint32_t spi);
