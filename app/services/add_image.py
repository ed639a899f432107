"""An operator offers an image."""

from app.domain.errors import InvalidInput, NameTaken
from app.domain.records import Image
from app.ports.store import Transaction


def add_image(tx: Transaction, image: Image) -> Image:
    """NameTaken; InvalidInput for an initrd or a command line without a kernel."""
    if tx.images.where(name=image.name):
        raise NameTaken(f"an image with the name {image.name!r} exists already")
    if (image.initrd or image.cmdline) and not image.kernel:
        raise InvalidInput("kernel", "is missing: initrd and cmdline are for images that are booted with a kernel")
    return tx.images.add(image)
