#pragma once

struct espd;

/*
 * Reads espd.conf again, on SIGHUP. A file with an error changes nothing; the errors are logged
 * with file, line and column. What can be changed under way is, at once: `default`,
 * `strict-inbound`, `mss-clamp`, `idle`, and `replay-window` for SAs that are added from then on.
 * Every other setting that differs from the running one is named in the log and waits for a
 * restart.
 */
void espd_reload(struct espd *e);
