#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/esp_in.h"
#include "dataplane/esp_out.h"
#include "dataplane/esp_wire.h"
#include "tests/unit/esp/esp_bench.h"

/*
 * ESP input. Most packets of a fuzzer die at the ICV, so the input is used twice: as an outer
 * packet as it is, and as what a peer with the right key put into ESP (text with its trailer),
 * signed with NULL encryption, in tunnel and in transport mode. The first byte chooses.
 */
struct target {
	struct bench bench;
	struct burst burst;
	struct sa_hot *in[2], *out[2]; /* tunnel, transport */
	const void *seen[4]; /* EAL's memory is not searched for pointers to what is live */
};

static struct target *target_create(void)
{
	struct target *t = calloc(1, sizeof(*t));
	char prefix[32];
	snprintf(prefix, sizeof(prefix), "espfuzz%d", (int)getpid());
	if (!t || bench_eal_init(prefix) != 0 || bench_init(&t->bench, "auto") != 0)
		abort();
	for (unsigned int i = 0; i < 2; i++) {
		struct bench_sa p = {
			.suite = suite_find(ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128),
			.spi = 0x1000 + i,
			.is_transport = i == 1,
		};
		t->in[i] = bench_sa_in(&t->bench, &p);
		t->out[i] = bench_sa_out(&t->bench, &p);
		if (!t->in[i] || !t->out[i])
			abort();
		t->seen[i] = t->in[i]->cold;
		t->seen[2 + i] = t->out[i]->cold;
	}
	return t;
}

static void input(struct target *t, const uint8_t *ip, size_t len)
{
	struct burst *b = &t->burst;
	bench_set_in(&t->bench, b, ip, len);
	sad_lookup(&t->bench.w, b);
	esp_in(&t->bench.w, b);
	for (unsigned int i = 0; i < b->n; i++) {
		if (b->next[i] != NEXT_SPD_IN)
			continue;
		const struct pkt_info *p = &b->pkt[i];
		/* What goes on is whole and described within its bytes. */
		if (p->len != b->m[i]->data_len || p->l4_off > p->len || p->ip_hdr_len > p->len)
			abort();
	}
	bench_clear(b);
}

static void input_signed(struct target *t, unsigned int which, const uint8_t *text, size_t len)
{
	uint8_t packet[2048];
	struct sa_hot *out = t->out[which];
	len &= ~(size_t)3;
	if (len == 0 || len > 1400)
		return;
	memcpy(packet,
		(uint8_t[]){
			0x45, 0, 0, 0, 0, 0, 0, 0, 64, PROTO_ESP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2},
		20);
	packet[1] = (uint8_t)(len >> 2 & 3);
	put_u16(packet + 2, (uint16_t)(28 + len + 16));
	put_u16(packet + 10, ip4_checksum(packet, 20));
	put_u32(packet + 20, out->spi);
	put_u32(packet + 24, (uint32_t)out->seqno.next++);
	memcpy(packet + 28, text, len);
	struct crypto_op op = {.suite = out->suite,
		.keys = out->keys,
		.esp = packet + 20,
		.text = packet + 28,
		.text_len = (uint32_t)len};
	crypto_mb_encrypt(t->bench.w.crypto, &op, 1);
	input(t, packet, 28 + len + 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target *t;
	if (!t)
		t = target_create();
	if (size < 2 || size > 4096)
		return 0;
	if (data[0] % 3 == 0)
		input(t, data + 1, size - 1);
	else
		input_signed(t, data[0] % 3 - 1, data + 1, size - 1);
	return 0;
}
