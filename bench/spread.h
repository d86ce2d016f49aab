#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * Many short slices, and of these the tenth, the middle and the ninetieth of a hundred: a slice
 * that another process interrupted is then one of many.
 */
struct samples {
	double *v;
	size_t n, cap;
};

struct spread_of {
	double p10, median, p90;
};

static inline void samples_add(struct samples *s, double v)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		double *grown = realloc(s->v, cap * sizeof(*grown));

		if (grown == NULL)
			abort();
		s->v = grown;
		s->cap = cap;
	}
	s->v[s->n++] = v;
}

static inline int samples_compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline double samples_at(struct samples *s, double part)
{
	size_t i = (size_t)((double)s->n * part);

	return s->v[i < s->n ? i : s->n - 1];
}

/* Sorts, empties. */
static inline struct spread_of samples_spread(struct samples *s)
{
	struct spread_of out = {0};

	if (s->n == 0)
		return out;
	qsort(s->v, s->n, sizeof(*s->v), samples_compare);
	out.p10 = samples_at(s, 0.1);
	out.median = samples_at(s, 0.5);
	out.p90 = samples_at(s, 0.9);
	s->n = 0;
	return out;
}
