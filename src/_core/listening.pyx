"""Who answered a call, from its audio or from what is told of it: the C of ``listening.h`` for Python.

The production media layer calls the same C in its audio thread; the simulated one and the study of machines call it here.
"""

import numpy as np

from libc.stdint cimport int16_t, int64_t

from cordboard._core.trees cimport trees_handle, trees_probability

cdef extern from "listening.h" nogil:
    enum:
        LISTENING_FEATURES, HEARING_FRAME
    enum listening_why:
        WHY_CERTAIN, WHY_DEADLINE, WHY_SOUND
    enum hearing_progress:
        PROGRESS_NONE, PROGRESS_LOW
    ctypedef struct heard_frame:
        int loud
        float hertz
        int progress
    ctypedef struct listening_model:
        const void *handle
        double (*probability)(const void *handle, const double *row) noexcept nogil
    ctypedef struct listening_limits:
        double machine_at, person_at
        int deadline
    ctypedef struct listening_news:
        int sound
        int why
        double machine
        int64_t frame
    ctypedef struct listening:
        int64_t frames, answer
    void listening_begin(listening *l, const listening_model *model, listening_limits limits)
    void listening_answered(listening *l, int ago)
    void listening_features(const listening *l, double *row)
    int listening_step(listening *l, heard_frame frame, listening_news *found)
    int listening_frame(listening *l, const int16_t *samples, listening_news *found)
    int hearing_is_low(float hertz)

FRAME = HEARING_FRAME
FRAME_S = 0.02
# Names of what listening.h numbers.
FEATURES = (
    "time", "onset", "spoken", "words", "word", "word_last", "word_longest", "quiet", "gap_longest", "gaps", "phrases", "phrase",
    "phrase_first", "phrase_longest", "share", "tones", "early_spoken", "early_tones",
)
SOUNDS = (
    "", "fax", "beep", "busy", "reorder", "ringback", "sit", "sit_intercept", "sit_vacant", "sit_reorder", "sit_no_circuit",
)
WHYS = ("certain", "deadline", "sound")
News = tuple[str, str, float, float]

cdef double undecided(const void *handle, const double *row) noexcept nogil:
    return 0.5


cdef class Listener:
    """Listens to one leg. ``trees``: a ``_core.trees.Trees`` of FEATURES, None for a listener of sounds and features
    alone; ``machine_at``, ``person_at``: certain from the one up, from the other down; ``deadline_s`` after the answer.

    News are (sound, why, machine, seconds): of a sound that was made out, since the answer if there was one, else since
    the beginning; or, once, with an empty sound, the probability that a machine answered.
    """

    cdef object trees
    cdef listening_model model
    cdef listening one

    def __init__(self, trees, double machine_at, double person_at, double deadline_s):
        cdef listening_limits limits
        if trees is not None and len(trees.arrays["thresholds"]) != LISTENING_FEATURES:
            raise ValueError("the trees are of other features")
        self.trees = trees
        self.model.handle = trees_handle(trees) if trees is not None else NULL
        self.model.probability = trees_probability if trees is not None else undecided
        limits.machine_at, limits.person_at, limits.deadline = machine_at, person_at, <int>(deadline_s / 0.02 + 0.5)
        listening_begin(&self.one, &self.model, limits)

    @property
    def seconds(self):
        """So much was heard."""
        return self.one.frames * FRAME_S

    def answered(self, int ago=0):
        """Somebody picked up, so many frames ago; again changes nothing."""
        listening_answered(&self.one, ago)

    def hear(self, const int16_t[::1] samples):
        """Take audio of 8,000 samples a second, whole frames of it; the news."""
        cdef Py_ssize_t at
        cdef listening_news found[2]
        cdef int i
        news = []
        for at in range(0, samples.shape[0] - HEARING_FRAME + 1, HEARING_FRAME):
            for i in range(listening_frame(&self.one, &samples[at], found)):
                news.append(told(&found[i]))
        return news

    def tell(self, bint voice, float hertz):
        """Take one frame of which this is known; ``hertz``: of a pure tone, 0 for none. The news."""
        cdef heard_frame frame
        cdef listening_news found[2]
        cdef int i
        frame.loud, frame.hertz = voice or hertz > 0, hertz
        frame.progress = PROGRESS_LOW if hearing_is_low(hertz) else PROGRESS_NONE
        return [told(&found[i]) for i in range(listening_step(&self.one, frame, found))]

    def features(self):
        """FEATURES now: float64 (n,)."""
        cdef double[::1] row = np.empty(LISTENING_FEATURES)
        listening_features(&self.one, &row[0])
        return np.asarray(row)

    def follow(self, const int16_t[::1] samples):
        """FEATURES after each frame of audio: float64 (frames, n)."""
        cdef Py_ssize_t i, frames = samples.shape[0] // HEARING_FRAME
        cdef listening_news found[2]
        cdef double[:, ::1] rows = np.empty((frames, LISTENING_FEATURES))
        for i in range(frames):
            listening_frame(&self.one, &samples[i * HEARING_FRAME], found)
            listening_features(&self.one, &rows[i, 0])
        return np.asarray(rows)


cdef tuple told(const listening_news *news):
    return SOUNDS[news.sound], WHYS[news.why], news.machine, news.frame * FRAME_S
