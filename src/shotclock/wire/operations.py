"""An operator's calls to a running orchestrator.

What goes wrong is one MachineError; what the orchestrator refuses as invalid is a SettingsError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from pydantic import TypeAdapter, ValidationError

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.canary import CanaryRequest
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.domain.hosts import Endpoint, HostDescription, HostState
from shotclock.domain.overview import Overview
from shotclock.domain.status import Drained, Status
from shotclock.wire import methods
from shotclock.wire.channels import Channels
from shotclock.wire.codec import decode_drained, decode_status
from shotclock.wire.hosts import decode_description, decode_host
from shotclock.wire.payload import MalformedMessageError, parse
from shotclock.wire.rollout import encode_canary_request
from shotclock.wire.v1 import shotclock_pb2 as pb

ANSWER_S = 5.0
"""How long an answer may take; a drain's comes this long after its budget at the latest."""


class NotPermittedError(MachineError):
    """The caller may not call the method, or the server does not have it."""


class GrpcOperations:
    """`Operations` of the orchestrator at the other end of these channels."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def status(self) -> Status:
        """How it is now."""
        async with aclosing(self.watch(ANSWER_S)) as statuses:
            async for status in statuses:
                return status
        raise self._silent()

    async def describe(self) -> Overview | Status:
        """The overview; where this caller may not read it, or the server has none, the status."""
        try:
            reply = await self._call(methods.DESCRIBE, pb.DescribeRequest(), ANSWER_S)
        except NotPermittedError:
            return await self.status()
        document = parse(pb.Description, reply).json
        if not document:
            return await self.status()
        try:
            return TypeAdapter(Overview).validate_json(document)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise MachineError(
                f"{self._channels.target}: its status cannot be read at {place}; is it of another version?"
            ) from error

    async def watch(self, for_s: float) -> AsyncGenerator[Status, None]:
        """How it is now, then at each change, for so long."""
        lane = self._channels.lane
        with lane.call():
            stream = lane.watch(pb.WatchRequest(), timeout=for_s)
            try:
                async for message in stream:
                    yield decode_status(parse(pb.Status, message))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise self._explain_failure(error) from None
            finally:
                stream.cancel()

    async def probe(self, timeout_s: float) -> tuple[HostState, Endpoint, float]:
        """The state of its host, the endpoint of its QPU, and the time of this call, seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reply = await self._call(methods.PROBE, pb.ProbeRequest(), timeout_s)
        took_s = loop.time() - began
        try:
            return *decode_host(parse(pb.HostState, reply)), took_s
        except MalformedMessageError as error:
            raise MachineError(f"{self._channels.target}: {error}") from None

    async def describe_host(self) -> HostDescription:
        """The accelerators and fabrics of its host."""
        reply = await self._call(methods.DESCRIBE_HOST, pb.DescribeHostRequest(), ANSWER_S)
        return decode_description(parse(pb.HostDescription, reply))

    async def drain(self, budget_ns: int) -> Drained:
        """See `Operations.drain`."""
        request = pb.DrainRequest(budget_ns=budget_ns)
        reply = await self._call(methods.DRAIN, request, budget_ns / NS_PER_S + ANSWER_S)
        return decode_drained(parse(pb.Drained, reply))

    async def resume(self) -> Status:
        """See `Operations.resume`; how it is afterwards."""
        return decode_status(parse(pb.Status, await self._call(methods.RESUME, pb.ResumeRequest(), ANSWER_S)))

    async def set_flag(self, flag: str, setting: str) -> Status:
        """See `Rollout.set_flag`; how it is afterwards."""
        request = pb.SetFlagRequest(flag=flag, setting=setting)
        return decode_status(parse(pb.Status, await self._call(methods.SET_FLAG, request, ANSWER_S)))

    async def start_canary(self, request: CanaryRequest) -> Status:
        """See `Rollout.start_canary`; how it is afterwards."""
        reply = await self._call(methods.START_CANARY, encode_canary_request(request), ANSWER_S)
        return decode_status(parse(pb.Status, reply))

    async def abort_canary(self) -> Status:
        """See `Rollout.abort_canary`; how it is afterwards."""
        reply = await self._call(methods.ABORT_CANARY, pb.AbortCanaryRequest(), ANSWER_S)
        return decode_status(parse(pb.Status, reply))

    async def close(self) -> None:
        """Closes the channels."""
        await self._channels.close()

    async def _call(self, method: str, request: Any, timeout_s: float) -> bytes:
        lane = self._channels.lane
        try:
            with lane.call():
                reply: bytes = await lane.unary[method](request, timeout=timeout_s)
                return reply
        except grpc.aio.AioRpcError as error:
            raise self._explain_failure(error) from None

    def _explain_failure(self, error: grpc.aio.AioRpcError) -> ShotclockError:
        match error.code():
            case grpc.StatusCode.INVALID_ARGUMENT:
                return SettingsError(f"{self._channels.target}: {error.details()}")
            case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNIMPLEMENTED:
                return NotPermittedError(f"{self._channels.target}: {error.details()}")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return self._silent()
            case grpc.StatusCode.UNAVAILABLE:
                why = self._channels.explain(error.details() or "")
                return MachineError(f"{self._channels.target}: {why}")
            case _:
                return MachineError(f"{self._channels.target}: {error.details()}")

    def _silent(self) -> MachineError:
        return MachineError(
            f"{self._channels.target}: no answer in time; is `shotclock serve` running there?"
        )
