/* See hearing.h. */
#include "hearing.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979f

void hearing_begin(hearing *h) {
    memset(h, 0, sizeof(*h));
    h->floor = HEARING_QUIET;
}

/* The frequency of a frame that is a pure tone, 0 of any other. */
static float tone_of(const int16_t *x, float energy) {
    if (energy < HEARING_QUIET)
        return 0.0f;
    float square = 0.0f, cross = 0.0f, sum = 0.0f;
    for (int i = 2; i < HEARING_FRAME; i++) {
        float middle = x[i - 1], outer = (float)x[i] + x[i - 2];
        square += middle * middle;
        cross += middle * outer;
        sum += outer * outer;
    }
    float twice = cross / square; /* 2 cos w */
    float left = sum - twice * cross;
    if (twice <= -1.98f || twice >= 1.98f || left > HEARING_PURE * square)
        return 0.0f;
    return acosf(0.5f * twice) * 8000.0f / (2.0f * PI);
}

static int follow_tone(hearing *h, heard *found) {
    int same = h->hertz > 0.0f && h->tones > 0;
    int count = 0;
    if (h->told > 0.0f && (h->hertz == 0.0f || fabsf(h->hertz - h->told) > HEARING_DRIFT)) {
        found[count++] = (heard){HEARD_TONE_OVER, h->frames, h->told};
        h->told = 0.0f;
        same = 0;
    }
    h->tones = h->hertz == 0.0f ? 0 : same ? h->tones + 1 : 1;
    if (h->tones == HEARING_ON && h->told == 0.0f) {
        h->told = h->hertz;
        found[count++] = (heard){HEARD_TONE, h->frames + 1 - HEARING_ON, h->hertz};
    }
    return count;
}

static int follow_voice(hearing *h, int loud, heard *found) {
    h->loud = loud ? h->loud + 1 : 0;
    h->quiet = loud ? 0 : h->quiet + 1;
    if (!h->voice && h->loud == HEARING_ON) {
        h->voice = 1;
        *found = (heard){HEARD_VOICE, h->frames + 1 - HEARING_ON, 0.0f};
        return 1;
    }
    if (h->voice && h->quiet == HEARING_OFF) {
        h->voice = 0;
        *found = (heard){HEARD_QUIET, h->frames + 1 - HEARING_OFF, 0.0f};
        return 1;
    }
    return 0;
}

int hearing_frame(hearing *h, const int16_t *samples, heard *found) {
    float energy = 0.0f, before = h->hertz;
    for (int i = 0; samples && i < HEARING_FRAME; i++)
        energy += (float)samples[i] * samples[i];
    energy /= HEARING_FRAME;
    h->hertz = samples ? tone_of(samples, energy) : 0.0f;
    if (before > 0.0f && fabsf(h->hertz - before) > HEARING_DRIFT)
        h->tones = 0;
    int loud = h->hertz == 0.0f && energy > HEARING_QUIET && energy > HEARING_ABOVE * h->floor;
    if (energy < h->floor)
        h->floor += 0.3f * (energy - h->floor);
    else
        h->floor *= 1.01f; /* doubles in 1.4 s */
    if (h->floor < HEARING_QUIET / HEARING_ABOVE)
        h->floor = HEARING_QUIET / HEARING_ABOVE;
    int count = follow_tone(h, found);
    count += follow_voice(h, loud, found + count);
    h->frames++;
    return count;
}
