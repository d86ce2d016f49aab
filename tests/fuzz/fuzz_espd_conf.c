#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/espd_conf.h"

/* No name look-ups, and no other files than the input. */
static const struct conf_resolver nothing;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_options options = {
		.resolver = &nothing, .text = (const char *)data, .text_len = size};
	struct conf_diags diags;
	struct espd_config config;

	if (memmem(data, size, "include", 7) || memmem(data, size, "file", 4))
		return 0;
	conf_diags_init(&diags);
	(void)!espd_conf_parse("fuzz", &options, &config, &diags);
	espd_config_fini(&config);
	conf_diags_fini(&diags);
	return 0;
}
