"""Sets that somebody else made, kept among the prerequisites of an out folder under a name, and read from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from .distilled import DistilledSet
from .errors import BenchError
from .files import checksum
from .keys import digest
from .manifest import TENSORS, Manifest, read_manifest
from .prerequisite import Need, Prerequisite, Workshop
from .registry import PREREQUISITES

#: Folder of the set inside that of the prerequisite, whose own manifest has the same name.
FOLDER = "set"
#: Key of a set's notes under which its origin stands.
ORIGIN = "origin"

SetName = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=60)]


@PREREQUISITES.register("imported_set")
@dataclass(frozen=True)
class ImportedSet(Prerequisite):
    """A set that the command ``import`` made. Nothing builds it: it is there or it is not.

    Attributes:
        set: the name that it was given.
    """

    name: ClassVar[str] = "imported_set"

    set: SetName

    def build(self, workshop: Workshop) -> None:
        """Say how it is made.

        Raises:
            BenchError: always.
        """
        del workshop
        raise BenchError(
            f"no set was imported under the name '{self.set}' into this out folder; import FILES --dataset NAME --name {self.set} does that"
        )

    def key(self, seed: int, data_hash: str) -> str:
        """Let its name alone name it: whoever made it saw neither our seeds nor our splits."""
        del seed, data_hash
        return digest({"prerequisite": self.name, "version": self.version, "set": self.set})


@dataclass(frozen=True)
class FoundSet:
    """An imported set, as planning sees it.

    Attributes:
        folder: where ``DistilledSet.load`` finds it.
        manifest: everything but its tensors.
        content: hash of what is judged and of where it comes from; what was found out about it on the way is no part of it.
    """

    folder: Path
    manifest: Manifest
    content: str

    @property
    def origin(self) -> str:
        """Its files with the beginnings of their checksums, and what was said of them."""
        return origin_text(self._notes())

    @property
    def trial(self) -> str:
        """What a trial said when it was imported, or empty."""
        return str(self._notes().get("trial", ""))

    def _notes(self) -> Mapping[str, Any]:
        found = self.manifest["notes"].get(ORIGIN, {})
        return found if isinstance(found, dict) else {}


def need_of(name: str) -> Need:
    """Return the prerequisite that an imported set is."""
    return Need(ImportedSet.name, {"set": name})


def found_set(folder: Path) -> FoundSet:
    """Look at the set in the folder of its prerequisite.

    Raises:
        RejectedSet: its manifest cannot be used.
        OSError: its tensors cannot be read.
    """
    home = folder / FOLDER
    manifest = read_manifest(home)
    judged = {name: value for name, value in manifest.items() if name != "notes"}
    origin = manifest["notes"].get(ORIGIN, {})
    made_of = [origin.get("files"), origin.get("options")] if isinstance(origin, dict) else []
    return FoundSet(home, manifest, digest([checksum(home / TENSORS)["sha256"], judged, made_of]))


def origin_text(origin: Mapping[str, Any]) -> str:
    """Return in a line what the notes of a set say of its origin, whoever wrote them."""
    files, options = origin.get("files"), origin.get("options")
    named = [f"{name} (sha256 {str(known.get('sha256', ''))[:12]})" for name, known in _items(files) if isinstance(known, dict)]
    shown = named[:4] + ([f"and {len(named) - 4} more"] if len(named) > 4 else [])
    said = [f"{name}={value}" for name, value in _items(options)]
    return f"imported from {', '.join(shown) or 'files without a name'}{f', read with {chr(32).join(said)}' if said else ''}"


def write_set(distilled: DistilledSet, folder: Path) -> None:
    """Put a set where ``found_set`` finds it."""
    home = folder / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    distilled.save(home)


def _items(found: Any) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in found.items()] if isinstance(found, dict) else []
