"""What Firebase Auth knows of a user, as evidence for the welcome bonus. The only place here that imports its SDK."""

from app.bonus.rules import Evidence
from app.kit.errors import Unavailable


def from_firebase_auth(uid: str) -> Evidence:
    """The user's record; an `Evidence` without an e-mail for nobody. Asked once, when an account opens, and at claims.

    Raises:
        Unavailable: Auth did not answer.
    """
    from firebase_admin import auth, exceptions

    try:
        user = auth.get_user(uid)
    except auth.UserNotFoundError:
        return Evidence(uid)
    except (exceptions.FirebaseError, ValueError) as error:
        raise Unavailable(f"Auth did not answer: {error}") from error
    provider = user.provider_data[0] if user.provider_data else None
    created_ms = user.user_metadata.creation_timestamp or 0
    return Evidence(
        uid=uid,
        provider=provider.provider_id if provider else "anonymous",
        provider_uid=provider.uid if provider else None,
        email=user.email,
        email_verified=bool(user.email_verified) and not user.disabled,
        created_at_us=int(created_ms) * 1000,
    )
