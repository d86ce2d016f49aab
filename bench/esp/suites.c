#include "bench/esp/suites.h"

#include <string.h>

static const struct {
	const char *name;
	uint16_t encr_id, key_len, integ_id;
} suite_names[] = {
	{"cbc256-sha256", ENCR_AES_CBC, 32, INTEG_HMAC_SHA2_256_128},
	{"cbc256-sha512", ENCR_AES_CBC, 32, INTEG_HMAC_SHA2_512_256},
	{"gcm128", ENCR_AES_GCM_16, 16, INTEG_NONE},
	{"gcm256", ENCR_AES_GCM_16, 32, INTEG_NONE},
	{"chacha20", ENCR_CHACHA20_POLY1305, 32, INTEG_NONE},
};

const struct suite *suite_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(suite_names) / sizeof(suite_names[0]); i++)
		if (strcmp(suite_names[i].name, name) == 0)
			return suite_find(suite_names[i].encr_id, suite_names[i].key_len,
				suite_names[i].integ_id);
	return NULL;
}
