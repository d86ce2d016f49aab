#include "dataplane/mss.h"

#include "dataplane/burst.h"

#define TCP_SYN 0x02
#define TCP_MIN 20
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_AO 29
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

/* Where the MSS option stands behind tcp; 0: none that may be changed, or broken options. */
static uint32_t option_find(const uint8_t *tcp, uint32_t data_off)
{
	uint32_t found = 0;

	for (uint32_t at = TCP_MIN; at < data_off;) {
		if (tcp[at] == OPTION_END)
			break;
		if (tcp[at] == OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 1 >= data_off || tcp[at + 1] < 2 || tcp[at + 1] > data_off - at)
			break;
		if (tcp[at] == OPTION_AO) /* RFC 5925 5.1: its MAC covers the other options */
			return 0;
		if (tcp[at] == OPTION_MSS && tcp[at + 1] == 4 && found == 0)
			found = at;
		at += tcp[at + 1];
	}
	return found;
}

bool mss_is_syn(const uint8_t *ip, const struct pkt_info *pkt)
{
	return pkt->proto == 6 && pkt->flags & PKT_L4_OK &&
	       ip[pkt->l4_off - pkt->l3_off + 13] & TCP_SYN;
}

bool mss_clamp(uint8_t *ip, const struct pkt_info *pkt, uint16_t mtu)
{
	const uint16_t headers = (pkt->family == 4 ? 20 : 40) + TCP_MIN;
	const uint16_t least = pkt->family == 4 ? MSS_MIN4 : MSS_MIN6;
	uint32_t off = pkt->l4_off - pkt->l3_off, data_off, at;
	uint8_t *tcp = ip + off;

	if (!mss_is_syn(ip, pkt) || mtu <= headers)
		return false;
	data_off = (tcp[12] >> 4) * 4u;
	if (data_off > pkt->len - off)
		return false;
	at = option_find(tcp, data_off);
	return at && option_clamp(tcp, at, mtu - headers < least ? least : mtu - headers);
}
