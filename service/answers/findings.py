"""Insights: what the history shows that its owner should know; the rules are in `insights`."""

from service.answers.answer import Answer
from service.answers.insights import Asked, Finding, findings


class Insights(Answer, frozen=True):
    """The most severe first."""

    insights: list[Finding]


def insights(asked: Asked) -> Insights:
    return Insights(insights=findings(asked))
