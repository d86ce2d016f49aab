#pragma once

#include <stddef.h>

/* The processes of penstock-iked: one of each, but of ike as many as there are engines. */
enum iked_role {
	IKED_PARENT = 0,
	IKED_KEY,
	IKED_IKE,
	IKED_CONTROL,
	IKED_N_ROLES,
};

const char *iked_role_str(enum iked_role role);
/* -1 if the word is no child's. */
int iked_role_parse(const char *word);
