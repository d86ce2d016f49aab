#include <stdint.h>
#include <string.h>

#include "controlplane/ctl/protocol.h"

/* Both directions of the control protocol: what is accepted lies inside the record. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size, int result, const struct ctl_message *message)
{
	volatile uint8_t sum = 0;

	if (result != CTL_OK)
		return;
	if (message->body < data || message->body + message->body_len != data + size)
		__builtin_trap();
	for (size_t i = 0; i < message->body_len; i++)
		sum = (uint8_t)(sum + message->body[i]);
	if (strlen(ctl_type_str(message->type)) == 0)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctl_message message = {0};

	check(data, size, ctl_request_parse(data, size, &message), &message);
	check(data, size, ctl_reply_parse(data, size, &message), &message);
	return 0;
}
