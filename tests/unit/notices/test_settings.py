"""The section `notify`: off by default, strict, and no place for an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp_assets.notices.records import NoticeSettings, read_settings
from interp_assets.settings import SettingsError


def test_nothing_declared_is_off() -> None:
    assert read_settings({}) is None


def test_defaults_and_a_full_section() -> None:
    assert read_settings({"minimum": "any"}) == NoticeSettings(minimum="any")
    whole = {"webhook_from": "TEAM_HOOK", "minimum": "lost", "link": "https://x.org/{study}/{release}"}
    assert read_settings(whole) == NoticeSettings(webhook_from="TEAM_HOOK", link=whole["link"])


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"url": "x"}, "unknown key url; known: webhook_from"),
        ({"webhook_from": "lower"}, "name of an environment variable"),
        ({"webhook_from": 3}, "name of an environment variable"),
        ({"minimum": "some"}, "lost or any"),
        ({"minimum": ["lost"]}, "lost or any"),
        ({"link": "javascript:alert(1)"}, "http"),
        ({"link": "https://x.org/<b>"}, "http"),
        ({"link": "https://x.org/{model}"}, "{study} and {release}"),
        ({"link": 5}, "http"),
    ],
)
def test_slips_name_file_and_remedy(section: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=r"conf/platform\.yaml: notify") as error:
        read_settings(section, Path("conf/platform.yaml"))
    assert said in str(error.value)


def test_an_address_in_the_file_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({"webhook_from": "https://hooks.example.org/services/s3cr3t"})
    assert "s3cr3t" not in str(error.value) and "secret" in str(error.value)
