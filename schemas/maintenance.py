"""The data of a sensor reading and of its label. Version 1.

{"reading_id": "pump-7/vibration/000412", "event_time": "2013-12-02T21:15:00Z",
 "asset_id": "pump-7", "sensor": "vibration", "value": 73.96732207, "unit": "mm/s"}

{"reading_id": "pump-7/vibration/000412", "label_time": "2013-12-09T21:15:00Z", "anomaly": true}
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.times import EventTime

__all__ = ["AnomalyLabel", "SensorReading"]

Identifier = Annotated[str, Field(min_length=1, max_length=128)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class SensorReading(_Data):
    """What one sensor of one asset measured.

    >>> SensorReading.model_validate_json(
    ...     '{"reading_id": "r-1", "event_time": "2013-12-02T21:15:00Z", "asset_id": "pump-7",'
    ...     ' "sensor": "vibration", "value": 73.96}'
    ... ).unit is None
    True
    """

    reading_id: Identifier
    event_time: EventTime
    asset_id: Identifier
    sensor: Annotated[str, Field(min_length=1, max_length=64)]
    value: Annotated[float, Field(ge=-1e15, le=1e15)]
    unit: Annotated[str, Field(min_length=1, max_length=16, description="such as mm/s")] | None = (
        None
    )


class AnomalyLabel(_Data):
    """What a reading turned out to be part of, known once somebody has looked at the asset.

    >>> AnomalyLabel.model_validate_json(
    ...     '{"reading_id": "r-1", "label_time": "2013-12-09T21:15:00Z", "anomaly": true}'
    ... ).anomaly
    True
    """

    reading_id: Identifier
    label_time: EventTime
    anomaly: bool
