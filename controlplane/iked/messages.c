#include "controlplane/iked/messages.h"

#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define NO_BODY 0, 0
#define EXACT(type) sizeof(type), sizeof(type)
#define WITH_BYTES(type) sizeof(type), IMSG_BODY_MAX
#define BYTES 0, IMSG_BODY_MAX

static const char *const role_names[IKED_N_ROLES] = {"parent", "key", "ike", "control"};

const char *iked_role_str(enum iked_role role)
{
	return (unsigned int)role < IKED_N_ROLES ? role_names[role] : "?";
}

int iked_role_parse(const char *word)
{
	for (int i = IKED_KEY; i < IKED_N_ROLES; i++) {
		if (strcmp(word, role_names[i]) == 0)
			return i;
	}
	return -1;
}

static const struct imsg_rule parent_to_key[] = {
	{MSG_PEER, "peer", EXACT(struct msg_peer), true},
	{MSG_LOG_LEVEL, "log level", EXACT(uint32_t), false},
	{MSG_STOP, "stop", NO_BODY, false},
	{MSG_KEY_BEGIN, "key begin", EXACT(uint32_t), false},
	{MSG_KEY_PRIVATE, "key private", BYTES, false},
	{MSG_KEY_PSK, "key psk", WITH_BYTES(struct msg_psk), false},
	{MSG_KEY_COMMIT, "key commit", NO_BODY, false},
	{MSG_KEY_FORGET, "key forget", EXACT(uint32_t), false},
};

static const struct imsg_rule parent_to_ike[] = {
	{MSG_PEER, "peer", EXACT(struct msg_peer), true},
	{MSG_LOG_LEVEL, "log level", EXACT(uint32_t), false},
	{MSG_STOP, "stop", NO_BODY, false},
	{MSG_SETUP, "setup", EXACT(struct msg_setup), false},
	{MSG_CONFIG_BEGIN, "config begin", EXACT(struct msg_config_begin), false},
	{MSG_CONFIG_CHUNK, "config chunk", BYTES, false},
	{MSG_CONFIG_END, "config end", NO_BODY, false},
	{MSG_CONFIG_COMMIT, "config commit", EXACT(uint32_t), false},
	{MSG_UDP_SOCKET, "udp socket", EXACT(struct msg_udp_socket), true},
	{MSG_LOCAL_ADDR, "local address", EXACT(struct ipc_addr_event), false},
	{MSG_ESPD_SOCKET, "espd socket", NO_BODY, true},
	{MSG_ESPD_FAILED, "espd failed", BYTES, false},
	{MSG_PUBKEY, "pubkey", WITH_BYTES(struct msg_pubkey), false},
};

static const struct imsg_rule parent_to_control[] = {
	{MSG_PEER, "peer", EXACT(struct msg_peer), true},
	{MSG_LOG_LEVEL, "log level", EXACT(uint32_t), false},
	{MSG_STOP, "stop", NO_BODY, false},
	{MSG_CTL_SOCKET, "ctl socket", EXACT(uint32_t), true},
	{MSG_CTL_REPLY, "ctl reply", WITH_BYTES(struct msg_ctl), false},
	{MSG_CTL_EVENT, "ctl event", EXACT(struct ctl_event), false},
};

static const struct imsg_rule key_to_parent[] = {
	{MSG_LOG, "log", sizeof(uint32_t), 4096, false},
	{MSG_READY, "ready", NO_BODY, false},
	{MSG_KEY_LOADED, "key loaded", WITH_BYTES(struct msg_key_loaded), false},
};

static const struct imsg_rule ike_to_parent[] = {
	{MSG_LOG, "log", sizeof(uint32_t), 4096, false},
	{MSG_READY, "ready", NO_BODY, false},
	{MSG_CONFIG_DONE, "config done", WITH_BYTES(struct msg_config_done), false},
	{MSG_ESPD_WANTED, "espd wanted", NO_BODY, false},
	{MSG_PUBKEY_REQUEST, "pubkey request", EXACT(struct msg_pubkey_request), false},
	{MSG_STOPPED, "stopped", NO_BODY, false},
};

static const struct imsg_rule control_to_parent[] = {
	{MSG_LOG, "log", sizeof(uint32_t), 4096, false},
	{MSG_READY, "ready", NO_BODY, false},
	{MSG_CTL_REQUEST, "ctl request", sizeof(struct msg_ctl),
		sizeof(struct msg_ctl) + CTL_BODY_MAX, false},
};

static const struct imsg_rule ike_to_key[] = {
	{MSG_AUTH_REQUEST, "auth request", WITH_BYTES(struct msg_auth_request), false},
};

static const struct imsg_rule key_to_ike[] = {
	{MSG_AUTH, "auth", WITH_BYTES(struct msg_auth), false},
};

static const struct imsg_rule control_to_ike[] = {
	{MSG_CTL_REQUEST, "ctl request", sizeof(struct msg_ctl),
		sizeof(struct msg_ctl) + CTL_BODY_MAX, false},
};

static const struct imsg_rule ike_to_control[] = {
	{MSG_CTL_REPLY, "ctl reply", WITH_BYTES(struct msg_ctl), false},
	{MSG_CTL_EVENT, "ctl event", EXACT(struct ctl_event), false},
};

static const struct imsg_rule ike_to_ike[] = {
	{MSG_SESSION, "session", EXACT(struct msg_session), false},
	{MSG_SESSION_QUERY, "session query", NO_BODY, false},
	{MSG_SESSION_ACQUIRE, "session acquire", EXACT(struct msg_session_acquire), false},
	{MSG_DATAGRAM, "datagram", WITH_BYTES(struct msg_datagram), false},
};

#define PAIR(from, to, table) [from][to] = {table, N(table)}

static const struct imsg_rules pairs[IKED_N_ROLES][IKED_N_ROLES] = {
	PAIR(IKED_PARENT, IKED_KEY, parent_to_key),
	PAIR(IKED_PARENT, IKED_IKE, parent_to_ike),
	PAIR(IKED_PARENT, IKED_CONTROL, parent_to_control),
	PAIR(IKED_KEY, IKED_PARENT, key_to_parent),
	PAIR(IKED_IKE, IKED_PARENT, ike_to_parent),
	PAIR(IKED_CONTROL, IKED_PARENT, control_to_parent),
	PAIR(IKED_IKE, IKED_KEY, ike_to_key),
	PAIR(IKED_KEY, IKED_IKE, key_to_ike),
	PAIR(IKED_CONTROL, IKED_IKE, control_to_ike),
	PAIR(IKED_IKE, IKED_CONTROL, ike_to_control),
	PAIR(IKED_IKE, IKED_IKE, ike_to_ike),
};

struct imsg_rules messages_rules(enum iked_role from, enum iked_role to)
{
	return pairs[from][to];
}
