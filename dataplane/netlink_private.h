#pragma once

#include <libmnl/libmnl.h>

#include "dataplane/netlink.h"

#define NETLINK_REQUEST_LEN 1024 /* bytes of the longest request */
#define NETLINK_READ_LEN 32768   /* of one read: the kernel sends dumps in such portions */

struct netlink {
	struct mnl_socket *events, *requests;
	struct netlink_ops ops;
	uint32_t seq;
};

/* Sends a request, reads its answers up to the acknowledgement or the dump's end. 0 or -errno. */
int netlink_request(struct netlink *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *ctx);
