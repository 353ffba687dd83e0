"""Recipes are read strictly, and every recipe of the house is sound."""

from pathlib import Path

import pytest

from minipod.image.errors import ImageError
from minipod.image.recipe import load_recipe

IMAGES = Path(__file__).parents[3] / "images"
HOUSE = sorted(path.parent.name for path in IMAGES.glob("*/recipe.toml"))


def write(folder: Path, text: str) -> Path:
    (folder / "recipe.toml").write_text(text)
    return folder


@pytest.mark.parametrize("name", HOUSE)
def test_the_recipes_of_the_house_are_sound(name: str) -> None:
    recipe = load_recipe(IMAGES / name)
    assert recipe.image.name == name
    assert recipe.config.cmd
    for file in recipe.files:
        assert file.source is None or (recipe.folder / file.source).is_file()
    if recipe.base_folder:
        load_recipe(recipe.base_folder)


def test_the_names_of_the_seed_manifests_have_a_recipe() -> None:
    names = {
        n
        for r in map(load_recipe, (IMAGES / h for h in HOUSE))
        for n in (r.image.name, *r.image.aliases)
    }
    assert {
        "nginx", "debian", "busybox", "geektime/sample:v2", "geektime/tomcat:7.0", "k8s.gcr.io/busybox", "nginx:1.9.1",
    } <= names  # fmt: skip


def test_a_recipe_is_read_whole(tmp_path: Path) -> None:
    text = """
    [image]
    name = "x:1"
    aliases = ["y"]
    [packages]
    install = ["a", "b"]
    [config]
    cmd = ["run"]
    env = {A = "b"}
    [[file]]
    path = "/f"
    mode = 0o600
    content = "c"
    [[user]]
    name = "u"
    uid = 5
    gid = 6
    """
    recipe = load_recipe(write(tmp_path, text))
    assert recipe.image.aliases == ("y",)
    assert recipe.packages.install == ("a", "b")
    assert recipe.config.cmd == ("run",)
    assert recipe.config.entrypoint is None
    assert recipe.config.env == {"A": "b"}
    assert recipe.files[0].mode == 0o600
    assert recipe.users[0].home == "/nonexistent"
    assert recipe.base_folder is None


NAMED = '[image]\nname = "x"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", '"name" is missing'),
        ("[image", "recipe.toml"),
        ('[image]\nname = "X"', "invalid image reference"),
        (NAMED + 'nmae = "y"', 'unknown key "nmae"'),
        (NAMED + "[extra]", 'unknown section "extra"'),
        (NAMED + '[packages]\ninstall = "nginx"', "not a list of strings"),
        (NAMED + "[packages]\ninstall = [1]", "not a list of strings"),
        (NAMED + '[[file]]\npath = "/f"', "exactly one of"),
        (NAMED + '[[file]]\npath = "/f"\ncontent = "a"\ncopy = "/b"', "exactly one of"),
        (NAMED + '[[file]]\npath = "f"\ncontent = "a"', "not absolute"),
        (NAMED + '[[file]]\npath = "/f"\ncontent = "a"\nmode = "0644"', "not a number"),
        (NAMED + '[[user]]\nname = "u"\nuid = true\ngid = 1', "not a number"),
        (NAMED + '[file]\npath = "/f"', "array of tables"),
        (NAMED + "[config]\nenv = {A = 1}", "table of strings"),
    ],
)
def test_a_wrong_recipe_is_refused_by_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ImageError) as caught:
        load_recipe(write(tmp_path, text))
    assert complaint in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no recipe"):
        load_recipe(tmp_path / "nowhere")
