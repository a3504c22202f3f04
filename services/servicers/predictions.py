"""PredictionService: who will answer, and learning from who did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from cordboard.errors import InputError, LimitError, Where
from cordboard.learning import model as learning
from cordboard.live.models import ServedModel
from cordboard.services import names
from cordboard.services.tenants import Tenants
from cordboard.services.translate import timestamp
from cordboard.v1 import prediction_service_pb2 as pb

ROWS_MAX = 100_000
CALL_ID_MAX = 255


class PredictionServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def _model(self, name: str) -> ServedModel:
        tenant, model = names.split(name, "models", "model")
        held, _ = self._tenants.of(tenant)
        return await asyncio.to_thread(held.models.get, model)

    async def Score(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreResponse:
        model = await self._model(request.model)
        return pb.ScoreResponse(prediction=_message(model.predict(_row(request.features))))

    async def ScoreColumns(self, request: pb.ScoreColumnsRequest, context: Any) -> pb.ScoreColumnsResponse:
        model = await self._model(request.model)
        found = await asyncio.to_thread(model.predict_many, _table(request))
        raw = {name: np.ascontiguousarray(values, "<f8").tobytes() for name, values in found.items()}
        return pb.ScoreColumnsResponse(probabilities=raw, version=model.version)

    async def Expect(self, request: pb.ExpectRequest, context: Any) -> pb.ExpectResponse:
        model = await self._model(request.model)
        found = await asyncio.to_thread(model.expect, _call_id(request.call_id), _row(request.features))
        return pb.ExpectResponse(prediction=_message(found))

    async def Learn(self, request: pb.LearnRequest, context: Any) -> pb.LearnResponse:
        model = await self._model(request.model)
        result = learning.Result(
            outcome=request.outcome or None,
            right_party=request.right_party if request.HasField("right_party") else None,
            success=request.success if request.HasField("success") else None,
        )
        await asyncio.to_thread(model.learn, _call_id(request.call_id), result)
        written = None if model.written_at is None else timestamp(model.written_at)
        return pb.LearnResponse(learned_count=model.learned, write_time=written)


def _call_id(call_id: str) -> str:
    if not 0 < len(call_id) <= CALL_ID_MAX:
        raise InputError(f"{len(call_id)} characters", Where(key="call_id"), f"Give 1 to {CALL_ID_MAX}")
    return call_id


def _row(features: Mapping[str, pb.FeatureValue]) -> dict[str, float | str | None]:
    """Features of one attempt; a value that is not set is missing."""
    found: dict[str, float | str | None] = {}
    for name, value in features.items():
        kind = value.WhichOneof("kind")
        found[name] = None if kind is None else value.number if kind == "number" else value.text
    return found


def _table(request: pb.ScoreColumnsRequest) -> dict[str, Any]:
    """Features of many attempts. InputError for columns of unlike lengths."""
    table: dict[str, Any] = {}
    rows: int | None = None
    for column in request.columns:
        key = f"columns.{column.name}"
        if len(column.numbers) % 8 or (column.numbers and column.texts):
            raise InputError("float64s or texts are wanted", Where(key=key), "8 bytes a number, and one kind a column")
        values: Any = list(column.texts) if column.texts else np.frombuffer(column.numbers, "<f8")
        if rows is not None and len(values) != rows:
            raise InputError(f"{len(values)} values", Where(key=key), f"The columns before have {rows}")
        rows = len(values)
        table[column.name] = values
    if rows is not None and rows > ROWS_MAX:
        raise LimitError(f"{rows} attempts in one message", ROWS_MAX, "Send them in parts")
    if not rows:
        raise InputError("no attempts", Where(key="columns"), "Give one column at least")
    return table


def _message(found: learning.Prediction) -> pb.Prediction:
    return pb.Prediction(
        outcomes=found.outcomes,
        right_party=found.right_party,
        success=found.success,
        effective_label_count=found.effective_n,
        version=found.version,
    )
