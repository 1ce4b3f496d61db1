"""docs/recovery.md shows the table that the tests demand, and names every step that there is."""
import recovery


def test_document_is_the_table(root):
    text = (root / "docs" / "recovery.md").read_text()
    for table in (recovery.document(), recovery.hold_document(), recovery.cluster_document()):
        assert table in text, "docs/recovery.md is out of date: python3 tests/crash/recovery.py"
