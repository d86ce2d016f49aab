#include "dataplane/mss.h"

#include "dataplane/burst.h"

#define TCP_SYN 0x02
#define TCP_MIN 20
#define MSS_MIN4 536 /* RFC 9293 3.7.1 */
#define MSS_MIN6 1220

static uint16_t be16(const uint8_t *b)
{
	return b[0] << 8 | b[1];
}

/* RFC 1624 3. A word at an odd offset counts with its bytes exchanged. */
static void checksum_mend(uint8_t *sum_at, uint16_t before, uint16_t after, bool is_odd)
{
	uint32_t sum;

	if (is_odd) {
		before = before << 8 | before >> 8;
		after = after << 8 | after >> 8;
	}
	sum = (uint32_t)(be16(sum_at) ^ 0xffff) + (before ^ 0xffff) + after;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum ^= 0xffff;
	sum_at[0] = sum >> 8;
	sum_at[1] = sum & 0xff;
}

static bool option_clamp(uint8_t *tcp, uint32_t at, uint16_t limit)
{
	uint16_t before = be16(tcp + at + 2);

	if (before <= limit)
		return false;
	tcp[at + 2] = limit >> 8;
	tcp[at + 3] = limit & 0xff;
	checksum_mend(tcp + 16, before, limit, (at & 1) != 0);
	return true;
}

bool mss_clamp(uint8_t *ip, const struct pkt_info *pkt, uint16_t mtu)
{
	const uint16_t headers = (pkt->family == 4 ? 20 : 40) + TCP_MIN;
	const uint16_t least = pkt->family == 4 ? MSS_MIN4 : MSS_MIN6;
	uint32_t off = pkt->l4_off - pkt->l3_off, data_off;
	uint8_t *tcp = ip + off;
	uint16_t limit;

	if (pkt->proto != 6 || (pkt->flags & PKT_L4_OK) == 0 || mtu <= headers)
		return false;
	if ((tcp[13] & TCP_SYN) == 0)
		return false;
	data_off = (tcp[12] >> 4) * 4u;
	if (data_off > pkt->len - off)
		return false;
	limit = mtu - headers < least ? least : mtu - headers;
	for (uint32_t at = TCP_MIN; at < data_off;) {
		if (tcp[at] == 0)
			break;
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		if (at + 1 >= data_off || tcp[at + 1] < 2 || tcp[at + 1] > data_off - at)
			break;
		if (tcp[at] == 2 && tcp[at + 1] == 4)
			return option_clamp(tcp, at, limit);
		at += tcp[at + 1];
	}
	return false;
}
