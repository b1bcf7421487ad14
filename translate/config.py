"""From `KEY=VALUE` words to settings. The only file that knows Hydra and OmegaConf.

Everything a person can get wrong in a configuration is said here in one message: which key, which value, and what
the choices are.
"""

import copy
import difflib
import functools
import glob
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError

from translate.build import LOCAL, TRUSTED, check_names, own_targets, resolve
from translate.errors import UserError
from translate.training.settings import Settings

PRIMARY = "train"
RATES = "finetune.rates"
KEPT = (
    *("method", "generator", "discriminator", "objective", "gradient_penalty", "data"),
    *("image_size", "norm_at_test", "dropout_at_test"),
)
"""What a fine-tuning takes from the trained model's settings, unless told otherwise."""
OF_ANOTHER_METHOD = ("method", "discriminator", "objective", "gradient_penalty", "data")
"""What another method brings along."""
OF_ANOTHER_OBJECTIVE = ("objective", "gradient_penalty")
"""What another objective brings along."""
TRUSTED_DATA = ("translate.data.",)
"""What the data of a stranger's model may name."""


@dataclass(frozen=True)
class Composed:
    """A resolved configuration.

    Attributes:
        settings: it, with checked types.
        tree: it, as plain values, for saving.
        allowed: the prefixes of what its components may name.
    """

    settings: Settings
    tree: dict[str, Any]
    allowed: tuple[str, ...]


@dataclass(frozen=True)
class Combination:
    """One of the runs that words with several values ask for.

    Attributes:
        words: the words, each with one value.
        values: what they say, by key, as typed.
        varied: the keys that have several values.
    """

    words: tuple[str, ...]
    values: dict[str, str]
    varied: tuple[str, ...]


def conf_directory() -> Path:
    """The configuration tree: inside the installed package, or at the top of the repository.

    Raises:
        UserError: it is in neither place.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / f"{PRIMARY}.yaml").is_file():
            return folder
    raise UserError(f"the configuration tree conf/ is neither in {package} nor beside it: install the package again")


def choices(group: str, own: Path | None = None) -> list[str]:
    """The names that `group=` takes, with those of the user's own configuration folder."""
    return sorted({path.stem for folder in _folders(own) for path in (folder / group).glob("*.yaml")})


def groups(own: Path | None = None) -> list[str]:
    """The component groups: the folders of the configuration tree."""
    return sorted({path.name for folder in _folders(own) for path in folder.iterdir() if path.is_dir()})


def _folders(own: Path | None) -> list[Path]:
    """The configuration tree and the user's own folder, if there is one.

    Raises:
        UserError: what was given is no folder.
    """
    if own is not None and not own.is_dir():
        raise UserError(f"--config-dir {own} is not a folder")
    return [conf_directory(), *([own] if own else [])]


def compose_settings(words: Sequence[str], own: Path | None = None) -> Composed:
    """Compose conf/train.yaml with `words` (`KEY=VALUE`, Hydra's grammar) and check every name, choice and type.

    `own` is a folder of the user's with yaml files of its own, which may name components outside the toolkit.

    Raises:
        UserError: the first thing that is wrong.
    """
    overrides = [parse(word) for word in words]
    known_groups = groups(own)
    chosen = [override for override in overrides if override.key_or_group in known_groups]
    for override in chosen:
        check_choice(override, own)
    config, names = _compose([_text(override) for override in chosen], own)
    for override in overrides:
        if override not in chosen:
            check_key(override, config)
    _set([override for override in overrides if override not in chosen], config)
    return _checked(config, names, own)


def finetune_settings(
    model: Mapping[str, Any], words: Sequence[str], own: Path | None = None, *, checkpoint: Path
) -> Composed:
    """The configuration of a fine-tuning of `checkpoint`: what makes that trained model (its settings are `model`) and
    how its data is read, everything else as in conf/train.yaml with its method, and `words` on top.

    A component that `words` choose (`data=...`, `objective=...`) takes the place of the model's; a recipe changes what
    it changes in training.

    Raises:
        UserError: the first thing that is wrong.
    """
    overrides = [parse(word) for word in words]
    known_groups = groups(own)
    chosen = {override.key_or_group: override for override in overrides if override.key_or_group in known_groups}
    for override in chosen.values():
        check_choice(override, own)
    known = _method_name(model["method"]["_target_"], own)
    method = chosen["method"].value() if "method" in chosen else known
    replaced = {
        *(chosen.keys() - {"method"}),
        *(OF_ANOTHER_METHOD if method != known else ()),
        *(OF_ANOTHER_OBJECTIVE if "objective" in chosen else ()),
    }
    first = [f"method={method}"] if method else []
    usual, _ = _compose(first, own)
    config, names = _compose([*first, *(_text(chosen[group]) for group in chosen if group != "method")], own)
    for key in KEPT:
        if key in model and key not in replaced:
            OmegaConf.update(config, key, _kept(key, model, usual, config, own), merge=False, force_add=True)
    values = [override for override in overrides if override.key_or_group not in chosen]
    for override in values:
        check_key(override, config)
    _set(values, config)
    config.finetune.checkpoint = str(checkpoint)
    return _checked(config, names, own)


def _checked(config: DictConfig, names: Mapping[str, str], own: Path | None) -> Composed:
    """A composed configuration, resolved, with every component and type checked."""
    _name_output(config, names)
    tree = _resolve(config)
    allowed = LOCAL + own_targets(own)
    for path, node in components(tree):
        check_component(path, node, allowed)
    finetune = tree["finetune"]
    finetune |= {key: [finetune[key]] for key in ("fresh", "freeze") if isinstance(finetune[key], str)}
    return Composed(to_settings(tree), tree, allowed)


def _kept(key: str, model: Mapping[str, Any], usual: DictConfig, config: DictConfig, own: Path | None) -> Any:
    """A setting or component of a trained model with what recipes change in it, and without where its images lie."""
    if not isinstance(model[key], Mapping):
        return model[key] if config[key] == usual[key] else config[key]
    for _, component in components({key: model[key]}):  # which may be a stranger's
        resolve(component["_target_"], (*(TRUSTED_DATA if key == "data" else TRUSTED), *own_targets(own)))
    if config[key] is None or usual[key] is None:
        return model[key] if config[key] == usual[key] else config[key]
    if config[key]._target_ != usual[key]._target_:
        return config[key]  # a recipe put another component in its place
    node = OmegaConf.create(dict(model[key]))
    files = [OmegaConf.load(file) for folder in _folders(own) for file in sorted((folder / key).glob("*.yaml"))]
    plain = next((file for file in files if OmegaConf.select(file, "_target_") == node._target_), OmegaConf.create())
    for name, value in flatten(OmegaConf.to_container(plain)):  # type: ignore[arg-type]
        if isinstance(value, str) and "${" in value:  # what followed another setting does so again
            follows = OmegaConf.select(OmegaConf.create({**model, key: plain}), f"{key}.{name}")
            if name == "root" or follows == OmegaConf.select(node, name):
                OmegaConf.update(node, name, value)
        elif value == "???" or (key == "data" and _is_of_images(name, OmegaConf.select(node, name))):
            OmegaConf.update(node, name, value)
    before = dict(flatten(OmegaConf.to_container(usual[key])))  # type: ignore[arg-type]
    for name, value in flatten(OmegaConf.to_container(config[key])):  # type: ignore[arg-type]
        if before.get(name) != value and OmegaConf.select(node, name, default=node) is not node:
            OmegaConf.update(node, name, value)
    return node


def _is_of_images(name: str, value: Any) -> bool:
    """Whether a setting of data is of the images that there were: other images have others."""
    is_absolute = isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute())
    return is_absolute or name.split(".")[-1] in ("label_file", "domains", "exclusive", "replay")


def to_settings(tree: Mapping[str, Any]) -> Settings:
    """Check the top-level types of a resolved tree.

    Raises:
        UserError: a key that is missing, unknown, or of another type.
    """
    try:
        return TypeAdapter(Settings).validate_python(tree)
    except ValidationError as error:
        raise UserError(_explain(error)) from error


def parse(word: str) -> Override:
    """Parse one `KEY=VALUE`.

    Raises:
        UserError: it is none.
    """
    if word.startswith("--"):
        raise UserError(f"{word!r} is no option here; settings are typed without dashes: {word.lstrip('-')}")
    if "=" not in word and word.endswith(("]", "}", ",", ":")) and not Path(word).exists():
        raise UserError(
            f"{word!r} is not KEY=VALUE. A value with spaces in it is quoted: 'finetune.freeze=[encoder, decoder_6]'"
        )
    if "=" not in word:
        example = f"data.root={word}" if Path(word).exists() else "image_size=128"
        raise UserError(f"{word!r} is not KEY=VALUE; an example is {example}")
    key, _, value = word.partition("=")
    if key.startswith(f"{RATES}."):  # a part has a name with dots of its own
        key, value = RATES, f"{{{key.removeprefix(f'{RATES}.')}: {value}}}"
    parser = OverridesParser.create()
    try:
        override = parser.parse_override(f"{key}={value}")
    except HydraException:
        pass
    else:
        if override.is_sweep_override():
            raise UserError(
                f"{word!r} gives several values where one is meant: translate train -m trains with each of them. A "
                "value with a comma in it is quoted: "
                f"\"{key}='{value}'\""
            )
        return override
    # Paths hold what Hydra's grammar reserves, such as brackets: then the whole value is meant as it stands.
    try:
        return parser.parse_override(f"{key}={quoted(value)}")
    except HydraException as error:
        raise UserError(f"{word!r} is not KEY=VALUE; an example is image_size=128") from error


def quoted(value: str) -> str:
    """A text as a value that means it as it stands."""
    # Inside Hydra's quotes a backslash is special before a quote alone.
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (found[2] and "\\'"), value)
    return f"'{escaped}'"


def combine(words: Sequence[str], own: Path | None = None) -> list[Combination]:
    """Every combination of the values that `words` give, in Hydra's order: that of the last word changes first.

    Several values are `a,b`, `range(1,4)`, `choice(a,b)`, and of a group `glob(*)`; of a key that is given twice the
    last word counts.

    Raises:
        UserError: a word that is no KEY=VALUE, values that cannot be counted, or no word has several.
    """
    given: dict[str, list[str]] = {}
    varied: dict[str, None] = {}
    for word in words:
        key, is_setting, value = word.partition("=")
        several = _several(word, own) if is_setting else None
        varied.pop(key, None)
        if several is None:
            parse(word)
        else:
            varied[key] = None
        given[key] = [value] if several is None else several
    if not varied:
        raise UserError(
            "-m trains with every combination of the values given, but no word has several: objective=lsgan,hinge "
            "seed=1,2,3 would make 6 runs"
        )
    return [
        Combination(
            tuple(f"{key}={value}" for key, value in zip(given, values, strict=True)),
            {key: _unquoted(value) for key, value in zip(given, values, strict=True)},
            tuple(key for key in given if key in varied),
        )
        for values in itertools.product(*given.values())
    ]


def _several(word: str, own: Path | None) -> list[str] | None:
    """The values of a word that has several, each as it would be typed alone; None for a word of one value."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return None  # a path with brackets, or what `parse` refuses in its own words
    if not override.is_sweep_override():
        return None
    if not override.is_discrete_sweep():
        raise UserError(f"{word!r}: an interval holds values without number; name some: range(1,4), or choice(0.1,0.3)")
    values = override.value()
    group = override.key_or_group
    if not isinstance(values, Glob):
        return list(override.sweep_string_iterator())
    if group not in groups(own):
        raise UserError(f"{word!r}: glob() is for components, and {group} is none of {', '.join(groups(own))}")
    found: list[str] = values.filter(choices(group, own))
    if not found:
        raise UserError(f"{word!r} fits none of {', '.join(choices(group, own))}")
    return found


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def continued_outputs(words: Sequence[str]) -> list[Path]:
    """The run folders that `words` may mean to continue: `output`, or one that a method's run on `data.root` has."""
    values = {override.key_or_group: override.value() for override in map(parse, words)}
    if values.get("resume") == "never":
        return []
    if values.get("output") is not None:
        return [Path(str(values["output"]))]
    name = glob.escape(Path(str(values.get("data.root", "?"))).resolve().stem)
    return sorted(Path("runs").glob(f"*_{name}"))


def _set(overrides: Sequence[Override], config: DictConfig) -> None:
    """Put typed values into a configuration.

    Who gives steps means no epochs, and the other way round: the one not given becomes null.
    """
    for override in overrides:
        OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    given = {override.key_or_group for override in overrides if override.value() is not None}
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in given and other not in given:
            config[other] = None


def check_choice(override: Override, own: Path | None) -> None:
    """Raise UserError when a group is given a name that it does not have."""
    group, name = override.key_or_group, override.value()
    names = choices(group, own)
    if name not in names:
        raise UserError(f"{group}={name} is not one of {', '.join(names)}{_did_you_mean(str(name), names)}")


def check_key(override: Override, config: DictConfig) -> None:
    """Raise UserError when a dotted key does not exist, naming the nearest and those beside it."""
    if override.is_add() or override.is_delete():
        raise UserError(f"{override.input_line!r}: keys cannot be added or deleted, only set: KEY=VALUE")
    *parents, last = override.key_or_group.split(".")
    node: Any = config
    for index, part in enumerate([*parents, last]):
        if not isinstance(node, DictConfig) or part not in node.keys():  # noqa: SIM118 (`in` denies missing values)
            where = ".".join([*parents, last][:index])
            siblings = (
                [str(key) for key in node if not str(key).startswith("_")] if isinstance(node, DictConfig) else []
            )
            every = [key for key, _ in flatten(OmegaConf.to_container(config))]  # type: ignore[arg-type]
            endings = [key for key in every if key.split(".")[-1] == part]
            guess = (
                _did_you_mean(override.key_or_group, every)
                or _did_you_mean(part, siblings, prefix=where)
                or (f" (did you mean {endings[0]}?)" if endings else "")
            )
            keys = f"{where} has the keys" if where else "the keys are"
            listed = f"{keys} {', '.join(siblings)}" if siblings else f"{where} has no settings"
            raise UserError(f"{override.key_or_group} is not a setting{guess}; {listed}")
        node = node._get_node(part)
        if isinstance(node, DictConfig) and node._is_none():
            node = None


def drop_foreign_defaults(config: DictConfig, chosen: Mapping[str, str], typed: set[str], own: Path | None) -> None:
    """Remove what a method or recipe sets for a component of its own choice from the component chosen instead.

    So `method=cyclegan discriminator=pixel` works although the method's file sets the number of layers of a PatchGAN.
    Keys that the component's own file or the user names stay, to be checked, and so do those that no component of the
    group has.
    """
    for group, name in chosen.items():
        node = config._get_node(group) if group in config else None
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue
        accepted = inspect.signature(resolve(node["_target_"], LOCAL + own_targets(own))).parameters
        unknown = [key for key in map(str, node) if not key.startswith("_") and key not in accepted]
        unknown = [key for key in unknown if f"{group}.{key}" not in typed]
        if not unknown:
            continue
        files = {file: file.stem for folder in _folders(own) for file in (folder / group).glob("*.yaml")}
        keys = {file: {str(key) for key in OmegaConf.load(file)} for file in files}
        written = set().union(*(keys[file] for file, stem in files.items() if stem == name))
        others = set().union(*keys.values()) - written
        for key in unknown:
            if key in others:
                del node[key]


def components(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node with a `_target_`, by its dotted path."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            if "_target_" in value:
                yield f"{prefix}{key}", value
            yield from components(value, f"{prefix}{key}.")


def check_component(path: str, node: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Check a component's names and types against the signature of what it names; one word for a list becomes a list.

    Raises:
        UserError: a setting it does not have, of the wrong type, or outside its choices.
    """
    component = resolve(node["_target_"], allowed)
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    check_names(component, arguments, path)
    if not node["_target_"].startswith("translate."):
        return  # annotations of other libraries are no schema
    signature = inspect.signature(component, eval_str=True)
    for name, value in arguments.items():
        annotation = signature.parameters[name].annotation
        if isinstance(value, Mapping) and "_target_" in value:
            continue
        try:
            _adapter(annotation).validate_python(value)
        except ValidationError as error:
            if isinstance(value, str) and isinstance(node, dict) and _fits(annotation, [value]):
                node[name] = [value]  # one word for a list of words
                continue
            raise UserError(_explain(error, f"{path}.{name}")) from error


def _fits(annotation: Any, value: Any) -> bool:
    try:
        _adapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted key, value)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif not str(key).startswith("_"):
            yield f"{prefix}{key}", value
        if value == {}:
            yield f"{prefix}{key}", value


def explain_settings(words: Sequence[str], own: Path | None = None) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of every setting under the components chosen by `words`; the meanings are the
    comments in the yaml files."""
    overrides = [parse(word) for word in words if word.partition("=")[0] in groups(own)]
    for override in overrides:
        check_choice(override, own)
    config, chosen = _compose([_text(override) for override in overrides], own)
    meanings: dict[str, str] = {}
    for group in groups(own):
        for folder in _folders(own):
            meanings |= _comments(folder / group / f"{chosen[group]}.yaml", group)
    meanings = _comments(conf_directory() / f"{PRIMARY}.yaml", "") | meanings
    tree: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    return [(key, _shown(value), meanings.get(key, "")) for key, value in flatten(tree)]


def description(path: Path) -> str:
    """What a yaml file says of itself: its comment lines after the command."""
    lines = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return " ".join(line for line in lines if not line.startswith(("@package", "translate ")))


def describe_group(group: str, own: Path | None = None) -> list[tuple[str, str]]:
    """(name, description) of every choice of a group."""
    files = {path.stem: path for folder in _folders(own) for path in (folder / group).glob("*.yaml")}
    return [(name, description(files[name])) for name in sorted(files)]


def described_components(group: str) -> dict[str, dict[str, Any]]:
    """The components of a group by name, each as its own file has it."""
    nodes = {}
    for name in choices(group):
        node = OmegaConf.to_container(OmegaConf.load(conf_directory() / group / f"{name}.yaml"))
        assert isinstance(node, dict)
        nodes[name] = {str(key): value for key, value in node.get(group, node).items()}
    return nodes


def override_tree(tree: Mapping[str, Any], words: Sequence[str], *, may_change: tuple[str, ...]) -> Composed:
    """A saved configuration with single values changed by `words`, whose keys begin with one of `may_change`.

    Raises:
        UserError: a key or value that does not fit it.
    """
    config = OmegaConf.create(dict(tree))
    for word in words:
        override = parse(word)
        check_key(override, config)
        if not override.key_or_group.startswith(may_change):
            raise UserError(
                f"{override.key_or_group} is fixed by the trained model; what can be changed here is "
                f"{', '.join(may_change)}"
            )
        OmegaConf.update(config, override.key_or_group, override.value())
    changed = _resolve(config)
    for path, node in components(changed):
        check_component(path, node, LOCAL)
    return Composed(to_settings(changed), changed, LOCAL)


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A whole training configuration of which `settings` are a part, a method's and its components' among them.

    The others are the defaults of the method. `data.root` is `unknown`: nobody said which images it was trained on.
    """
    method = _method_name(settings["method"]["_target_"], None)
    composed = compose_settings([f"method={method}", "data.root=unknown", f"image_size={settings['image_size']}"])
    tree = _merged(composed.tree, settings)
    tree["data"]["root"] = "unknown"
    for path, node in components(tree):
        check_component(path, node, composed.allowed)
    to_settings(tree)
    return tree


def _method_name(target: str, own: Path | None) -> str | None:
    """What `method=` calls the component `target`; None if no file names it."""
    files = [file for folder in _folders(own) for file in sorted((folder / "method").glob("*.yaml"))]
    return next(
        (file.stem for file in files if OmegaConf.select(OmegaConf.load(file), "method._target_") == target), None
    )


def _merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with `changes`, those of nested nodes within them; a node of another component takes the whole place."""
    merged = dict(tree)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            is_other = value.get("_target_", old.get("_target_")) != old.get("_target_")
            value = value if is_other else _merged(old, value)
        merged[key] = value
    return merged


def _compose(words: Sequence[str], own: Path | None) -> tuple[DictConfig, dict[str, str]]:
    """The configuration without Hydra's own part, and the name chosen in each group."""
    # The many runs of a sweep differ in few choices; files of the user's own may change in between.
    config, chosen = _compose_once(tuple(words), own) if own is None else _compose_anew(tuple(words), own)
    return copy.deepcopy(config), dict(chosen)


def _compose_anew(words: tuple[str, ...], own: Path | None) -> tuple[DictConfig, dict[str, str]]:
    extra = [f"hydra.searchpath=[file://{own.resolve()}]"] if own else []
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3", job_name="translate"):
            composed = compose(PRIMARY, [*words, *extra], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error).strip().splitlines()[0]) from error
    config = DictConfig({key: composed._get_node(key) for key in composed if key != "hydra"})
    chosen = dict(composed.hydra.runtime.choices)
    drop_foreign_defaults(config, chosen, {word.partition("=")[0] for word in words}, own)
    return config, chosen


_compose_once = functools.cache(_compose_anew)


def _name_output(config: DictConfig, chosen: Mapping[str, str]) -> None:
    """Name the run folder where nobody did."""
    if config.output is None:
        data = config.data
        is_given = (
            "root" in data and not OmegaConf.is_missing(data, "root") and not OmegaConf.is_interpolation(data, "root")
        )
        name = Path(str(data.root)).resolve().stem if is_given else chosen["data"]
        config.output = f"runs/{chosen['method']}_{name}"


def _resolve(config: DictConfig) -> dict[str, Any]:
    missing = sorted(key for key, value in flatten(OmegaConf.to_container(config)) if value == "???")  # type: ignore[arg-type]
    if missing:
        trial = "; to try the toolkit without images, recipe=demo" if missing[0].endswith("root") else ""
        raise UserError(f"{missing[0]} is not set: give {missing[0]}=...{trial}")
    try:
        tree: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except InterpolationResolutionError as error:
        raise UserError(str(error).strip().splitlines()[0]) from error
    tree["precision"] = str(tree["precision"])  # precision=32 is read as a number
    # A run is continued and evaluated from anywhere, so it must not depend on where it was started.
    _make_absolute(tree["data"])
    return tree


def _make_absolute(data: dict[str, Any]) -> None:
    for key, value in data.items():
        if isinstance(value, dict):
            _make_absolute(value)
        elif key in ("root", "label_file", "replay") and value is not None:
            data[key] = str(Path(str(value)).expanduser().absolute())


def _text(override: Override) -> str:
    """What Hydra is told; the parts that have rates are keys that no file names."""
    return f"{'++' * (override.key_or_group == RATES)}{override.input_line}"


def _comments(path: Path, group: str) -> dict[str, str]:
    """Dotted key -> the comment behind it, for one yaml file of the tree."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    prefix = "" if "@package _global_" in text or not group else f"{group}."
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"^( *)([\w]+):(?: (.*?))?(?:  # (.*))?$", line)
        if not match:
            continue
        indent, key = len(match[1]), match[2]
        parents = [parent for parent in parents if parent[0] < indent]
        if match[4]:
            found[prefix + ".".join([*(name for _, name in parents), key])] = match[4]
        parents.append((indent, key))
    return found


def _shown(value: Any) -> str:
    """A value as it is typed."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explain(error: ValidationError, key: str | None = None) -> str:
    """What is wrong with a value: that of `key`, or of the one that the error names."""
    first = error.errors()[0]
    if key is None:
        key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("literal", "int", "function")))
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return f"{key}={first['input']} is not one of {', '.join(known)}{_did_you_mean(str(first['input']), known)}"
    return f"{key}={first['input']}: {first['msg']}"


def _did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    dotted = f"{prefix}." if prefix else ""
    return f" (did you mean {dotted}{near[0]}?)" if near else ""
