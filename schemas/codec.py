"""The one door between bytes and events.

Everything that enters or leaves a topic is decoded or encoded here. What is decoded is validated;
what cannot be is refused with a reason, a path and a sentence, one event at a time: neighbours
never notice.
"""

from batuta.schemas.dead_letter_codec import decode_dead_letter, encode_dead_letter
from batuta.schemas.decision_codec import (
    decode_decision,
    decode_decisions,
    encode_decision,
    encode_decisions,
)
from batuta.schemas.event_codec import Decoded, EventCodec
from batuta.schemas.event_encoding import Mode, encode_event, put_aside, rekeyed
from batuta.schemas.ingested_codec import (
    decode_ingested,
    decode_scoring,
    encode_ingested,
    encode_ingested_all,
)
from batuta.schemas.label_codec import (
    decode_learning,
    encode_index,
    encode_label,
    encode_outcome,
)
from batuta.schemas.label_codec import read_outcome as decode_outcome
from batuta.schemas.lease_codec import (
    decode_budgeting,
    encode_lease_grant,
    encode_lease_request,
    encode_limit_change,
)
from batuta.schemas.lease_codec import read_grant as decode_lease_grant
from batuta.schemas.message_codec import (
    decode_action,
    decode_case,
    decode_cases,
    decode_notification,
    decode_notifications,
    encode_action,
    encode_case,
    encode_notification,
)
from batuta.schemas.message_reading import Messages
from batuta.schemas.refusals import REASONS, Refused
from batuta.schemas.review_codec import (
    decode_any_case,
    decode_escalation,
    decode_reviewed,
    decode_verdict,
    encode_reviewed,
    encode_step_answer,
    encode_step_case,
    encode_verdict,
)

__all__ = [
    "REASONS",
    "Decoded",
    "EventCodec",
    "Messages",
    "Mode",
    "Refused",
    "decode_action",
    "decode_any_case",
    "decode_budgeting",
    "decode_case",
    "decode_cases",
    "decode_dead_letter",
    "decode_decision",
    "decode_decisions",
    "decode_escalation",
    "decode_ingested",
    "decode_learning",
    "decode_lease_grant",
    "decode_notification",
    "decode_notifications",
    "decode_outcome",
    "decode_reviewed",
    "decode_scoring",
    "decode_verdict",
    "encode_action",
    "encode_case",
    "encode_dead_letter",
    "encode_decision",
    "encode_decisions",
    "encode_event",
    "encode_index",
    "encode_ingested",
    "encode_ingested_all",
    "encode_label",
    "encode_lease_grant",
    "encode_lease_request",
    "encode_limit_change",
    "encode_notification",
    "encode_outcome",
    "encode_reviewed",
    "encode_step_answer",
    "encode_step_case",
    "encode_verdict",
    "put_aside",
    "rekeyed",
]
