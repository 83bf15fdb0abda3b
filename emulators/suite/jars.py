"""Which program stands behind each emulator that firebase-tools starts as `java -jar X`, and where its jar is.

Order: an explicit environment variable, firebase's cache, an installed Google Cloud SDK, firebase's own download.
What cannot be had is replaced by our stand-in, through a marker jar that `emulators/java` recognises.
"""

import json
import os
import shutil
import subprocess
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from emulators.suite.install import LOCAL, ROOT, Unable

JARS = LOCAL / "jars"
GOOGLE = "Google's"
STAND_IN = "stand-in"
_FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_IN_CLOUD_SDK = Path("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
_DOWNLOADS = ROOT / "node_modules" / "firebase-tools" / "lib" / "emulator" / "downloadableEmulatorInfo.json"
_REACHABLE_S = 5
_DOWNLOAD_S = 300


@dataclass(frozen=True)
class Jar:
    """What firebase-tools is told to start for one emulator."""

    emulator: str
    path: Path
    whose: str
    found: str

    @property
    def is_stand_in(self) -> bool:
        return self.whose == STAND_IN


def find_jars(*, download: bool) -> dict[str, Jar]:
    """The jar of each emulator that needs one. Raises `Unable` when Firestore's is nowhere."""
    firestore = _explicit("firestore") or _cached("firestore") or _from_cloud_sdk()
    if firestore is None and download:
        firestore = _downloaded("firestore")
    if firestore is None:
        raise Unable(
            "No Firestore emulator was found and none could be downloaded: run "
            "`npx firebase setup:emulators:firestore` with a connection, install "
            "google-cloud-cli-firestore-emulator, or set FIRESTORE_EMULATOR_BINARY_PATH to its jar."
        )
    return {
        "firestore": firestore,
        "database": _google_or_stand_in("database", "standin-database.jar", download=download),
        "storage": _google_or_stand_in("storage", "standin-storage-rules.jar", download=download),
    }


def _google_or_stand_in(emulator: str, marker: str, *, download: bool) -> Jar:
    found = _explicit(emulator) or _cached(emulator)
    if found is None and download:
        found = _downloaded(emulator)
    return found or Jar(emulator, _marker_jar(marker), STAND_IN, "ours, in emulators/")


def _explicit(emulator: str) -> Jar | None:
    variable = f"{emulator.upper()}_EMULATOR_BINARY_PATH"
    named = os.environ.get(variable)
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_file():
        raise Unable(f"{variable} names {path}, and there is no such file: correct it or unset it.")
    return Jar(emulator, _runnable(path), GOOGLE, f"{variable}={path}")


def _cached(emulator: str) -> Jar | None:
    path = _cache() / str(_download_details(emulator)["downloadPathRelativeToCacheDir"])
    return Jar(emulator, path, GOOGLE, str(path)) if path.is_file() else None


def _cache() -> Path:
    return Path(os.environ.get("FIREBASE_EMULATORS_PATH") or Path.home() / ".cache" / "firebase" / "emulators")


def _download_details(emulator: str) -> dict[str, object]:
    details: dict[str, dict[str, object]] = json.loads(_DOWNLOADS.read_text())
    return details[emulator]


def _from_cloud_sdk() -> Jar | None:
    for sdk in _cloud_sdks():
        path = sdk / _IN_CLOUD_SDK
        if path.is_file():
            return Jar("firestore", _runnable(path), GOOGLE, f"Google Cloud SDK, {path}")
    return None


def _cloud_sdks() -> list[Path]:
    sdks = [Path("/usr/lib/google-cloud-sdk"), Path("/opt/google-cloud-sdk"), Path.home() / "google-cloud-sdk"]
    gcloud = shutil.which("gcloud")
    if gcloud:
        sdks.insert(0, Path(gcloud).resolve().parents[1])
    named = os.environ.get("CLOUDSDK_ROOT_DIR")
    if named:
        sdks.insert(0, Path(named))
    return sdks


def _downloaded(emulator: str) -> Jar | None:
    """Let firebase-tools fetch its jar, if the place it comes from answers at all."""
    if not _reachable(str(_download_details(emulator)["remoteUrl"])):
        return None
    print(f"  Google's {emulator} emulator, by firebase-tools ...", flush=True)
    command = ["node", str(ROOT / "emulators/suite/firebase.cjs"), f"setup:emulators:{emulator}", "--non-interactive"]
    try:
        subprocess.run(command, cwd=LOCAL, capture_output=True, timeout=_DOWNLOAD_S, check=True)
    except (subprocess.SubprocessError, OSError) as failure:
        print(f"  ... could not be downloaded: {failure}", flush=True)
        return None
    return _cached(emulator)


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_REACHABLE_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _runnable(path: Path) -> Path:
    """The jar itself, or a wrapper for the Cloud SDK's, whose manifest names no main class."""
    with zipfile.ZipFile(path) as jar:
        if "META-INF/MANIFEST.MF" in jar.namelist() and b"Main-Class:" in jar.read("META-INF/MANIFEST.MF"):
            return path
    manifest = ["Manifest-Version: 1.0", f"Main-Class: {_FIRESTORE_MAIN}", f"Class-Path: {path.resolve().as_uri()}"]
    return _manifest_jar("cloud-firestore-emulator.jar", manifest)


def _marker_jar(name: str) -> Path:
    return _manifest_jar(name, ["Manifest-Version: 1.0", "Run-By: emulators/java/shim.py"])


def _manifest_jar(name: str, lines: list[str]) -> Path:
    """A jar with nothing but a manifest. Its lines hold 72 bytes; longer ones go on after a space."""
    folded = []
    for line in lines:
        folded.append(line[:72])
        folded.extend(f" {line[at : at + 71]}" for at in range(72, len(line), 71))
    content = "\r\n".join(folded) + "\r\n\r\n"
    JARS.mkdir(parents=True, exist_ok=True)
    path = JARS / name
    if not path.exists() or zipfile.Path(path, "META-INF/MANIFEST.MF").read_text(encoding="utf-8") != content.replace(
        "\r\n", "\n"
    ):
        fresh = path.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(fresh, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", content)
        fresh.replace(path)
    return path
