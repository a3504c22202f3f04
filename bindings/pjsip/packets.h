/* Audio as Opus packets, one mono stream a channel, so that no side is heard in the other's. */
#ifndef CORDBOARD_PACKETS_H
#define CORDBOARD_PACKETS_H

#include <stddef.h>
#include <stdint.h>

#define PACKET_FRAMES 160 /* 20 ms */
#define PACKET_MAX 512    /* bytes, its length in front included */
#define PACKET_DELAY 52   /* frames at the beginning of what is decoded that nobody said (RFC 7845: pre-skip, at 8 kHz) */

typedef struct packets packets;

/* NULL if there is no memory, or libopus has another delay. */
packets *packets_new(int channels);
void packets_free(packets *p);

/* `count` frames, channels interleaved, as packets: each 2 bytes of length (little-endian) and that many bytes. What is left of the
 * last packet is silent. Returns the bytes; 0 if they don't fit into `room`, or libopus fails. */
size_t packets_encode(packets *p, const int16_t *frames, unsigned count, unsigned char *into, size_t room);

#endif
