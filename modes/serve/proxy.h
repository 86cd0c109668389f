/*
 * The header of the PROXY protocol, versions 1 and 2 (proxy-protocol.txt of
 * HAProxy): a load balancer sends it at the beginning of a connection, so that
 * the server knows the address of the client.
 *
 * The parser gets the bytes in pieces of any size and returns how many of them
 * belong to the header. It makes no system call. Its state has the same size
 * whatever the length of the header: of version 2 only the addresses are kept,
 * and the additional fields (TLVs) are skipped.
 */
#ifndef PROXY_H
#define PROXY_H

#include <sys/un.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PROXY_V1_MAX = 107,	/* bytes of a header of version 1, with CR LF */
	PROXY_V2_HEAD = 16,	/* bytes before the addresses in version 2 */
	PROXY_UNIX_SIZE = 108,	/* bytes of a path in version 2 */
	PROXY_KEPT = PROXY_V2_HEAD + 2 * PROXY_UNIX_SIZE
};

enum proxy_state {
	PROXY_INCOMPLETE,
	PROXY_COMPLETE,
	PROXY_WRONG
};

/* All zero is the state before the first byte. */
struct proxy {
	const char *error;	/* why the header is wrong; or NULL */
	uint32_t read;		/* bytes of the header so far */
	uint16_t kept;		/* of these, bytes that are in data */
	uint16_t wanted;	/* bytes of version 2 that are to be kept */
	uint16_t skip;		/* bytes of version 2 after these */
	uint8_t state;		/* enum proxy_state */
	bool is_local;		/* LOCAL: a connection of the load balancer */
	unsigned char data[PROXY_KEPT];

	/*
	 * The client of a header that is complete. The family is AF_UNSPEC if
	 * the header has no address: with LOCAL, or if the load balancer does
	 * not know it.
	 */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un path;
	} client;
};

/*
 * Continues with the size bytes at data. Returns how many of them belong to the
 * header. This number is less than size only if the header is complete or
 * wrong.
 */
size_t proxy_parse(struct proxy *, const void *data, size_t size);

#endif
