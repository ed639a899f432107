"""How a domain says whose it is: name, UUID and a metadata element of our own namespace."""

import uuid
from dataclasses import dataclass

from lxml import etree

#: Our elements inside `<metadata>`. A name, not an address: libvirt wants every application to have its own.
METADATA_URI = "urn:holdfast:domain:1"
METADATA_PREFIX = "holdfast"
NAME_PREFIX = "hf-"

#: Namespace of the UUIDs below. Chosen once; changing it would orphan every defined domain.
_UUIDS = uuid.UUID("8c3a8b52-30a5-5d83-9bd1-2f5a2f4c4d0e")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which VM a domain is a copy of, and of which placement."""

    vm_id: int
    generation: int


def domain_name(vm_id: int) -> str:
    """`hf-17`."""
    return f"{NAME_PREFIX}{vm_id}"


def domain_uuid(vm_id: int) -> str:
    """The same on every node, so that a VM keeps its identity for its guest wherever it runs."""
    return str(uuid.uuid5(_UUIDS, str(vm_id)))


def metadata_element(identity: Identity, node: str, labels: dict[str, str], request: str = "") -> etree._Element:
    """`<holdfast:vm id= generation= node= request=>`, one `label` child for each label. `request`: a correlation id."""
    vm = etree.Element(f"{{{METADATA_URI}}}vm", nsmap={METADATA_PREFIX: METADATA_URI})
    vm.set("id", str(identity.vm_id))
    vm.set("generation", str(identity.generation))
    vm.set("node", node)
    if request:
        vm.set("request", request)
    for key, value in sorted(labels.items()):
        etree.SubElement(vm, f"{{{METADATA_URI}}}label", name=key, value=value)
    return vm


def read_metadata(text: str) -> Identity | None:
    """The identity in what `virDomainGetMetadata` returns; None if it is not ours or not readable."""
    try:
        # libvirt checked the XML when it was defined; still no entities and no network for a foreign text.
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        element = etree.fromstring(text, parser=parser)
        return Identity(int(element.get("id", "")), int(element.get("generation", "")))
    except (etree.XMLSyntaxError, ValueError):
        return None
