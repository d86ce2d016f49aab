#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/cli/ipsecctl.h"
#include "ipc/keys.h"
#include "ipc/paths.h"
#include "shared/flow_order.h"
#include "shared/transform.h"
#include "shared/wipe.h"

struct keys {
	struct ipc_key_record *v;
	size_t n, cap;
};

void ipsecctl_print_flow(const struct ipc_flow *flow, FILE *out)
{
	struct ipsec_rule rule = {
		.kind = IPSEC_RULE_FLOW, .satype = IPSEC_SATYPE_ESP, .flow = *flow};

	ipsec_rule_print(&rule, IPSEC_PRINT_LISTING, out);
}

static void print_sa_line(const struct view_sa *sa, FILE *out)
{
	struct ipsec_rule rule = {
		.kind = IPSEC_RULE_SA,
		.satype = IPSEC_SATYPE_ESP,
		.sa =
			{
				.mode = sa->mode,
				.src = sa->tunnel_src,
				.dst = sa->tunnel_dst,
				.spi = sa->spi,
				.encr = transform_find(
					TRANSFORM_ENCR, sa->encr_id, sa->encr_key_len),
				.integ = sa->integ_id == INTEG_NONE
						 ? NULL
						 : transform_find(TRANSFORM_INTEG, sa->integ_id, 0),
			},
	};

	ipsec_rule_print(&rule, IPSEC_PRINT_LISTING, out);
}

static void keys_free(struct keys *keys)
{
	if (keys->v)
		wipe(keys->v, keys->cap * sizeof(*keys->v));
	free(keys->v);
	memset(keys, 0, sizeof(*keys));
}

static int key_compare(const void *a, const void *b)
{
	const struct ipc_key_record *left = a, *right = b;

	return left->spi < right->spi ? -1 : left->spi > right->spi;
}

static int keys_read(const char *run_dir, struct keys *keys)
{
	struct ipc_key_record record;
	char path[256];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", run_dir, ESPD_KEYS_SOCKET);
	fd = ipc_keys_request(path);
	if (fd < 0) {
		fprintf(stderr, "ipsecctl: %s: %s\n", path,
			fd == -IPC_ERR_SYS ? strerror(errno) : ipc_strerror(fd));
		return -1;
	}
	while ((rc = ipc_keys_next(fd, &record)) == 1) {
		if (keys->n == keys->cap) {
			size_t cap = keys->cap ? keys->cap * 2 : 64;
			struct ipc_key_record *v = calloc(cap, sizeof(*v));

			if (!v)
				break;
			if (keys->n > 0)
				memcpy(v, keys->v, keys->n * sizeof(*v));
			size_t n = keys->n;

			keys_free(keys);
			*keys = (struct keys){v, n, cap};
		}
		keys->v[keys->n++] = record;
	}
	wipe(&record, sizeof(record));
	close(fd);
	if (keys->n > 0)
		qsort(keys->v, keys->n, sizeof(*keys->v), key_compare);
	if (rc != 0)
		fprintf(stderr, "ipsecctl: %s: no answer: keys are for root alone\n", path);
	return rc == 0 ? 0 : -1;
}

static const struct ipc_key_record *key_find(const struct keys *keys, const struct view_sa *sa)
{
	size_t low = 0, high = keys->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (keys->v[middle].spi < sa->spi)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < keys->n && keys->v[low].spi == sa->spi; low++)
		if (addr_equal(&keys->v[low].dst, &sa->tunnel_dst))
			return &keys->v[low];
	return NULL;
}

static void print_hex(const char *label, const uint8_t *key, size_t len, FILE *out)
{
	fprintf(out, " \\\n\t%s 0x", label);
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%02x", key[i]);
}

/* ipsecctl -v's bare names of algorithms, as PF_KEY has them: without the key's length. */
static void bare_name(const struct transform *t, char *buf, size_t cap)
{
	static const char *const gcm = "aes-gcm", *const ctr = "aesctr", *const cbc = "aes";
	const char *name = t->ipsecctl_name;

	if (t->id == ENCR_AES_CBC)
		name = cbc;
	else if (t->id == ENCR_AES_CTR)
		name = ctr;
	else if (t->id == ENCR_AES_GCM_16 || t->id == ENCR_AES_GCM_12)
		name = gcm;
	snprintf(buf, cap, "%s", name);
}

static void print_sa_state(const struct view_sa *sa, FILE *out)
{
	static const char *const states[] = {"larval", "larval", "mature", "dying", "dead", "dead"};
	const struct transform *encr = transform_find(
		TRANSFORM_ENCR, sa->encr_id, sa->encr_key_len);
	const struct transform *integ = transform_find(TRANSFORM_INTEG, sa->integ_id, 0);
	bool tunnel = sa->mode == IPC_MODE_TUNNEL, udp = sa->path_flags & IPC_PATH_UDP;
	bool esn = sa->flags & IPC_SA_ESN;
	unsigned int flags = (tunnel ? 4u : 0) | (udp ? 0x200u : 0) | (esn ? 0x400u : 0);
	char name[32] = "none";

	if (encr)
		bare_name(encr, name, sizeof(name));
	fprintf(out, "\tsa: spi 0x%08x auth %s enc %s\n", sa->spi,
		integ && sa->integ_id != INTEG_NONE ? integ->ipsecctl_name : "none", name);
	fprintf(out, "\t\tstate %s replay %u flags 0x%x<", states[sa->state % 6],
		sa->flags & IPC_SA_NO_REPLAY ? 0 : sa->replay_window, flags);
	fprintf(out, "%s%s%s", tunnel ? "tunnel" : "",
		udp ? (tunnel ? ",udpencap" : "udpencap") : "",
		esn ? (tunnel || udp ? ",esn" : "esn") : "");
	fprintf(out, ">\n");
}

static void print_lifetimes(const struct listed_sa *s, FILE *out)
{
	const struct view_sa *sa = &s->sa;

	fprintf(out,
		"\tlifetime_cur: alloc 0 bytes %" PRIu64 " add %" PRIu64 " first %" PRIu64 "\n",
		s->counters.bytes, sa->installed_s, s->counters.last_use_s ? sa->installed_s : 0);
	if (sa->hard_bytes || sa->hard_s)
		fprintf(out, "\tlifetime_hard: alloc 0 bytes %" PRIu64 " add %u first 0\n",
			sa->hard_bytes, sa->hard_s);
	if (sa->soft_bytes || sa->soft_s)
		fprintf(out, "\tlifetime_soft: alloc 0 bytes %" PRIu64 " add %u first 0\n",
			sa->soft_bytes, sa->soft_s);
}

/* "FQDN/x" -> "type fqdn id 0: FQDN/x", as PF_KEY's identities are listed. */
static void print_identity(const char *label, const char *id, FILE *out)
{
	static const char *const types[][2] = {{"FQDN/", "fqdn"}, {"UFQDN/", "ufqdn"},
		{"ASN1_DN/", "asn1_dn"}, {"IPV4/", "prefix"}, {"IPV6/", "prefix"}};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strncmp(id, types[i][0], strlen(types[i][0])) == 0)
			fprintf(out, "\t%s: type %s id 0: %s\n", label, types[i][1], id);
}

static void print_counter(
	uint64_t n, const char *singular, const char *plural, int verbose, FILE *out)
{
	if (n > 0 || verbose > 1)
		fprintf(out, "\t\t%" PRIu64 " %s\n", n, n == 1 ? singular : plural);
}

static void print_counters(const struct listed_sa *s, int verbose, FILE *out)
{
	const struct view_sa_counters *c = &s->counters;
	bool in = s->sa.direction == IPC_DIR_IN;
	uint64_t drops = c->drop_replay + c->drop_icv + c->drop_selectors + c->drop_other;

	fprintf(out, "\tcounter:\n");
	print_counter(in ? c->packets : 0, "input packet", "input packets", verbose, out);
	print_counter(in ? 0 : c->packets, "output packet", "output packets", verbose, out);
	print_counter(in ? c->bytes : 0, "input byte", "input bytes", verbose, out);
	print_counter(in ? 0 : c->bytes, "output byte", "output bytes", verbose, out);
	print_counter(in ? drops : 0, "packet dropped on input", "packets dropped on input",
		verbose, out);
	print_counter(in ? 0 : drops, "packet dropped on output", "packets dropped on output",
		verbose, out);
}

static void print_sa_details(
	const struct listed_sa *s, const struct ipc_key_record *key, int verbose, FILE *out)
{
	const struct view_sa *sa = &s->sa;
	char buf[ADDR_STRLEN];

	print_sa_state(sa, out);
	print_lifetimes(s, out);
	fprintf(out, "\taddress_src: %s\n", addr_str(&sa->tunnel_src, buf));
	fprintf(out, "\taddress_dst: %s\n", addr_str(&sa->tunnel_dst, buf));
	if (key && key->integ_key_len > 0) {
		fprintf(out, "\tkey_auth: bits %u: ", key->integ_key_len * 8u);
		for (size_t i = 0; i < key->integ_key_len && i < IPC_KEY_MAX; i++)
			fprintf(out, "%02x", key->integ_key[i]);
		fprintf(out, "\n");
	}
	if (key && key->enc_key_len > 0) {
		fprintf(out, "\tkey_encrypt: bits %u: ", key->enc_key_len * 8u);
		for (size_t i = 0; i < key->enc_key_len && i < IPC_KEY_MAX; i++)
			fprintf(out, "%02x", key->enc_key[i]);
		fprintf(out, "\n");
	}
	/* srcid is ours and dstid the peer's: of an inbound SA the source is the peer. */
	bool in = sa->direction == IPC_DIR_IN;

	print_identity("identity_src", in ? sa->dstid : sa->srcid, out);
	print_identity("identity_dst", in ? sa->srcid : sa->dstid, out);
	if (sa->path_flags & IPC_PATH_UDP)
		fprintf(out, "\tudpencap: udpencap port %u\n", sa->remote.port);
	fprintf(out, "\tlifetime_lastuse: alloc 0 bytes 0 add 0 first %" PRIu64 "\n",
		s->counters.last_use_s);
	fprintf(out, "\treplay: rpl %" PRIu64 "\n", s->counters.sequence);
	if (sa->mtu)
		fprintf(out, "\tmtu: mtu %u\n", sa->mtu);
	fprintf(out, "\ttap: enc0\n");
	print_counters(s, verbose, out);
}

static void print_sa(const struct listed_sa *s, const struct keys *keys, int verbose, FILE *out)
{
	const struct ipc_key_record *key = keys ? key_find(keys, &s->sa) : NULL;
	char *line = NULL;
	size_t len = 0;
	FILE *text = open_memstream(&line, &len);

	if (!text)
		return;
	print_sa_line(&s->sa, text);
	fclose(text);
	fprintf(out, "%.*s", (int)strcspn(line, "\n"), line);
	free(line);
	if (key && key->integ_key_len > 0 && key->integ_key_len <= IPC_KEY_MAX)
		print_hex("authkey", key->integ_key, key->integ_key_len, out);
	if (key && key->enc_key_len > 0 && key->enc_key_len <= IPC_KEY_MAX)
		print_hex("enckey", key->enc_key, key->enc_key_len, out);
	fprintf(out, "\n");
	if (verbose > 0)
		print_sa_details(s, key, verbose, out);
}

static int show_flows(const struct ipsecctl_options *o, const struct ipsecctl_listing *list)
{
	if (o->show_titles) {
		printf("FLOWS:\n");
		if (list->n_flows == 0)
			printf("No flows\n");
	}
	if (o->collapse)
		return ipsecctl_print_collapsed(list, o->verbose, stdout);
	for (size_t i = 0; i < list->n_flows; i++) {
		if (o->verbose > 1)
			printf("@%zu ", i);
		ipsecctl_print_flow(&list->flows[i].flow, stdout);
	}
	return 0;
}

int ipsecctl_show(const struct ipsecctl_options *o)
{
	struct ipsecctl_listing list;
	struct keys keys = {0};
	int status = 1;

	if (ipsecctl_listing_read(o->run_dir, &list) < 0)
		return 1;
	if (o->show_keys && o->show_sas && keys_read(o->run_dir, &keys) < 0)
		goto out;
	status = o->show_flows ? show_flows(o, &list) : 0;
	if (o->show_titles) {
		printf("\nSAD:\n");
		if (list.n_sas == 0)
			printf("No entries\n");
	}
	for (size_t i = 0; o->show_sas && i < list.n_sas; i++)
		print_sa(&list.sas[i], o->show_keys ? &keys : NULL, o->verbose, stdout);
out:
	keys_free(&keys);
	ipsecctl_listing_free(&list);
	return status;
}

static bool in_listing(const struct ipsecctl_listing *list, const struct view_sa *sa)
{
	for (size_t i = 0; i < list->n_sas; i++)
		if (list->sas[i].sa.spi == sa->spi && list->sas[i].sa.handle == sa->handle &&
			list->sas[i].sa.generation == sa->generation)
			return true;
	return false;
}

static bool flow_in_listing(const struct ipsecctl_listing *list, const struct view_flow *flow)
{
	for (size_t i = 0; i < list->n_flows; i++)
		if (flow_list_compare(&list->flows[i].flow, &flow->flow) == 0 &&
			list->flows[i].owner_kind == flow->owner_kind)
			return true;
	return false;
}

/* What is in `now` and not in `then`. */
static void print_changes(const struct ipsecctl_listing *now, const struct ipsecctl_listing *then,
	const char *sa_message, const char *flow_message, int verbose)
{
	for (size_t i = 0; i < now->n_sas; i++)
		if (!in_listing(then, &now->sas[i].sa)) {
			printf("%s: satype esp vers 2 len 0 seq 0 pid 0\n", sa_message);
			print_sa_details(&now->sas[i], NULL, verbose, stdout);
		}
	for (size_t i = 0; i < now->n_flows; i++)
		if (!flow_in_listing(then, &now->flows[i])) {
			printf("%s: satype esp vers 2 len 0 seq 0 pid 0\n\t", flow_message);
			ipsecctl_print_flow(&now->flows[i].flow, stdout);
		}
}

int ipsecctl_monitor(const struct ipsecctl_options *o)
{
	const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
	struct ipsecctl_listing then, now;

	if (ipsecctl_listing_read(o->run_dir, &then) < 0)
		return 1;
	for (;;) {
		nanosleep(&pause, NULL);
		if (ipsecctl_listing_read(o->run_dir, &now) < 0) {
			ipsecctl_listing_free(&then);
			return 1;
		}
		print_changes(&now, &then, "sadb_add", "sadb_addflow", o->verbose);
		print_changes(&then, &now, "sadb_delete", "sadb_delflow", o->verbose);
		fflush(stdout);
		ipsecctl_listing_free(&then);
		then = now;
	}
}
