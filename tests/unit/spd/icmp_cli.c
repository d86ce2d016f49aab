#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/burst.h"
#include "dataplane/icmp_error.h"
#include "dataplane/parse.h"
#include "shared/bytes.h"

/*
 * Reads lines "KIND MTU SOURCE PACKET" (KIND an icmp_error_kind, the others but MTU in hex) and
 * writes for each the error about that packet in hex, or "-" when none may be sent.
 */

static size_t unhex(const char *text, uint8_t *out, size_t cap)
{
	size_t n = strlen(text) / 2;

	return n <= cap && bytes_from_hex(text, out, n) ? n : 0;
}

int main(void)
{
	static char line[200000], source[64], packet[140000];
	static uint8_t src[16], ip[65535], out[ICMP_ERROR_MAX];
	unsigned kind, mtu;

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct icmp_error error = {.ip_id = 77, .src = src};
		struct pkt_info pkt = {0};
		size_t len, n;

		if (sscanf(line, "%u %u %63s %139999s", &kind, &mtu, source, packet) != 4)
			return 1;
		error.kind = kind;
		error.mtu = mtu;
		unhex(source, src, sizeof(src));
		len = unhex(packet, ip, sizeof(ip));
		if (parse_ip(ip, len, &pkt) != DROP_NONE)
			return 1;
		n = icmp_error_build(ip, &pkt, &error, out, sizeof(out));
		for (size_t i = 0; i < n; i++)
			printf("%02x", out[i]);
		printf(n == 0 ? "-\n" : "\n");
	}
	return 0;
}
