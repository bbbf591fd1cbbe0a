"""Every overlay renders, and every object in it is what Kubernetes expects, nothing unknown in it."""

import jsonschema
import kubernetes_validate
import yaml

from lib import manifests

# The oldest that deploy/README.md names (a preStop hook that sleeps), and the newest whose schemas there are.
VERSIONS = ["1.30.0", kubernetes_validate.latest_version()]

# Not Kubernetes' own, so its schemas don't have them: what we use of them.
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
CUSTOM = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {}, "kind": {}, "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "required": ["selector", "endpoints"],
                "additionalProperties": False,
                "properties": {
                    "selector": {"type": "object", "properties": {"matchLabels": _LABELS}},
                    "targetLabels": {"type": "array", "items": {"type": "string"}},
                    "endpoints": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "port": {"type": "string"},
                                "path": {"type": "string", "pattern": "^/"},
                                "interval": {"type": "string", "pattern": r"^\d+s$"},
                            },
                        },
                    },
                },
            },
        },
    }
}  # fmt: skip


def invalid(o, version):
    """None, or what is wrong with the object."""
    custom = CUSTOM.get((o["apiVersion"], o["kind"]))
    try:
        if custom:
            jsonschema.validate(o, custom)
        else:
            kubernetes_validate.validate(o, version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{'.'.join(str(step) for step in error.absolute_path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None


def duplicates(overlay):
    seen = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in manifests.objects(overlay)]
    twice = {key for key in seen if seen.count(key) > 1}
    return f"twice: {sorted(twice)}" if twice else None


def repeated_keys(path):
    """YAML takes the last of two equal keys in silence; kustomize does not always."""

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError(f"{node.start_mark}: a key stands twice")
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        list(yaml.load_all(path.read_text(), Loader))
    except yaml.YAMLError as error:
        return str(error)
    return None


def cases():
    for path in sorted(manifests.DEPLOY.rglob("*.yaml")):
        yield f"{path.relative_to(manifests.ROOT)} is sound YAML", repeated_keys(path)
    for overlay in manifests.OVERLAYS:
        yield f"{overlay} renders", manifests.rendered(overlay)[1]
        yield f"{overlay} has no object twice", duplicates(overlay)
        for version in VERSIONS:
            for o in manifests.objects(overlay):
                yield f"{overlay}, Kubernetes {version}: {manifests.title(o)}", invalid(o, version)
    for o in manifests.example_secrets():
        yield f"example: {manifests.title(o)}", invalid({**o}, VERSIONS[-1])
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    yield "an unknown field is noticed", None if invalid(broken, VERSIONS[-1]) else "it was not"
