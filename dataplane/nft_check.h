#pragma once

#include "shared/log.h"

/*
 * Forwarded packets do not pass the kernel: warns for each nftables chain of this namespace that
 * filters forwarding or translates addresses, since its rules see none of them.
 */
void nft_check(const struct logger *log);
