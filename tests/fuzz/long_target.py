"""One target under libFuzzer (atheris), in the process that `soak_fuzz.py` starts: NAME OPTION… CORPUS."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shotclock"]):
    import fuzz_targets
    from fuzz import targets_files as files
    from shotclock.bench.record.folder import RunFolder
    from shotclock.bench.record.samples import SAMPLES, read_samples
    from shotclock.domain.documents import refuse_contradictions

Target = Callable[[bytes], object]
OF_BYTES: dict[str, Target] = {
    "qasm": fuzz_targets.check_qasm,
    "qasm-read": fuzz_targets.read_qasm,
    "qpy": fuzz_targets.check_qpy,
    "template": fuzz_targets.load_template,
    "lines": fuzz_targets.load_line_set,
}


def steps_file(content: bytes, folder: Path) -> None:
    """The parquet file of a run folder."""
    (folder / "steps.parquet").write_bytes(content)

    def read() -> None:
        with refuse_contradictions(folder):
            RunFolder(folder).read_steps()

    files.expect_one_line(read)


def samples_file(content: bytes, folder: Path) -> None:
    """`samples.parquet`."""
    file = folder / SAMPLES
    file.write_bytes(content)
    files.expect_one_line(lambda: read_samples(file))


OF_FILES: dict[str, Callable[[bytes, Path], None]] = {
    "settings": files.settings_file,
    "profile": files.profile_file,
    "records": files.job_records,
    "pairs": files.pairs_record,
    "history": files.history_file,
    "parquet": steps_file,
    "samples": samples_file,
}


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:

        def run(content: bytes) -> None:
            if name in OF_BYTES:
                OF_BYTES[name](content)
            else:
                OF_FILES[name](content, Path(folder))

        run(b"")  # imports and caches
        atheris.Setup([sys.argv[0], *options], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
