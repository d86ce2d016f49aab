#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/iked/ike_process.h"

/*
 * `ikectl show sa` in iked's form. Where iked prints pointers stand the engine's handles: they
 * name an object for its lifetime.
 */
struct show {
	struct ike_process *p;
	uint64_t serial;
	const char *title; /* of the list, "iked_sas" */
};

static void __attribute__((format(printf, 2, 3)))
show_line(const struct show *show, const char *fmt, ...)
{
	char line[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	ike_process_ctl_line(show->p, show->serial, CTL_TEXT, line);
}

static void show_ike(const struct show *show, const struct ike_sa_info *sa)
{
	char local[ENDPOINT_STRLEN], remote[ENDPOINT_STRLEN], id[IKE_ID_STRLEN] = "";

	if (sa->peer_id && sa->peer_id->type != IKE_ID_NONE)
		ike_id_str(sa->peer_id, id);
	show_line(show,
		"%s: 0x%012" PRIx64 " rspi 0x%016" PRIx64 " ispi 0x%016" PRIx64
		" %s->%s<%s>[] %s %c%s%s nexti 0x0 pol 0x%x",
		show->title, sa->handle, sa->spi_r, sa->spi_i, endpoint_str(&sa->local, local),
		endpoint_str(&sa->remote, remote), id, ike_sa_state_str(sa->state),
		sa->is_initiator ? 'i' : 'r', sa->has_nat ? " natt" : "",
		sa->uses_udp_encap ? " udpecap" : "", sa->policy_number);
}

/* Both directions of a child SA, a line each. */
static void show_child(
	const struct show *show, const struct ike_sa_info *sa, const struct ike_child_info *child)
{
	char local[ENDPOINT_STRLEN], remote[ENDPOINT_STRLEN];
	const char *loaded = child->is_loaded ? "L" : "", *rekeying = child->is_rekeying ? "R" : "";

	endpoint_str(&sa->local, local);
	endpoint_str(&sa->remote, remote);
	show_line(show,
		"%s: 0x%012" PRIx64 " ESP 0x%08x in %s -> %s (%s%sA) B=0x0 P=0x%012" PRIx64
		" @0x%012" PRIx64,
		show->title, child->handle_in, child->spi_in, remote, local, loaded, rekeying,
		child->handle_out, sa->handle);
	show_line(show,
		"%s: 0x%012" PRIx64 " ESP 0x%08x out %s -> %s (%s%s) B=0x0 P=0x%012" PRIx64
		" @0x%012" PRIx64,
		show->title, child->handle_out, child->spi_out, local, remote, loaded, rekeying,
		child->handle_in, sa->handle);
}

static void show_flow(const struct show *show, const struct ike_flow_info *flow, uint64_t owner)
{
	char src[PREFIX_STRLEN], dst[PREFIX_STRLEN];

	show_line(show, "%s: 0x%012" PRIx64 " ESP %s %s -> %s [%u]@-1 (%s) @0x%012" PRIx64,
		show->title, flow->handle, flow->direction == IPC_DIR_OUT ? "out" : "in",
		prefix_str(&flow->src, src), prefix_str(&flow->dst, dst), flow->proto,
		flow->is_loaded ? "L" : "", owner);
}

static void each_sa(void *ctx, const struct ike_sa_info *sa)
{
	const struct show *show = ctx;
	const struct show children = {show->p, show->serial, "  sa_childsas"};
	const struct show flows = {show->p, show->serial, "  sa_flows"};

	show_ike(show, sa);
	for (size_t i = 0; i < sa->n_children; i++)
		show_child(&children, sa, &sa->children[i]);
	for (size_t i = 0; i < sa->n_flows; i++)
		show_flow(&flows, &sa->flows[i], sa->handle);
}

static void each_active(void *ctx, const struct ike_sa_info *sa)
{
	for (size_t i = 0; i < sa->n_children; i++) {
		if (sa->children[i].is_loaded)
			show_child(ctx, sa, &sa->children[i]);
	}
}

/* Which IKE SA a child belongs to: a flow knows its child alone. */
struct child_owner {
	uint64_t child, ike;
};

struct flow_show {
	struct show show;
	struct child_owner *owners; /* sorted by child */
	size_t n, cap;
};

static void each_owner(void *ctx, const struct ike_sa_info *sa)
{
	struct flow_show *f = ctx;

	for (size_t i = 0; i < sa->n_children; i++) {
		if (f->n == f->cap) {
			size_t cap = f->cap ? f->cap * 2 : 64;
			void *grown = realloc(f->owners, cap * sizeof(*f->owners));

			if (!grown)
				return;
			f->owners = grown;
			f->cap = cap;
		}
		f->owners[f->n++] = (struct child_owner){sa->children[i].handle_out, sa->handle};
	}
}

static int owner_compare(const void *a, const void *b)
{
	const struct child_owner *left = a, *right = b;

	return left->child < right->child ? -1 : left->child > right->child;
}

static void each_flow(void *ctx, const struct ike_flow_info *flow)
{
	const struct flow_show *f = ctx;
	const struct child_owner key = {.child = flow->child}, *owner = NULL;

	if (flow->child && f->n > 0)
		owner = bsearch(&key, f->owners, f->n, sizeof(key), owner_compare);
	show_flow(&f->show, flow, owner ? owner->ike : 0);
}

static void each_by_id(void *ctx, const struct ike_sa_info *sa)
{
	if (sa->peer_id && sa->peer_id->type != IKE_ID_NONE)
		show_ike(ctx, sa);
}

static void show_flows(struct ike_process *p, uint64_t serial)
{
	struct flow_show flows = {.show = {p, serial, "iked_flows"}};

	ike_engine_foreach_sa(p->engine, each_owner, &flows);
	if (flows.n > 0)
		qsort(flows.owners, flows.n, sizeof(*flows.owners), owner_compare);
	ike_engine_foreach_flow(p->engine, each_flow, &flows);
	free(flows.owners);
}

void ike_process_show_sa(struct ike_process *p, uint64_t serial, uint32_t part)
{
	struct show sas = {p, serial, "iked_sas"}, active = {p, serial, "iked_activesas"};
	struct show by_id = {p, serial, "iked_dstid_sas"};

	switch (part) {
	case 0:
		ike_engine_foreach_sa(p->engine, each_sa, &sas);
		break;
	case 1:
		ike_engine_foreach_sa(p->engine, each_active, &active);
		break;
	case 2:
		show_flows(p, serial);
		break;
	case 3:
		ike_engine_foreach_sa(p->engine, each_by_id, &by_id);
		break;
	default:
		break;
	}
}

/* iked's block in its order, then ours. %s becomes "s" unless the value is 1. */
static const struct stat_row {
	size_t offset;
	const char *text;
} stat_rows[] = {
#define ROW(field, text)                                \
	{                                               \
		offsetof(struct ike_stats, field), text \
	}
	ROW(sas_created, "IKE SA%s created"),
	ROW(sas_established_total, "IKE SA%s established"),
	ROW(sas_established_current, "IKE SA%s currently established"),
	ROW(sas_failed, "IKE SA%s failed to establish"),
	ROW(proposals_failed, "failed proposal negotiation%s"),
	ROW(sas_rekeyed, "IKE SA%s rekeyed"),
	ROW(sas_removed, "IKE SA%s removed"),
	ROW(children_created, "Child SA%s created"),
	ROW(children_removed, "Child SA%s removed"),
	ROW(msg_sent, "message%s sent"),
	ROW(msg_send_failed, "message%s could not be sent"),
	ROW(msg_received, "message%s received"),
	ROW(msg_dropped, "message%s dropped"),
	ROW(requests_dropped_busy, "request%s dropped, response being worked on"),
	ROW(responses_retransmitted, "response%s retransmitted"),
	ROW(requests_retransmitted, "request%s retransmitted"),
	ROW(requests_timed_out, "request%s timed out"),
	ROW(frag_sent, "fragment%s sent"),
	ROW(frag_send_failed, "fragment%s could not be sent"),
	ROW(frag_received, "fragment%s received"),
	ROW(frag_dropped, "fragment%s dropped"),
	ROW(frag_reassembled, "fragment%s reassembled"),
	ROW(frag_reassembly_failed, "fragment%s could not be reassembled"),
	ROW(update_addresses_sent, "update addresses request%s sent"),
	ROW(dpd_sent, "dpd request%s sent"),
	ROW(keepalives_sent, "keepalive message%s sent"),
	ROW(cookies_sent, "cookie%s sent"),
	ROW(cookies_bad, "bad cookie%s received"),
	ROW(half_open_refused, "half-open IKE SA%s refused"),
	ROW(half_open_current, "half-open IKE SA%s at present"),
	ROW(dropped_short, "message%s dropped: too short"),
	ROW(dropped_version, "message%s dropped: other version of IKE"),
	ROW(dropped_unknown_spi, "message%s dropped: unknown SPI"),
	ROW(dropped_malformed, "message%s dropped: malformed"),
	ROW(dropped_auth, "message%s dropped: integrity check failed"),
	ROW(dropped_window, "message%s dropped: outside the window"),
	ROW(dropped_state, "message%s dropped: not expected in this state"),
	ROW(dropped_no_policy, "message%s dropped: no policy"),
	ROW(dropped_no_spi, "message%s dropped: no SPI to give"),
	ROW(dropped_transport_down, "message%s dropped: data plane away"),
	ROW(stray_answered, "stray message%s answered"),
	ROW(stray_suppressed, "answer%s to stray messages suppressed"),
	ROW(auth_failed, "authentication%s failed"),
	ROW(answers_ignored, "late answer%s of other processes ignored"),
	ROW(commands_failed, "command%s refused by the data plane"),
	ROW(children_rekeyed, "Child SA%s rekeyed"),
	ROW(children_failed, "Child SA%s failed to establish"),
	ROW(collisions_child, "simultaneous Child SA rekeying%s"),
	ROW(collisions_ike, "simultaneous IKE SA rekeying%s"),
	ROW(temporary_failures, "temporary failure%s"),
	ROW(invalid_ke, "KE payload%s of another group"),
	ROW(nat_changes, "address change%s of peers behind NAT"),
	ROW(orphans_adopted, "orphaned SA%s adopted"),
	ROW(orphans_deleted, "orphaned SA%s deleted"),
	ROW(restored, "SA%s restored to the data plane"),
	ROW(restore_rekeyed, "SA%s rekeyed after a restart of the data plane"),
#undef ROW
};

void ike_process_show_stats(struct ike_process *p, uint64_t serial)
{
	struct ike_stats stats;

	ike_engine_stats(p->engine, &stats);
	for (size_t i = 0; i < sizeof(stat_rows) / sizeof(stat_rows[0]); i++) {
		const char *text = stat_rows[i].text, *at = strstr(text, "%s");
		struct ctl_counter counter = {0};

		memcpy(&counter.value, (const uint8_t *)&stats + stat_rows[i].offset,
			sizeof(counter.value));
		snprintf(counter.singular, sizeof(counter.singular), "%.*s%s", (int)(at - text),
			text, at + 2);
		snprintf(counter.plural, sizeof(counter.plural), "%.*ss%s", (int)(at - text), text,
			at + 2);
		ike_process_ctl_counter(p, serial, &counter);
	}
}

static void why_line(void *ctx, const struct ike_policy *policy, bool is_winner, const char *reason)
{
	show_line(ctx, "%c '%s' (%s:%u): %s", is_winner ? '*' : '-', policy->name,
		policy->pos.file ? policy->pos.file : "?", policy->pos.line, reason);
}

/* "FQDN/server2.domain", as identities are printed: the type's word is checked by the value. */
static int printed_id_parse(const char *text, struct ike_id *id)
{
	const char *slash = strchr(text, '/');
	size_t type_len = slash ? (size_t)(slash - text) : 0;

	if (strcmp(text, "-") == 0)
		return 0;
	if (!slash || ike_id_parse(slash + 1, id) < 0)
		return -1;
	return strlen(ike_id_type_str(id->type)) == type_len &&
			       strncmp(ike_id_type_str(id->type), text, type_len) == 0
		       ? 0
		       : -1;
}

int ike_process_why_policy(struct ike_process *p, uint64_t serial, const char *text)
{
	struct show show = {p, serial, ""};
	struct ike_policy_question question = {0};
	char local[64], remote[64], peer_id[IKE_ID_STRLEN] = "-", local_id[IKE_ID_STRLEN] = "-";

	if (sscanf(text, "%63s %63s %319s %319s", local, remote, peer_id, local_id) < 2 ||
		addr_parse(local, &question.local) < 0 ||
		addr_parse(remote, &question.remote) < 0 ||
		printed_id_parse(peer_id, &question.peer_id) < 0 ||
		printed_id_parse(local_id, &question.local_id) < 0) {
		ike_process_ctl_line(p, serial, CTL_ERROR,
			"expected: LOCAL PEER [IDi [IDr]], addresses and identities as FQDN/name");
		return 1;
	}
	ike_policy_explain(p->engine, &question, why_line, &show);
	return 0;
}
