/* What is heard on a leg: whether somebody speaks, and pure tones. Plain arithmetic on frames of 20 ms, no PJSIP.
 *
 * Voice: the mean square of a frame against a floor that follows the quietest frames. It begins with HEARING_ON frames
 * in a row that are loud enough, and ends after HEARING_OFF that are not; both are told at the frame where it was so.
 * Tone: a pure tone x[n] satisfies x[n] + x[n-2] = 2 cos(w) x[n-1]; the least-squares w and what is left of the energy
 * tell its frequency and whether it is one. A frame that is a tone is no voice.
 */
#ifndef CORDBOARD_HEARING_H
#define CORDBOARD_HEARING_H

#include <stdint.h>

#define HEARING_FRAME 160 /* samples, at 8,000 a second */
#define HEARING_ON 3      /* frames: 60 ms */
#define HEARING_OFF 10    /* frames: 200 ms */
#define HEARING_QUIET 14400.0f /* mean square (an amplitude of 120 in 16 bits, -49 dB) below which nothing is voice */
#define HEARING_ABOVE 8.0f     /* times the floor, 9 dB */
#define HEARING_PURE 0.02f     /* of the energy may be left over beside a tone */
#define HEARING_DRIFT 20.0f    /* Hz between frames of one tone */

enum hearing_what { HEARD_NOTHING, HEARD_VOICE, HEARD_QUIET, HEARD_TONE, HEARD_TONE_OVER };

typedef struct {
    int64_t frames;  /* heard so far */
    float floor;     /* mean square */
    float hertz;     /* of the last frame, 0: no tone */
    float told;      /* of the tone that was told, 0: none */
    int voice, loud, quiet, tones;
} hearing;

typedef struct {
    enum hearing_what what;
    int64_t frame;   /* since the beginning: when it began or ended */
    float hertz;
} heard;

void hearing_begin(hearing *h);
/* Take a frame; NULL is silence. Fills what has changed, two at most; returns how many. */
int hearing_frame(hearing *h, const int16_t *samples, heard *found);

#endif
