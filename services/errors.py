"""Errors of the library as ``google.rpc.Status`` (AIP-193): a code, a reason for programs, and words for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage
from google.rpc.status_pb2 import Status

from cordboard import errors
from cordboard.errors import CordboardError, InputError

DOMAIN = "cordboard"
# Bytes of a message, of a field's name and description, and fields: together what headers of HTTP/2 surely hold.
TEXT_MAX, FIELD_MAX, DESCRIPTION_MAX, FIELDS_MAX = 400, 80, 200, 8

Code = grpc.StatusCode


class Rule(NamedTuple):
    """What an error is to a caller. ``zh``: the kind of error in Chinese, said before a message that has no
    translation. ``metadata``: facts for programs."""

    code: grpc.StatusCode
    reason: str
    zh: str
    metadata: Callable[[Any], dict[str, str]] = lambda error: {}


RULES: dict[type[CordboardError], Rule] = {
    errors.InputError: Rule(Code.INVALID_ARGUMENT, "INVALID_INPUT", "请求中的内容无法使用"),
    errors.CenterError: Rule(Code.INVALID_ARGUMENT, "CENTER_INVALID", "中心配置无法使用"),
    errors.JournalError: Rule(Code.INVALID_ARGUMENT, "EVENT_INVALID", "事件的字段有误"),
    errors.EventError: Rule(Code.FAILED_PRECONDITION, "EVENT_REFUSED", "当前状态不允许此事件"),
    errors.DuplicateError: Rule(Code.ALREADY_EXISTS, "ALREADY_EXISTS", "同名的联系已在中心内"),
    errors.UnknownNameError: Rule(Code.NOT_FOUND, "NAME_UNKNOWN", "没有这个名称"),
    errors.StaleEventError: Rule(Code.FAILED_PRECONDITION, "TOO_LATE", "为时已晚：分配已撤回，或联系已离开"),
    errors.DataError: Rule(Code.INVALID_ARGUMENT, "DATA_INVALID", "数据无法使用"),
    errors.ModelFileError: Rule(Code.FAILED_PRECONDITION, "MODEL_FILE_UNUSABLE", "模型文件损坏或版本不符"),
    errors.LimitError: Rule(
        Code.RESOURCE_EXHAUSTED, "LIMIT_REACHED", "已达上限，未作任何改变", lambda e: {"limit": str(e.limit)}
    ),
    errors.UnauthenticatedError: Rule(Code.UNAUTHENTICATED, "UNAUTHENTICATED", "身份未确认"),
    errors.DeniedError: Rule(Code.PERMISSION_DENIED, "DENIED", "没有权限"),
    errors.ConflictError: Rule(Code.ABORTED, "CONFLICT", "与先前的操作冲突，未作任何改变"),
    errors.UnavailableError: Rule(
        Code.UNAVAILABLE, "ENGINE_UNAVAILABLE", "引擎暂不可用，请用同一 request_id 重试", lambda e: {"state": e.reason}
    ),
    errors.StoreError: Rule(Code.UNAVAILABLE, "STORE_FAULT", "存储出现故障", lambda e: {"kind": e.kind}),
    errors.CompactedError: Rule(
        Code.OUT_OF_RANGE,
        "COMPACTED",
        "所求的记录已不保留，请读取当前状态后继续",
        lambda e: {"oldest_revision": str(e.oldest + 1)},
    ),
    errors.SlowReaderError: Rule(
        Code.RESOURCE_EXHAUSTED,
        "SLOW_READER",
        "读取过慢，已断开，可从该处继续",
        lambda e: {"revision": str(e.revision)},
    ),
    errors.MissingExtraError: Rule(
        Code.FAILED_PRECONDITION, "EXTRA_MISSING", "服务器未安装所需组件", lambda e: {"extra": e.extra}
    ),
    errors.AccessError: Rule(Code.PERMISSION_DENIED, "DENIED", "没有权限"),
    errors.CordboardError: Rule(Code.INTERNAL, "INTERNAL", "内部错误"),
}


def rule_of(kind: type[CordboardError]) -> Rule:
    """The rule of the nearest class above that has one."""
    return next(RULES[one] for one in kind.__mro__ if one in RULES)


def status_of(error: CordboardError) -> Status:
    """What a caller is told: the code, ErrorInfo, BadRequest for fields, and the message in English and Chinese."""
    rule = rule_of(type(error))
    reason = error.reason if isinstance(error, errors.AccessError) else rule.reason
    text = _short(str(error), TEXT_MAX)
    zh = _chinese(error, rule)
    details: list[Message] = [ErrorInfo(reason=reason, domain=DOMAIN, metadata=rule.metadata(error))]
    if isinstance(error, InputError) and rule.code is Code.INVALID_ARGUMENT:
        details.append(_bad_request(error))
    details += [LocalizedMessage(locale="en", message=text), LocalizedMessage(locale="zh", message=zh)]
    return Status(code=rule.code.value[0], message=text, details=[_packed(one) for one in details])


def _chinese(error: CordboardError, rule: Rule) -> str:
    """The message in Chinese; of one that has no translation, at least what kind of error it is."""
    text = error.text("zh")
    return _short(text if re.search(r"[\u4e00-\u9fff]", text) else f"{rule.zh}：{text}", TEXT_MAX)


def _bad_request(error: InputError) -> BadRequest:
    """The fields that can't be used; of a center file, all of them."""
    found = getattr(error, "errors", None) or (error,)
    violations = [
        BadRequest.FieldViolation(
            field=_short(one.where.key or "", FIELD_MAX), description=_short(str(one), DESCRIPTION_MAX)
        )
        for one in found[:FIELDS_MAX]
    ]
    return BadRequest(field_violations=violations)


def _short(text: str, most: int) -> str:
    """The text, or its beginning in so many bytes of UTF-8."""
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "..."


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
