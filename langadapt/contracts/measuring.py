"""What components measure cost with."""

from langadapt.metering import Meter

__all__ = ["Meter"]
