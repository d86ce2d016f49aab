#include "dataplane/spd_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Flows as they are kept. Identities are kept once each: flows by the thousand have our own, and
 * the two flows of a tunnel the peer's.
 */

struct spd_text {
	uint32_t hash;
	uint32_t n_users;
	char text[];
};

int spd_texts_init(struct spd *spd)
{
	return spd_hash_init(&spd->texts, offsetof(struct spd_text, hash), spd->config.defer,
		spd->config.defer_ctx);
}

static uint32_t text_hash(const struct spd *spd, const char *text)
{
	uint64_t h = 0;

	for (const char *c = text; *c != '\0'; c++)
		h = h * 31 + (uint8_t)*c;
	return spd_hash_mix(h, strlen(text), spd->seed);
}

static bool text_equal(const void *object, const void *key)
{
	const struct spd_text *t = object;

	return strcmp(t->text, key) == 0;
}

/* NULL: no memory. */
static struct spd_text *text_take(struct spd *spd, const char *text)
{
	uint32_t hash = text_hash(spd, text);
	struct spd_text *t = spd_hash_find(&spd->texts, hash, text, text_equal, NULL);
	size_t size = strlen(text) + 1;

	if (t == NULL) {
		t = malloc(sizeof(*t) + size);
		if (t == NULL)
			return NULL;
		t->hash = hash;
		t->n_users = 0;
		memcpy(t->text, text, size);
		if (spd_hash_add(&spd->texts, t) != 0) {
			free(t);
			return NULL;
		}
	}
	t->n_users++;
	return t;
}

static void text_give(struct spd *spd, struct spd_text *t)
{
	if (t == NULL || --t->n_users > 0)
		return;
	spd_hash_remove(&spd->texts, t);
	free(t);
}

int spd_spec_init(struct spd *spd, struct spd_spec *out, const struct ipc_flow *f)
{
	*out = (struct spd_spec){
		.flow = f->flow,
		.src = f->src,
		.dst = f->dst,
		.src_port = f->src_port,
		.dst_port = f->dst_port,
		.proto = f->proto,
		.direction = f->direction,
		.type = f->type,
		.flags = f->flags,
		.policy = f->policy,
		.peer = f->peer,
		.local = f->local,
		.srcid = text_take(spd, f->srcid),
		.dstid = text_take(spd, f->dstid),
	};
	prefix_mask(&out->src);
	prefix_mask(&out->dst);
	if (out->srcid != NULL && out->dstid != NULL)
		return 0;
	spd_spec_fini(spd, out);
	return -1;
}

void spd_spec_fini(struct spd *spd, struct spd_spec *s)
{
	text_give(spd, s->srcid);
	text_give(spd, s->dstid);
	s->srcid = s->dstid = NULL;
}

void spd_spec_tell(const struct spd_spec *s, struct ipc_flow *out)
{
	memset(out, 0, sizeof(*out));
	out->flow = s->flow;
	out->src = s->src;
	out->dst = s->dst;
	out->src_port = s->src_port;
	out->dst_port = s->dst_port;
	out->proto = s->proto;
	out->direction = s->direction;
	out->type = s->type;
	out->flags = s->flags;
	out->policy = s->policy;
	out->peer = s->peer;
	out->local = s->local;
	memcpy(out->srcid, s->srcid->text, strlen(s->srcid->text));
	memcpy(out->dstid, s->dstid->text, strlen(s->dstid->text));
}
