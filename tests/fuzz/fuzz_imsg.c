#include <stdint.h>
#include <string.h>

#include "controlplane/iked/conf_serial.h"
#include "controlplane/iked/messages.h"

/* A record between two processes; the first byte chooses sender and receiver, the second whether
 * a descriptor came along. A configuration is read as the engine would. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imsg_rules rules;
	struct imsg msg;

	if (size < 2)
		return 0;
	rules = messages_rules((enum iked_role)(data[0] % IKED_N_ROLES),
		(enum iked_role)(data[0] / IKED_N_ROLES % IKED_N_ROLES));
	if (imsg_parse(data + 2, size - 2, data[1] & 1 ? 5 : -1, &rules, &msg) != IMSG_OK)
		return 0;
	if (msg.body + msg.len != data + size || !imsg_rule_find(&rules, msg.type))
		__builtin_trap();
	if (msg.type == MSG_CONFIG_CHUNK)
		conf_serial_free(conf_serial_read(msg.body, msg.len));
	return 0;
}
