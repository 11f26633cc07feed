"""Identifies a remote provider's device for the record of a run; submits nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shotclock.domain.ports import Provider
from shotclock.providers.client import DeviceLimits
from shotclock.providers.edge import mapping
from shotclock.providers.ibm_cloud import IbmCloud
from shotclock.providers.ibm_faults import Doing
from shotclock.providers.remote import RemoteProvider

HERE = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """A back end's present identity; "" if not reported.

    backend: its name.
    unreal: why its answers do not come from a real device, or "".
    calibration: the calibration's id, or the date of the present properties.
    plan: the instance's plan.
    instance: a checksum of the instance's CRN, which names an account.
    version: the back end's version.
    """

    backend: str
    unreal: str = ""
    calibration: str = ""
    plan: str = ""
    instance: str = ""
    version: str = ""


def identify(provider: Provider) -> DeviceIdentity:
    """The device's identity; blocking, a few requests. Raises ProviderError."""
    if not isinstance(provider, RemoteProvider):
        return DeviceIdentity(provider.name, unreal=f"{provider.name} runs on this machine")
    client, device = provider._client, provider.device
    if isinstance(client, IbmCloud):
        return _of_ibm(client, device)
    if client.name == "qrmi":
        return _of_qrmi(client, device)
    return DeviceIdentity(device.backend, _unreal(device, {}))


def _of_ibm(client: IbmCloud, device: DeviceLimits) -> DeviceIdentity:
    backend = client._backend
    with client._edge(Doing.READ):
        account = mapping(client._service.active_account())
        configuration = mapping(backend.configuration().to_dict())
        properties = backend.properties(refresh=True)
        usage = mapping(client._service.usage())
        dated = properties.last_update_date.isoformat() if properties is not None else ""
        return DeviceIdentity(
            device.backend,
            _unreal(device, configuration, str(account.get("url") or "")),
            str(backend.calibration_id or dated),
            str(usage.get("plan_id") or ""),
            _checksum(str(account.get("instance") or usage.get("instance_id") or "")),
            str(configuration.get("backend_version") or ""),
        )


def _of_qrmi(client: Any, device: DeviceLimits) -> DeviceIdentity:
    with client._edge(Doing.READ):
        document = client._target()
        configuration = mapping(document.get("configuration"))
        dated = mapping(document.get("properties")).get("last_update_date") or ""
        version = str(configuration.get("backend_version") or "")
        return DeviceIdentity(
            device.backend, _unreal(device, configuration), calibration=str(dated), version=version
        )


def _unreal(device: DeviceLimits, configuration: Mapping[str, Any], url: str = "") -> str:
    """Why this is not a QPU: the endpoint says so, or its address is this machine's; "" if it may be one."""
    if device.emulated:
        return "the endpoint says that it is emulated"
    if configuration.get("simulator"):
        return "it is a simulator"
    return f"it is served from this machine, {url}" if urlsplit(url).hostname in HERE else ""


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""
