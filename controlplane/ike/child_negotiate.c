#include "controlplane/ike/child_negotiate.h"

#include <stdio.h>
#include <stdlib.h>

#include "ipc/spi.h"

void child_allowed_pairs(const struct ike_sa *sa, struct ts_pairs *out)
{
	narrow_policy_pairs(sa->policy, &sa->local.addr, &sa->remote.addr, out);
}

static void put_ts(struct ike_builder *b, uint8_t type, const struct ts_list *from)
{
	struct ike_ts_list list = {0};

	for (size_t i = 0; i < from->n; i++)
		if (!ike_ts_list_add(&list, &from->ts[i]))
			break;
	ike_put_ts(b, type, &list);
}

static void put_ts_pair(
	struct ike_sa *sa, struct ike_builder *b, const struct ts_pairs *pairs, bool we_initiate)
{
	struct ts_list *lists = calloc(2, sizeof(*lists));

	if (!lists) {
		sa->engine->out->no_memory = true;
		b->w.failed = true;
		return;
	}
	narrow_lists(pairs, &lists[0], &lists[1]);
	put_ts(b, IKE_PAYLOAD_TSI, &lists[we_initiate ? 0 : 1]);
	put_ts(b, IKE_PAYLOAD_TSR, &lists[we_initiate ? 1 : 0]);
	free(lists);
}

static void put_nonce_ke(
	struct ike_builder *b, const struct ike_nonce *nonce, const struct ike_dh *dh)
{
	if (nonce)
		ike_put_nonce(b, nonce->data, nonce->len);
	if (dh) {
		size_t len;
		const uint8_t *value = ike_dh_public(dh, &len);

		ike_put_ke(b, ike_dh_group(dh), value, len);
	}
}

int child_put_offer(struct ike_sa *sa, struct ike_builder *b, enum ike_suite_use use,
	uint32_t spi_in, const struct ts_pairs *pairs, const struct ike_nonce *nonce,
	const struct ike_dh *dh)
{
	struct ike_offer offer;

	if (ike_offer_build(sa->policy->child_proposals, sa->policy->n_child_proposals, use,
		    IKE_ESP_SPI_LEN, spi_in, &offer) < 0)
		return -1;
	/* RFC 7296 1.3.1. */
	if (sa->policy->is_transport)
		ike_put_notify(b, IKE_N_USE_TRANSPORT_MODE, NULL, 0);
	ike_put_sa(b, &offer);
	put_nonce_ke(b, nonce, dh);
	put_ts_pair(sa, b, pairs, true);
	return 0;
}

/* RFC 7296 2.23.1: behind NAT, transport mode's selectors name addresses that we don't see. */
static void substitute(struct ike_sa *sa, struct ike_message *m, bool we_initiate)
{
	struct ike_ts_list *ours = we_initiate ? &m->tsi_list : &m->tsr_list;
	struct ike_ts_list *theirs = we_initiate ? &m->tsr_list : &m->tsi_list;

	if (sa->peer_is_natted)
		narrow_substitute(theirs->ts, theirs->n, &sa->remote.addr);
	if (sa->we_are_natted)
		narrow_substitute(ours->ts, ours->n, &sa->local.addr);
}

static bool suite_is_esp(struct child_agreed *out)
{
	const uint8_t *spi = out->suite.spi;

	if (out->suite.protocol != IKE_PROTO_ESP || out->suite.spi_len != IKE_ESP_SPI_LEN)
		return false;
	out->spi_out = (uint32_t)spi[0] << 24 | (uint32_t)spi[1] << 16 | (uint32_t)spi[2] << 8 |
		       spi[3];
	return out->spi_out >= IPC_SPI_MIN;
}

static void log_refused(struct ike_sa *sa, const char *what)
{
	sa_log(sa, LOG_LVL_INFO, "failed to negotiate CHILD SA: %s", what);
	sa->engine->stats.children_failed++;
}

static void log_no_proposal(struct ike_sa *sa, const struct ike_message *m, enum ike_suite_use use)
{
	char who[32];

	snprintf(who, sizeof(who), "spi=0x%016llx", (unsigned long long)sa->spi_i);
	ike_log_no_proposal(sa->engine->p.log, who, &m->offer, sa->policy, use);
	sa->engine->stats.children_failed++;
	sa->engine->stats.proposals_failed++;
}

static bool pairs_overlap(const struct child_sa *child, const struct ts_pairs *pairs)
{
	struct ts_pair common;

	for (size_t i = 0; i < child->n_pairs; i++)
		for (size_t p = 0; p < pairs->n; p++)
			if (ts_intersect(
				    &child->pairs[i].local, &pairs->pair[p].local, &common.local) &&
				ts_intersect(&child->pairs[i].remote, &pairs->pair[p].remote,
					&common.remote))
				return true;
	return false;
}

/* Field case B36, RFC 3948 5.2: two hosts behind one NAT with the same selectors in transport mode.
 * Nothing in a packet would say to which of them it goes. */
static bool another_host_has(const struct ike_sa *sa, const struct ts_pairs *pairs)
{
	const struct multi_link *at = sa->by_peer_addr.next;

	for (; at && at != &sa->by_peer_addr; at = at->next) {
		const struct ike_sa *other = multi_object(at, const struct ike_sa, by_peer_addr);

		if (!ike_sa_is_live(other) || !addr_equal(&other->remote.addr, &sa->remote.addr) ||
			ike_id_equal(&other->peer_id, &sa->peer_id))
			continue;
		for (const struct child_sa *child = other->children; child; child = child->next)
			if (child->state == CHILD_ACTIVE && child->is_transport &&
				pairs_overlap(child, pairs))
				return true;
	}
	return false;
}

uint16_t child_choose(struct ike_sa *sa, const struct ike_message *m, enum ike_suite_use use,
	struct child_agreed *out)
{
	const struct ike_policy *policy = sa->policy;
	struct ts_pairs *allowed;
	bool wants_transport = ike_message_notify(m, IKE_N_USE_TRANSPORT_MODE) != NULL;

	if (ike_offer_select(&m->offer, policy->child_proposals, policy->n_child_proposals, use,
		    m->ke ? m->ke->ke.group : 0, &out->suite) < 0 ||
		!suite_is_esp(out)) {
		log_no_proposal(sa, m, use);
		return IKE_N_NO_PROPOSAL_CHOSEN;
	}
	if (wants_transport != policy->is_transport) {
		log_refused(sa, policy->is_transport ? "policy demands transport mode"
						     : "policy demands tunnel mode");
		return IKE_N_NO_PROPOSAL_CHOSEN;
	}
	out->is_transport = wants_transport;
	out->no_tfc = ike_message_notify(m, IKE_N_ESP_TFC_PADDING_NOT_SUPPORTED) != NULL;
	allowed = malloc(sizeof(*allowed));
	if (!allowed)
		return IKE_N_TEMPORARY_FAILURE;
	if (out->is_transport)
		substitute(sa, sa->engine->msg, false);
	child_allowed_pairs(sa, allowed);
	/* RFC 7296 2.9: the common part, never more. */
	narrow_pairs(
		allowed, m->tsr_list.ts, m->tsr_list.n, m->tsi_list.ts, m->tsi_list.n, &out->pairs);
	free(allowed);
	if (!out->pairs.n) {
		log_refused(sa, "no common traffic selectors");
		return IKE_N_TS_UNACCEPTABLE;
	}
	if (out->is_transport && sa->peer_is_natted && another_host_has(sa, &out->pairs)) {
		log_refused(sa, "another host behind the same NAT has these traffic selectors");
		return IKE_N_TS_UNACCEPTABLE;
	}
	return 0;
}

void child_put_answer(struct ike_sa *sa, struct ike_builder *b, const struct child_agreed *agreed,
	uint32_t spi_in, const struct ike_nonce *nonce, const struct ike_dh *dh)
{
	struct ike_offer answer;

	ike_suite_answer(&agreed->suite, IKE_ESP_SPI_LEN, spi_in, &answer);
	if (agreed->is_transport)
		ike_put_notify(b, IKE_N_USE_TRANSPORT_MODE, NULL, 0);
	ike_put_sa(b, &answer);
	put_nonce_ke(b, nonce, dh);
	put_ts_pair(sa, b, &agreed->pairs, false);
}

int child_check_answer(struct ike_sa *sa, const struct ike_message *m, enum ike_suite_use use,
	uint32_t spi_in, const struct ts_pairs *proposed, uint16_t ke_group,
	struct child_agreed *out)
{
	const struct ike_policy *policy = sa->policy;
	const struct ike_notify *error = ike_message_error(m);
	struct ike_offer sent;

	out->spi_out = 0;
	if (!m->sa || !m->tsi || !m->tsr)
		return error ? error->type : -1;
	if (ike_offer_build(policy->child_proposals, policy->n_child_proposals, use,
		    IKE_ESP_SPI_LEN, spi_in, &sent) < 0)
		return -1;
	if (ike_offer_check_answer(&sent, &m->offer, use, ke_group, &out->suite) < 0 ||
		!suite_is_esp(out)) {
		sa_log(sa, LOG_LVL_WARN, "peer answered with a proposal that we did not make");
		return -1;
	}
	out->is_transport = ike_message_notify(m, IKE_N_USE_TRANSPORT_MODE) != NULL;
	out->no_tfc = ike_message_notify(m, IKE_N_ESP_TFC_PADDING_NOT_SUPPORTED) != NULL;
	if (out->is_transport != policy->is_transport) {
		/* RFC 7296 1.3.1: if the other mode is unacceptable, the SA must be deleted. */
		sa_log(sa, LOG_LVL_WARN, "peer chose the other mode");
		return -1;
	}
	if (out->is_transport)
		substitute(sa, sa->engine->msg, true);
	narrow_pairs(proposed, m->tsi_list.ts, m->tsi_list.n, m->tsr_list.ts, m->tsr_list.n,
		&out->pairs);
	if (!out->pairs.n) {
		sa_log(sa, LOG_LVL_WARN, "peer answered with traffic selectors out of our own");
		return -1;
	}
	return 0;
}

struct child_sa *child_make(struct ike_sa *sa, const struct child_agreed *agreed, uint32_t spi_in,
	bool is_initiator, const struct ike_nonce *ni, const struct ike_nonce *nr,
	struct bytes shared)
{
	struct ike_child_keys keys;
	struct ike_keymat_input in = {
		.ni = {ni->data, ni->len}, .nr = {nr->data, nr->len}, .shared = shared};

	if (ike_child_keys_derive(&agreed->suite, sa->suite.prf, &sa->keys, &in, &keys) < 0)
		return NULL;
	struct child_params params = {.spi_in = spi_in,
		.spi_out = agreed->spi_out,
		.is_initiator = is_initiator,
		.is_transport = agreed->is_transport,
		.no_tfc = agreed->no_tfc,
		.suite = &agreed->suite,
		.keys = &keys,
		.pairs = &agreed->pairs};
	struct child_sa *child = child_create(sa->engine, sa, &params);

	ike_child_keys_wipe(&keys);
	return child;
}

void child_want_rest(struct ike_sa *sa, const struct ts_pairs *proposed)
{
	struct ts_pairs *rest = calloc(1, sizeof(*rest));

	if (!rest)
		return;
	for (size_t i = 0; i < proposed->n; i++) {
		bool touched = false;

		/* A pair that was answered in part has been narrowed, not left out. */
		for (const struct child_sa *child = sa->children; child; child = child->next)
			for (size_t p = 0; child->state == CHILD_ACTIVE && p < child->n_pairs;
				p++) {
				struct ts_pair common;

				touched |= ts_intersect(&child->pairs[p].local,
						   &proposed->pair[i].local, &common.local) &&
					   ts_intersect(&child->pairs[p].remote,
						   &proposed->pair[i].remote, &common.remote);
			}
		if (!touched)
			rest->pair[rest->n++] = proposed->pair[i];
	}
	if (rest->n)
		ike_task_add(sa, IKE_TASK_CREATE_CHILD, 0, rest);
	else
		free(rest);
}

void child_want_each(struct ike_sa *sa, const struct ts_pairs *pairs)
{
	for (size_t i = 0; pairs->n > 1 && i < pairs->n; i++) {
		struct ts_pairs *one = calloc(1, sizeof(*one));

		if (!one)
			return;
		one->pair[one->n++] = pairs->pair[i];
		ike_task_add(sa, IKE_TASK_CREATE_CHILD, 0, one);
	}
}
