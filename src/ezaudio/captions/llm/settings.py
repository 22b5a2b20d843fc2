"""The server that is asked, what a token costs there, and how patiently it is asked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from ezaudio.config import Config
from ezaudio.errors import InputError

PRICES: Mapping[str, tuple[float, float]] = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
}
"""US dollars for a million tokens in and out, as published; `price_in` and `price_out` go first."""


def _checked_address(text: str) -> str:
    if not re.match(r"https?://[^/\s]", text):
        raise ValueError("an address such as http://localhost:8000/v1")
    return text


Address = Annotated[str, AfterValidator(_checked_address)]


class ChatSettings(Config):
    """A server, its model, and how patiently it is asked.

    Attributes:
        model: name that the server knows.
        base_url: None for OpenAI's; `http://localhost:8000/v1` for a server of your own.
        api_key_env: environment variable that holds the key; a server of your own needs none.
        temperature, top_answer_tokens: of the answers.
        concurrency: requests under way at once.
        requests_per_minute, tokens_per_minute: limits to keep; None for none.
        timeout_s: for one request.
        most_tries: requests about one clip, counting those that failed and refused answers.
        give_up_after: failed requests in a row, about whichever clip, that end the run.
        price_in, price_out: for a million tokens; None looks into the table, 0 for other servers.
    """

    model: str = "gpt-4o-mini"
    base_url: Address | None = None
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = Field(0.7, ge=0, le=2)
    top_answer_tokens: int = Field(120, ge=1)
    concurrency: int = Field(8, ge=1, le=1000)
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    timeout_s: float = Field(60.0, gt=0)
    most_tries: int = Field(6, ge=1)
    give_up_after: int = Field(50, ge=1)
    price_in: float | None = Field(None, ge=0)
    price_out: float | None = Field(None, ge=0)

    def prices(self) -> tuple[float, float]:
        """Price of one token in and one token out."""
        listed = PRICES.get(self.model, (0.0, 0.0)) if self.base_url is None else (0.0, 0.0)
        price_in = listed[0] if self.price_in is None else self.price_in
        price_out = listed[1] if self.price_out is None else self.price_out
        return price_in / 1e6, price_out / 1e6

    def priced(self) -> bool:
        """False when nobody knows what a token costs."""
        return self.base_url is not None or self.price_in is not None or self.model in PRICES

    def require_key(self) -> None:
        """Refuse to go on where the server needs a key and there is none.

        Raises:
            InputError: the environment variable is empty or not set.
        """
        if self.base_url is None and not os.environ.get(self.api_key_env):
            allowed = "a key in this environment variable, or a server of your own"
            raise InputError(self.api_key_env, None, allowed)
