/* Who answered, frame by frame: timing features of voice, a probability of a machine by a tree ensemble, a rule when to
 * stop, and the sounds of machines by name. Called in an audio thread; nothing is allocated, nothing waits.
 *
 * Listening begins with early media. From the answer on the probability is asked at every frame (20 ms); it is told as
 * soon as it has been beyond one of the two limits for LISTENING_SURE frames, at the deadline whatever it is, once. A
 * sound that no voice makes is told at once. Sounds go on to be told after that: the beep tells when to speak.
 */
#ifndef CORDBOARD_LISTENING_H
#define CORDBOARD_LISTENING_H

#include "hearing.h"

#include <stdlib.h>

#define LISTENING_ON 3       /* frames of voice in a row begin a word: 60 ms */
#define LISTENING_WORD 4     /* frames without voice end it: 80 ms */
#define LISTENING_PHRASE 10  /* and a phrase: 200 ms */
#define LISTENING_SURE 3     /* frames beyond a limit: 60 ms */
#define LISTENING_UNANSWERED INT64_MIN
#define LISTENING_DRIFT 20.0f /* Hz between frames of one tone */
#define LISTENING_SOUND_P 0.999 /* that it is a machine, where a sound was made out that no voice makes */

enum listening_feature {
    FEATURE_TIME,         /* since the answer; all are seconds but for counts and the share */
    FEATURE_ONSET,        /* of the first word; NaN: none yet */
    FEATURE_SPOKEN,       /* length of all words */
    FEATURE_WORDS,        /* how many */
    FEATURE_WORD,         /* length of the word that goes on, 0 in a pause */
    FEATURE_WORD_LAST,    /* of the last one that ended */
    FEATURE_WORD_LONGEST,
    FEATURE_QUIET,        /* since the last word ended, or since the answer; 0 in a word */
    FEATURE_GAP_LONGEST,  /* between words */
    FEATURE_GAPS,         /* length of all gaps */
    FEATURE_PHRASES,      /* how many */
    FEATURE_PHRASE,       /* length of the phrase that goes on, with its gaps */
    FEATURE_PHRASE_FIRST, /* of the first that ended */
    FEATURE_PHRASE_LONGEST,
    FEATURE_SHARE,        /* of the time since the onset, words */
    FEATURE_TONES,        /* length of all tones */
    FEATURE_EARLY_SPOKEN, /* words before the answer */
    FEATURE_EARLY_TONES,  /* tones before the answer */
    LISTENING_FEATURES
};

enum listening_sound {
    SOUND_NONE, SOUND_FAX, SOUND_BEEP, SOUND_BUSY, SOUND_REORDER, SOUND_RINGBACK,
    SOUND_SIT,                                                           /* special information tones, ITU-T E.180 */
    SOUND_SIT_INTERCEPT, SOUND_SIT_VACANT, SOUND_SIT_REORDER, SOUND_SIT_NO_CIRCUIT /* as Bellcore tells them apart */
};
enum listening_why { WHY_CERTAIN, WHY_DEADLINE, WHY_SOUND };

typedef struct {
    const void *handle;
    double (*probability)(const void *handle, const double *row); /* of a machine */
} listening_model;

typedef struct {
    double machine_at, person_at; /* certain from the one up, from the other down */
    int deadline;                 /* frames after the answer */
} listening_limits;

typedef struct {
    int sound;      /* of enum listening_sound; SOUND_NONE: this tells who answered */
    int why;        /* of enum listening_why; WHY_SOUND: that was told with it */
    double machine; /* the probability */
    int64_t frame;  /* since the answer; of a sound before it, since the beginning */
} listening_news;

typedef struct { /* frames, since the answer or before it */
    int words, spoken, last, longest, gaps, gap_longest, phrases, phrase_first, phrase_longest, tones;
    int64_t onset; /* -1: no word yet */
} listening_words;

typedef struct { /* a pure tone */
    float hertz, sum;          /* of the last frame; of all its frames */
    int frames, named;
    int rising, first, second; /* tones of a SIT so far; which of two frequencies the first and second had, -1: neither */
    int64_t risen, beep;       /* the last of those ended; when the tone that is over was a beep, -1: it was none */
} listening_tone;

typedef struct { /* call progress: a tone on and off */
    int on, off, high;      /* frames; of the two tones of North America */
    int last_on, last_off, alike; /* the cycle before; so many were alike */
    int told;               /* of enum listening_sound */
} listening_cadence;

typedef struct {
    const listening_model *model;
    listening_limits limits;
    hearing ear;
    int64_t frames, answer; /* so far; at the answer, which may be before the first */
    listening_words words, early;
    int in_word, in_phrase, loud, quiet;           /* the last two: frames in a row */
    int64_t word_began, word_ended, phrase_began;  /* ended: behind its last frame so far */
    listening_tone tone;
    listening_cadence cadence;
    int sure, told; /* frames in a row beyond a limit, persons below 0 */
} listening;

static inline void listening_begin(listening *l, const listening_model *model, listening_limits limits) {
    memset(l, 0, sizeof(*l));
    l->model = model;
    l->limits = limits;
    l->answer = LISTENING_UNANSWERED;
    l->tone.beep = -1;
    l->words.onset = -1;
    hearing_begin(&l->ear);
}

/* Somebody picked up `ago` frames ago. Again changes nothing. */
static inline void listening_answered(listening *l, int ago) {
    if (l->answer != LISTENING_UNANSWERED)
        return;
    int64_t now = l->frames;
    l->answer = now - ago;
    l->early = l->words;
    l->words = (listening_words){.onset = -1};
    l->in_phrase = l->in_word;
    if (l->in_word) { /* it goes on: what follows is another one */
        l->words.words = l->words.phrases = 1;
        l->words.onset = now;
    }
    l->word_began = l->word_ended = l->phrase_began = now;
    l->tone.named = 1; /* what sounds now is the ringing that stops */
}

/* ---- voice */

static inline int listening_most(int a, int b) { return a > b ? a : b; }

static inline void listening_word(listening *l) {
    listening_words *w = &l->words;
    int64_t began = l->frames + 1 - LISTENING_ON;
    if (began < l->word_ended) /* partly before the answer */
        began = l->word_ended;
    if (w->words > 0) {
        int gap = (int)(began - l->word_ended);
        w->gaps += gap;
        w->gap_longest = listening_most(w->gap_longest, gap);
    } else {
        w->onset = began;
    }
    if (!l->in_phrase) {
        l->in_phrase = 1;
        l->phrase_began = began;
        w->phrases++;
    }
    l->in_word = 1;
    l->word_began = l->word_ended = began;
    w->words++;
}

static inline void listening_voice(listening *l, int voice) {
    listening_words *w = &l->words;
    l->loud = voice ? l->loud + 1 : 0;
    l->quiet = voice ? 0 : l->quiet + 1;
    if (!l->in_word && l->loud >= LISTENING_ON)
        listening_word(l);
    if (l->in_word && voice) {
        w->spoken += (int)(l->frames + 1 - l->word_ended);
        l->word_ended = l->frames + 1;
    }
    if (l->in_word && l->quiet >= LISTENING_WORD) {
        l->in_word = 0;
        w->last = (int)(l->word_ended - l->word_began);
        w->longest = listening_most(w->longest, w->last);
    }
    if (l->in_phrase && l->quiet >= LISTENING_PHRASE) {
        int length = (int)(l->word_ended - l->phrase_began);
        l->in_phrase = 0;
        w->phrase_first = w->phrases == 1 ? length : w->phrase_first;
        w->phrase_longest = listening_most(w->phrase_longest, length);
    }
}

static inline void listening_features(const listening *l, double *row) {
    const listening_words *w = &l->words;
    const double s = HEARING_FRAME_S;
    int word = l->in_word ? (int)(l->word_ended - l->word_began) : 0;
    int phrase = l->in_phrase ? (int)(l->word_ended - l->phrase_began) : 0;
    int64_t answer = l->answer == LISTENING_UNANSWERED ? 0 : l->answer;
    row[FEATURE_TIME] = s * (double)(l->frames - answer);
    row[FEATURE_ONSET] = w->onset < 0 ? NAN : s * (double)(w->onset - answer);
    row[FEATURE_SPOKEN] = s * w->spoken;
    row[FEATURE_WORDS] = w->words;
    row[FEATURE_WORD] = s * word;
    row[FEATURE_WORD_LAST] = s * w->last;
    row[FEATURE_WORD_LONGEST] = s * listening_most(w->longest, word);
    row[FEATURE_QUIET] = s * (double)(l->frames - l->word_ended);
    row[FEATURE_GAP_LONGEST] = s * w->gap_longest;
    row[FEATURE_GAPS] = s * w->gaps;
    row[FEATURE_PHRASES] = w->phrases;
    row[FEATURE_PHRASE] = s * phrase;
    row[FEATURE_PHRASE_FIRST] = s * w->phrase_first;
    row[FEATURE_PHRASE_LONGEST] = s * listening_most(w->phrase_longest, phrase);
    row[FEATURE_SHARE] = w->onset < 0 ? 0.0 : w->spoken / (double)(l->frames - w->onset);
    row[FEATURE_TONES] = s * w->tones;
    row[FEATURE_EARLY_SPOKEN] = s * l->early.spoken;
    row[FEATURE_EARLY_TONES] = s * l->early.tones;
}

/* ---- sounds */

/* 0 or 1 for one of two frequencies, -1 for neither. */
static inline int listening_nearest(float hertz, float low, float high) {
    return fabsf(hertz - low) < 18.0f ? 0 : fabsf(hertz - high) < 18.0f ? 1 : -1;
}

static inline int listening_between(float x, float low, float high) { return x >= low && x <= high; }

static inline int listening_sit(const listening_tone *t) {
    if (t->first < 0 || t->second < 0)
        return SOUND_SIT;
    if (t->second == 0)
        return t->first == 0 ? SOUND_SIT_INTERCEPT : SOUND_SIT_VACANT;
    return t->first == 0 ? SOUND_SIT_REORDER : SOUND_SIT_NO_CIRCUIT;
}

static inline int listening_tone_begins(listening *l) {
    listening_tone *t = &l->tone;
    int soon = t->rising > 0 && l->frames + 1 - LISTENING_ON - t->risen <= 5;
    t->named = 0;
    if (soon && t->rising == 2 && listening_between(t->hertz, 1720.0f, 1840.0f)) {
        t->named = 1;
        t->rising = 0;
        t->beep = -1;
        return listening_sit(t);
    }
    if (soon && t->rising == 1 && listening_between(t->hertz, 1335.0f, 1465.0f))
        t->beep = -1; /* the one before belongs to a SIT */
    else
        t->rising = 0;
    return SOUND_NONE;
}

static inline void listening_tone_over(listening *l, float hertz, int frames) {
    listening_tone *t = &l->tone;
    if (t->named)
        return;
    if (listening_between((float)frames, 8.0f, 25.0f)) {
        if (t->rising == 0 && listening_between(hertz, 895.0f, 1005.0f)) {
            t->rising = 1;
            t->first = listening_nearest(hertz, 913.8f, 985.2f);
            t->risen = l->frames;
        } else if (t->rising == 1) {
            t->rising = 2;
            t->second = listening_nearest(hertz, 1370.6f, 1428.5f);
            t->risen = l->frames;
        }
    }
    /* a beep, unless the next tone of a SIT, or of a busy line, follows */
    if (l->answer != LISTENING_UNANSWERED && frames >= 6 && listening_between(hertz, 350.0f, 2200.0f))
        t->beep = l->frames + (hearing_is_low(hertz) ? 40 : 5);
}

static inline int listening_follow_tone(listening *l, float hertz) {
    listening_tone *t = &l->tone;
    int sound = SOUND_NONE;
    int same = t->frames > 0 && hertz > 0.0f && fabsf(hertz - t->hertz) <= LISTENING_DRIFT;
    if (!same && t->frames >= LISTENING_ON)
        listening_tone_over(l, t->sum / (float)t->frames, t->frames);
    t->sum = (same ? t->sum : 0.0f) + hertz;
    t->frames = hertz > 0.0f ? (same ? t->frames + 1 : 1) : 0;
    t->hertz = hertz;
    if (t->frames == LISTENING_ON)
        sound = listening_tone_begins(l);
    if (t->frames == 20 && l->words.words == 0 &&
        (listening_between(hertz, 1060.0f, 1140.0f) || listening_between(hertz, 2085.0f, 2115.0f))) {
        t->named = 1; /* CNG, and CED of the answering side: ITU-T T.30 */
        sound = SOUND_FAX;
    }
    if (t->beep >= 0 && l->frames >= t->beep) {
        t->beep = -1;
        sound = SOUND_BEEP;
    }
    return sound;
}

/* Two cycles alike have a name: busy and congestion of North America (480 and 620 Hz), Europe (425 Hz) and China (450 Hz). */
static inline int listening_cycle(const listening_cadence *c) {
    int on = c->last_on, off = c->last_off;
    if (c->alike < 2)
        return SOUND_NONE;
    if (c->high ? on >= 18 && on <= 32 && off >= 18 && off <= 32 : on >= 15 && on <= 32 && off >= 15 && off <= 32)
        return SOUND_BUSY;
    if (on >= 7 && on <= 17 && off >= 7 && off <= 17)
        return SOUND_REORDER;
    return !c->high && on >= 33 && on <= 42 && off >= 33 && off <= 42 ? SOUND_REORDER : SOUND_NONE;
}

static inline int listening_follow_cadence(listening *l, int progress) {
    listening_cadence *c = &l->cadence;
    int sound = SOUND_NONE;
    if (progress != PROGRESS_NONE) {
        if (c->off > 0) { /* a cycle is over */
            int like = abs(c->on - c->last_on) <= 2 && abs(c->off - c->last_off) <= 2;
            c->alike = like ? c->alike + 1 : 1;
            c->last_on = c->on;
            c->last_off = c->off;
            sound = listening_cycle(c);
            c->on = c->off = 0;
            l->tone.beep = -1;
        }
        c->on++;
        c->high = progress == PROGRESS_HIGH;
    } else if (c->on > 0) {
        c->off++;
        if (c->on >= 15 && c->off == 75 && l->answer == LISTENING_UNANSWERED)
            sound = SOUND_RINGBACK;
        if (c->on < 4 || c->off > 250 || l->loud >= LISTENING_ON)
            c->on = c->off = c->alike = c->last_on = c->last_off = 0;
    }
    if (sound == SOUND_NONE || sound == c->told)
        return SOUND_NONE;
    return c->told = sound;
}

/* ---- a frame */

static inline int listening_decide(listening *l, int sound, listening_news *found) {
    double row[LISTENING_FEATURES], p = LISTENING_SOUND_P;
    int64_t since = l->frames - l->answer; /* which has come */
    int why = WHY_SOUND;
    if (sound == SOUND_NONE || sound == SOUND_RINGBACK) {
        listening_features(l, row);
        p = l->model->probability(l->model->handle, row);
        int side = p >= l->limits.machine_at ? 1 : p <= l->limits.person_at ? -1 : 0;
        l->sure = side * l->sure > 0 ? l->sure + side : side;
        if (abs(l->sure) < LISTENING_SURE && since < l->limits.deadline)
            return 0;
        why = abs(l->sure) >= LISTENING_SURE ? WHY_CERTAIN : WHY_DEADLINE;
    }
    l->told = 1;
    *found = (listening_news){SOUND_NONE, why, p, since};
    return 1;
}

/* Take a frame as it was heard. Fills what is new, two at most; returns how many. */
static inline int listening_step(listening *l, heard_frame frame, listening_news *found) {
    int count = 0, answered = l->answer != LISTENING_UNANSWERED;
    int sound = listening_follow_tone(l, frame.hertz);
    int cadence = listening_follow_cadence(l, frame.progress);
    int tone = frame.hertz > 0.0f || (frame.progress != PROGRESS_NONE && l->cadence.on >= LISTENING_ON);
    sound = sound != SOUND_NONE ? sound : cadence;
    listening_voice(l, frame.loud && !tone);
    l->words.tones += tone;
    l->frames++;
    if (sound != SOUND_NONE)
        found[count++] = (listening_news){sound, WHY_SOUND, 0.0, l->frames - (answered ? l->answer : 0)};
    if (answered && !l->told)
        count += listening_decide(l, sound, found + count);
    return count;
}

/* The same from samples, HEARING_FRAME of them; NULL is silence. */
static inline int listening_frame(listening *l, const int16_t *samples, listening_news *found) {
    return listening_step(l, hearing_frame(&l->ear, samples), found);
}

#endif
