"""Who may call what: by the names in the peer's certificate, and nobody by default."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import grpc

from shotclock.domain.errors import SettingsError
from shotclock.wire import methods

# one property a kind of subject alternative name, so that an e-mail address cannot pass for a host
NAME_PROPERTIES = ("peer_dns", "peer_uri")

audit = logging.getLogger("shotclock.audit")

present_names: ContextVar[frozenset[str]] = ContextVar("present_names")
"""Of whoever makes the call that the present task handles; `Authorization` reads them once."""

Handler = Any
"""grpc.RpcMethodHandler, which grpc leaves untyped."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Method → the names that may call it: DNS or URI (SPIFFE) subject alternative names, compared exactly.

    What is not here may be called by nobody. Raises SettingsError on a method that does not exist.
    """

    allowed: Mapping[str, frozenset[str]]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.allowed) - methods.ALL)
        if unknown:
            raise SettingsError(
                f"policy: no such method {unknown[0]}; there are {', '.join(sorted(methods.ALL))}"
            )
        object.__setattr__(self, "allowed", MappingProxyType(dict(self.allowed)))

    @classmethod
    def of(
        cls,
        trainers: frozenset[str] = frozenset(),
        operators: frozenset[str] = frozenset(),
        probes: frozenset[str] = frozenset(),
    ) -> Policy:
        """Trainers solve and watch; operators watch, drain, resume, set flags and reflect; probes ask."""
        roles = (
            (methods.OF_TRAINERS, trainers),
            (methods.OF_OPERATORS, operators),
            (methods.OF_PROBES, probes),
        )
        return cls(
            {
                method: frozenset().union(*(names for group, names in roles if method in group))
                for method in methods.ALL
            }
        )

    def caller(self, method: str, names: frozenset[str]) -> str:
        """The one name by which this caller is counted: the first of those that may call the method."""
        return min(names & self.allowed.get(method, frozenset()), default="")

    def has_callers(self) -> bool:
        """Whether anybody may do more than ask for health."""
        return any(names for method, names in self.allowed.items() if method not in methods.OF_PROBES)

    def permits(self, method: str, names: frozenset[str]) -> bool:
        """Whether one of the names may call the method."""
        return not names.isdisjoint(self.allowed.get(method, frozenset()))


def peer_names(context: Any) -> frozenset[str]:
    """The DNS and URI names in the certificate of whoever calls."""
    properties = context.auth_context()
    return frozenset(name.decode() for kind in NAME_PROPERTIES for name in properties.get(kind, ()))


class Authorization(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Ends a call with PERMISSION_DENIED before its handler sees it, unless the policy permits it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._guarded: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Handler]], handler_call_details: Any
    ) -> Handler:
        """Puts the check before the method's handler; a method that does not exist has none."""
        method: str = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        inner, guarded = self._guarded.get(method, (None, None))
        if inner is not handler:
            guarded = self._guard(method, handler)
            self._guarded[method] = (handler, guarded)
        return guarded

    async def _check(self, method: str, context: Any) -> None:
        names = peer_names(context)
        present_names.set(names)
        if not self._policy.permits(method, names):
            who = ", ".join(sorted(names)) or "a certificate without a DNS or URI name"
            audit.warning("denied", extra={"caller": who, "method": method, "peer": context.peer()})
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{who} may not call {method}")

    def _guard(self, method: str, handler: Handler) -> Handler:
        behaviour = (
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        )

        async def answer_once(request: Any, context: Any) -> Any:
            await self._check(method, context)
            return await behaviour(request, context)

        async def answer_stream(request: Any, context: Any) -> None:
            await self._check(method, context)
            answers = behaviour(request, context)
            if not hasattr(answers, "__aiter__"):
                await answers
                return
            async for answer in answers:
                await context.write(answer)

        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        make = kinds[handler.request_streaming, handler.response_streaming]
        guarded = answer_stream if handler.response_streaming else answer_once
        return make(guarded, handler.request_deserializer, handler.response_serializer)
