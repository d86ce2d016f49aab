#include "dataplane/nft_check.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#define READ_LEN 32768

struct chain_attrs {
	const struct nlattr *at[NFTA_CHAIN_MAX + 1];
};

static int attr_cb(const struct nlattr *a, void *ctx)
{
	struct chain_attrs *t = ctx;

	if (mnl_attr_get_type(a) <= NFTA_CHAIN_MAX)
		t->at[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static uint32_t hook_number(const struct nlattr *hook)
{
	struct nlattr *a;

	mnl_attr_for_each_nested(a, hook)
	{
		if (mnl_attr_get_type(a) == NFTA_HOOK_HOOKNUM)
			return ntohl(mnl_attr_get_u32(a));
	}
	return UINT32_MAX;
}

static int chain_cb(const struct nlmsghdr *nlh, void *ctx)
{
	const struct logger *log = ctx;
	struct chain_attrs t = {{0}};
	const char *type = "";

	mnl_attr_parse(nlh, sizeof(struct nfgenmsg), attr_cb, &t);
	if (!t.at[NFTA_CHAIN_HOOK] || !t.at[NFTA_CHAIN_NAME] || !t.at[NFTA_CHAIN_TABLE])
		return MNL_CB_OK; /* no base chain */
	if (t.at[NFTA_CHAIN_TYPE])
		type = mnl_attr_get_str(t.at[NFTA_CHAIN_TYPE]);
	if (hook_number(t.at[NFTA_CHAIN_HOOK]) == NF_INET_FORWARD || strcmp(type, "nat") == 0)
		log_warn(log,
			"nftables: chain %s of table %s (%s): forwarded packets do not pass it",
			mnl_attr_get_str(t.at[NFTA_CHAIN_NAME]),
			mnl_attr_get_str(t.at[NFTA_CHAIN_TABLE]), type);
	return MNL_CB_OK;
}

static void family_check(struct mnl_socket *s, uint8_t family, const struct logger *log)
{
	char buf[READ_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;
	ssize_t n;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	memset(g, 0, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		return;
	while ((n = mnl_socket_recvfrom(s, buf, sizeof(buf))) > 0) {
		if (mnl_cb_run(buf, (size_t)n, 0, 0, chain_cb, (void *)(uintptr_t)log) <=
			MNL_CB_STOP)
			return;
	}
}

void nft_check(const struct logger *log)
{
	static const uint8_t families[] = {NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6};
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);

	if (s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0) {
		for (size_t i = 0; i < sizeof(families); i++)
			family_check(s, families[i], log);
	}
	if (s)
		mnl_socket_close(s);
}
