#include "dataplane/drop.h"

static const struct {
	const char *name, *text;
} reasons[DROP_N] = {
#define DROP_ROW(id, name, text) [DROP_##id] = {name, text},
	DROP_REASONS(DROP_ROW)
#undef DROP_ROW
};

const char *drop_name(enum drop_reason r)
{
	return (unsigned int)r < DROP_N ? reasons[r].name : "?";
}

const char *drop_text(enum drop_reason r)
{
	return (unsigned int)r < DROP_N ? reasons[r].text : "?";
}
