"""What a check found, as text for people and machines.

`findings` holds the one record that every format shows, so that no two formats can tell a different verdict; `reports`
makes it from a judgement; `text`, `junit`, `sarif`, `machine` and `annotations` write it, and `said` the statement that
belongs to it. Decisions are made elsewhere.
"""
