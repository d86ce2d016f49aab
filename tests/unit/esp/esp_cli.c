/*
 * ESP for tests in other languages: reads commands from standard input, a line each, and answers
 * each with a line.
 *
 * The argument is an architecture of intel-ipsec-mb (crypto_arch_parse).
 *   sa in|out tunnel|transport ENCR KEYLEN INTEG ENCKEY INTEGKEY SPI esn|noesn
 *      LOCAL LPORT REMOTE RPORT MTU SEQ           one SA a direction; ports 0: no UDP
 *   enc HEX        an IP packet; answers `pkt HEX` or `drop NAME`, `icmp MTU`
 *   dec HEX        an outer IP packet; answers the same
 *   encn N HEX     the packet N times in one burst; the last answer counts
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/esp_in.h"
#include "dataplane/esp_out.h"
#include "shared/bytes.h"
#include "tests/unit/esp/esp_bench.h"

struct cli {
	struct bench bench;
	struct sa_hot *in, *out;
};

static int hex_read(const char *text, uint8_t *out, size_t cap)
{
	size_t n = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;

	if (n > cap || !bytes_from_hex(text, out, n))
		return -1;
	return n && text[2 * n] ? -1 : (int)n;
}

static const char *add_sa(struct cli *c, char **arg, unsigned int n)
{
	uint8_t enc[128], integ[128];
	struct endpoint local, remote;
	if (n != 15)
		return "sa: wrong number of words";
	bool is_out = strcmp(arg[0], "out") == 0;
	int enc_len = hex_read(arg[5], enc, sizeof(enc));
	int integ_len = hex_read(arg[6], integ, sizeof(integ));
	const struct suite *s = suite_find(
		(uint16_t)atoi(arg[2]), (uint16_t)atoi(arg[3]), (uint16_t)atoi(arg[4]));
	if (!s || enc_len < 0 || integ_len < 0 || addr_parse(arg[9], &local.addr) != 0 ||
		addr_parse(arg[11], &remote.addr) != 0)
		return "sa: bad suite, key or address";
	local.port = (uint16_t)atoi(arg[10]);
	remote.port = (uint16_t)atoi(arg[12]);
	uint64_t seq = strtoull(arg[14], NULL, 0);
	struct path *path = path_create(
		&local, &remote, local.port ? PATH_UDP : 0, (uint16_t)atoi(arg[13]));
	if (!path)
		return "sa: bad path";
	path->nexthop = c->bench.hop;
	struct sa_params p = {
		.spi = (uint32_t)strtoul(arg[7], NULL, 0),
		.is_outbound = is_out,
		.is_tunnel = strcmp(arg[1], "tunnel") == 0,
		.has_esn = strcmp(arg[8], "esn") == 0,
		.suite = s,
		.enc_key = enc,
		.enc_key_len = (size_t)enc_len,
		.integ_key = integ,
		.integ_key_len = (size_t)integ_len,
		.window = REPLAY_WINDOW_DEFAULT,
		.path = path,
		.seq_first = is_out ? seq : 0,
		.reserved_end = seq + SEQNO_BLOCK,
		.replay_floor = is_out || seq < 2 ? 0 : seq - 1,
	};
	struct sa_hot **at = is_out ? &c->out : &c->in;
	if (*at)
		bench_sa_remove(&c->bench, *at);
	*at = NULL;
	if (sa_create(&p, crypto_mb_manager(c->bench.w.crypto), at) != SAD_OK)
		return "sa: refused";
	if (sad_publish(c->bench.w.sad, *at) != SAD_OK)
		return "sa: not published";
	return NULL;
}

static void answer(const struct burst *b, unsigned int i)
{
	if (b->next[i] == NEXT_ICMP) {
		printf("icmp %u\n", b->mtu[i]);
	} else if (b->next[i] == NEXT_DROP) {
		printf("drop %s\n", drop_name(b->drop[i]));
	} else {
		const uint8_t *p = rte_pktmbuf_mtod(b->m[i], const uint8_t *);
		printf("pkt ");
		for (unsigned int j = 0; j < b->m[i]->pkt_len; j++)
			printf("%02x", p[j]);
		printf("\n");
	}
}

static void run(struct cli *c, struct burst *b, bool is_out, unsigned int count, const char *hex)
{
	static uint8_t data[16384];
	int len = hex_read(hex, data, sizeof(data));
	if (len <= 0 || count == 0 || count > BURST_MAX || (is_out && !c->out)) {
		printf("error bad packet or no SA\n");
		return;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (is_out)
			bench_set_out(&c->bench, b, c->out, data, (size_t)len);
		else
			bench_set_in(&c->bench, b, data, (size_t)len);
	}
	if (is_out) {
		esp_out(&c->bench.w, b);
	} else {
		sad_lookup(&c->bench.w, b);
		esp_in(&c->bench.w, b);
	}
	answer(b, b->n - 1);
	bench_clear(b);
}

static void command(struct cli *c, struct burst *b, char *line)
{
	char *word[20];
	unsigned int n = 0;
	for (char *w = strtok(line, " \n"); w && n < 20; w = strtok(NULL, " \n"))
		word[n++] = w;
	const char *error = "unknown command";
	if (n > 1 && strcmp(word[0], "sa") == 0) {
		error = add_sa(c, word + 1, n - 1);
	} else if (n == 2 && strcmp(word[0], "enc") == 0) {
		run(c, b, true, 1, word[1]);
		return;
	} else if (n == 3 && strcmp(word[0], "encn") == 0) {
		run(c, b, true, (unsigned int)atoi(word[1]), word[2]);
		return;
	} else if (n == 2 && strcmp(word[0], "dec") == 0) {
		run(c, b, false, 1, word[1]);
		return;
	}
	printf(error ? "error %s\n" : "ok\n", error);
}

int main(int argc, char **argv)
{
	static struct cli c;
	static struct burst b;
	static char line[65536];
	char prefix[32];
	snprintf(prefix, sizeof(prefix), "espcli%d", (int)getpid());
	if (bench_eal_init(prefix) != 0)
		return 1;
	if (bench_init(&c.bench, argc > 1 ? argv[1] : "auto") != 0)
		return 77;
	while (fgets(line, sizeof(line), stdin)) {
		command(&c, &b, line);
		fflush(stdout);
	}
	bench_fini(&c.bench);
	return 0;
}
