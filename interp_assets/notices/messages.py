"""Notices made from verdict changes and quarantine records: pure functions, frames and records in, notices out.

What belongs here: what is told, in which words and order. What does not: the JSON of a receiver (`slack`), and whether
a notice was told before (`outbox`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from interp_assets.notices.outbox import key_of, notice_id
from interp_assets.notices.records import LEVELS, Level, Minimum, Notice
from interp_assets.quarantine import Quarantined

# One judgement held against another: rows of one transition are told together, and once.
TRANSITION = ("study", "release", "compared_with", "old_snapshot", "new_snapshot")
NEEDED = (*TRANSITION, "change_id", "level", "item", "old", "new", "direction", "sentence")
# Order inside a message.
RANKS = ("verdict", "claim", "criterion", "standard")
MOST_LINES = 12
MOST_LISTED = 15
RANK_OF_KIND = {"quarantine": 0, "digest": 1, "verdict change": 2, "test": 3}
PLURALS = {"verdict": "verdicts", "claim": "claims", "criterion": "criteria", "standard": "standards"}


class NoticeError(ValueError):
    """A table of changes that cannot be read as one; the message says how to make it again."""


def verdict_notices(changes: pd.DataFrame, minimum: Minimum = "any") -> list[Notice]:
    """One notice for each release and study among ``changes``, what was lost first, then by study and release.

    Parameters
    ----------
    changes
        Rows of ``store/verdict_changes.parquet`` that were not told yet.
    minimum
        ``lost`` leaves out notices whose rows lost nothing.

    Raises
    ------
    NoticeError
        When a column that a message needs is absent, or a direction is none that is known: it might be a loss.
    """
    absent = [name for name in NEEDED if name not in changes.columns]
    if absent:
        raise NoticeError(f"verdict_changes lacks {', '.join(absent)}; materialise `verdict_changes` again")
    strange = sorted({str(way) for way in changes["direction"] if way not in LEVELS})
    if strange:
        told = f"verdict_changes holds the direction {', '.join(map(repr, strange))}"
        raise NoticeError(f"{told}; known: {', '.join(LEVELS)}; materialise `verdict_changes` again")
    grouped = changes.groupby(["study", "release"], sort=True) if len(changes) else ()
    notices = [_of_release(str(study), str(release), rows) for (study, release), rows in grouped]
    kept = [notice for notice in notices if minimum == "any" or notice.level == "lost"]
    return sorted(kept, key=lambda notice: LEVELS.index(notice.level))


def transition_keys(changes: pd.DataFrame) -> pd.Series:
    """Key of the event each row belongs to, by row: one for each pair of snapshots that was compared."""
    columns = [changes[name].astype(str) for name in TRANSITION]
    keys = {parts: key_of("verdict change", *parts) for parts in set(zip(*columns, strict=True))}
    return pd.Series([keys[parts] for parts in zip(*columns, strict=True)], index=changes.index, dtype=object)


def _of_release(study: str, release: str, rows: pd.DataFrame) -> Notice:
    rank = {level: place for place, level in enumerate(RANKS)}
    order = rows["level"].map(lambda level: rank.get(level, len(RANKS)))
    urgency = rows["direction"].map(LEVELS.index)
    rows = rows.assign(_rank=order, _urgency=urgency).sort_values(["_rank", "_urgency", "item", "change_id"])
    sentences = list(dict.fromkeys(str(sentence) for sentence in rows["sentence"]))
    if len(sentences) > MOST_LINES:
        sentences = [*sentences[:MOST_LINES], f"and {len(sentences) - MOST_LINES} more changes in the leaderboard"]
    covers = tuple(sorted(set(transition_keys(rows))))
    return Notice(
        id=notice_id(covers),
        kind="verdict change",
        title=f"{release} in {study}: {_headline(rows)}",
        lines=tuple(sentences),
        level=_whole(rows),
        covers=covers,
        study=study,
        release=release,
    )


def _whole(rows: pd.DataFrame) -> Level:
    """Level of a notice: lost where anything was; else what its first rows say, those of the highest rank."""
    levels: list[Level] = list(rows["direction"])
    if "lost" in levels:
        return "lost"
    return next(level for level, rank in zip(levels, rows["_rank"], strict=True) if rank == rows["_rank"].min())


def _headline(rows: pd.DataFrame) -> str:
    """What changed, verdict first: its two states, else how many claims, criteria and standards changed."""
    verdicts = rows[rows["level"] == "verdict"]
    if len(verdicts):
        first = verdicts.iloc[0]
        return f"verdict {first['new']}, was {first['old']}{_of_whom(first['compared_with'])}"
    level = next((level for level in RANKS if (rows["level"] == level).any()), "result")
    same = rows[rows["level"] == level] if level in RANKS else rows
    if len(same) == 1:
        row = same.iloc[0]
        return f"{level} {row['item']} {row['new']}, was {row['old']}{_of_whom(row['compared_with'])}"
    parts = Counter(same["direction"])
    told = ", ".join(f"{parts[name]} {'changed' if name == 'other' else name}" for name in LEVELS if parts[name])
    return f"{PLURALS.get(level, f'{level}s')}: {told}{_of_whom(same.iloc[0]['compared_with'], ' against')}"


def _of_whom(compared_with: Any, word: str = " for") -> str:
    return f"{word} {compared_with}" if compared_with else ""


def quarantine_key(record: Quarantined) -> str:
    """Key of one stay in quarantine: a release put there again, after it was lifted, is a new event."""
    return key_of("quarantine", record.release, record.release_id, record.run_id, record.since)


def quarantine_notices(records: Mapping[str, Quarantined]) -> list[Notice]:
    """One notice for each release in quarantine: where it failed, why, and what to do."""
    return [_of_record(record) for _, record in sorted(records.items())]


def _of_record(record: Quarantined) -> Notice:
    covers = (quarantine_key(record),)
    of_release = record.kind == "release"
    place = f" ({record.asset}, {record.partition})" if record.asset else ""
    cause = "for a reason of its own" if of_release else "because of the machine, after all retries"
    way_out = (
        "mend its files, then it is evaluated again by itself"
        if of_release
        else "when the machine is well, let it be evaluated again"
    )
    lines = [
        f"Failed {cause}: {record.reason or 'no reason was recorded'}",
        f"Where: {record.stage or 'unknown stage'}{place}",
        f"Way out: {way_out}; or run `interp quarantine lift {record.release}`",
    ]
    if record.run_id:
        lines.append(f"Run {record.run_id}, since {record.since}")
    return Notice(
        id=notice_id(covers),
        kind="quarantine",
        title=f"{record.release}: put in quarantine, not evaluated further",
        lines=tuple(lines),
        level="lost",
        covers=covers,
        release=record.release,
    )


def digest(notices: Sequence[Notice]) -> Notice:
    """One notice that stands for many: counts, then the titles of the most urgent ones; it covers all they cover."""
    ordered = sorted(notices, key=lambda notice: (LEVELS.index(notice.level), RANK_OF_KIND[notice.kind]))
    covers = tuple(sorted({key for notice in notices for key in notice.covers}))
    titles = list(_titles(ordered))
    listed = titles[:MOST_LISTED]
    if len(titles) > MOST_LISTED:
        listed.append(f"and {len(titles) - MOST_LISTED} more in the leaderboard")
    return Notice(
        id=notice_id(covers),
        kind="digest",
        title=_counts(notices),
        lines=tuple(listed),
        level=ordered[0].level,
        covers=covers,
    )


def trial_notice() -> Notice:
    """A message that says nothing but that it arrived."""
    covers = (key_of("test"),)
    lines = ("If you read this, verdict changes and quarantined releases will reach you here.",)
    title = "Test message of interp-assets"
    return Notice(id=notice_id(covers), kind="test", title=title, lines=lines, level="other", covers=covers)


def _titles(notices: Iterable[Notice]) -> Iterable[str]:
    """Titles of notices; a digest inside, which waited and was not told, gives its own title and lines."""
    for notice in notices:
        yield notice.title
        if notice.kind == "digest":
            yield from notice.lines


def _counts(notices: Sequence[Notice]) -> str:
    """Title of a digest, such as "40 notices: 3 in quarantine; 12 lost, 25 changed (20 releases, 4 studies)"."""
    held = sum(notice.kind == "quarantine" for notice in notices)
    others = Counter(notice.level for notice in notices if notice.kind == "verdict change")
    parts = [f"{held} in quarantine"] if held else []
    earlier = sum(notice.kind == "digest" for notice in notices)
    parts += [f"{earlier} earlier digest"] if earlier else []
    words = {"lost": "with something lost", "gained": "with something gained", "other": "changed otherwise"}
    parts += [f"{others[level]} {words[level]}" for level in LEVELS if others[level]]
    releases = len({notice.release for notice in notices if notice.release})
    studies = len({notice.study for notice in notices if notice.study})
    return f"{len(notices)} notices at once: {', '.join(parts)} ({releases} releases, {studies} studies)"
