"""amdsmi asked through its real Python package, over a library compiled here in place of AMD's."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shotclock.placement.accelerators import amdsmi
from shotclock.placement.accelerators.amdsmi import Library
from shotclock.placement.accelerators.record import Device, ErrorCount
from shotclock.placement.topology import Host, read_host
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent
from topology_trees import Builder, build_amd_pair

SOURCE = Path(__file__).parents[1] / "amd_smi_library.c"


def list_functions() -> set[str]:
    """Every function that the package's wrapper binds on import."""
    package = importlib.metadata.distribution("amdsmi")
    wrapper = Path(str(package.locate_file("amdsmi/amdsmi_wrapper.py"))).read_text()
    return set(re.findall(r"_libraries\['libamd_smi\.so'\]\.(\w+)", wrapper))


def compile_library(folder: Path, without: frozenset[str] = frozenset()) -> None:
    """ROCM_PATH for the package: its library, where all that the source does not define is unsupported."""
    source = SOURCE.read_text()
    names = sorted(name for name in list_functions() - without if f" {name}(" not in source)
    (folder / "lib").mkdir(parents=True)
    stubs = "\n".join(f"int {name}() {{ return NOT_SUPPORTED; }}" for name in names)
    file = folder / "amd_smi.c"
    file.write_text(f"{source}\n{stubs}\n")
    library = folder / "lib" / "libamd_smi.so"
    subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-o", library, file], check=True, timeout=120)


@pytest.fixture(scope="module")
def rocm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rocm")
    compile_library(folder)
    return folder


@pytest.fixture
def host(rocm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with two MI300X whose library and tree disagree wherever both have a figure."""
    monkeypatch.setenv("ROCM_PATH", str(rocm))
    libraries = amdsmi.ask_library()
    assert not isinstance(libraries, Absent), libraries
    build_amd_pair(Builder(tmp_path))
    return read_host(Tree(tmp_path), libraries).host


def why(value: object) -> str:
    assert isinstance(value, Absent), value
    return value.because


def test_the_library_s_figures_are_preferred_in_their_units(host: Host) -> None:
    device = host.accelerators[0].device
    assert host.accelerators_because == "from amdsmi and sysfs"
    assert device.memory_total_bytes == 196_592 * 1_048_576
    assert device.memory_used_bytes == 65_535 * 1_048_576
    assert (device.memory_busy_ratio, device.memory_bandwidth_ratio) == (0.62, 0.62)
    assert device.memory_maximum_bytes_per_s == 5.3e12
    assert device.retired_pages == 2
    assert (device.power_w, device.temperature_c) == (512, 57)
    assert (device.pcie_replays, device.numa_node) == (8, 1)
    assert not isinstance(device.ecc, Absent)
    assert ErrorCount("umc", "correctable", 11) in device.ecc


def test_what_the_library_does_not_know_is_as_the_files_have_it(host: Host) -> None:
    device = host.accelerators[1].device
    assert device.memory_used_bytes == 10_737_418_241
    assert device.memory_busy_ratio == 0.37
    assert device.numa_node == 1
    assert device.memory_temperature_c == 33.5
    assert device.name == "AMD Instinct MI300X OAM"


def test_bytes_of_a_link_are_those_of_its_two_ends(host: Host) -> None:
    links = host.accelerators[0].links
    assert not isinstance(links, Absent)
    assert [(link.to, link.read_bytes, link.written_bytes) for link in links] == [
        ("0000:27:00.0", 3_072, 5_120)
    ]


def test_a_function_that_the_build_lacks_is_a_reason(rocm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package on the index has no fabric calls."""
    monkeypatch.setenv("ROCM_PATH", str(rocm))
    libraries = amdsmi.ask_library()
    assert not isinstance(libraries, Absent)
    assert why(libraries["0000:05:00.0"].fabric) == "this amdsmi has no amdsmi_get_gpu_fabric_info"


def test_a_refusal_and_a_hang_of_the_library_are_reasons(rocm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCM_PATH", str(rocm))
    monkeypatch.setenv("AMD_SMI_REFUSE", "1")
    assert "43" in why(amdsmi.ask_library())
    monkeypatch.setenv("AMD_SMI_HANG", "1")
    assert why(amdsmi.ask_library(wait_s=0.5)) == "amdsmi did not answer within 0.5 s"


def test_a_library_that_is_missing_or_older_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "nowhere"))
    assert why(amdsmi.ask_library()) == "amdsmi: KeyError: 'libamd_smi.so'"
    compile_library(tmp_path / "older", without=frozenset(["amdsmi_get_gpu_bad_page_threshold"]))
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "older"))
    assert "amdsmi: AttributeError" in why(amdsmi.ask_library())


def test_a_python_without_the_package_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "amdsmi.py").write_text("raise ModuleNotFoundError('No module named amdsmi')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "No module named amdsmi" in why(amdsmi.ask_library(sys.executable))


@pytest.mark.parametrize(
    "output",
    [b"", b"{", b"[]", b"null", b'{"devices": 3, "version": ""}', b'{"devices": [null], "version": ""}'],
)
def test_an_answer_that_is_not_the_document_is_a_reason(output: bytes) -> None:
    assert why(amdsmi.parse_answer(output)) == "amdsmi: the child process did not write its document"


@pytest.mark.parametrize("zero_is_trusted", [True, False])
def test_zero_errors_of_the_library_are_trusted_only_where_the_driver_counts(zero_is_trusted: bool) -> None:
    counts = {"correctable_count": 0, "uncorrectable_count": 0, "deferred_count": 0}
    library = Library("7", {"ecc": {"value": counts}, "bad_pages": {"value": []}})
    device = Device("0000:05:00.0", "AMD", has_ecc=zero_is_trusted)
    joined = amdsmi.join_device(device, library)
    if zero_is_trusted:
        assert joined.retired_pages == 0
        assert joined.ecc == tuple(
            ErrorCount("umc", name, 0) for name in ("uncorrectable", "correctable", "deferred")
        )
    else:
        assert "not trusted" in why(joined.retired_pages)
        assert why(joined.ecc) == "was not read"


def test_values_outside_their_range_are_unknown() -> None:
    watts = {"current_socket_power": "N/A", "average_socket_power": 4_294_967_295}
    answers: dict[str, dict[str, object]] = {
        "activity": {"value": {"umc_activity": 400}},
        "temperature": {"value": 65_535},
        "power": {"value": watts},
    }
    joined = amdsmi.join_device(Device("0000:05:00.0", "AMD"), Library("7", answers))
    assert "not a percentage" in why(joined.memory_busy_ratio)
    assert "means unknown" in why(joined.temperature_c)
    assert "means unknown" in why(joined.power_w)
