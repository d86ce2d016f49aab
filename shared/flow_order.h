#pragma once

#include "ipc/messages.h"

/*
 * The order in which ipsecctl lists flows (OpenBSD's kernel walks a radix tree over the bytes of
 * direction, source, destination, protocol and ports): IPv4 before IPv6; `in` before `out`;
 * source address, destination address, protocol, source port, destination port; of equal bytes
 * the shorter masks first. For qsort-like use: <0, 0, >0.
 */
int flow_list_compare(const struct ipc_flow *a, const struct ipc_flow *b);
