"""What a client can do wrong, each with its WebSocket status, HTTP status and text. Knows no transport."""


class RequestError(Exception):
    """A request that is answered with an error and changes nothing."""

    ws_status = "failure"
    http_status = 400


class InvalidPath(RequestError):
    """A path with a forbidden character, or too deep, or with a key that is too long."""

    ws_status = "invalid_path"

    def __init__(self, message: str = "Invalid path: Invalid token in path") -> None:
        super().__init__(message)


class InvalidData(RequestError):
    """Data that cannot be stored."""

    ws_status = "invalid_data"


class InvalidKey(InvalidData):
    """Data with a key that cannot be stored; REST adds the position of the key."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"Invalid data; couldn't parse key {key[:80]!r}. {problem}")
        self.key = key
        self.problem = problem


class InvalidQuery(RequestError):
    """Query constraints that contradict each other or cannot be parsed."""

    ws_status = "invalid_query"


class MissingIndex(RequestError):
    """The rules define no index for the requested ordering."""


class TooBig(RequestError):
    """More data than one write may carry."""

    ws_status = "too_big"


class PermissionDenied(RequestError):
    """The rules refuse. `reason` names the rule and goes to the debug log only."""

    ws_status = "permission_denied"
    http_status = 401

    def __init__(self, reason: str = "") -> None:
        super().__init__("Permission denied")
        self.reason = reason


class StaleData(RequestError):
    """A conditional write whose condition does not hold any more."""

    ws_status = "datastale"
    http_status = 412

    def __init__(self) -> None:
        super().__init__("Transaction hash does not match")


class InvalidToken(RequestError):
    """A credential that cannot be read."""

    ws_status = "invalid_token"
    http_status = 401

    def __init__(self) -> None:
        super().__init__("Could not parse auth token.")


class ExpiredToken(RequestError):
    """A credential that was good once."""

    ws_status = "expired_token"
    http_status = 401

    def __init__(self) -> None:
        super().__init__("Auth token is expired")


class Unauthorized(RequestError):
    """A control request without the owner's credential."""

    http_status = 401

    def __init__(self) -> None:
        super().__init__("Unauthorized: send the header Authorization: Bearer owner")
