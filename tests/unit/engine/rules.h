#pragma once

/* The rules of most stories: b begins, a waits for b alone or for anybody. */
#define PSK " psk 'mekmitasdigoat'\n"
#define A(opts)                                                                  \
	"ikev2 'a' passive esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 " \
	"peer 198.51.100.1 " opts
#define ANY(opts) \
	"ikev2 'a' passive esp from 10.0.1.0/24 to 10.0.2.0/24 local 192.0.2.1 peer any " opts
#define B(opts) "ikev2 'b' active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 " opts
