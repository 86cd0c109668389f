/*
 * The datagrams of `bench -u`. Each begins with a header: the flow (4 bytes),
 * which identifies the client and the run, a check (4 bytes) and the sequence
 * number (8 bytes), all in network byte order. The rest is taken from the
 * pattern, at a position that depends on the check. So every datagram differs
 * from all others in many bytes, and a reply shows which message it answers.
 *
 * The functions make no system call and read no clock.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

enum {
	PAYLOAD_HEADER = 16	/* bytes; no datagram is shorter */
};

/* The properties that all datagrams of a client share. */
struct payload_key {
	uint32_t flow;
	size_t size;		/* bytes, PAYLOAD_HEADER to NET_DATAGRAM_MAX */
};

enum payload_kind {
	PAYLOAD_INTACT,		/* every byte is right */
	PAYLOAD_DAMAGED,	/* the header is right, but the rest is not */
	PAYLOAD_UNKNOWN		/* no header of this flow */
};

/* Writes the header of the message with that sequence number. */
void payload_header(unsigned char out[PAYLOAD_HEADER],
    const struct payload_key *, uint64_t sequence);

/* The bytes after the header of that message: size - PAYLOAD_HEADER bytes. */
const unsigned char *payload_body(const struct payload_key *,
    uint64_t sequence);

/*
 * Reads a datagram of size bytes, of which only the first key->size need to be
 * in memory. Sets *sequence unless the result is PAYLOAD_UNKNOWN.
 */
enum payload_kind payload_read(const struct payload_key *, const void *data,
    size_t size, uint64_t *sequence);

/*
 * The number of bytes in which a datagram differs from the message with that
 * sequence number. It counts only the first *compared bytes, which is at most
 * 64, because a datagram without a header is compared with each message in
 * flight.
 */
size_t payload_distance(const struct payload_key *, uint64_t sequence,
    const void *data, size_t size, size_t *compared);

#endif
