#include <stdlib.h>
#include <string.h>

#include "controlplane/cli/ipsecctl.h"

/* A listed line cut at its two addresses: "flow esp in from " SRC " to " DST " peer ...". */
struct cut_line {
	char *text;
	char *before, *src, *middle, *dst, *after;
};

static int cut(const struct ipc_flow *flow, struct cut_line *out)
{
	size_t len = 0;
	FILE *text = open_memstream(&out->text, &len);
	char *from, *to;

	if (!text)
		return -1;
	ipsecctl_print_flow(flow, text);
	fclose(text);
	out->text[strcspn(out->text, "\n")] = '\0';
	from = strstr(out->text, " from ");
	to = from ? strstr(from + 6, " to ") : NULL;
	if (!to)
		return -1;
	out->before = out->text;
	*from = '\0';
	out->src = from + 6;
	*to = '\0';
	out->dst = to + 4;
	out->middle = strchr(out->src, ' ');
	if (out->middle)
		*out->middle++ = '\0';
	out->after = strchr(out->dst, ' ');
	if (out->after)
		*out->after++ = '\0';
	return 0;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_but_addresses(const struct cut_line *a, const struct cut_line *b)
{
	return same(a->before, b->before) && same(a->middle, b->middle) && same(a->after, b->after);
}

static void print_set(const struct cut_line *lines, size_t first, size_t end, bool dst, FILE *out)
{
	fprintf(out, "{ ");
	for (size_t i = first; i < end; i++) {
		const char *text = dst ? lines[i].dst : lines[i].src;

		if (i > first && same(text, dst ? lines[i - 1].dst : lines[i - 1].src))
			continue;
		fprintf(out, "%s%s", i > first ? ", " : "", text);
	}
	fprintf(out, " }");
}

/* The first line behind `first` that cannot join it: lines join if only one side differs. */
static size_t group_end(const struct cut_line *lines, size_t first, size_t n)
{
	size_t end = first + 1;
	bool src_differs = false, dst_differs = false;

	for (; end < n && same_but_addresses(&lines[first], &lines[end]); end++) {
		bool src = src_differs || !same(lines[first].src, lines[end].src);
		bool dst = dst_differs || !same(lines[first].dst, lines[end].dst);

		if (src && dst)
			break;
		src_differs = src;
		dst_differs = dst;
	}
	return end;
}

int ipsecctl_print_collapsed(const struct ipsecctl_listing *list, int verbose, FILE *out)
{
	struct cut_line *lines = calloc(list->n_flows + 1, sizeof(*lines));
	int status = 1;
	size_t n = 0;

	if (!lines)
		return 1;
	for (; n < list->n_flows; n++)
		if (cut(&list->flows[n].flow, &lines[n]) < 0)
			goto out;
	for (size_t i = 0, end; i < n; i = end) {
		end = group_end(lines, i, n);
		for (size_t k = i; verbose > 1 && k < end; k++)
			fprintf(out, "%s%zu%s", k == i ? "@" : ",", k, k + 1 == end ? " " : "");
		fprintf(out, "%s from ", lines[i].before);
		print_set(lines, i, end, false, out);
		fprintf(out, "%s%s to ", lines[i].middle ? " " : "",
			lines[i].middle ? lines[i].middle : "");
		print_set(lines, i, end, true, out);
		fprintf(out, "%s%s\n", lines[i].after ? " " : "",
			lines[i].after ? lines[i].after : "");
	}
	status = 0;
out:
	for (size_t i = 0; i <= n && i < list->n_flows; i++)
		free(lines[i].text);
	free(lines);
	return status;
}
