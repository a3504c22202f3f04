"""What the demo's campaign knows of its leads, and the AnswerModel that learns from their calls."""

from __future__ import annotations

from dataclasses import dataclass

from cordboard.demo.day import OPENS_AT_S
from cordboard.learning.model import AnswerModel, Result
from cordboard.learning.schema import Feature, Schema

SEGMENTS = ("new", "customer", "lapsed")
HOURS = tuple(str(hour) for hour in range(24))


@dataclass(frozen=True, slots=True)
class Lead:
    """A number to call: what is known of it before the call."""

    number: int
    segment: str
    mobile: bool
    age: int


class LeadModel:
    """Answer probabilities of leads, by a real AnswerModel that knows nothing in the morning."""

    def __init__(self) -> None:
        features = (
            Feature("segment", "category", "before_dial", values=SEGMENTS),
            Feature("line", "category", "before_dial", values=("mobile", "landline")),
            Feature("age", "number", "before_dial", edges=(30.0, 40.0, 50.0, 60.0, 70.0)),
            Feature("hour", "category", "before_dial", values=HOURS, role="hour"),
        )
        schema = Schema("demo", 1, features, crosses=(("segment", "line"),), shrink=(("segment",),))
        self.model = AnswerModel(schema, heads=("person", "machine", "busy", "no_answer"))

    @staticmethod
    def _row(lead: Lead, t: float) -> dict[str, object]:
        line = "mobile" if lead.mobile else "landline"
        return {
            "segment": lead.segment,
            "line": line,
            "age": float(lead.age),
            "hour": str(int((OPENS_AT_S + t) // 3600) % 24),
        }

    def predict(self, lead: Lead, t: float) -> float:
        """The probability that a person answers."""
        return self.model.predict(self._row(lead, t)).person or 0.0

    def expect(self, call: str, lead: Lead, t: float) -> float:
        """The same, for a call that is being placed; its outcome will be learned."""
        return self.model.expect(call, self._row(lead, t), t).person or 0.0

    def learn(self, call: str, outcome: str, t: float) -> None:
        """The outcome of a call that was placed."""
        self.model.learn(call, Result(outcome=outcome), t)
