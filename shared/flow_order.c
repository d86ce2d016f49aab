#include "shared/flow_order.h"

static int compare_u32(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

int flow_list_compare(const struct ipc_flow *a, const struct ipc_flow *b)
{
	int c = compare_u32(a->src.addr.family, b->src.addr.family);

	if (c == 0)
		c = compare_u32(a->direction, b->direction);
	if (c == 0)
		c = addr_compare(&a->src.addr, &b->src.addr);
	if (c == 0)
		c = addr_compare(&a->dst.addr, &b->dst.addr);
	if (c == 0)
		c = compare_u32(a->proto, b->proto);
	if (c == 0)
		c = compare_u32(a->src_port, b->src_port);
	if (c == 0)
		c = compare_u32(a->dst_port, b->dst_port);
	if (c == 0)
		c = compare_u32(a->src.len, b->src.len);
	if (c == 0)
		c = compare_u32(a->dst.len, b->dst.len);
	return c;
}
