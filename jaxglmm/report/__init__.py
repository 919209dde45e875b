"""What a fit looks like on paper: its summary as text and as HTML."""

from jaxglmm.report.summary import Summary, summarise

__all__ = ["Summary", "summarise"]
