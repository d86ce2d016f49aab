#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/icmp_error.h"
#include "dataplane/icmp_input.h"
#include "dataplane/mss.h"
#include "dataplane/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes as an IP packet, in a buffer of just their length. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t us[16] = {10, 0, 0, 1};
	struct icmp_error error = {.kind = ICMP_ERROR_TTL, .src = us};
	uint8_t out[ICMP_ERROR_MAX], *ip;
	struct pkt_info pkt = {0};
	struct spd_packet spd;
	struct icmp_pmtu pmtu;

	if (size > 65535)
		return 0;
	ip = malloc(size);
	if (size == 0 || ip == NULL) {
		free(ip);
		return 0;
	}
	memcpy(ip, data, size);
	if (parse_ip(ip, size, &pkt) == DROP_NONE) {
		if (pkt.len > size || pkt.l4_off > pkt.len)
			abort();
		parse_is_exempt(ip, &pkt);
		parse_spd_packet(ip, &pkt, &spd);
		icmp_input_pmtu(ip, &pkt, &pmtu);
		icmp_error_build(ip, &pkt, &error, out, sizeof(out));
		mss_clamp(ip, &pkt, 1400);
	}
	free(ip);
	return 0;
}
