#pragma once

#include <stdbool.h>

/*
 * Does a traced packet's text fit the filter of `penstockctl trace`? All words must:
 *   ADDRESS, host ADDRESS   source or destination, at any step
 *   port N                  likewise
 *   proto N, tcp, udp, icmp, icmp6, esp
 *   spi 0xSPI
 *   any other word          stands somewhere in the text: a reason, a step, "drop"
 */
bool debug_filter_fits(const char *filter, const char *text);
