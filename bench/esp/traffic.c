#include "bench/esp/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/random.h"
#include "dataplane/crypto_mb.h"
#include "dataplane/esp_wire.h"
#include "dataplane/sad.h"

#define ETH_LEN 14
#define IP_LEN 20
#define FRAME_MAX 2048

/* What makes the frames of one lap. */
struct maker {
	const struct gateway *g;
	FILE *out;
	uint32_t *seq;        /* last number, a tunnel */
	struct sa_keys *keys; /* scratch */
	size_t keys_len;
	int owner;      /* packets of this worker's SAs alone; -1: of all */
	uint64_t state; /* of the random numbers */
};

static void put_ip4(uint8_t *ip, uint16_t len, uint8_t proto, uint32_t src, uint32_t dst)
{
	memset(ip, 0, IP_LEN);
	ip[0] = 0x45;
	put_u16(ip + 2, len);
	ip[8] = 64;
	ip[9] = proto;
	put_u32(ip + 12, src);
	put_u32(ip + 16, dst);
	put_u16(ip + 10, ip4_checksum(ip, IP_LEN));
}

static void put_inner(const struct gateway *g, uint8_t *ip, uint16_t len, uint32_t tunnel)
{
	uint32_t host = gateway_host(tunnel);
	bool is_in = g->config.is_inbound;

	put_ip4(ip, len, PROTO_UDP, is_in ? host : GATEWAY_INNER, is_in ? GATEWAY_INNER : host);
	put_u16(ip + 20, (uint16_t)(1024 + tunnel % 50000));
	put_u16(ip + 22, 5001);
	put_u16(ip + 24, (uint16_t)(len - IP_LEN));
	put_u16(ip + 26, 0);
	for (uint32_t k = 28; k < len; k++)
		ip[k] = (uint8_t)(k * 31 + tunnel);
}

uint32_t lap_text_len(const struct suite *s, uint32_t inner_len)
{
	return (inner_len + 2 + s->align - 1) / s->align * s->align;
}

/* ESP of tunnel i around an inner packet of len bytes, from the outer IP header on. */
static uint32_t put_esp_packet(struct maker *k, uint8_t *ip, uint16_t len, uint32_t i)
{
	const struct suite *s = k->g->config.suite;
	uint8_t enc[GATEWAY_KEY_MAX], integ[GATEWAY_KEY_MAX];
	uint32_t text_len = lap_text_len(s, len), pad_len = text_len - 2 - len;
	uint32_t all = IP_LEN + ESP_HDR_LEN + s->iv_len + text_len + s->icv_len;
	uint8_t *esp = ip + IP_LEN, *text = esp + ESP_HDR_LEN + s->iv_len;
	struct crypto_mb *c = k->g->worker->ctx.crypto;

	put_ip4(ip, (uint16_t)all, PROTO_ESP, gateway_peer(i), GATEWAY_OUTER);
	put_u32(esp, gateway_spi(k->g, i));
	put_u32(esp + 4, ++k->seq[i]);
	crypto_mb_iv(c, esp + ESP_HDR_LEN, s->iv_len);
	put_inner(k->g, text, len, i);
	for (uint32_t j = 0; j < pad_len; j++)
		text[len + j] = (uint8_t)(j + 1);
	text[text_len - 2] = (uint8_t)pad_len;
	text[text_len - 1] = PROTO_IPV4;
	gateway_keys(s, i, enc, integ);
	memset(k->keys, 0, k->keys_len);
	if (suite_keys_init(s, crypto_mb_manager(c), true, enc, (size_t)s->key_len + s->salt_len,
		    integ, s->integ_key_len, k->keys) != 0)
		return 0;
	crypto_mb_encrypt(c,
		&(struct crypto_op){.suite = s,
			.keys = k->keys,
			.esp = esp,
			.text = text,
			.text_len = text_len,
			.has_esn = k->g->config.has_esn},
		1);
	return all;
}

static int put_frame(struct maker *k, uint16_t len, uint32_t tunnel)
{
	uint8_t frame[FRAME_MAX] = {[6] = 0x02, [11] = 9};
	uint32_t n = ETH_LEN + len;

	memcpy(frame, gateway_mac, sizeof(gateway_mac));
	frame[12] = 0x08;
	if (k->g->config.is_inbound)
		n = ETH_LEN + put_esp_packet(k, frame + ETH_LEN, len, tunnel);
	else
		put_inner(k->g, frame + ETH_LEN, len, tunnel);
	uint32_t head[4] = {0, 0, n, n};
	return n > ETH_LEN && fwrite(head, sizeof(head), 1, k->out) == 1 &&
			       fwrite(frame, n, 1, k->out) == 1
		       ? 0
		       : -1;
}

static uint16_t length_of(uint16_t size, uint64_t random)
{
	unsigned int k = random % 12;

	if (size != TRAFFIC_IMIX)
		return size;
	return k < 7 ? 64 : k < 11 ? 570 : 1420;
}

static uint32_t tunnel_draw(struct maker *k)
{
	const struct gateway *g = k->g;
	uint32_t i;

	do
		i = (uint32_t)((random_next(&k->state) >> 32) * g->config.n_tunnels >> 32);
	while (k->owner >= 0 && sad_owner(g->dp.sad, g->sa[i]) != k->owner);
	return i;
}

static int frames_write(struct maker *k, struct lap *lap, uint16_t size)
{
	const uint32_t head[6] = {0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, 1};

	if (fwrite(head, sizeof(head), 1, k->out) != 1)
		return -1;
	for (uint32_t i = 0; i < lap->n; i++) {
		lap->tunnel[i] = tunnel_draw(k);
		lap->len[i] = length_of(size, random_next(&k->state) >> 32);
		lap->bytes += lap->len[i];
		if (put_frame(k, lap->len[i], lap->tunnel[i]) != 0)
			return -1;
	}
	return fflush(k->out);
}

static struct lap *lap_make(struct maker *k, uint32_t n, uint16_t size)
{
	struct lap *lap = calloc(1, sizeof(*lap));
	int rc = -1;

	if (!lap)
		return NULL;
	lap->n = n / GATEWAY_BURST * GATEWAY_BURST;
	lap->tunnel = calloc(n, sizeof(*lap->tunnel));
	lap->len = calloc(n, sizeof(*lap->len));
	lap->fd = memfd_create("lap", MFD_CLOEXEC);
	snprintf(lap->path, sizeof(lap->path), "/proc/self/fd/%d", lap->fd);
	k->out = lap->fd < 0 ? NULL : fopen(lap->path, "wb");
	if (lap->tunnel && lap->len && k->out)
		rc = frames_write(k, lap, size);
	if (k->out)
		fclose(k->out);
	if (rc == 0)
		return lap;
	lap_destroy(lap);
	return NULL;
}

int laps_create(
	const struct gateway *g, uint32_t n, uint16_t size, bool is_steered, struct lap *out[])
{
	struct maker k = {.g = g};
	int rc = -1;

	k.seq = calloc(g->config.n_tunnels, sizeof(*k.seq));
	k.keys_len = sizeof(*k.keys) + suite_schedule_len(g->config.suite);
	k.keys = aligned_alloc(64, (k.keys_len + 63) / 64 * 64);
	for (uint16_t w = 0; k.seq && k.keys && w < g->dp.n_workers; w++) {
		k.owner = is_steered ? w : -1;
		k.state = 1 + w;
		out[w] = lap_make(&k, n, size);
		rc = out[w] ? 0 : -1;
		if (rc != 0)
			break;
	}
	free(k.seq);
	free(k.keys);
	return rc;
}

struct lap *lap_create(const struct gateway *g, uint32_t n, uint16_t size)
{
	struct lap *lap = NULL;

	return laps_create(g, n, size, false, &lap) == 0 ? lap : NULL;
}

void lap_destroy(struct lap *lap)
{
	if (!lap)
		return;
	if (lap->fd >= 0)
		close(lap->fd);
	free(lap->tunnel);
	free(lap->len);
	free(lap);
}
