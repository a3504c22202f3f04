/* The audio of legs, out of the clock thread and into it, without a lock and without Python there. See node.h.
 *
 * A stream is a port of the bridge, like a leg's: what it is to hear is connected to it, and it to whoever is to hear it.
 * Each way is a ring of its own with one writer and one reader. What the stream hears goes out as frames of 20 ms, each with its
 * number since the beginning, so that a reader who was too slow for STREAM_HEARD frames sees what is missing. What it says is
 * samples in order; whoever writes them knows by node_stream_said how far they have been played.
 *
 * For one stream, one thread reads and one writes; they may be any. A stream that is closed gives NODE_GONE.
 */
#ifndef CORDBOARD_STREAM_H
#define CORDBOARD_STREAM_H

#include <stdint.h>

#define STREAM_FRAME 160           /* samples, at 8,000 a second */
#define STREAM_HEARD 256           /* frames that wait for the reader: 5.12 s; then new ones are dropped and counted */
#define STREAM_SAID (1 << 20)      /* samples that wait to be played: 131 s */

/* port: of the bridge */
int node_stream_open(int *port, int64_t *number);
int node_stream_close(int64_t number);
/* Take at most max frames: first is the number of the first; all follow one another. Returns how many. */
int node_stream_heard(int64_t number, int16_t *into, int max, int64_t *first, int64_t *dropped);
/* Have samples played after those that wait. Returns how many there was room for. */
int node_stream_say(int64_t number, const int16_t *samples, int count);
/* Play nothing more of what was written so far. */
int node_stream_clear(int64_t number);
/* Of all samples written so far, how many have been played, or dropped by node_stream_clear; a clear counts at once. */
int node_stream_said(int64_t number, int64_t *written, int64_t *played);

void node_ulaw_of(const int16_t *samples, uint8_t *into, int count);
void node_of_ulaw(const uint8_t *bytes, int16_t *into, int count);

void streams_stop(void); /* inside: closes all; the bridge must still run */

#endif
