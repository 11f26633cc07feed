from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]

class Winner(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WINNER_UNSPECIFIED: _ClassVar[Winner]
    WINNER_INCUMBENT: _ClassVar[Winner]
    WINNER_CLASSICAL: _ClassVar[Winner]
    WINNER_QUANTUM: _ClassVar[Winner]

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_APPLIED: _ClassVar[Decision]
    DECISION_REVALIDATED: _ClassVar[Decision]
    DECISION_REJECTED: _ClassVar[Decision]
    DECISION_DROPPED: _ClassVar[Decision]
    DECISION_CONFLICT: _ClassVar[Decision]
    DECISION_ABANDONED: _ClassVar[Decision]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_STARTING: _ClassVar[Phase]
    PHASE_READY: _ClassVar[Phase]
    PHASE_DRAINING: _ClassVar[Phase]
    PHASE_DRAINED: _ClassVar[Phase]

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
WINNER_UNSPECIFIED: Winner
WINNER_INCUMBENT: Winner
WINNER_CLASSICAL: Winner
WINNER_QUANTUM: Winner
DECISION_UNSPECIFIED: Decision
DECISION_APPLIED: Decision
DECISION_REVALIDATED: Decision
DECISION_REJECTED: Decision
DECISION_DROPPED: Decision
DECISION_CONFLICT: Decision
DECISION_ABANDONED: Decision
PHASE_UNSPECIFIED: Phase
PHASE_STARTING: Phase
PHASE_READY: Phase
PHASE_DRAINING: Phase
PHASE_DRAINED: Phase
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState

class Subproblem(_message.Message):
    __slots__ = ("request_id", "kind", "n", "quadratic", "linear", "offset", "base_version", "budget_ns", "crc32c", "priority", "report", "fresh", "resend", "message_crc32c")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    QUADRATIC_FIELD_NUMBER: _ClassVar[int]
    LINEAR_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    kind: str
    n: int
    quadratic: bytes
    linear: bytes
    offset: float
    base_version: int
    budget_ns: int
    crc32c: int
    priority: Priority
    report: ClientReport
    fresh: bool
    resend: bool
    message_crc32c: int
    def __init__(self, request_id: _Optional[str] = ..., kind: _Optional[str] = ..., n: _Optional[int] = ..., quadratic: _Optional[bytes] = ..., linear: _Optional[bytes] = ..., offset: _Optional[float] = ..., base_version: _Optional[int] = ..., budget_ns: _Optional[int] = ..., crc32c: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., report: _Optional[_Union[ClientReport, _Mapping]] = ..., fresh: _Optional[bool] = ..., resend: _Optional[bool] = ..., message_crc32c: _Optional[int] = ...) -> None: ...

class ClientReport(_message.Message):
    __slots__ = ("client", "sequence", "late", "unreachable", "fallback", "fallback_in_time")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_IN_TIME_FIELD_NUMBER: _ClassVar[int]
    client: int
    sequence: int
    late: int
    unreachable: int
    fallback: int
    fallback_in_time: int
    def __init__(self, client: _Optional[int] = ..., sequence: _Optional[int] = ..., late: _Optional[int] = ..., unreachable: _Optional[int] = ..., fallback: _Optional[int] = ..., fallback_in_time: _Optional[int] = ...) -> None: ...

class CircuitSpec(_message.Message):
    __slots__ = ("request_id", "openqasm3", "qpy", "values", "shots", "budget_ns", "priority", "crc32c", "report", "resend", "message_crc32c")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OPENQASM3_FIELD_NUMBER: _ClassVar[int]
    QPY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SHOTS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    openqasm3: str
    qpy: bytes
    values: _containers.RepeatedCompositeFieldContainer[ParameterValue]
    shots: int
    budget_ns: int
    priority: Priority
    crc32c: int
    report: ClientReport
    resend: bool
    message_crc32c: int
    def __init__(self, request_id: _Optional[str] = ..., openqasm3: _Optional[str] = ..., qpy: _Optional[bytes] = ..., values: _Optional[_Iterable[_Union[ParameterValue, _Mapping]]] = ..., shots: _Optional[int] = ..., budget_ns: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., crc32c: _Optional[int] = ..., report: _Optional[_Union[ClientReport, _Mapping]] = ..., resend: _Optional[bool] = ..., message_crc32c: _Optional[int] = ...) -> None: ...

class CircuitPoints(_message.Message):
    __slots__ = ("openqasm3", "qpy", "shots", "names", "points", "values", "crc32c")
    OPENQASM3_FIELD_NUMBER: _ClassVar[int]
    QPY_FIELD_NUMBER: _ClassVar[int]
    SHOTS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    openqasm3: str
    qpy: bytes
    shots: int
    names: _containers.RepeatedScalarFieldContainer[str]
    points: int
    values: bytes
    crc32c: int
    def __init__(self, openqasm3: _Optional[str] = ..., qpy: _Optional[bytes] = ..., shots: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ..., points: _Optional[int] = ..., values: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class CircuitBatch(_message.Message):
    __slots__ = ("request_id", "circuits", "budget_ns", "priority", "report", "message_crc32c", "resend", "answered")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CIRCUITS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    circuits: _containers.RepeatedCompositeFieldContainer[CircuitPoints]
    budget_ns: int
    priority: Priority
    report: ClientReport
    message_crc32c: int
    resend: _containers.RepeatedScalarFieldContainer[int]
    answered: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, request_id: _Optional[str] = ..., circuits: _Optional[_Iterable[_Union[CircuitPoints, _Mapping]]] = ..., budget_ns: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., report: _Optional[_Union[ClientReport, _Mapping]] = ..., message_crc32c: _Optional[int] = ..., resend: _Optional[_Iterable[int]] = ..., answered: _Optional[_Iterable[int]] = ...) -> None: ...

class SubproblemBatch(_message.Message):
    __slots__ = ("subproblems", "report", "message_crc32c", "resend")
    SUBPROBLEMS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    subproblems: _containers.RepeatedCompositeFieldContainer[Subproblem]
    report: ClientReport
    message_crc32c: int
    resend: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, subproblems: _Optional[_Iterable[_Union[Subproblem, _Mapping]]] = ..., report: _Optional[_Union[ClientReport, _Mapping]] = ..., message_crc32c: _Optional[int] = ..., resend: _Optional[_Iterable[int]] = ...) -> None: ...

class ParameterValue(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("bits", "energy", "winner", "solver")
    BITS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    bits: bytes
    energy: float
    winner: Winner
    solver: str
    def __init__(self, bits: _Optional[bytes] = ..., energy: _Optional[float] = ..., winner: _Optional[_Union[Winner, str]] = ..., solver: _Optional[str] = ...) -> None: ...

class Samples(_message.Message):
    __slots__ = ("n", "pool", "counts", "crc32c")
    N_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    n: int
    pool: bytes
    counts: _containers.RepeatedScalarFieldContainer[int]
    crc32c: int
    def __init__(self, n: _Optional[int] = ..., pool: _Optional[bytes] = ..., counts: _Optional[_Iterable[int]] = ..., crc32c: _Optional[int] = ...) -> None: ...

class StageTiming(_message.Message):
    __slots__ = ("stage", "start_ns", "duration_ns", "emulated_ns")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    EMULATED_NS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    start_ns: int
    duration_ns: int
    emulated_ns: int
    def __init__(self, stage: _Optional[str] = ..., start_ns: _Optional[int] = ..., duration_ns: _Optional[int] = ..., emulated_ns: _Optional[int] = ...) -> None: ...

class Simulation(_message.Message):
    __slots__ = ("method", "bond_dimension", "truncation_error")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BOND_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    method: str
    bond_dimension: int
    truncation_error: float
    def __init__(self, method: _Optional[str] = ..., bond_dimension: _Optional[int] = ..., truncation_error: _Optional[float] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("provider", "emulated", "base_version", "stages", "job_id", "attempts", "template_key", "shots", "qpu_s", "raw_gain", "classical_gain", "samples_at_ns", "emulator_overrun", "sharers", "cached", "penalised", "simulation", "pre_evaluation")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_KEY_FIELD_NUMBER: _ClassVar[int]
    SHOTS_FIELD_NUMBER: _ClassVar[int]
    QPU_S_FIELD_NUMBER: _ClassVar[int]
    RAW_GAIN_FIELD_NUMBER: _ClassVar[int]
    CLASSICAL_GAIN_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_AT_NS_FIELD_NUMBER: _ClassVar[int]
    EMULATOR_OVERRUN_FIELD_NUMBER: _ClassVar[int]
    SHARERS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    PENALISED_FIELD_NUMBER: _ClassVar[int]
    SIMULATION_FIELD_NUMBER: _ClassVar[int]
    PRE_EVALUATION_FIELD_NUMBER: _ClassVar[int]
    provider: str
    emulated: bool
    base_version: int
    stages: _containers.RepeatedCompositeFieldContainer[StageTiming]
    job_id: str
    attempts: int
    template_key: str
    shots: int
    qpu_s: float
    raw_gain: float
    classical_gain: float
    samples_at_ns: int
    emulator_overrun: bool
    sharers: int
    cached: bool
    penalised: bool
    simulation: Simulation
    pre_evaluation: PreEvaluation
    def __init__(self, provider: _Optional[str] = ..., emulated: _Optional[bool] = ..., base_version: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., job_id: _Optional[str] = ..., attempts: _Optional[int] = ..., template_key: _Optional[str] = ..., shots: _Optional[int] = ..., qpu_s: _Optional[float] = ..., raw_gain: _Optional[float] = ..., classical_gain: _Optional[float] = ..., samples_at_ns: _Optional[int] = ..., emulator_overrun: _Optional[bool] = ..., sharers: _Optional[int] = ..., cached: _Optional[bool] = ..., penalised: _Optional[bool] = ..., simulation: _Optional[_Union[Simulation, _Mapping]] = ..., pre_evaluation: _Optional[_Union[PreEvaluation, _Mapping]] = ...) -> None: ...

class PreEvaluation(_message.Message):
    __slots__ = ("decision", "expected_gain", "incumbent_energy", "beats_incumbent")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GAIN_FIELD_NUMBER: _ClassVar[int]
    INCUMBENT_ENERGY_FIELD_NUMBER: _ClassVar[int]
    BEATS_INCUMBENT_FIELD_NUMBER: _ClassVar[int]
    decision: str
    expected_gain: float
    incumbent_energy: float
    beats_incumbent: bool
    def __init__(self, decision: _Optional[str] = ..., expected_gain: _Optional[float] = ..., incumbent_energy: _Optional[float] = ..., beats_incumbent: _Optional[bool] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("limit", "allowed", "present", "unit", "retry_after_s")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    limit: str
    allowed: float
    present: float
    unit: str
    retry_after_s: float
    def __init__(self, limit: _Optional[str] = ..., allowed: _Optional[float] = ..., present: _Optional[float] = ..., unit: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...

class DeadlinePassed(_message.Message):
    __slots__ = ("budget_ns",)
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    budget_ns: int
    def __init__(self, budget_ns: _Optional[int] = ...) -> None: ...

class ProviderFault(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("answer", "samples", "classical")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CLASSICAL_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    samples: Samples
    classical: Answer
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ..., samples: _Optional[_Union[Samples, _Mapping]] = ..., classical: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class Degraded(_message.Message):
    __slots__ = ("answer", "rejection", "deadline_passed", "provider_fault")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_PASSED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FAULT_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    rejection: Rejection
    deadline_passed: DeadlinePassed
    provider_fault: ProviderFault
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ..., rejection: _Optional[_Union[Rejection, _Mapping]] = ..., deadline_passed: _Optional[_Union[DeadlinePassed, _Mapping]] = ..., provider_fault: _Optional[_Union[ProviderFault, _Mapping]] = ...) -> None: ...

class Shed(_message.Message):
    __slots__ = ("rejection",)
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    rejection: Rejection
    def __init__(self, rejection: _Optional[_Union[Rejection, _Mapping]] = ...) -> None: ...

class Late(_message.Message):
    __slots__ = ("cause",)
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    cause: DeadlinePassed
    def __init__(self, cause: _Optional[_Union[DeadlinePassed, _Mapping]] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("cause",)
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    cause: ProviderFault
    def __init__(self, cause: _Optional[_Union[ProviderFault, _Mapping]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("provenance", "done", "degraded", "shed", "late", "failed", "message_crc32c")
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    provenance: Provenance
    done: Done
    degraded: Degraded
    shed: Shed
    late: Late
    failed: Failed
    message_crc32c: int
    def __init__(self, provenance: _Optional[_Union[Provenance, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., degraded: _Optional[_Union[Degraded, _Mapping]] = ..., shed: _Optional[_Union[Shed, _Mapping]] = ..., late: _Optional[_Union[Late, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., message_crc32c: _Optional[int] = ...) -> None: ...

class Executed(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: Samples
    def __init__(self, samples: _Optional[_Union[Samples, _Mapping]] = ...) -> None: ...

class CircuitOutcome(_message.Message):
    __slots__ = ("provenance", "executed", "shed", "late", "failed", "message_crc32c")
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    provenance: Provenance
    executed: Executed
    shed: Shed
    late: Late
    failed: Failed
    message_crc32c: int
    def __init__(self, provenance: _Optional[_Union[Provenance, _Mapping]] = ..., executed: _Optional[_Union[Executed, _Mapping]] = ..., shed: _Optional[_Union[Shed, _Mapping]] = ..., late: _Optional[_Union[Late, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., message_crc32c: _Optional[int] = ...) -> None: ...

class PointOutcome(_message.Message):
    __slots__ = ("index", "outcome", "message_crc32c")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    index: int
    outcome: CircuitOutcome
    message_crc32c: int
    def __init__(self, index: _Optional[int] = ..., outcome: _Optional[_Union[CircuitOutcome, _Mapping]] = ..., message_crc32c: _Optional[int] = ...) -> None: ...

class SubproblemOutcome(_message.Message):
    __slots__ = ("index", "outcome")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    index: int
    outcome: Outcome
    def __init__(self, index: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...

class SubproblemOutcomes(_message.Message):
    __slots__ = ("outcomes", "message_crc32c")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CRC32C_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[SubproblemOutcome]
    message_crc32c: int
    def __init__(self, outcomes: _Optional[_Iterable[_Union[SubproblemOutcome, _Mapping]]] = ..., message_crc32c: _Optional[int] = ...) -> None: ...

class DecidedRequest(_message.Message):
    __slots__ = ("request_id", "decision", "stale")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    decision: Decision
    stale: bool
    def __init__(self, request_id: _Optional[str] = ..., decision: _Optional[_Union[Decision, str]] = ..., stale: _Optional[bool] = ...) -> None: ...

class DecidedReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Status(_message.Message):
    __slots__ = ("phase", "provider", "emulated", "breaker", "waiting", "running", "lanes_limit", "service_p95_s", "accepted", "finished", "warnings", "flags", "canary")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    LANES_LIMIT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_P95_S_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    phase: Phase
    provider: str
    emulated: bool
    breaker: BreakerState
    waiting: int
    running: int
    lanes_limit: int
    service_p95_s: float
    accepted: int
    finished: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    flags: FlagReport
    canary: CanaryReport
    def __init__(self, phase: _Optional[_Union[Phase, str]] = ..., provider: _Optional[str] = ..., emulated: _Optional[bool] = ..., breaker: _Optional[_Union[BreakerState, str]] = ..., waiting: _Optional[int] = ..., running: _Optional[int] = ..., lanes_limit: _Optional[int] = ..., service_p95_s: _Optional[float] = ..., accepted: _Optional[int] = ..., finished: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., flags: _Optional[_Union[FlagReport, _Mapping]] = ..., canary: _Optional[_Union[CanaryReport, _Mapping]] = ...) -> None: ...

class CanaryGroup(_message.Message):
    __slots__ = ("calls", "missed", "slow", "sampled", "p95_ms", "validation_values", "validation_mean")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    P95_MS_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_VALUES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_MEAN_FIELD_NUMBER: _ClassVar[int]
    calls: int
    missed: int
    slow: int
    sampled: int
    p95_ms: float
    validation_values: int
    validation_mean: float
    def __init__(self, calls: _Optional[int] = ..., missed: _Optional[int] = ..., slow: _Optional[int] = ..., sampled: _Optional[int] = ..., p95_ms: _Optional[float] = ..., validation_values: _Optional[int] = ..., validation_mean: _Optional[float] = ...) -> None: ...

class CanaryMeasure(_message.Message):
    __slots__ = ("measure", "low", "high", "margin")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    measure: str
    low: float
    high: float
    margin: float
    def __init__(self, measure: _Optional[str] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., margin: _Optional[float] = ...) -> None: ...

class CanaryReport(_message.Message):
    __slots__ = ("phase", "share", "previous", "caller", "on_pass", "slow_ms", "verdict", "needed", "reason", "canary", "control", "measures")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ON_PASS_FIELD_NUMBER: _ClassVar[int]
    SLOW_MS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    phase: str
    share: int
    previous: str
    caller: str
    on_pass: str
    slow_ms: float
    verdict: str
    needed: int
    reason: str
    canary: CanaryGroup
    control: CanaryGroup
    measures: _containers.RepeatedCompositeFieldContainer[CanaryMeasure]
    def __init__(self, phase: _Optional[str] = ..., share: _Optional[int] = ..., previous: _Optional[str] = ..., caller: _Optional[str] = ..., on_pass: _Optional[str] = ..., slow_ms: _Optional[float] = ..., verdict: _Optional[str] = ..., needed: _Optional[int] = ..., reason: _Optional[str] = ..., canary: _Optional[_Union[CanaryGroup, _Mapping]] = ..., control: _Optional[_Union[CanaryGroup, _Mapping]] = ..., measures: _Optional[_Iterable[_Union[CanaryMeasure, _Mapping]]] = ...) -> None: ...

class FlagReport(_message.Message):
    __slots__ = ("settings", "state", "age_s", "reason")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    settings: _containers.ScalarMap[str, str]
    state: str
    age_s: float
    reason: str
    def __init__(self, settings: _Optional[_Mapping[str, str]] = ..., state: _Optional[str] = ..., age_s: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class HostState(_message.Message):
    __slots__ = ("name", "fabrics", "round_trips", "free_memory_bytes", "load", "problems", "endpoint", "endpoint_fabrics", "endpoint_emulated", "refusals")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FABRICS_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIPS_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FABRICS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_EMULATED_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    name: str
    fabrics: _containers.RepeatedScalarFieldContainer[str]
    round_trips: _containers.RepeatedCompositeFieldContainer[RoundTrips]
    free_memory_bytes: int
    load: float
    problems: _containers.RepeatedScalarFieldContainer[str]
    endpoint: str
    endpoint_fabrics: _containers.RepeatedScalarFieldContainer[str]
    endpoint_emulated: bool
    refusals: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., fabrics: _Optional[_Iterable[str]] = ..., round_trips: _Optional[_Iterable[_Union[RoundTrips, _Mapping]]] = ..., free_memory_bytes: _Optional[int] = ..., load: _Optional[float] = ..., problems: _Optional[_Iterable[str]] = ..., endpoint: _Optional[str] = ..., endpoint_fabrics: _Optional[_Iterable[str]] = ..., endpoint_emulated: _Optional[bool] = ..., refusals: _Optional[_Iterable[str]] = ...) -> None: ...

class RoundTrips(_message.Message):
    __slots__ = ("endpoint", "p50_ms", "p95_ms", "n", "age_s")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    P50_MS_FIELD_NUMBER: _ClassVar[int]
    P95_MS_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    p50_ms: float
    p95_ms: float
    n: int
    age_s: float
    def __init__(self, endpoint: _Optional[str] = ..., p50_ms: _Optional[float] = ..., p95_ms: _Optional[float] = ..., n: _Optional[int] = ..., age_s: _Optional[float] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeHostRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HostDescription(_message.Message):
    __slots__ = ("json", "age_s", "every_s")
    JSON_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    EVERY_S_FIELD_NUMBER: _ClassVar[int]
    json: str
    age_s: float
    every_s: float
    def __init__(self, json: _Optional[str] = ..., age_s: _Optional[float] = ..., every_s: _Optional[float] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("budget_ns",)
    BUDGET_NS_FIELD_NUMBER: _ClassVar[int]
    budget_ns: int
    def __init__(self, budget_ns: _Optional[int] = ...) -> None: ...

class Drained(_message.Message):
    __slots__ = ("finished", "handed_back")
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    HANDED_BACK_FIELD_NUMBER: _ClassVar[int]
    finished: int
    handed_back: int
    def __init__(self, finished: _Optional[int] = ..., handed_back: _Optional[int] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Description(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: str
    def __init__(self, json: _Optional[str] = ...) -> None: ...

class SetFlagRequest(_message.Message):
    __slots__ = ("flag", "setting")
    FLAG_FIELD_NUMBER: _ClassVar[int]
    SETTING_FIELD_NUMBER: _ClassVar[int]
    flag: str
    setting: str
    def __init__(self, flag: _Optional[str] = ..., setting: _Optional[str] = ...) -> None: ...

class StartCanaryRequest(_message.Message):
    __slots__ = ("share", "on_pass", "slow_ms", "minimum", "alpha", "miss_margin", "slow_margin", "validation_margin")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    ON_PASS_FIELD_NUMBER: _ClassVar[int]
    SLOW_MS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    MISS_MARGIN_FIELD_NUMBER: _ClassVar[int]
    SLOW_MARGIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_MARGIN_FIELD_NUMBER: _ClassVar[int]
    share: int
    on_pass: str
    slow_ms: float
    minimum: int
    alpha: float
    miss_margin: float
    slow_margin: float
    validation_margin: float
    def __init__(self, share: _Optional[int] = ..., on_pass: _Optional[str] = ..., slow_ms: _Optional[float] = ..., minimum: _Optional[int] = ..., alpha: _Optional[float] = ..., miss_margin: _Optional[float] = ..., slow_margin: _Optional[float] = ..., validation_margin: _Optional[float] = ...) -> None: ...

class AbortCanaryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ValidationRequest(_message.Message):
    __slots__ = ("run", "kernel", "value")
    RUN_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    run: str
    kernel: str
    value: float
    def __init__(self, run: _Optional[str] = ..., kernel: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class ValidationReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
