#include "controlplane/ike/policy_index.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/policy_select.h"

static int host_compare(const void *a, const void *b)
{
	const struct policy_host *x = a, *y = b;
	int c = addr_compare(&x->addr, &y->addr);

	return c ? c : (x->at > y->at) - (x->at < y->at);
}

static int name_compare(const void *a, const void *b, void *ctx)
{
	const struct ike_config *config = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int c = strcmp(config->policies[x].name, config->policies[y].name);

	return c ? c : (x > y) - (x < y);
}

int policy_index_init(struct policy_index *index, const struct ike_config *config)
{
	size_t n = config->n_policies;

	*index = (struct policy_index){.config = config};
	index->hosts = calloc(n + 1, sizeof(*index->hosts));
	index->wide = calloc(n + 1, sizeof(*index->wide));
	index->names = calloc(n + 1, sizeof(*index->names));
	if (!index->hosts || !index->wide || !index->names) {
		policy_index_fini(index);
		return -1;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct ike_policy *policy = &config->policies[i];

		index->names[index->n_names++] = i;
		if (policy_peer_is_host(policy))
			index->hosts[index->n_hosts++] = (struct policy_host){
				policy->peer.prefix.addr, i};
		else
			index->wide[index->n_wide++] = i;
	}
	qsort(index->hosts, index->n_hosts, sizeof(*index->hosts), host_compare);
	qsort_r(index->names, n, sizeof(*index->names), name_compare, (void *)config);
	return 0;
}

void policy_index_fini(struct policy_index *index)
{
	free(index->hosts);
	free(index->wide);
	free(index->names);
	*index = (struct policy_index){0};
}

/* The first host policy that is not before (addr, at). */
static const struct policy_host *host_find(
	const struct policy_index *index, const struct ip_addr *addr, uint32_t at)
{
	struct policy_host wanted = {*addr, at};
	size_t from = 0, to = index->n_hosts;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (host_compare(&index->hosts[middle], &wanted) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return index->hosts + from;
}

/* The first whose name is not before this one, or (behind) that is behind it. */
static const uint32_t *name_find(const struct policy_index *index, const char *name, bool behind)
{
	size_t from = 0, to = index->n_names;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int c = strcmp(index->config->policies[index->names[middle]].name, name);

		if (c < 0 || (behind && c == 0))
			from = middle + 1;
		else
			to = middle;
	}
	return index->names + from;
}

void policy_walk_peer(
	struct policy_walk *walk, const struct policy_index *index, const struct ip_addr *remote)
{
	*walk = (struct policy_walk){.config = index->config};
	walk->host = host_find(index, remote, 0);
	walk->host_end = host_find(index, remote, UINT32_MAX);
	walk->other = index->wide;
	walk->other_end = index->wide + index->n_wide;
	walk->all = SIZE_MAX;
}

void policy_walk_name(struct policy_walk *walk, const struct policy_index *index, const char *name)
{
	*walk = (struct policy_walk){.config = index->config};
	walk->other = name_find(index, name, false);
	walk->other_end = name_find(index, name, true);
	walk->all = SIZE_MAX;
}

void policy_walk_all(struct policy_walk *walk, const struct ike_config *config)
{
	*walk = (struct policy_walk){.config = config};
}

const struct ike_policy *policy_walk_next(struct policy_walk *walk)
{
	const struct ike_config *config = walk->config;
	bool has_host = walk->host != walk->host_end, has_other = walk->other != walk->other_end;

	if (has_host && (!has_other || walk->host->at < *walk->other))
		return &config->policies[walk->host++->at];
	if (has_other)
		return &config->policies[*walk->other++];
	return config && walk->all < config->n_policies ? &config->policies[walk->all++] : NULL;
}
