"""Small wheels made on the spot, and locks of them: installs that are real and need no index."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Build `name-version-py3-none-any.whl` in `folder`: a package with two modules unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    package = name.replace("-", "_")
    info = f"{package}-{version}.dist-info"
    files = dict(modules or {f"{package}/__init__.py": f"VERSION = {version!r}\n", f"{package}/part.py": "PART = 1\n"})
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(_record_line(path, text) for path, text in files.items()) + f"{info}/RECORD,,\n"
    wheel = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # without the time: the same wheel has the same hash
    return wheel


def make_source(
    folder: Path, name: str, version: str, backend: str, *, requires: Sequence[str] = (), inside: str = ""
) -> Path:
    """Pack `name-version.tar.gz` in `folder`: a source distribution that module `backend` of `requires` builds.

    With the text of `inside` the module lies in the distribution itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "pyproject.toml": f'[build-system]\nrequires = {json.dumps(list(requires))}\nbuild-backend = "{backend}"\n'
        + ('backend-path = ["."]\n' if inside else "")
        + f'[project]\nname = "{name}"\nversion = "{version}"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    if inside:
        files[f"{backend}.py"] = inside
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def make_failing_source(folder: Path, name: str, version: str, error: str) -> Path:
    """Pack a source distribution whose build prints `error` and fails."""
    inside = f"def build_wheel(*_, **__):\n    print('configuring')\n    raise RuntimeError({error!r})\n"
    return make_source(folder, name, version, "backend", inside=inside)


def lock_line(file: Path) -> str:
    """The wheel, or the source distribution, as a lock names it."""
    name, version, *_ = file.name.removesuffix(".tar.gz").split("-")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n"


def _record_line(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text.encode())}\n"
