"""What counts in the budgets of an API key, from the account that counts it. Pure."""

from app.credits.public import Account, limits, line_of
from app.keys.api_key import ApiKey
from app.keys.schemas import BudgetAnswer
from app.kit.clock import optional_rfc3339
from app.kit.money import to_decimal


def spent(key: ApiKey, account: Account, now_us: int) -> list[BudgetAnswer]:
    """Each budget of the key, the shortest window first."""
    held = to_decimal(account.held_by(key.id))
    lines = [line_of(account.budgets, key.id, limit, now_us) for limit in limits(key.budgets)]
    return [
        BudgetAnswer(
            window=line.limit.window,
            credits=to_decimal(line.limit.amount),
            spent=to_decimal(line.spent),
            held=held,
            resets_at=optional_rfc3339(line.resets_us),
        )
        for line in lines
    ]
