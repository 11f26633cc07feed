"""The names of what can be called, as gRPC writes them."""

from __future__ import annotations

from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from shotclock.wire.v1 import shotclock_pb2 as pb

SERVICE: str = pb.DESCRIPTOR.services_by_name["Orchestrator"].full_name

SOLVE = f"/{SERVICE}/Solve"
SOLVE_BATCH = f"/{SERVICE}/SolveBatch"
SUBMIT_CIRCUIT = f"/{SERVICE}/SubmitCircuit"
SUBMIT_CIRCUITS = f"/{SERVICE}/SubmitCircuits"
DECIDED = f"/{SERVICE}/Decided"
PROBE = f"/{SERVICE}/Probe"
DESCRIBE_HOST = f"/{SERVICE}/DescribeHost"
WATCH = f"/{SERVICE}/Watch"
DESCRIBE = f"/{SERVICE}/Describe"
DRAIN = f"/{SERVICE}/Drain"
RESUME = f"/{SERVICE}/Resume"
SET_FLAG = f"/{SERVICE}/SetFlag"
START_CANARY = f"/{SERVICE}/StartCanary"
ABORT_CANARY = f"/{SERVICE}/AbortCanary"
REPORT_VALIDATION = f"/{SERVICE}/ReportValidation"
HEALTH_CHECK = f"/{health.SERVICE_NAME}/Check"
HEALTH_WATCH = f"/{health.SERVICE_NAME}/Watch"
REFLECTION = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"

OF_CALLS = frozenset({SOLVE, SOLVE_BATCH, SUBMIT_CIRCUIT, SUBMIT_CIRCUITS})
"""Those whose requests bring a ClientReport."""

OF_TRAINERS = OF_CALLS | {DECIDED, REPORT_VALIDATION, PROBE, WATCH}
OF_OPERATORS = frozenset(
    {PROBE, WATCH, DESCRIBE, DESCRIBE_HOST, DRAIN, RESUME, SET_FLAG, START_CANARY, ABORT_CANARY, REFLECTION}
)
OF_PROBES = frozenset({HEALTH_CHECK, HEALTH_WATCH})
ALL = OF_TRAINERS | OF_OPERATORS | OF_PROBES

REJECTION = "shotclock-rejection-bin"
"""Trailing metadata: a serialized Rejection."""
