"""Forecasts: how many of those that have come due held, and the SQL that counts them."""

from service.analysis.forecast import NOMINAL
from service.answers.answer import Answer
from service.answers.insights.disks import SCORE_SQL
from service.store.reader import View


class ForecastScore(Answer, frozen=True):
    """Of the forecasts `made`, `due` have come due; of these `held` were right, the others came `earlier` or `later`.
    `independent` of the due do not overlap: so many say something of their own. `nominal` is the share that
    should hold, 0 to 1."""

    made: int
    due: int
    held: int
    earlier: int
    later: int
    independent: int
    nominal: float
    sql: str


def forecast_score(view: View) -> ForecastScore:
    (row,) = view.select(SCORE_SQL)
    return ForecastScore(**row, nominal=NOMINAL, sql=SCORE_SQL)
