#include "dataplane/fragment_steer.h"

#include "dataplane/parse.h"

bool fragment_needs_ports(const struct spd *spd, const struct burst *b, unsigned i)
{
	const struct pkt_info *pkt = &b->pkt[i];
	struct spd_packet p;

	parse_spd_packet(burst_l3(b, i), pkt, &p);
	p.proto = parse_fragment_proto(burst_l3(b, i), pkt);
	if (p.proto != 0 && !parse_proto_has_ports(p.proto))
		return false;
	if (b->next[i] == NEXT_SPD_IN && (pkt->flags & PKT_FROM_SA) == 0 &&
		spd_pair_has_ports(spd, IPC_DIR_IN, &p))
		return true;
	return spd_pair_has_ports(spd, IPC_DIR_OUT, &p);
}

void fragment_steer(const struct spd *spd, struct burst *b)
{
	uint64_t left = burst_mask(b, NEXT_SPD_IN) | burst_mask(b, NEXT_SPD_OUT);

	for (; left; left &= left - 1) {
		unsigned i = burst_first(left);

		if ((b->pkt[i].flags & PKT_FRAG) == 0)
			continue;
		if (!fragment_needs_ports(spd, b, i))
			continue;
		b->pkt[i].flags |= PKT_REJOIN;
		b->next[i] = NEXT_REASM;
	}
}
