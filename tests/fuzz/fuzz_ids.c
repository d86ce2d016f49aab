#include <stdlib.h>
#include <string.h>

#include "shared/ids.h"

/*
 * First byte: the type; the rest: the identity as on the wire, printed and compared with itself
 * and its neighbour. The same bytes are then read as text of a configuration.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ike_id a = {0}, b;
	char text[IKE_ID_STRLEN], conf[IKE_ID_MAXLEN + 8];

	if (size == 0 || size - 1 > IKE_ID_MAXLEN)
		return 0;
	a.type = data[0];
	a.len = (uint16_t)(size - 1);
	memcpy(a.data, data + 1, size - 1);
	b = a;
	if (strlen(ike_id_str(&a, text)) >= IKE_ID_STRLEN || !ike_id_equal(&a, &b))
		abort();
	if (b.len > 0) {
		b.data[b.len / 2] ^= 1;
		if (ike_id_equal(&a, &b) != ike_id_equal(&b, &a))
			abort();
	}
	memcpy(conf, data + 1, size - 1);
	conf[size - 1] = '\0';
	if (ike_id_parse(conf, &b) == 0 && (b.len == 0 || b.len > IKE_ID_MAXLEN))
		abort();
	return 0;
}
