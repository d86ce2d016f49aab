#include "dataplane/pmtu.h"

void pmtu_init(struct pmtu *p, uint16_t route_mtu)
{
	p->route_mtu = route_mtu;
	p->learned = 0;
	p->learned_s = 0;
}

uint16_t pmtu_get(const struct pmtu *p)
{
	return p->learned != 0 && p->learned < p->route_mtu ? p->learned : p->route_mtu;
}

bool pmtu_learn(struct pmtu *p, uint8_t family, uint16_t mtu, uint32_t now_s)
{
	const uint16_t floor = family == 4 ? PMTU_FLOOR4 : PMTU_FLOOR6;

	if (mtu < floor)
		mtu = floor;
	/* RFC 8201 4: a message never raises it. The same value again makes it last longer. */
	if (mtu > pmtu_get(p))
		return false;
	if (mtu == pmtu_get(p)) {
		if (p->learned == mtu)
			p->learned_s = now_s;
		return false;
	}
	p->learned = mtu;
	p->learned_s = now_s;
	return true;
}

bool pmtu_set_route(struct pmtu *p, uint16_t route_mtu)
{
	uint16_t before = pmtu_get(p);

	p->route_mtu = route_mtu;
	return pmtu_get(p) != before;
}

bool pmtu_age(struct pmtu *p, uint32_t now_s)
{
	uint16_t before = pmtu_get(p);

	if (p->learned == 0 || now_s - p->learned_s < PMTU_AGE_S)
		return false;
	p->learned = 0;
	return pmtu_get(p) != before;
}
