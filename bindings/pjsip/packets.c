#include "packets.h"

#include "node.h"

#include <opus/opus_multistream.h>
#include <stdlib.h>
#include <string.h>

#define BITS_PER_CHANNEL 16000
#define COMPLEXITY 0 /* of 10: what is quick; there are hundreds at once, and telephone audio has lost most already */

struct packets {
    OpusMSEncoder *encoder;
    int channels;
};

packets *packets_new(int channels) {
    static const unsigned char each[] = {0, 1};
    int error;
    opus_int32 delay = -1;
    packets *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->channels = channels;
    p->encoder = opus_multistream_encoder_create(NODE_RATE, channels, channels, 0, each, OPUS_APPLICATION_VOIP, &error);
    if (p->encoder) {
        opus_multistream_encoder_ctl(p->encoder, OPUS_SET_COMPLEXITY(COMPLEXITY));
        opus_multistream_encoder_ctl(p->encoder, OPUS_SET_BITRATE(BITS_PER_CHANNEL * channels));
        opus_multistream_encoder_ctl(p->encoder, OPUS_GET_LOOKAHEAD(&delay));
    }
    if (delay != PACKET_DELAY) {
        packets_free(p);
        return NULL;
    }
    return p;
}

void packets_free(packets *p) {
    if (p && p->encoder)
        opus_multistream_encoder_destroy(p->encoder);
    free(p);
}

size_t packets_encode(packets *p, const int16_t *frames, unsigned count, unsigned char *into, size_t room) {
    int16_t last[2 * PACKET_FRAMES];
    size_t used = 0, width = (size_t)p->channels;
    for (unsigned at = 0; at < count; at += PACKET_FRAMES) {
        const int16_t *from = frames + at * width;
        if (count - at < PACKET_FRAMES) {
            memset(last, 0, sizeof(last));
            memcpy(last, from, (count - at) * width * sizeof(int16_t));
            from = last;
        }
        if (room - used < PACKET_MAX)
            return 0;
        int size = opus_multistream_encode(p->encoder, from, PACKET_FRAMES, into + used + 2, PACKET_MAX - 2);
        if (size <= 0)
            return 0;
        into[used] = (unsigned char)(size & 0xff);
        into[used + 1] = (unsigned char)(size >> 8);
        used += (size_t)size + 2;
    }
    return used;
}
