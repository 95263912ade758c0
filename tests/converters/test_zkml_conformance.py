"""The zkml converter keeps the kit's promises."""

from __future__ import annotations

from pathlib import Path

from balance_core.testing import ConverterConformance

DATA = Path(__file__).parent.parent / "data" / "zkml"


class TestZkml(ConverterConformance):
    converter = "zkml"

    def examples(self) -> dict[str, bytes]:
        names = ("conv_maxpool_sf1024", "mobile_sf1024")
        return {f"{name}.msgpack": (DATA / name / "model.msgpack").read_bytes() for name in names}
