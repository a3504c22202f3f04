"""Who answered: a probability that it is a machine, and the sounds of machines, from what a leg sends.

The work is done in C (``_core/listening.h``), for every media layer the same: the production one calls it in its audio
thread, others through a ``Listener``. The same audio gives the same.

>>> from cordboard.media.backend import Listen
>>> ear = listener(Listen("d1"))
>>> ear.answered()
>>> told = [one for frame in range(100) for one in ear.tell(voice=15 <= frame < 35, hertz=0.0)]
>>> [(report.machine < 0.5, report.after_s <= 1.8) for report in (news("d1", one) for one in told)]
[(True, True)]
"""

from __future__ import annotations

from cordboard._core.listening import Listener, News
from cordboard.media import machines
from cordboard.media.backend import Heard, Judged, Listen

NOBODY_KNOWS = 0.5  # the probability of a machine where there was no audio


def listener(command: Listen) -> Listener:
    """A listener with the model that comes with cordboard."""
    return Listener(machines.model(), command.machine_at, command.person_at, command.deadline_s)


def news(leg: str, told: News) -> Heard | Judged:
    """What a listener says, as the report of a leg."""
    sound, why, machine, seconds = told
    return Heard(leg, sound) if sound else Judged(leg, round(machine, 4), why, round(seconds, 3))
