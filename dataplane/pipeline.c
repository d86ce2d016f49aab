#include "dataplane/pipeline.h"

#include "dataplane/esp_in.h"
#include "dataplane/esp_out.h"
#include "dataplane/forward.h"
#include "dataplane/fragment_steer.h"
#include "dataplane/known.h"
#include "dataplane/profile.h"
#include "dataplane/reassembly.h"
#include "dataplane/sad.h"
#include "dataplane/stages.h"
#include "dataplane/trace.h"

/*
 * The path of a packet. The two tables name all stages in order; a stage is a function over a
 * burst, in the file of its name. A packet that enters in the middle (from the host, from
 * another worker, from main) starts at the stage that its next[] says and passes the others
 * untouched.
 */
struct stage {
	const char *name, *text;
	void (*run)(struct worker *w, struct burst *b);
};

static void parse(struct worker *w, struct burst *b)
{
	struct dp_addresses *a = atomic_load_explicit(&w->dp->addresses, memory_order_acquire);

	const uint64_t mask = burst_mask(b, NEXT_PARSE);

	if (!mask)
		return;
	parse_burst(&w->ctx, &a->parse, b);
	known_learn_ours(w, b, mask & burst_mask(b, NEXT_ESP_IN));
}

static void steer(struct worker *w, struct burst *b)
{
	fragment_steer(w->dp->spd, b);
}

static void reassemble(struct worker *w, struct burst *b)
{
	reassembly_burst(&w->ctx, w->reassembly, b);
}

static void find_sa(struct worker *w, struct burst *b)
{
	sad_lookup(&w->ctx, b);
}

static void decrypt(struct worker *w, struct burst *b)
{
	esp_in(&w->ctx, b);
}

static void lower_ttl(struct worker *w, struct burst *b)
{
	(void)w;
	forward_ttl(b);
}

static void encrypt(struct worker *w, struct burst *b)
{
	esp_out(&w->ctx, b);
}

static void route(struct worker *w, struct burst *b)
{
	const uint64_t clear = burst_mask(b, NEXT_ROUTE);

	forward_route(&w->ctx, w->dp->router, b);
	known_learn(w, b, clear & burst_mask(b, NEXT_TX));
}

static const struct stage inbound[] = {
	{"known", "headers as of a packet just before: as that one, nothing is asked",
		known_from_port},
	{"link-input", "frames to other stations are dropped", stage_link_input},
	{"parse", "headers; to us or not, ESP, IKE, never-protected", parse},
	{"fragment-steer", "RFC 4301 7: transit fragments whose ports matter", steer},
	{"fragment-owner", "fragments go to the worker that reassembles them", stage_handoff},
	{"reassemble", "fragments to us, or steered", reassemble},
	{"parse-again", "what was reassembled", parse},
	{"sad", "RFC 4301 5.2 3a: SPI to SA", find_sa},
	{"sa-owner", "packets of SAs that another worker owns go there", stage_handoff},
	{"esp-in", "replay window, ICV, decryption, SA's selectors", decrypt},
	{"known", "the same for what came out of an SA", known_from_sa},
	{"fragment-steer", "the same for what came out of an SA", steer},
	{"reassemble", "here: its fragments came by one SA, so to one worker", reassemble},
	{"spd-in", "clear-but-protected? to us or onward", stage_spd_in},
};

#define N_LINK_STAGES 2 /* of a frame that has just been received */

static const struct stage outbound[] = {
	{"ttl", "TTL or hop limit, forwarded packets", lower_ttl},
	{"spd-out", "bypass, protect, deny, acquire", stage_spd_out},
	{"esp-out", "selectors, number, encryption, outer header", encrypt},
	{"sa-owner", "packets for SAs that another worker owns go there", stage_handoff},
	{"fragment", "too big before encryption or after it", stage_fragment},
	{"route", "next hop and its MTU, clear packets", route},
	{"fragment", "clear packets to the next hop's MTU", stage_fragment},
	{"icmp", "errors back to the sender", stage_icmp},
	{"transmit", "link header, port", stage_transmit},
	{"leave", "host, IKE, drops", stage_leave},
};

#define N_STAGES(t) (sizeof(t) / sizeof((t)[0]))

/* With the time of each stage; its number is that of pipeline_stage_name. */
static void stages_measure(struct worker *w, struct burst *b, const struct stage *s, size_t n)
{
	unsigned int first = s >= inbound && s < inbound + N_STAGES(inbound)
				     ? (unsigned int)(s - inbound)
				     : (unsigned int)(s - outbound + N_STAGES(inbound));

	w->ctx.profile->last = rte_rdtsc();
	for (unsigned int i = 0; i < n; i++) {
		s[i].run(w, b);
		profile_mark(&w->ctx, first + i);
	}
}

static void stages_run(struct worker *w, struct burst *b, const struct stage *s, size_t n)
{
	if (__builtin_expect(w->ctx.profile && w->ctx.profile->has_stages, 0)) {
		stages_measure(w, b, s, n);
		return;
	}
	if (__builtin_expect(atomic_load_explicit(&w->dp->n_traces, memory_order_relaxed) > 0, 0)) {
		trace_burst_begin(w, b);
		for (size_t i = 0; i < n; i++) {
			s[i].run(w, b);
			trace_burst_stage(w, b, s[i].name);
		}
		trace_burst_end(w, b);
		return;
	}
	for (size_t i = 0; i < n; i++)
		s[i].run(w, b);
}

void pipeline_from_port(struct worker *w, struct burst *b)
{
	known_begin(w, b);
	stages_run(w, b, inbound, N_STAGES(inbound));
	stages_run(w, b, outbound, N_STAGES(outbound));
}

void pipeline_outbound(struct worker *w, struct burst *b)
{
	stages_run(w, b, outbound, N_STAGES(outbound));
}

static void slot_clear(struct burst *b, unsigned int i)
{
	b->drop[i] = DROP_NONE;
	b->icmp[i] = ICMP_ABOUT_NONE;
	b->mtu[i] = 0;
	b->sa[i] = b->in_sa[i] = NULL;
	b->in_flow[i] = b->flow[i] = NULL;
	b->nexthop[i] = NULL;
	b->esp_seq[i] = 0;
}

/* The SA may be gone, or may have moved to yet another worker: the stages see to both. */
static void handed_over(struct worker *w, struct burst *b, unsigned int i)
{
	const struct pkt_meta *meta = pkt_meta(b->m[i]);

	slot_clear(b, i);
	b->port[i] = meta->port;
	if (meta->kind == PKT_KIND_RX) {
		b->next[i] = NEXT_PARSE;
		return;
	}
	b->pkt[i] = meta->pkt;
	b->sa[i] = meta->sa ? sad_by_ref(w->dp->sad, meta->sa) : NULL;
	b->in_sa[i] = meta->in_sa ? sad_by_ref(w->dp->sad, meta->in_sa) : NULL;
	b->next[i] = meta->kind == PKT_KIND_ESP_IN ? NEXT_ESP_IN : NEXT_ESP_OUT;
	if (!b->sa[i])
		burst_drop(b, i, DROP_NO_SA);
}

void pipeline_from_worker(struct worker *w, struct rte_mbuf **m, unsigned int n)
{
	struct burst *b = &w->burst;

	b->n = (uint16_t)n;
	for (unsigned int i = 0; i < n; i++) {
		b->m[i] = m[i];
		handed_over(w, b, i);
	}
	known_begin(w, b);
	stages_run(w, b, inbound + N_LINK_STAGES, N_STAGES(inbound) - N_LINK_STAGES);
	stages_run(w, b, outbound, N_STAGES(outbound));
}

/* An IP packet at mtod that main made or kept: it has been through the SPD. */
static void to_be_routed(struct burst *b, unsigned int i)
{
	enum drop_reason why = parse_ip(
		rte_pktmbuf_mtod(b->m[i], uint8_t *), rte_pktmbuf_data_len(b->m[i]), &b->pkt[i]);

	b->pkt[i].l3_off = 0;
	b->next[i] = NEXT_ROUTE;
	if (why != DROP_NONE)
		burst_drop(b, i, why);
}

void pipeline_from_main(struct worker *w, struct rte_mbuf **m, unsigned int n)
{
	struct burst *b = &w->burst;

	b->n = (uint16_t)n;
	b->may_learn = 0; /* its packets have not come all the way */
	for (unsigned int i = 0; i < n; i++) {
		const struct pkt_meta *meta = pkt_meta(m[i]);

		b->m[i] = m[i];
		slot_clear(b, i);
		b->port[i] = meta->port;
		b->next[i] = NEXT_NONE;
		b->pkt[i].flags = 0;
		if (meta->kind == PKT_KIND_ROUTE)
			to_be_routed(b, i);
	}
	stage_host_input(w, b);
	reassemble(w, b); /* all frames of the host come by this worker */
	stages_run(w, b, outbound, N_STAGES(outbound));
}

unsigned int pipeline_tick(struct worker *w)
{
	if (w->ctx.now_s != w->expire_s) {
		w->expire_s = w->ctx.now_s;
		reassembly_expire(&w->ctx, w->reassembly);
	}
	return 0;
}

int pipeline_init(struct worker *w)
{
	struct reassembly_config c = {
		.hash_seed = w->dp->reassembly_seed,
		.big_pool = w->dp->big_pool,
	};

	w->reassembly = reassembly_create(&c);
	return w->reassembly ? 0 : -1;
}

void pipeline_fini(struct worker *w)
{
	if (w->reassembly)
		reassembly_destroy(w->reassembly);
	w->reassembly = NULL;
}

const char *pipeline_stage_name(unsigned int i, const char **text, bool *is_inbound)
{
	const struct stage *s = NULL;

	*is_inbound = i < N_STAGES(inbound);
	if (*is_inbound)
		s = &inbound[i];
	else if (i - N_STAGES(inbound) < N_STAGES(outbound))
		s = &outbound[i - N_STAGES(inbound)];
	*text = s ? s->text : NULL;
	return s ? s->name : NULL;
}
