#include "controlplane/iked/conf_serial.h"

#include <stdlib.h>
#include <string.h>

#include "shared/bytes.h"

/*
 * Each struct has one function that works in both directions: `io.w` set writes the field, else
 * the field is read. So the two directions cannot drift apart. Numbers are big endian; an array is
 * its count and its elements; a string is its length (UINT32_MAX: NULL) and its bytes.
 */
struct io {
	struct writer *w; /* writing; NULL: reading */
	struct reader *r;
	const struct ike_config *config; /* whose `files` positions point to */
	bool failed;
};

#define SERIAL_MAGIC 0x50434647u
#define NO_STRING UINT32_MAX

static void io_config(struct io *io, struct ike_config *c);

/* Starts over with more room until it fits: not a hot path. */
uint8_t *conf_serial_write(const struct ike_config *config, size_t *len)
{
	for (size_t cap = 1u << 16; cap <= CONF_SERIAL_MAX; cap *= 4) {
		uint8_t *data = malloc(cap);
		struct writer w = writer_init(data, data ? cap : 0);
		struct io io = {.w = &w, .config = config};

		if (!data)
			return NULL;
		/* Writing does not change the configuration. */
		io_config(&io, (struct ike_config *)(uintptr_t)config);
		if (!w.failed && !io.failed) {
			*len = w.len;
			return data;
		}
		free(data);
	}
	return NULL;
}

struct ike_config *conf_serial_read(const uint8_t *data, size_t len)
{
	struct ike_config *config = calloc(1, sizeof(*config));
	struct reader r = reader_init(data, len);
	struct io io = {.r = &r, .config = config};

	if (!config)
		return NULL;
	io_config(&io, config);
	if (r.failed || io.failed || reader_left(&r) > 0) {
		conf_serial_free(config);
		return NULL;
	}
	return config;
}

void conf_serial_free(struct ike_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->n_policies; i++) {
		struct ike_policy *p = &config->policies[i];

		for (size_t k = 0; k < p->n_cp; k++)
			free((char *)(uintptr_t)p->cp[k].name);
		free(p->cp);
		free(p->name);
		free(p->protos);
		free(p->flows);
		free(p->ike_proposals);
		free(p->child_proposals);
		free(p->iface);
		free(p->tag);
		free(p->tap);
	}
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->files);
	free(config->policies);
	free(config);
}

static void io_u64(struct io *io, uint64_t *v)
{
	if (io->w)
		write_u64(io->w, *v);
	else
		*v = read_u64(io->r);
}

static void io_u32(struct io *io, uint32_t *v)
{
	if (io->w)
		write_u32(io->w, *v);
	else
		*v = read_u32(io->r);
}

static void io_u16(struct io *io, uint16_t *v)
{
	if (io->w)
		write_u16(io->w, *v);
	else
		*v = read_u16(io->r);
}

static void io_u8(struct io *io, uint8_t *v)
{
	if (io->w)
		write_u8(io->w, *v);
	else
		*v = read_u8(io->r);
}

static void io_bool(struct io *io, bool *v)
{
	uint8_t b = *v ? 1 : 0;

	io_u8(io, &b);
	if (b > 1)
		io->failed = true;
	*v = b == 1;
}

static void io_raw(struct io *io, void *data, size_t len)
{
	if (io->w)
		write_bytes(io->w, data, len);
	else
		read_copy(io->r, data, len);
}

static bool io_stopped(const struct io *io)
{
	return io->failed || (io->w ? io->w->failed : io->r->failed);
}

static void io_string(struct io *io, char **s)
{
	uint32_t len = io->w && *s ? (uint32_t)strlen(*s) : NO_STRING;

	io_u32(io, &len);
	if (io_stopped(io) || len == NO_STRING)
		return;
	if (io->w) {
		write_bytes(io->w, *s, len);
		return;
	}
	if (len > reader_left(io->r) || !(*s = malloc((size_t)len + 1))) {
		io->failed = true;
		return;
	}
	read_copy(io->r, *s, len);
	(*s)[len] = '\0';
	if (strlen(*s) != len)
		io->failed = true;
}

/*
 * The count of an array and, when reading, its memory, zeroed. min_len is what an element takes
 * at least in the serial form: a count that cannot be there allocates nothing.
 */
static void io_array(struct io *io, void **array, size_t *n, size_t elem_size, size_t min_len)
{
	uint32_t count = (uint32_t)*n;

	io_u32(io, &count);
	if (io->w)
		return;
	*n = 0;
	if (io_stopped(io) || count == 0)
		return;
	if (count > reader_left(io->r) / min_len || !(*array = calloc(count, elem_size))) {
		io->failed = true;
		return;
	}
	*n = count;
}

static void io_addr(struct io *io, struct ip_addr *a)
{
	io_u8(io, &a->family);
	io_raw(io, a->b, sizeof(a->b));
	if (a->family != 0 && addr_len(a->family) == 0)
		io->failed = true;
}

static void io_prefix(struct io *io, struct ip_prefix *p)
{
	io_addr(io, &p->addr);
	io_u8(io, &p->len);
	if (p->len > addr_bits(p->addr.family))
		io->failed = true;
}

static void io_id(struct io *io, struct ike_id *id)
{
	io_u8(io, &id->type);
	io_u16(io, &id->len);
	if (id->len > sizeof(id->data)) {
		io->failed = true;
		id->len = 0;
		return;
	}
	io_raw(io, id->data, id->len);
}

/* A position's file is an index into config->files, so that it shares their memory. */
static void io_pos(struct io *io, struct conf_pos *pos)
{
	uint32_t index = NO_STRING, line = pos->line, column = pos->column;

	for (size_t i = 0; io->w && i < io->config->n_files; i++) {
		if (pos->file && strcmp(io->config->files[i], pos->file) == 0)
			index = (uint32_t)i;
	}
	io_u32(io, &index);
	io_u32(io, &line);
	io_u32(io, &column);
	if (io->w)
		return;
	if (index != NO_STRING && index >= io->config->n_files) {
		io->failed = true;
		return;
	}
	*pos = (struct conf_pos){
		.file = index == NO_STRING ? NULL : io->config->files[index],
		.line = line,
		.column = column,
	};
}

static void io_transforms(struct io *io, struct ike_transform_list *list)
{
	io_u8(io, &list->n);
	if (list->n > IKE_TRANSFORMS_MAX) {
		io->failed = true;
		list->n = 0;
		return;
	}
	for (uint8_t i = 0; i < list->n && !io_stopped(io); i++) {
		uint8_t type = io->w ? (uint8_t)list->t[i]->type : 0;
		uint16_t id = io->w ? list->t[i]->id : 0, key_len = io->w ? list->t[i]->key_len : 0;

		io_u8(io, &type);
		io_u16(io, &id);
		io_u16(io, &key_len);
		if (io->w)
			continue;
		list->t[i] = transform_find((enum transform_type)type, id, key_len);
		if (!list->t[i])
			io->failed = true;
	}
}

static void io_proposals(struct io *io, struct ike_proposal **array, size_t *n)
{
	io_array(io, (void **)array, n, sizeof(**array), 9);
	for (size_t i = 0; i < *n && !io_stopped(io); i++) {
		struct ike_proposal *p = &(*array)[i];

		io_transforms(io, &p->encr);
		io_transforms(io, &p->prf);
		io_transforms(io, &p->integ);
		io_transforms(io, &p->dh);
		io_transforms(io, &p->esn);
		io_u32(io, &p->explicit_kinds);
	}
}

static void io_side(struct io *io, struct ike_flow_side *side)
{
	io_prefix(io, &side->prefix);
	io_u16(io, &side->port);
	io_bool(io, &side->is_dynamic);
	io_bool(io, &side->is_any_word);
}

static void io_flows(struct io *io, struct ike_policy *p)
{
	io_array(io, (void **)&p->flows, &p->n_flows, sizeof(*p->flows), 64);
	for (size_t i = 0; i < p->n_flows && !io_stopped(io); i++) {
		struct ike_policy_flow *f = &p->flows[i];

		io_side(io, &f->src);
		io_side(io, &f->dst);
		io_bool(io, &f->has_srcnat);
		io_prefix(io, &f->srcnat);
		io_u8(io, &f->proto);
	}
}

static void io_host(struct io *io, struct ike_host *h)
{
	io_bool(io, &h->is_any);
	io_bool(io, &h->is_written);
	io_prefix(io, &h->prefix);
}

static void io_cp(struct io *io, struct ike_policy *p)
{
	io_array(io, (void **)&p->cp, &p->n_cp, sizeof(*p->cp), 24);
	for (size_t i = 0; i < p->n_cp && !io_stopped(io); i++) {
		struct ike_cp_option *o = &p->cp[i];

		io_string(io, (char **)(uintptr_t)&o->name);
		io_bool(io, &o->is_request);
		io_bool(io, &o->is_any);
		io_prefix(io, &o->value);
	}
}

static void io_policy_flags(struct io *io, struct ike_policy *p)
{
	io_bool(io, &p->is_quick);
	io_bool(io, &p->is_skip);
	io_bool(io, &p->is_default);
	io_bool(io, &p->is_active);
	io_bool(io, &p->is_ipcomp);
	io_bool(io, &p->is_transport);
	io_bool(io, &p->is_natt);
	io_bool(io, &p->is_ah);
	io_bool(io, &p->has_rdomain);
	io_bool(io, &p->has_srcid);
	io_bool(io, &p->has_dstid);
}

static void io_policy(struct io *io, struct ike_policy *p)
{
	uint32_t auth = (uint32_t)p->auth;

	io_string(io, &p->name);
	io_u32(io, &p->number);
	io_pos(io, &p->pos);
	io_policy_flags(io, p);
	io_u8(io, &p->family);
	io_u32(io, &p->rdomain);
	io_array(io, (void **)&p->protos, &p->n_protos, 1, 1);
	if (!io_stopped(io) && p->n_protos > 0)
		io_raw(io, p->protos, p->n_protos);
	io_flows(io, p);
	io_host(io, &p->peer);
	io_host(io, &p->local);
	io_proposals(io, &p->ike_proposals, &p->n_ike_proposals);
	io_proposals(io, &p->child_proposals, &p->n_child_proposals);
	io_id(io, &p->srcid);
	io_id(io, &p->dstid);
	io_pos(io, &p->dstid_pos);
	io_u32(io, &p->ike_lifetime_s);
	io_u32(io, &p->child_lifetime_s);
	io_u64(io, &p->child_lifetime_bytes);
	io_u32(io, &auth);
	if (auth > IKE_AUTH_EAP_RADIUS)
		io->failed = true;
	p->auth = (enum ike_auth_method)auth;
	io_cp(io, p);
	io_string(io, &p->iface);
	io_string(io, &p->tag);
	io_string(io, &p->tap);
}

static void io_globals(struct io *io, struct ike_config *c)
{
	uint8_t fragmentation = (uint8_t)c->fragmentation;

	io_bool(io, &c->is_passive);
	io_bool(io, &c->is_decoupled);
	io_u32(io, &c->dpd_interval_s);
	io_bool(io, &c->enforce_single_ikesa);
	io_bool(io, &c->sticky_address);
	io_u8(io, &fragmentation);
	if (fragmentation > IKE_FRAGMENTS_NONE)
		io->failed = true;
	c->fragmentation = (enum ike_fragmentation)fragmentation;
	io_bool(io, &c->mobike);
	io_bool(io, &c->vendorid);
	io_bool(io, &c->cert_partial_chain);
}

static void io_config(struct io *io, struct ike_config *c)
{
	uint32_t magic = SERIAL_MAGIC;

	io_u32(io, &magic);
	if (magic != SERIAL_MAGIC) {
		io->failed = true;
		return;
	}
	io_globals(io, c);
	io_array(io, (void **)&c->files, &c->n_files, sizeof(*c->files), 4);
	for (size_t i = 0; i < c->n_files && !io_stopped(io); i++) {
		io_string(io, &c->files[i]);
		if (!c->files[i])
			io->failed = true;
	}
	io_array(io, (void **)&c->policies, &c->n_policies, sizeof(*c->policies), 100);
	for (size_t i = 0; i < c->n_policies && !io_stopped(io); i++)
		io_policy(io, &c->policies[i]);
}
