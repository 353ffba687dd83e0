import json

from minipod.api import schema_build

SOURCE = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "oneOf": [{"type": "string"}, {"type": "number"}]
    },
    "Thing": {
        "description": "A thing.",
        "type": ["object", "null"],
        "required": ["name"],
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
        "properties": {
            "name": {"type": "string", "description": "Its name."},
            "size": {"$ref": "#/$defs/io.k8s.apimachinery.pkg.api.resource.Quantity"},
            "parts": {
                "type": ["array", "null"],
                "items": {"$ref": "#/$defs/Thing"},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-patch-merge-key": "name",
                "x-kubernetes-patch-strategy": "merge",
            },
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "color": {"type": "string", "enum": ["red"]},
            "count": {"type": ["integer", "null"], "format": "int32"},
        },
    },
    "Raw": {"type": ["object", "null"]},
    "Anything": {"description": "Any JSON."},
}


def test_definitions_are_compacted_with_all_that_matters():
    made = schema_build.compute_structure(SOURCE)
    assert made["version"] == "v1.36.0"
    assert made["definitions"]["Raw"] == {"scalar": "object"}
    assert made["definitions"]["Anything"] == {"scalar": "any"}
    assert made["definitions"]["Thing"] == {
        "properties": {
            "name": "string",
            "size": "quantity",
            "parts": {
                "list": "#Thing",
                "type": "map",
                "keys": ["name"],
                "merge": "name",
                "strategy": "merge",
            },
            "labels": {"map": "string"},
            "color": {"of": "string", "enum": ["red"]},
            "count": "int32",
        },
        "required": ["name"],
        "gvk": [["", "v1", "Thing"]],
    }


def test_prose_is_kept_apart():
    assert schema_build.compute_descriptions(SOURCE)["Thing"] == {
        "": "A thing.",
        "name": "Its name.",
    }


def test_writing_is_repeatable(tmp_path, monkeypatch):
    monkeypatch.setattr(schema_build, "find_definitions", lambda: SOURCE)
    first = {
        path.name: path.read_bytes() for path in schema_build.write_schema(tmp_path / "schema")
    }
    again = {
        path.name: path.read_bytes() for path in schema_build.write_schema(tmp_path / "schema")
    }
    assert first == again
    assert sorted(first) == ["descriptions.json", "structure.json"]
    assert json.loads(first["structure.json"])["definitions"]["Raw"] == {"scalar": "object"}


def test_a_missing_source_is_an_error_with_a_way_out(monkeypatch, capsys):
    monkeypatch.setattr(schema_build, "find_spec", lambda _name: None)
    assert schema_build.main() == 1
    assert (
        "error: kubernetes-validate is not installed; try: pip install" in capsys.readouterr().err
    )
