"""The policies allow what must talk, and nothing else: each flow below is decided as Kubernetes would."""

import ipaddress

from lib import manifests

EVERYWHERE = "everywhere"  # an address outside the cluster

# (from, to, port, may it). Pods of ours by component; "client" is somebody's pod in an allowed namespace,
# "stranger" one in another, "prometheus" the one in the namespace monitoring.
DAEMONS = manifests.DAEMONS
RPC = {"frontend": 7253, "worker-gateway": 7254, "history": 7255, "matching": 7256}
HTTP = {"frontend": 7243, "worker-gateway": 7244, "history": 7245, "matching": 7246}


def flows(overlay):
    for one in DAEMONS:
        # An answer travels on a connection of its own, so everybody dials everybody.
        yield from ((one, other, RPC[other], True) for other in DAEMONS)
        # perdurectl in one's pod asks the other.
        yield from ((one, other, HTTP[other], True) for other in DAEMONS)
        yield from ((one, other, 7233, False) for other in ("history", "matching"))
        yield (one, "prometheus", 4318, overlay == "production")  # there is the collector, too
        yield (one, EVERYWHERE, 53, True)
        yield (one, EVERYWHERE, 443, False)
        yield from (("client", one, port, False) for port in (RPC[one], HTTP[one]))
        yield ("web-ui", one, RPC[one], False)
        yield ("prometheus", one, HTTP[one], overlay == "production")
        yield ("prometheus", one, RPC[one], False)
        yield ("stranger", one, HTTP[one], False)
    for component in (*DAEMONS, "migrate"):
        yield (component, "postgres" if overlay == "development" else EVERYWHERE, 5432, True)
    yield ("migrate", "history", RPC["history"], False)
    yield ("migrate", "history", HTTP["history"], False)
    for edge, port in (("frontend", 7233), ("worker-gateway", 7234)):
        yield ("client", edge, port, True)
        yield ("stranger", edge, port, overlay == "development")
    yield ("web-ui", "frontend", 7233, True)
    yield ("web-ui", EVERYWHERE, 5432, False)
    yield ("client", "web-ui", 8080, True)
    if overlay == "development":
        yield ("client", "postgres", 5432, False)
        yield ("web-ui", "postgres", 5432, False)
        yield ("postgres", EVERYWHERE, 443, False)


class Place:
    """A pod, or an address outside: labels of it and its namespace, and its named ports."""

    def __init__(self, labels, namespace, namespace_labels=None, ports=None, address=None):
        self.labels, self.namespace, self.address = labels, namespace, address
        self.namespace_labels = {"kubernetes.io/metadata.name": namespace, **(namespace_labels or {})}
        self.ports = ports or {}


def places(overlay):
    home = manifests.objects(overlay, "Namespace")[0]["metadata"]["name"]
    found = {
        "client": Place({}, "shop", {"perdure-clients": "allowed"}),
        "stranger": Place({}, "other"),
        "prometheus": Place({manifests.NAME: "prometheus"}, "monitoring"),
        EVERYWHERE: Place({}, None, address="203.0.113.7"),
    }
    for workload in manifests.workloads(overlay):
        labels = manifests.labels_of(workload)
        found[labels[manifests.COMPONENT]] = Place(labels, home, ports=manifests.ports(workload))
    return home, found


def peer_matches(peer, other, home):
    if "ipBlock" in peer:
        return bool(other.address) and ipaddress.ip_address(other.address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if other.address:
        return False
    if "namespaceSelector" in peer:
        near = manifests.selects(peer["namespaceSelector"], other.namespace_labels)
    else:
        near = other.namespace == home
    return near and manifests.selects(peer.get("podSelector", {}), other.labels)


def rule_allows(rule, peers_key, other, target, port, home):
    peers, ports = rule.get(peers_key), rule.get("ports")
    if peers and not any(peer_matches(peer, other, home) for peer in peers):
        return False
    if not ports:
        return True
    for p in ports:
        first = target.ports.get(p["port"]) if isinstance(p["port"], str) else p["port"]
        if first and first <= port <= p.get("endPort", first):
            return True
    return False


def side_allows(overlay, place, other, target, port, direction):
    """One of the two sides: with no policy for a pod in a direction all is allowed, else what any of them allows."""
    home = manifests.objects(overlay, "Namespace")[0]["metadata"]["name"]
    if place.namespace != home:
        return True
    field, peers_key = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    policies = [p["spec"] for p in manifests.objects(overlay, "NetworkPolicy")]
    chosen = [p for p in policies if direction in p["policyTypes"] and manifests.selects(p["podSelector"], place.labels)]
    rules = [rule for p in chosen for rule in p.get(field) or []]
    return not chosen or any(rule_allows(rule, peers_key, other, target, port, home) for rule in rules)


def allowed(overlay, found, one, other, port):
    a, b = found[one], found[other]
    out = side_allows(overlay, a, b, b, port, "Egress")
    return out and side_allows(overlay, b, a, b, port, "Ingress")


def cases():
    for overlay in manifests.OVERLAYS:
        _, found = places(overlay)
        for one, other, port, wanted in flows(overlay):
            what = f"{overlay}: {one} → {other}:{port} {'' if wanted else 'not '}allowed"
            got = allowed(overlay, found, one, other, port)
            yield what, None if got == wanted else f"it is {'' if got else 'not '}"
