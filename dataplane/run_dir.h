#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Makes the run directory espd's user's, before anything in it is opened: it and what an espd of
 * root left there change hands. A directory with anything else in it is refused, as is one that
 * somebody else may write to. 0, or -1 with a text in err.
 */
int run_dir_prepare(const char *dir, uid_t uid, char *err, size_t cap)
	__attribute__((warn_unused_result));
