/* What a frame of 20 ms of telephone audio is: a voice, a pure tone, a tone of call progress, or none of these. Plain
 * arithmetic, no state but the floor and what was before; called in an audio thread.
 *
 * Voice: the mean square of a frame against a floor that follows the quietest frames.
 * Pure tone: x[n] satisfies x[n] + x[n-2] = 2 cos(w) x[n-1]; the least-squares w and what is left of the energy tell its
 * frequency and whether it is one.
 * Call progress: ringing, busy and congestion are one or two tones between 350 and 650 Hz. The Goertzel algorithm gives the
 * energy at multiples of 50 Hz, which are orthogonal over a frame of 20 ms; a tone between two of them is in both.
 */
#ifndef CORDBOARD_HEARING_H
#define CORDBOARD_HEARING_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define HEARING_FRAME 160 /* samples, at 8,000 a second */
#define HEARING_FRAME_S 0.02
#define HEARING_QUIET 14400.0f /* mean square (an amplitude of 120 in 16 bits, -49 dB) below which nothing is voice */
#define HEARING_ABOVE 8.0f     /* times the floor, 9 dB */
#define HEARING_PURE 0.02f     /* of the energy may be left over beside a tone */
#define HEARING_SHARE 0.75f    /* of the energy that tones of call progress have at least */
#define HEARING_STEADY 1.6f    /* and no more than so much louder or softer than the frame before: 2 dB */

/* The tones of call progress in a frame: one or two about 425 Hz (ringing anywhere, busy in most countries), or 480 and
 * 620 Hz together (busy in North America). */
enum hearing_progress { PROGRESS_NONE, PROGRESS_LOW, PROGRESS_HIGH };

typedef struct {
    int loud;     /* above the floor */
    float hertz;  /* of a pure tone; 0: it is none */
    int progress; /* of enum hearing_progress */
} heard_frame;

typedef struct {
    float floor, before; /* mean squares */
} hearing;

static inline void hearing_begin(hearing *h) {
    h->floor = HEARING_QUIET;
    h->before = 0.0f;
}

static inline int hearing_is_low(float hertz) { return hertz > 375.0f && hertz < 510.0f; }

/* The frequency of a frame that is a pure tone, 0 of any other. */
static inline float hearing_tone(const int16_t *x) {
    float square = 0.0f, cross = 0.0f, sum = 0.0f;
    for (int i = 2; i < HEARING_FRAME; i++) {
        float middle = x[i - 1], outer = (float)x[i] + x[i - 2];
        square += middle * middle;
        cross += middle * outer;
        sum += outer * outer;
    }
    float twice = cross / square; /* 2 cos w */
    float left = sum - twice * cross;
    if (!(twice > -1.98f && twice < 1.98f) || left > HEARING_PURE * square)
        return 0.0f;
    return acosf(0.5f * twice) * 8000.0f / 6.28318530717958648f;
}

/* `energy`: mean square of the frame. */
static inline int hearing_progress_of(const int16_t *x, float energy) {
    typedef float lanes __attribute__((vector_size(32)));
    /* 2 cos(2 pi f / 8000) for 350, 400, 450, 500, 550, 600, 650 and 700 Hz */
    const lanes twice = {1.92491047f, 1.90211303f, 1.87638267f, 1.84775907f, 1.81628635f, 1.78201305f, 1.74499201f, 1.70528033f};
    lanes one = {0}, two = {0};
    for (int i = 0; i < HEARING_FRAME; i++) {
        lanes next = twice * one - two + (float)x[i];
        two = one;
        one = next;
    }
    lanes power = one * one + two * two - twice * one * two;
    float scale = 2.0f / ((float)HEARING_FRAME * HEARING_FRAME * energy);
    float low = scale * (power[1] + power[2] + power[3]), high = scale * (power[5] + power[6]);
    if (low >= HEARING_SHARE)
        return PROGRESS_LOW;
    if (scale * (power[2] + power[3]) >= 0.2f && high >= 0.2f && scale * (power[2] + power[3]) + high >= HEARING_SHARE)
        return PROGRESS_HIGH;
    return PROGRESS_NONE;
}

/* What a frame is; NULL is silence. */
static inline heard_frame hearing_frame(hearing *h, const int16_t *samples) {
    heard_frame found = {0, 0.0f, PROGRESS_NONE};
    float energy = 0.0f;
    for (int i = 0; samples && i < HEARING_FRAME; i++)
        energy += (float)samples[i] * samples[i];
    energy /= HEARING_FRAME;
    if (energy >= HEARING_QUIET) {
        int steady = energy < HEARING_STEADY * h->before && h->before < HEARING_STEADY * energy;
        found.hertz = hearing_tone(samples);
        /* two tones so close together look like one between them */
        if (found.hertz == 0.0f ? steady : found.hertz > 375.0f && found.hertz < 650.0f)
            found.progress = hearing_progress_of(samples, energy);
        if (found.progress == PROGRESS_HIGH)
            found.hertz = 0.0f;
        else if (hearing_is_low(found.hertz))
            found.progress = PROGRESS_LOW;
        found.loud = energy > HEARING_ABOVE * h->floor;
    }
    if (energy < h->floor)
        h->floor += 0.3f * (energy - h->floor);
    else
        h->floor *= 1.01f; /* doubles in 1.4 s */
    if (h->floor < HEARING_QUIET / HEARING_ABOVE)
        h->floor = HEARING_QUIET / HEARING_ABOVE;
    h->before = energy;
    return found;
}

#endif
