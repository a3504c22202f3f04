"""What SIP and RTP say, in cordboard's words: codes to causes and back, and the quality of audio."""

from __future__ import annotations

from cordboard.media.backend import Cause, Quality

# What a refusal means that came before the answer. What is not here: FAILED, or REJECTED from 600 on.
_CAUSES = {
    Cause.BUSY: (486, 600),
    Cause.REJECTED: (433, 603, 607, 608),
    Cause.INVALID: (404, 410, 414, 416, 484, 485, 604),
    Cause.UNREACHABLE: (430, 502, 504),
    Cause.CONGESTION: (503,),
    Cause.FORBIDDEN: (401, 402, 403, 407, 428, 436, 437, 438),
    Cause.CANCELLED: (487,),
}
_CAUSE_OF = {code: cause for cause, codes in _CAUSES.items() for code in codes}

# What a caller is told whose call we end before the answer.
CODES = {
    Cause.NORMAL: 480,
    Cause.CANCELLED: 480,
    Cause.BUSY: 486,
    Cause.NO_ANSWER: 480,
    Cause.REJECTED: 603,
    Cause.INVALID: 404,
    Cause.UNREACHABLE: 480,
    Cause.CONGESTION: 503,
    Cause.FORBIDDEN: 403,
    Cause.FAILED: 500,
    Cause.LOST: 503,
}
RETRY_AFTER_S = 10  # for callers who are refused because nobody is there to say what becomes of them


PACKETS_MAX = 1_000_000_000
FRAME_MS = 40.0  # one packet of 20 ms, and one that waits for it in the jitter buffer
LOSS_ROBUSTNESS = 25.1  # Bpl of G.711 with concealment (ITU-T G.113 Appendix I)


def refusal(code: int, rang: bool = False) -> Cause:
    """Why a call was not answered, from the SIP code of its end (RFC 3261 section 21; 607 and 608: RFC 8197, RFC 8688;
    428 to 438: RFC 8224). ``rang``: a phone rang before, so that 480 and 408 mean that nobody picked up."""
    if code in (408, 480):
        return Cause.NO_ANSWER if rang else Cause.UNREACHABLE
    return _CAUSE_OF.get(code, Cause.REJECTED if code >= 600 else Cause.FAILED)


def quality(received: int, lost: int, sent: int, jitter_ms: float, round_trip_ms: float) -> Quality:
    """The figures of RTCP, with the MOS that they let expect. Who sends numbers of packets at random is told to have
    lost billions, which no journal takes."""
    received, lost, sent = (min(count, PACKETS_MAX) for count in (received, lost, sent))
    share = lost / (received + lost) if received + lost > 0 else 0.0
    mos = mean_opinion(share, round_trip_ms / 2.0 + 2.0 * jitter_ms + FRAME_MS)
    return Quality(received, lost, sent, jitter_ms, round_trip_ms, mos)


def mean_opinion(loss: float, delay_ms: float) -> float:
    """MOS, 1 to 4.5, by the E-model with default values (ITU-T G.107): R = 93.2 - Id - Ie,eff, for G.711 with
    concealment of lost packets. ``loss``: share of packets, 0 to 1, taken as random; ``delay_ms``: from mouth to ear.

    >>> round(mean_opinion(0.0, 20.0), 2), round(mean_opinion(0.05, 150.0), 2)
    (4.4, 3.77)
    """
    impairment = 0.024 * delay_ms + (0.11 * (delay_ms - 177.3) if delay_ms > 177.3 else 0.0)
    percent = 100.0 * loss
    r = 93.2 - impairment - 95.0 * percent / (percent + LOSS_ROBUSTNESS)
    if r <= 0.0:
        return 1.0
    return min(4.5, max(1.0, 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6))
