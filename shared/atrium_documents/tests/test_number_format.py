from __future__ import annotations

import datetime as dt

import pytest

from atrium_documents.number_format import format_value

DAY = dt.datetime(2024, 3, 5, 14, 7, 9)


@pytest.mark.parametrize(
    ("value", "pattern", "shown"),
    [
        (40000, "General", "40000"),
        (0.1 + 0.2, "General", "0.3"),
        (1 / 3, "General", "0.333333333"),
        (1e20, "General", "1E+20"),
        (40000, "#,##0", "40,000"),
        (1234.5, "#,##0.00", "1,234.50"),
        (-1234.5, "#,##0.00;(#,##0.00)", "(1,234.50)"),
        (-5, "0", "-5"),
        (0, '0;-0;"-"', "-"),
        (0.125, "0.0%", "12.5%"),
        (0.5, "0%", "50%"),
        (2.5, "0", "3"),
        (7, "000", "007"),
        (5, "#.##", "5"),
        (12345678, '0.0,,"M"', "12.3M"),
        (1234.5, "[$¥-804]#,##0.00", "¥1,234.50"),
        (1234.5, '"¥"#,##0.00_);[Red]("¥"#,##0.00)', "¥1,234.50"),
        (30, '0"天"', "30天"),
        (12345, "0.00E+00", "1.23E+04"),
        (150, '[>100]"high";"low"', "high"),
        (15, '[>100]"high";"low"', "low"),
        (True, "General", "TRUE"),
        ("text", "0.00", "text"),
        (None, "0", ""),
        (DAY, "yyyy-mm-dd", "2024-03-05"),
        (DAY, "m/d/yy", "3/5/24"),
        (DAY, 'yyyy"年"m"月"d"日"', "2024年3月5日"),
        (DAY, "d mmm yyyy", "5 Mar 2024"),
        (DAY, "dddd", "Tuesday"),
        (DAY, "aaaa", "星期二"),
        (DAY, "h:mm AM/PM", "2:07 PM"),
        (DAY, "hh:mm:ss", "14:07:09"),
        (DAY, "mm:ss", "07:09"),
        (DAY, "General", "2024-03-05 14:07:09"),
        (dt.datetime(2024, 3, 5), "General", "2024-03-05"),
        (dt.date(2024, 3, 5), "dd.mm.yyyy", "05.03.2024"),
        (dt.time(9, 30), "h:mm", "9:30"),
        (dt.timedelta(hours=30, minutes=5), "[h]:mm", "30:05"),
        (dt.timedelta(hours=-1), "General", "-1:00:00"),
        (5, "", "5"),
    ],
)
def test_values_are_shown_as_the_sheet_shows_them(value: object, pattern: str, shown: str) -> None:
    assert format_value(value, pattern) == shown


def test_pattern_that_makes_no_sense_shows_the_plain_value() -> None:
    assert format_value(float("inf"), "#,##0") == "INF"
