"""Distributions learned online for pacing: how long talk and wrap-up last, and when a dialed call is answered.

Both are hazards in bins of age: events over exposure, where a conversation still going on, or a call still ringing,
counts as exposure without an event (the Kaplan-Meier and, for two ends that exclude each other, the Aalen-Johansen
estimator; Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data, 2nd ed., sections 1.4 and 8.2). They
forget slowly, start from a prior worth a few calls, and forget at once when what is seen leaves what was expected:
events minus their cumulative hazard are a martingale, so its size in standard deviations is a test.
"""

from libc.math cimport erfc, exp, isnan, log, sqrt
from libc.string cimport memcpy, memset

from cordboard._core.pacing_change cimport (
    SAME, SIZES, Change_C, change_begin, change_fold, change_learn, change_sure,
)

cdef double[STRETCHES] STRETCH = [0.6, 1.5, 2.2]
cdef double FORGET_LEVEL = 5.0  # standard deviations at which the past is dropped


cdef class DurationLearner:
    """Talk or wrap-up times. ``prior_mean`` and ``prior_cv`` of a lognormal prior worth ``weight`` durations;
    ``memory`` is the number of durations after which an old one counts 1/e."""

    def __cinit__(self, double prior_mean, double prior_cv=0.9, double weight=20.0, double memory=2000.0):
        cdef int i
        cdef double variance = log(1.0 + prior_cv * prior_cv), center = log(prior_mean) - 0.5 * variance
        self.edge[0] = 0.0
        for i in range(1, SPAN_BINS + 1):
            self.edge[i] = self.edge[i - 1] + 1.0 if i <= 12 else self.edge[i - 1] * 1.08
        for i in range(SPAN_BINS):
            self.events[i] = self.exposure[i] = self.more_exposure[i] = 0.0
        for i in range(4096):
            self.quick[i] = self.search(0.25 * i)
        self.weight, self.memory = weight, memory
        self.log_n, self.log_sum = 8.0, 8.0 * center
        self.log_squares = 8.0 * (variance + center * center)
        self.seen = self.expected = 0.0
        self.jump_rate, self.alert = 1.0 / 3600.0, 1.0
        change_begin(&self.change, 0.4)
        memset(self.news, 0, sizeof(self.news))
        memcpy(self.used, self.change.weight, sizeof(self.used))
        self.rebuild()

    cdef int search(self, double age) noexcept nogil:
        cdef int i = 0
        while i < SPAN_BINS - 1 and self.edge[i + 1] <= age:
            i += 1
        return i

    cdef int bin_of(self, double age) noexcept nogil:
        cdef int i
        if age < 0.0:
            return 0
        if age >= 1023.0:
            return self.search(age)
        i = self.quick[<int>(4.0 * age)]
        while self.edge[i + 1] <= age and i < SPAN_BINS - 1:
            i += 1
        return i

    cdef double cumulative(self, double age) noexcept nogil:
        cdef int i = self.bin_of(age)
        return self.area[i] + self.hazard[i] * (age - self.edge[i])

    cdef double survival(self, double age) noexcept nogil:
        return exp(-self.cumulative(age))

    cdef double mean(self) noexcept nogil:
        cdef double total = 0.0
        cdef int i
        for i in range(SPAN_BINS):  # the integral of the survival, exact for a hazard that is constant in each bin
            total += exp(-self.area[i]) * -_expm1(-self.hazard[i] * (self.edge[i + 1] - self.edge[i])) / self.hazard[i]
        return total

    cdef void observe(self, double duration, bint ended, double counted) noexcept nogil:
        # `counted`: what `running` has already held against it.
        cdef int i, last = self.bin_of(duration)
        cdef double keep = 1.0 - 1.0 / self.memory, x
        if ended:
            self.seen += 1.0
            for i in range(SPAN_BINS):
                self.events[i] *= keep
                self.exposure[i] *= keep
            self.events[last] += 1.0
            x = log(max(duration, 0.5))
            self.log_n = keep * self.log_n + 1.0
            self.log_sum = keep * self.log_sum + x
            self.log_squares = keep * self.log_squares + x * x
        self.expected += max(0.0, self.cumulative(duration) - counted)
        for i in range(last):
            self.exposure[i] += self.edge[i + 1] - self.edge[i]
        self.exposure[last] += duration - self.edge[last]

    cdef void ended(self, double age, double since) noexcept nogil:
        # One has ended, after `since` seconds that were not looked at yet.
        cdef int k, i = self.bin_of(age)
        cdef double span = min(since, age)
        for k in range(SIZES):
            self.news[k] += self.log_hazard_of[i][k] - span * self.hazard_of[i][k]

    cdef void lasting(self, int* count, double since) noexcept nogil:
        # So many in each bin of ages still go on; and what all that says of a change.
        cdef int i, k
        cdef double span
        for i in range(SPAN_BINS):
            if count[i]:
                span = count[i] * min(since, 0.5 * (self.edge[i] + self.edge[i + 1]))
                for k in range(SIZES):
                    self.news[k] -= span * self.hazard_of[i][k]
        change_learn(&self.change, self.news, min(0.1, self.alert * since * self.jump_rate))
        memset(self.news, 0, sizeof(self.news))

    cdef bint moved(self) noexcept nogil:
        # Whether the weights are others than those that were used last.
        cdef double total = 0.0
        cdef int k
        for k in range(SIZES):
            total += abs(self.change.weight[k] - self.used[k])
        return total > 0.1

    cdef int fold(self) noexcept nogil:
        # Takes over a change that is sure; the steps of its size.
        cdef int steps = change_sure(&self.change, 0.003)
        if steps:
            self.stretch(self.change.size[SAME + steps], 30.0)
            change_fold(&self.change, steps)
        return steps

    cdef void begin(self) noexcept nogil:
        cdef int i
        for i in range(SPAN_BINS):
            self.more_exposure[i] = 0.0

    cdef double running(self, double age, double counted) noexcept nogil:
        cdef int i, last = self.bin_of(age)
        cdef double against = self.cumulative(age)
        self.expected += max(0.0, against - counted)
        for i in range(last):
            self.more_exposure[i] += self.edge[i + 1] - self.edge[i]
        self.more_exposure[last] += age - self.edge[last]
        return against

    cdef void stretch(self, double times, double worth) noexcept nogil:
        # Durations are so many times longer from now on: the hazard at age a is that of a / times, divided by it.
        cdef double events[SPAN_BINS]
        cdef double exposure[SPAN_BINS]
        cdef double keep = min(1.0, worth / self.log_n), low, high, width, part
        cdef int i, k
        for i in range(SPAN_BINS):
            events[i] = exposure[i] = 0.0
        for i in range(SPAN_BINS):
            low, high = self.edge[i] * times, self.edge[i + 1] * times
            width = high - low
            k = self.search(low)
            while True:
                part = (high if k == SPAN_BINS - 1 else min(high, self.edge[k + 1])) - low
                events[k] += keep * self.events[i] * part / width
                exposure[k] += keep * times * self.exposure[i] * part / width
                low += part
                if low >= high - 1e-9 or k == SPAN_BINS - 1:
                    break
                k += 1
        for i in range(SPAN_BINS):
            self.events[i], self.exposure[i] = events[i], exposure[i]
        part = log(times)
        self.log_squares += 2.0 * part * self.log_sum + part * part * self.log_n
        self.log_sum += part * self.log_n
        self.log_n, self.log_sum, self.log_squares = keep * self.log_n, keep * self.log_sum, keep * self.log_squares
        self.seen = self.expected = 0.0

    cdef void rebuild(self) noexcept nogil:
        cdef double center, spread, upper, lower, mass, width, keep
        cdef int i
        # The past is dropped when the last thirty durations, with those still going on, are not of its kind.
        if abs(self.seen - self.expected) > FORGET_LEVEL * sqrt(self.expected + 4.0):
            keep = min(1.0, max(20.0, self.seen) / max(20.0, self.log_n))
            for i in range(SPAN_BINS):
                self.events[i] *= keep
                self.exposure[i] *= keep
            self.log_n, self.log_sum, self.log_squares = keep * self.log_n, keep * self.log_sum, keep * self.log_squares
            self.seen = self.expected = 0.0
        elif self.expected > 40.0:
            self.seen, self.expected = self.seen * 20.0 / self.expected, 20.0
        center = self.log_sum / self.log_n
        spread = sqrt(max(0.02, self.log_squares / self.log_n - center * center))
        self.area[0] = 0.0
        upper = 1.0
        for i in range(SPAN_BINS):  # prior: the lognormal of the same two moments, worth `weight` durations
            width = self.edge[i + 1] - self.edge[i]
            lower = 0.5 * erfc((log(self.edge[i + 1]) - center) / spread * 0.7071067811865476)
            mass = self.weight * (upper - lower) + 1e-9
            self.hazard[i] = (self.events[i] + mass) / (
                self.exposure[i] + self.more_exposure[i] + self.weight * 0.5 * (upper + lower) * width + 1e-6)
            self.area[i + 1] = self.area[i] + self.hazard[i] * width
            upper = lower
        self.imagine(center, spread)

    cdef void imagine(self, double center, double spread) noexcept nogil:
        # The hazards, were durations longer or shorter: what was learned, times the ratio that lognormal laws of the
        # same two moments have. So the noise of what was learned is the same in all.
        cdef double z, mills, own
        cdef int i, k
        for i in range(SPAN_BINS):
            for k in range(SIZES):
                z = (log(0.5 * (self.edge[i] + self.edge[i + 1])) - center - self.change.log_size[k]) / spread
                # the normal density over its tail; beyond 6 its asymptote
                mills = 0.7978845608 * exp(-0.5 * z * z) / erfc(z * 0.7071067811865476) if z < 6.0 else z + 1.0 / z
                self.log_hazard_of[i][k] = log(max(mills, 1e-4))
            own = self.log_hazard_of[i][SAME]
            for k in range(SIZES):
                self.log_hazard_of[i][k] -= own
                self.hazard_of[i][k] = self.hazard[i] * exp(self.log_hazard_of[i][k])

    # From Python, for tests and for looking at what was learned.

    def add(self, double duration, bint ended=True):
        """One duration in seconds; ``ended=False`` when it was cut off (censored) at that age."""
        self.observe(duration, ended, 0.0)

    def learn(self, running=()):
        """Recompute the hazards; ``running`` are the ages of durations still going on."""
        self.begin()
        for age in running:
            self.running(age, 0.0)
        self.rebuild()

    def rescale(self, double times, double worth=30.0):
        """Durations are ``times`` as long as they were; the knowledge of them is worth so many."""
        self.stretch(times, worth)
        self.rebuild()

    def survives(self, double age):
        """P(duration > age)."""
        return self.survival(age)

    def average(self):
        """The mean duration in seconds."""
        return self.mean()


cdef inline double _expm1(double x) noexcept nogil:
    return x + 0.5 * x * x if -1e-5 < x < 1e-5 else exp(x) - 1.0


cdef class AnswerLearner:
    """When dialed calls are answered, and with what probability.

    For a call of answer probability p, still ringing at age a, the probability of an answer within the next u seconds is
    ``p [F(a+u) - F(a)] / [1 - p F(a) - (1-p) G(a)]`` with F the time to an answer and G the time to any other end.
    Calls without a probability of their own have the learned mean ``p``; a given p is corrected by learned odds.
    """

    def __cinit__(self, double prior_p=0.2, double prior_mean=10.0, double weight=20.0, double memory=4000.0):
        cdef int i
        cdef double center = log(prior_mean) - 0.11, lower, upper = 1.0, share
        for i in range(RING_BINS):
            self.answered[i] = self.ended[i] = self.censored[i] = self.more_censored[i] = 0.0
            lower = 0.5 * erfc((log(0.5 * (i + 1)) - center) / 0.47 * 0.7071067811865476)
            self.prior_answered[i] = prior_p * (upper - lower)
            share = 0.02 if i < 40 else (0.2 / 20.0 if i < 60 else 0.0)
            self.prior_ended[i] = (1.0 - prior_p) * share
            upper = lower
        self.weight, self.memory = weight, memory
        self.seen = self.expected = self.seen_known = self.expected_known = self.fresh = 0.0
        self.odds, self.p, self.doubtful = 1.0, prior_p, 2.0
        self.jump_rate, self.times, self.alert = 1.5e-4, 1.0, 1.0
        self.first = self.next = 0
        self.last_placed = 0.0
        memset(self.odds_of, 0, sizeof(self.odds_of))
        self.step = 0.7
        change_begin(&self.change, self.step)
        self.power = 3.0
        self.dead = 60.0
        self.rebuild()

    cdef double effective(self, double p) noexcept nogil:
        cdef double odds = self.odds * self.times
        if isnan(p):
            return self.p_high * self.times / (1.0 - self.p_high + self.p_high * self.times)
        return p * odds / (1.0 - p + p * odds)

    cdef void still_rings(self, double p, double age, double* ratio) noexcept nogil:
        # Likelihood ratios of a call that still rings, for each size: its odds of an answer times the size.
        cdef double answer = p * (1.0 - self.distribution(self.F, age)), other, x
        cdef int k
        other = (1.0 - p) * (1.0 - self.distribution(self.G, age))
        for k in range(SIZES):
            x = self.change.size[k]
            ratio[k] = 1.0
            if answer + other > 1e-6:
                ratio[k] = (other + answer * x) / ((other + answer) * (1.0 - p + p * x))
        for k in range(STRETCHES):
            x = p * (1.0 - self.distribution(self.F, age / STRETCH[k]))
            ratio[SIZES + k] = (x + other + 1e-3) / (answer + other + 1e-3)

    cdef double density(self, double age, double times) noexcept nogil:
        # Of the time to an answer, were it so many times as long; over a second and a half.
        return (self.distribution(self.F, (age + 0.75) / times) - self.distribution(self.F, (age - 0.75) / times)
                + 0.003)

    cdef long place(self, double p, double now) noexcept nogil:
        # A call is dialed; its number.
        cdef Recent_C* r
        if self.next - self.first == RECENT:  # no room for the oldest: it counts as it is
            r = &self.recent[self.first & (RECENT - 1)]
            if not r.ended:
                self.resolve(self.first, -1, now)
        r = &self.recent[self.next & (RECENT - 1)]
        r.ended, r.p, r.placed, r.since = False, p, now, now - self.last_placed
        self.last_placed = now
        self.next += 1
        return self.next - 1

    cdef void resolve(self, long number, int outcome, double now) noexcept nogil:
        # The outcomes of `observe`. What can't change any more goes into the odds.
        cdef Recent_C* r
        cdef double p, x
        cdef int k
        if number < self.first:
            return
        r = &self.recent[number & (RECENT - 1)]
        r.ended = True
        p = self.p if isnan(r.p) else r.p * self.odds / (1.0 - r.p + r.p * self.odds)
        for k in range(SIZES):
            x = self.change.size[k]
            r.ratio[k] = (x if outcome == 1 else 1.0) / (1.0 - p + p * x)
        x = self.density(now - r.placed, 1.0)
        for k in range(STRETCHES):
            r.ratio[SIZES + k] = self.density(now - r.placed, STRETCH[k]) / x if outcome == 1 else 1.0
        if outcome < 0:
            self.still_rings(p, now - r.placed, r.ratio)
        while self.first < self.next and self.recent[self.first & (RECENT - 1)].ended:
            r = &self.recent[self.first & (RECENT - 1)]
            for k in range(IDEAS):
                self.odds_of[k] = min(1e6, (self.odds_of[k] + min(0.1, self.alert * self.jump_rate * r.since)) * r.ratio[k])
            self.first += 1

    cdef void look_for_change(self, double now) noexcept nogil:
        # The odds that answers became likelier, or less so, from any call on (Shiryaev's recursion, one a size).
        cdef double odds[IDEAS]
        cdef double ratio[IDEAS]
        cdef double total = 1.0, jump, x
        cdef double* by
        cdef Recent_C* r
        cdef long i
        cdef int k
        memcpy(odds, self.odds_of, sizeof(odds))
        for i in range(self.first, self.next):
            r = &self.recent[i & (RECENT - 1)]
            jump = min(0.1, self.alert * self.jump_rate * r.since)
            if r.ended:
                by = &r.ratio[0]
            elif isnan(r.p):
                by = &self.still[min(2 * RING_BINS - 1, max(0, <int>(4.0 * (now - r.placed))))][0]
            else:
                self.still_rings(r.p * self.odds / (1.0 - r.p + r.p * self.odds), now - r.placed, ratio)
                by = &ratio[0]
            for k in range(IDEAS):
                odds[k] = (odds[k] + jump) * by[k]
        for k in range(IDEAS):
            odds[k] = min(odds[k], 1e6)
            if k != SAME:
                total += odds[k]
        memcpy(self.now_odds, odds, sizeof(odds))
        for k in range(SIZES):
            self.change.weight[k] = odds[k] / total
        self.change.weight[SAME] = 1.0 / total
        x = self.doubtful_now = 0.0
        for k in range(SAME + 1, SIZES):
            self.doubtful_now += max(0.0, odds[k] - self.dead * self.alert * self.jump_rate) / total
            x += max(0.0, odds[k] - self.dead * self.alert * self.jump_rate) / total * (exp(self.power * self.change.log_size[k]) - 1.0)
        self.times = exp(log(1.0 + x) / self.power)

    cdef int fold(self) noexcept nogil:
        # Takes over a change that is sure; the steps of its size.
        cdef int k, best = SAME
        cdef double x
        if self.change.weight[SAME] >= 0.003:
            return 0
        for k in range(IDEAS):
            if best == SAME or self.now_odds[k] > self.now_odds[best]:
                best = k if k != SAME else best
        if best < SIZES:
            x = self.change.size[best]
            self.shift(x / (1.0 - self.p + self.p * x), 40.0)
        else:
            self.stretch(STRETCH[best - SIZES])
        change_begin(&self.change, self.step)
        memset(self.odds_of, 0, sizeof(self.odds_of))
        self.first, self.times, self.doubtful_now = self.next, 1.0, 0.0
        return best - SAME

    cdef double distribution(self, double* table, double age) noexcept nogil:
        cdef double x = 2.0 * age
        cdef int i = <int>x
        if x <= 0.0:
            return 0.0
        if i >= RING_BINS:
            return 1.0
        return table[i] + (x - i) * (table[i + 1] - table[i])

    cdef double within(self, double p, double age, double span) noexcept nogil:
        cdef double before = self.distribution(self.F, age)
        cdef double left = 1.0 - p * before - (1.0 - p) * self.distribution(self.G, age)
        if left < 1e-9:
            return 0.0
        return min(1.0, p * (self.distribution(self.F, age + span) - before) / left)

    cdef double compensator(self, double p, double age) noexcept nogil:
        # The cumulative hazard of an answer over a call's life: what its answering counts against.
        cdef int i, last = min(RING_BINS, <int>(2.0 * age) + 1)
        cdef double total = 0.0, left
        for i in range(last):
            left = 1.0 - p * self.F[i] - (1.0 - p) * self.G[i]
            if left > 1e-9:
                total += p * (self.F[i + 1] - self.F[i]) / left
        return total

    cdef void observe(self, double p, double age, int outcome, double counted) noexcept nogil:
        # outcome: 1 answered by a person, 0 ended otherwise, -1 censored (cancelled while it rang).
        cdef int i = min(RING_BINS - 1, max(0, <int>(2.0 * age)))
        cdef double against = max(0.0, self.compensator(self.effective(p), age) - counted)
        self.fresh += 1.0
        self.seen += outcome == 1
        self.expected += against
        if not isnan(p):
            self.seen_known += outcome == 1
            self.expected_known += against
        if outcome == 1:
            self.answered[i] += 1.0
        elif outcome == 0:
            self.ended[i] += 1.0
        else:
            self.censored[i] += 1.0

    cdef void doubt(self) noexcept nogil:
        # The short memory of some thirty answers is compared with the long one; calls since the last look stay.
        cdef double keep
        cdef int i
        cdef double total = 0.0
        if self.expected < 4.0 and self.seen < 8.0:
            return
        if abs(self.seen - self.expected) > FORGET_LEVEL * sqrt(self.expected + 1.0):
            for i in range(RING_BINS):
                total += self.answered[i] + self.ended[i] + self.censored[i]
            keep = min(1.0, max(40.0, self.fresh) / max(total, 1.0))
            for i in range(RING_BINS):
                self.answered[i] *= keep
                self.ended[i] *= keep
                self.censored[i] *= keep
            self.seen = self.expected = 0.0
        elif self.expected > 40.0:
            self.seen, self.expected = self.seen * 20.0 / self.expected, 20.0

    cdef void begin(self) noexcept nogil:
        cdef int i
        for i in range(RING_BINS):
            self.more_censored[i] = 0.0

    cdef double running(self, double p, double age, double counted) noexcept nogil:
        cdef double against = self.compensator(self.effective(p), age)
        self.more_censored[min(RING_BINS - 1, max(0, <int>(2.0 * age)))] += 1.0
        self.expected += max(0.0, against - counted)
        if not isnan(p):
            self.expected_known += max(0.0, against - counted)
        return against

    cdef void rebuild(self) noexcept nogil:
        cdef double risk = 0.0, left = 1.0, answers, others, keep, a, b, at_risk, total = 0.0
        cdef int i
        self.doubt()
        self.fresh = 0.0
        for i in range(RING_BINS):
            total += self.answered[i] + self.ended[i] + self.censored[i]
            risk += self.answered[i] + self.ended[i] + self.censored[i] + self.more_censored[i]
            risk += self.weight * (self.prior_answered[i] + self.prior_ended[i])
        self.F[0] = self.G[0] = 0.0
        for i in range(RING_BINS):
            answers = self.answered[i] + self.weight * self.prior_answered[i]
            others = self.ended[i] + self.weight * self.prior_ended[i]
            # Calls cut off in this bin were at risk for half of it on average.
            at_risk = max(risk - 0.5 * (self.censored[i] + self.more_censored[i]), answers + others)
            a = b = 0.0
            if at_risk > 1e-9:
                a, b = left * answers / at_risk, left * others / at_risk
            self.F[i + 1] = self.F[i] + a
            self.G[i + 1] = self.G[i] + b
            left = max(0.0, left - a - b)
            risk -= answers + others + self.censored[i] + self.more_censored[i]
        a, b = max(self.F[RING_BINS], 1e-9), max(self.G[RING_BINS], 1e-9)
        self.p = max(0.002, a / (a + b))
        self.p_high = min(0.98, self.p + self.doubtful * sqrt(self.p * (1.0 - self.p) / (self.weight + total)))
        for i in range(1, RING_BINS + 1):
            self.F[i] /= a
            self.G[i] /= b
        if total > self.memory:  # forget so that the counts weigh at most `memory` calls
            keep = self.memory / total
            for i in range(RING_BINS):
                self.answered[i] *= keep
                self.ended[i] *= keep
                self.censored[i] *= keep
        for i in range(2 * RING_BINS):
            self.still_rings(self.p, 0.25 * i + 0.125, self.still[i])
        if self.expected_known > 60.0:
            self.odds = min(8.0, max(0.125, self.odds * (self.seen_known + 120.0) / (self.expected_known + 120.0)))
            self.seen_known = self.expected_known = 0.0

    cdef void shift(self, double times, double worth) noexcept nogil:
        # The answer probability is another one from now on, what was learned of the times is kept, worth so many calls.
        cdef double p = min(0.95, max(0.002, self.p * times))
        cdef double up = p / self.p, down = (1.0 - p) / (1.0 - self.p), total = 0.0, keep
        cdef int i
        for i in range(RING_BINS):
            total += self.answered[i] * up + self.ended[i] * down + self.censored[i]
        keep = min(1.0, worth / max(total, 1.0))
        for i in range(RING_BINS):
            self.answered[i] *= up * keep
            self.ended[i] *= down * keep
            self.censored[i] *= keep
            self.prior_answered[i] *= up
            self.prior_ended[i] *= down
        self.seen = self.expected = 0.0

    cdef void stretch(self, double times) noexcept nogil:
        # Answers come after so many times the time from now on.
        cdef double answered[RING_BINS]
        cdef double prior[RING_BINS]
        cdef double low, high, part
        cdef int i, k
        memset(answered, 0, sizeof(answered))
        memset(prior, 0, sizeof(prior))
        for i in range(RING_BINS):
            low, high = i * times, (i + 1) * times
            k = min(RING_BINS - 1, <int>low)
            while low < high - 1e-9:
                part = (high if k == RING_BINS - 1 else min(high, k + 1.0)) - low
                answered[k] += self.answered[i] * part / times
                prior[k] += self.prior_answered[i] * part / times
                low += part
                k = min(RING_BINS - 1, k + 1)
        memcpy(self.answered, answered, sizeof(answered))
        memcpy(self.prior_answered, prior, sizeof(prior))
        self.shift(1.0, 40.0)

    cdef double quantile(self, double share) noexcept nogil:
        cdef int i = 0
        while i < RING_BINS - 1 and self.F[i + 1] < share:
            i += 1
        return 0.5 * (i + (share - self.F[i]) / max(self.F[i + 1] - self.F[i], 1e-12))

    def add(self, double age, int outcome, double p=float("nan")):
        """One call that ended at ``age`` seconds: 1 answered by a person, 0 ended otherwise, -1 cancelled."""
        self.observe(p, age, outcome, 0.0)

    def learn(self, running=(), double p=float("nan")):
        """Recompute the distributions; ``running`` are the ages of calls still ringing."""
        self.begin()
        for age in running:
            self.running(p, age, 0.0)
        self.rebuild()

    def probability(self, double age, double span, double p=float("nan")):
        """P(a person answers within ``span`` seconds | still ringing at ``age``)."""
        return self.within(self.effective(p), age, span)

    def rescale(self, double times, double worth=40.0):
        """The answer probability is ``times`` what it was; the knowledge of it is worth so many calls."""
        self.shift(times, worth)
        self.rebuild()

    def mean_probability(self):
        """The learned answer probability of calls that have none of their own."""
        return self.p
