"""Pages for people: one file each, complete in itself, without scripts and without a network."""

from royalty.pages.markup import write_page
from royalty.pages.reconciliation import reconciliation_page

__all__ = ["reconciliation_page", "write_page"]
