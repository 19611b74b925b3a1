"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, brought to 32x32 colour pixels as in the papers of this field.

The whole photograph is squeezed into a square (``resize=stretch``), as PoDD, RaT-BPTT and FRePo have it. Classes and
images are in the order of their official ids.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar

from pydantic import Field

from bench import DATASETS, BenchError, DataOptions, Dataset, DatasetFamily, Spec
from bench.download import Download
from bench.image_files import ImageFiles, Resize, what_is_missing

from ._official_folder import OfficialFolder, lines_of

_TRAIN, _TEST = 5_994, 5_794
_NUMBER = re.compile(r"[0-9]{1,9}")
_BIRDS = (
    *("Black footed Albatross", "Laysan Albatross", "Sooty Albatross", "Groove billed Ani", "Crested Auklet", "Least Auklet"),
    *("Parakeet Auklet", "Rhinoceros Auklet", "Brewer Blackbird", "Red winged Blackbird", "Rusty Blackbird", "Yellow headed Blackbird"),
    *("Bobolink", "Indigo Bunting", "Lazuli Bunting", "Painted Bunting", "Cardinal", "Spotted Catbird", "Gray Catbird"),
    *("Yellow breasted Chat", "Eastern Towhee", "Chuck will Widow", "Brandt Cormorant", "Red faced Cormorant", "Pelagic Cormorant"),
    *("Bronzed Cowbird", "Shiny Cowbird", "Brown Creeper", "American Crow", "Fish Crow", "Black billed Cuckoo", "Mangrove Cuckoo"),
    *("Yellow billed Cuckoo", "Gray crowned Rosy Finch", "Purple Finch", "Northern Flicker", "Acadian Flycatcher"),
    *("Great Crested Flycatcher", "Least Flycatcher", "Olive sided Flycatcher", "Scissor tailed Flycatcher", "Vermilion Flycatcher"),
    *("Yellow bellied Flycatcher", "Frigatebird", "Northern Fulmar", "Gadwall", "American Goldfinch", "European Goldfinch"),
    *("Boat tailed Grackle", "Eared Grebe", "Horned Grebe", "Pied billed Grebe", "Western Grebe", "Blue Grosbeak", "Evening Grosbeak"),
    *("Pine Grosbeak", "Rose breasted Grosbeak", "Pigeon Guillemot", "California Gull", "Glaucous winged Gull", "Heermann Gull"),
    *("Herring Gull", "Ivory Gull", "Ring billed Gull", "Slaty backed Gull", "Western Gull", "Anna Hummingbird"),
    *("Ruby throated Hummingbird", "Rufous Hummingbird", "Green Violetear", "Long tailed Jaeger", "Pomarine Jaeger", "Blue Jay"),
    *("Florida Jay", "Green Jay", "Dark eyed Junco", "Tropical Kingbird", "Gray Kingbird", "Belted Kingfisher", "Green Kingfisher"),
    *("Pied Kingfisher", "Ringed Kingfisher", "White breasted Kingfisher", "Red legged Kittiwake", "Horned Lark", "Pacific Loon"),
    *("Mallard", "Western Meadowlark", "Hooded Merganser", "Red breasted Merganser", "Mockingbird", "Nighthawk", "Clark Nutcracker"),
    *("White breasted Nuthatch", "Baltimore Oriole", "Hooded Oriole", "Orchard Oriole", "Scott Oriole", "Ovenbird", "Brown Pelican"),
    *("White Pelican", "Western Wood Pewee", "Sayornis", "American Pipit", "Whip poor Will", "Horned Puffin", "Common Raven"),
    *("White necked Raven", "American Redstart", "Geococcyx", "Loggerhead Shrike", "Great Grey Shrike", "Baird Sparrow"),
    *("Black throated Sparrow", "Brewer Sparrow", "Chipping Sparrow", "Clay colored Sparrow", "House Sparrow", "Field Sparrow"),
    *("Fox Sparrow", "Grasshopper Sparrow", "Harris Sparrow", "Henslow Sparrow", "Le Conte Sparrow", "Lincoln Sparrow"),
    *("Nelson Sharp tailed Sparrow", "Savannah Sparrow", "Seaside Sparrow", "Song Sparrow", "Tree Sparrow", "Vesper Sparrow"),
    *("White crowned Sparrow", "White throated Sparrow", "Cape Glossy Starling", "Bank Swallow", "Barn Swallow", "Cliff Swallow"),
    *("Tree Swallow", "Scarlet Tanager", "Summer Tanager", "Artic Tern", "Black Tern", "Caspian Tern", "Common Tern", "Elegant Tern"),
    *("Forsters Tern", "Least Tern", "Green tailed Towhee", "Brown Thrasher", "Sage Thrasher", "Black capped Vireo", "Blue headed Vireo"),
    *("Philadelphia Vireo", "Red eyed Vireo", "Warbling Vireo", "White eyed Vireo", "Yellow throated Vireo", "Bay breasted Warbler"),
    *("Black and white Warbler", "Black throated Blue Warbler", "Blue winged Warbler", "Canada Warbler", "Cape May Warbler"),
    *("Cerulean Warbler", "Chestnut sided Warbler", "Golden winged Warbler", "Hooded Warbler", "Kentucky Warbler", "Magnolia Warbler"),
    *("Mourning Warbler", "Myrtle Warbler", "Nashville Warbler", "Orange crowned Warbler", "Palm Warbler", "Pine Warbler"),
    *("Prairie Warbler", "Prothonotary Warbler", "Swainson Warbler", "Tennessee Warbler", "Wilson Warbler", "Worm eating Warbler"),
    *("Yellow Warbler", "Northern Waterthrush", "Louisiana Waterthrush", "Bohemian Waxwing", "Cedar Waxwing"),
    *("American Three toed Woodpecker", "Pileated Woodpecker", "Red bellied Woodpecker", "Red cockaded Woodpecker"),
    *("Red headed Woodpecker", "Downy Woodpecker", "Bewick Wren", "Cactus Wren", "Carolina Wren", "House Wren", "Marsh Wren", "Rock Wren"),
    *("Winter Wren", "Common Yellowthroat"),
)

#: The checksum is the one that public loaders have; they describe it as that of the authors' archive, CaltechDATA.
OFFICIAL = OfficialFolder(
    "cub200",
    "CUB_200_2011",
    Download(
        ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
        "CUB_200_2011.tgz",
        "97eceeb196236b17998738112f37df78",
    ),
    "1.1 GB",
    8 * 2**30,
)


@DATASETS.register("cub200")
@dataclass(frozen=True)
class Cub200(DatasetFamily):
    """CUB-200-2011: 200 kinds of birds, resized to 32x32 colour.

    Attributes:
        size: height and width to which images are brought.
        resize: ``stretch`` squeezes the whole photograph into a square, ``crop`` takes the middle of it.
    """

    name: ClassVar[str] = "cub200"
    reference: ClassVar[str] = "Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset, CNS-TR-2011-001"
    keep: ClassVar[bool] = True

    size: Annotated[int, Field(ge=8, le=512)] = 32
    resize: Resize = "stretch"

    def describe(self, root: Path) -> Spec:
        """Return names and shapes: the classes that are there, or without any files all of them."""
        folder = root / OFFICIAL.folder
        names = tuple(map(words_of, _classes(folder).values())) if os.path.exists(folder) else _BIRDS
        return Spec(self.shown, len(names), (3, self.size, self.size), names)

    def open(self, options: DataOptions) -> Dataset:
        """Open the official folder, else plain arrays of this size."""
        copy = OFFICIAL.array_copy(options.root, self.describe(options.root))
        if copy is not None:
            names = tuple(map(words_of, copy.spec.class_names))
            return replace(copy, spec=replace(copy.spec, class_names=names))
        folder = OFFICIAL.find(options)
        spec, classes = self.describe(options.root), _classes(folder)
        train, test = _listed(folder, classes)
        counts = (("classes", len(classes), len(_BIRDS)), ("training images", len(train), _TRAIN), ("test images", len(test), _TEST))
        return OFFICIAL.opened(options, spec, train, test, self.resize, what_is_missing("CUB-200-2011", *counts))


def words_of(name: str) -> str:
    """Return the name of a class in words: ``Black footed Albatross`` for ``001.Black_footed_Albatross``."""
    return re.sub(r"^\d+\.", "", name).replace("_", " ").strip()


def _classes(folder: Path) -> dict[int, str]:
    """Return the official id of every class -> its name, in the order of the ids."""
    listed = _numbered(folder / "classes.txt")
    if not listed:
        raise BenchError(f"{folder / 'classes.txt'} names no class; replace it by the official file")
    return dict(sorted(listed.items()))


def _listed(folder: Path, classes: Mapping[int, str]) -> tuple[ImageFiles, ImageFiles]:
    """Return the training and the test images, in the order of their ids."""
    paths, kinds, parts = (_numbered(folder / f"{name}.txt") for name in ("images", "image_class_labels", "train_test_split"))
    label_of = {number: label for label, number in enumerate(classes)}
    chosen: dict[str, list[tuple[Path, int]]] = {"1": [], "0": []}
    for number, path in sorted(paths.items()):
        kind, part = kinds.get(number, ""), parts.get(number, "")
        if part not in chosen or not _NUMBER.fullmatch(kind) or int(kind) not in label_of:
            raise BenchError(
                f"image {number} of {folder / 'images.txt'} has the class {kind!r} and the part {part!r} in the lists beside it; "
                "replace all lists by the official files"
            )
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise BenchError(
                f"{folder / 'images.txt'} has the path {path[:60]!r}, which leads out of the folder; replace it by the official file"
            )
        chosen[part].append((folder / "images" / path, label_of[int(kind)]))
    _require_folders(folder, {file.parent for rows in chosen.values() for file, _ in rows})
    train, test = (ImageFiles(tuple(file for file, _ in rows), tuple(label for _, label in rows)) for rows in chosen.values())
    return train, test


def _require_folders(folder: Path, needed: set[Path]) -> None:
    missing = sorted(each.name for each in needed if not each.is_dir())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BenchError(f"{folder / 'images'} lacks the folder {missing[0]}{more}, which images.txt names; put the official folder back")


def _numbered(file: Path) -> dict[int, str]:
    """Return the number -> the word of each line of one of the lists.

    Raises:
        BenchError: a line is something else, or a number comes twice.
    """
    found: dict[int, str] = {}
    for words in lines_of(file):
        if len(words) != 2 or not _NUMBER.fullmatch(words[0]) or int(words[0]) in found:
            raise BenchError(
                f"{file} has the line {' '.join(words)[:60]!r}, and needs a number of its own and a word; replace it by the official one"
            )
        found[int(words[0])] = words[1]
    return found
